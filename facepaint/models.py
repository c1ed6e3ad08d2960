"""Models: the networks that ship, opened only when they are what their manifest says."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# from 1.29 on it otherwise tells its maker of each network that is opened
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

from facepaint.errors import WeightsError
from facepaint.files import write_whole
from facepaint.names import DEFAULT_METHOD
from facepaint.onnxcard import card_in

WEIGHTS = Path(__file__).with_name("weights")
SETS = ("open",)  # folders of weights that ship beside those of WEIGHTS, by name
MANIFEST = "manifest.json"
# What the runtime's networks take and give; a foreign one is refused before it is run.
_TAKES = {
    "reader": {"crops"},
    "painter": {"crops", "change"},
    "mover": {"change"},
    "mouth": {"window", "maps", "hint", "told"},
    "eye": {"window", "maps", "hint", "told"},
    "shade": {"crops", "skin", "told"},
    "visibility": {"crops"},
    "cyclegan": {"crops"},
    "maskrcnn": {"picture"},
}
_GIVES = {
    "reader": {"landmarks", "blendshapes", "confidence", "expressions"},
    "painter": {"flow", "mask", "paint", "shade"},
    "mover": {"moves"},
    "mouth": {"painted"},
    "eye": {"painted"},
    "shade": {"gain"},
    "visibility": {"visible"},
    "cyclegan": {"happy", "neutral"},
    "maskrcnn": {"boxes", "scores", "masks"},
}


@dataclass(frozen=True, eq=False)
class Model:
    """An ONNX network with its card; call it with its inputs by name."""

    session: ort.InferenceSession
    card: dict[str, Any]
    sha256: str

    def __call__(self, **inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        names = [output.name for output in self.session.get_outputs()]
        try:
            return dict(zip(names, self.session.run(names, inputs), strict=True))
        except Exception as error:  # its inputs have other shapes, or it is broken within
            what = f"the network {self.card.get('name')} cannot be run ({error})"
            raise WeightsError(f"{what[:300]}; install FacePaint again") from error

    def shape(self, name: str) -> list[Any]:
        """The shape of an input: numbers, and names of what may vary."""
        (shape,) = (i.shape for i in self.session.get_inputs() if i.name == name)
        return list(shape)


def folder_of(weights: str | os.PathLike[str] | None) -> Path:
    """The folder of those weights: what ships for None, what ships under a name of SETS, else a
    folder of one's own."""
    if weights is None:
        return WEIGHTS
    return WEIGHTS / weights if weights in SETS else Path(weights)


def home_of_reader(folder: Path) -> Path:
    """That folder of weights where it holds a reader, else that of those that ship: who trains a
    painter alone goes on using our reader. WeightsError as of `read_manifest`."""
    return folder if "reader" in read_manifest(folder) else WEIGHTS


def open_model(name: str, folder: Path = WEIGHTS) -> Model:
    """The model `name` of a folder of weights, verified by its sha256.

    Raises WeightsError where the file is missing, is not the one that the manifest names, or is
    another model under this name.
    """
    data, digest = _verified(name, folder)
    card = _card(data, f"{folder}: {name}")
    if card.get("name") != name:
        raise WeightsError(f"{folder}: what is there as the {name} is another model")
    model = _opened(data, digest, card, f"{folder}: {name}")
    if not _fits(name, model.session):
        raise WeightsError(f"{folder}: what is there as the {name} takes or gives something else")
    return model


def _fits(name: str, session: ort.InferenceSession) -> bool:
    """Whether a network has the inputs and outputs that one of its name must have."""
    takes, gives = ({i.name for i in x} for x in (session.get_inputs(), session.get_outputs()))
    return bool(takes == _TAKES.get(name, takes) and gives == _GIVES.get(name, gives))


def open_file(path: Path) -> Model:
    """An exported model that no manifest names yet; WeightsError where it is not one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    card = _card(data, str(path))
    return _opened(data, hashlib.sha256(data).hexdigest(), card, str(path))


def _card(data: bytes, what: str) -> dict[str, Any]:
    try:
        return card_in(data)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{what} is not a model of FacePaint's") from error


def _opened(data: bytes, digest: str, card: dict[str, Any], what: str) -> Model:
    options = ort.SessionOptions()
    # one thread a network: they are small, and the same order of sums gives the same result
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsError(f"{what} is not a model of FacePaint's") from error
    return Model(session, card, digest)


def _verified(name: str, folder: Path) -> tuple[bytes, str]:
    """The bytes of a model and their sha256, which is what the manifest says."""
    try:
        entry = read_manifest(folder)[name]
        data, wanted = (folder / Path(entry["file"]).name).read_bytes(), entry["sha256"]
    except (OSError, KeyError, ValueError) as error:  # ValueError: a name with a NUL in it
        raise WeightsError(f"{folder}: no weights of the {name} there") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != wanted:
        what = f"{folder / entry['file']} is not the file that {MANIFEST} names (sha256 differs)"
        raise WeightsError(f"{what}; install FacePaint again")
    return data, digest


def read_manifest(folder: Path = WEIGHTS) -> dict[str, dict[str, str]]:
    """What weights a folder holds: name → file and sha256."""
    try:
        manifest: dict[str, dict[str, str]] = json.loads((folder / MANIFEST).read_text())
        for entry in manifest.values():
            if not (isinstance(entry["file"], str) and isinstance(entry["sha256"], str)):
                raise TypeError("file and sha256 are texts")
    except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        what = f"{folder}: no readable {MANIFEST} of weights there"
        raise WeightsError(f"{what}; by name there are {', '.join(SETS)}") from error
    return manifest


# By method the networks that it takes beside the reader; a method that is not here has one, of its
# own name.
NETWORKS = {"repaint": ("mover", "mouth", "eye", "shade", "visibility")}


def files_of(folder: Path, method: str) -> dict[str, Path]:
    """Find the files of the networks that a method takes beside the reader.

    Args:
        folder: of weights.
        method: by name.

    Returns:
        Files by the name of the network; only of those that the manifest names.

    Raises:
        WeightsError: as of `read_manifest`.
    """
    held = read_manifest(folder)
    names = NETWORKS.get(method, (method,))
    return {n: folder / Path(held[n]["file"]).name for n in names if n in held}


def default_method(folder: Path) -> str:
    """Name the method that a folder of weights is for; WeightsError as of `read_manifest`."""
    held = read_manifest(folder)
    return DEFAULT_METHOD if "mover" in held or "painter" not in held else "painter"


def taking_part(folder: Path = WEIGHTS, method: str | None = None) -> dict[str, str]:
    """Name the networks that make an edit.

    Args:
        folder: of weights.
        method: by name; None for the one that the weights are for.

    Returns:
        The sha256 of each network's file, by the network's name.

    Raises:
        WeightsError: as of `read_manifest`.
    """
    method = method or default_method(folder)
    manifest, reader = read_manifest(folder), read_manifest(home_of_reader(folder))["reader"]
    own = {n: manifest[n]["sha256"] for n in files_of(folder, method)}
    return {"reader": reader["sha256"]} | own


def write_entry(folder: Path, name: str, file: str) -> None:
    """Note `file` of a folder as the weights of `name`."""
    path = folder / MANIFEST
    manifest = read_manifest(folder) if path.exists() else {}
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    manifest[name] = {"file": file, "sha256": digest}
    write_whole(path, json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def batch(crops: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Crops of one size as one array, [N, H, W, 3]."""
    return np.ascontiguousarray(np.stack(crops))
