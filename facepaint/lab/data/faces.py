"""FaceSet: labelled faces as wide crops in memory-mapped arrays.

A wide crop shows WIDE times the side of the networks' crop (see `facepaint.align`), so that a
sample can be turned, moved and scaled before it is cut to size.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.align import CROP
from facepaint.errors import LabError
from facepaint.face import BLENDSHAPES, LANDMARKS, FloatArray
from facepaint.lab.data import datasets
from facepaint.lab.data.datasets import Portrait
from facepaint.lab.data.split import is_held_out

WIDE = 1.6
WIDE_PIXELS = 224
# the frame of the crop within its wide crop, in the wide crop's pixels
INNER = np.array([[1, 0, (WIDE - 1) / 2], [0, 1, (WIDE - 1) / 2]], np.float32) * np.float32(
    WIDE_PIXELS / WIDE
)
_MIRROR = np.array([[-1, 0, 1], [0, 1, 0]], np.float32)  # of crop units
DATA_VARIABLE = "FACEPAINT_DATA"
_FORMAT = 3  # of the cache; raise it when what is stored changes


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Faces and what is known of each; arrays of one length, N.

    crops: uint8 [N, 224, 224, 3] RGB wide crops.
    landmarks: float32 [N, 478, 2] in crop units; NaN for what is no face.
    blendshapes: float32 [N, 52], 0 to 1; NaN where unknown.
    expressions: int8 [N], place in EXPRESSIONS, -1 where unknown.
    subjects, sources: str [N]; a subject is one person. A source names the set.
    held_out: bool [N], whose photos are kept for measuring.
    """

    crops: npt.NDArray[np.uint8]
    landmarks: FloatArray
    blendshapes: FloatArray
    expressions: npt.NDArray[np.int8]
    subjects: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    held_out: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def is_face(self) -> npt.NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.landmarks[:, 0, 0]))

    def joined(self, others: FaceSet) -> FaceSet:
        """These and others."""
        both = {f.name: (getattr(self, f.name), getattr(others, f.name)) for f in fields(self)}
        return FaceSet(**{name: np.concatenate(two) for name, two in both.items()})

    def only(self, chosen: npt.NDArray[np.bool_]) -> FaceSet:
        """The chosen ones, bool [N], copied."""
        return FaceSet(**{f.name: np.asarray(getattr(self, f.name)[chosen]) for f in fields(self)})


def data_folder(given: str | None) -> Path:
    """The folder of photos: `given`, else the environment's FACEPAINT_DATA."""
    name = given or os.environ.get(DATA_VARIABLE)
    if not name:
        raise LabError(f"no data folder: give --data DIR or set {DATA_VARIABLE}")
    if not Path(name).is_dir():
        raise LabError(f"{name}: no folder there")
    return Path(name)


def load(folder: Path, cache: Path) -> FaceSet:
    """All faces of `folder`, in any layout that `datasets` knows; read once into `cache` and
    memory-mapped from there."""
    home = cached(folder, cache, _FORMAT)
    if not (home / "done").exists():
        _build(folder, home)
    arrays = {n: np.load(home / f"{n}.npy") for n in _SMALL}
    crops = np.load(home / "crops.npy", mmap_mode="r")
    return FaceSet(crops=crops, **arrays)


def cached(folder: Path, cache: Path, what: int | str) -> Path:
    """Where in `cache` what was read from `folder` lies: another place for other files, or for
    something else that is read from them."""
    files = datasets.layout_of(folder).files(folder)
    found = [(f.relative_to(folder).as_posix(), f.stat()) for f in files]
    stamp = json.dumps([what, [(name, s.st_size, s.st_mtime_ns) for name, s in found]])
    return cache / hashlib.sha256(stamp.encode()).hexdigest()[:12]


_SMALL = ("landmarks", "blendshapes", "expressions", "subjects", "sources", "held_out")


def _build(folder: Path, home: Path) -> None:
    rows = [_row(seen) for seen in datasets.portraits(folder)]
    if not rows:
        raise LabError(f"{folder}: no face in its photos")
    home.mkdir(parents=True, exist_ok=True)
    for name in ("crops", *_SMALL):
        np.save(home / f"{name}.npy", np.stack([r[name] for r in rows]))
    (home / "done").touch()


def _row(seen: Portrait) -> dict[str, Any]:
    """A face as a row of a FaceSet."""
    if seen.landmarks is None:
        inside = np.full((LANDMARKS, 2), np.nan, np.float32)
    else:
        inside = align.apply(align.invert(seen.frame), seen.landmarks)
    unknown = np.full(len(BLENDSHAPES), np.nan, np.float32)
    return {
        "crops": align.crop(seen.pixels, widen(seen.frame), WIDE_PIXELS),
        "landmarks": inside,
        "blendshapes": unknown if seen.blendshapes is None else seen.blendshapes,
        "expressions": np.int8(seen.expression),
        "subjects": seen.subject,
        "sources": seen.source,
        "held_out": is_held_out(seen.subject) if seen.held_out is None else seen.held_out,
    }


def widen(frame: FloatArray) -> FloatArray:
    """The frame of the wide crop around the crop of `frame`."""
    inner = np.array([[WIDE, 0, (1 - WIDE) / 2], [0, WIDE, (1 - WIDE) / 2]], np.float32)
    return align.chain(frame, inner)


def narrow(frame: FloatArray) -> FloatArray:
    """A frame over the crop (crop units → crop units) as one over the wide crop's pixels."""
    linear = frame[:, :2] * (WIDE_PIXELS / WIDE)
    shift = (frame[:, 2] - (1 - WIDE) / 2) * (WIDE_PIXELS / WIDE)
    return np.column_stack([linear, shift]).astype(np.float32)


def cut(wide: npt.NDArray[np.uint8], frame: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """The crop at `frame` (crop units → crop units) out of a wide crop."""
    return align.crop(wide, narrow(frame), CROP)


def mirror(
    frame: npt.NDArray[np.float32],
    points: npt.NDArray[np.float32],
    blend: npt.NDArray[np.float32],
    order: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The mirrored face: left becomes right in the crop at `frame`, landmarks and blendshapes."""
    flipped = (points * np.array([-1, 1], np.float32) + np.array([1, 0], np.float32))[order[0]]
    return align.chain(frame, _MIRROR), flipped.astype(np.float32), blend[order[1]]
