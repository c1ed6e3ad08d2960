"""FaceSet: labelled faces as wide crops in memory-mapped arrays, and how they come out of Parquet.

A wide crop shows WIDE times the side of the networks' crop (see `facepaint.align`), so that a
sample can be turned, moved and scaled before it is cut to size.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align, detect
from facepaint.align import CROP
from facepaint.errors import LabError
from facepaint.face import BLENDSHAPES, EXPRESSIONS, LANDMARKS, Box, FloatArray

WIDE = 1.6
WIDE_PIXELS = 224
DATA_VARIABLE = "FACEPAINT_DATA"
_FORMAT = 2  # of the cache; raise it when what is stored changes
_NON_FACES_A_SCENE = 8
_HELD_OUT = 8  # one subject in so many is never trained on


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Faces and what is known of each; arrays of one length, N.

    crops: uint8 [N, 224, 224, 3] RGB wide crops.
    landmarks: float32 [N, 478, 2] in crop units; NaN for what is no face.
    blendshapes: float32 [N, 52], 0 to 1; NaN where unknown.
    expressions: int8 [N], place in EXPRESSIONS, -1 where unknown.
    subjects, sources: str [N]; a subject is one person. A source names the set.
    """

    crops: npt.NDArray[np.uint8]
    landmarks: FloatArray
    blendshapes: FloatArray
    expressions: npt.NDArray[np.int8]
    subjects: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def is_face(self) -> npt.NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.landmarks[:, 0, 0]))

    @property
    def held_out(self) -> npt.NDArray[np.bool_]:
        """Whose photos are kept for measuring: by a hash of the subject, so it never moves."""
        return np.array([is_held_out(s) for s in self.subjects], bool)


def is_held_out(subject: str) -> bool:
    """Whether this person is kept for measuring, the same on every machine."""
    return zlib.crc32(str(subject).encode()) % _HELD_OUT == 0


def data_folder(given: str | None) -> Path:
    """The folder of Parquet files: `given`, else the environment's FACEPAINT_DATA."""
    name = given or os.environ.get(DATA_VARIABLE)
    if not name:
        raise LabError(f"no data folder: give --data DIR or set {DATA_VARIABLE}")
    folder = Path(name)
    if not any(folder.glob("*.parquet")):
        raise LabError(f"{folder}: no .parquet file of faces there")
    return folder


def load(folder: Path, cache: Path) -> FaceSet:
    """All labelled faces of `folder`, read once into `cache` and memory-mapped from there."""
    files = sorted(folder.glob("*.parquet"))
    stamp = json.dumps([_FORMAT, [(f.name, f.stat().st_size) for f in files]])
    home = cache / hashlib.sha256(stamp.encode()).hexdigest()[:12]
    if not (home / "done").exists():
        _build(files, home)
    arrays = {n: np.load(home / f"{n}.npy") for n in _SMALL}
    crops = np.load(home / "crops.npy", mmap_mode="r")
    return FaceSet(crops=crops, **arrays)


_SMALL = ("landmarks", "blendshapes", "expressions", "subjects", "sources")


def _build(files: list[Path], home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    rows = [row for file in files for row in _rows(file)]
    if not rows:
        raise LabError(f"{files[0].parent}: no labelled face in its .parquet files")
    for name in ("crops", *_SMALL):
        np.save(home / f"{name}.npy", np.stack([r[name.rstrip("s")] for r in rows]))
    (home / "done").touch()


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """The faces of one Parquet file, as rows of a FaceSet."""
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except Exception as error:
        raise LabError(f"{file}: not a Parquet file ({error})") from error
    read = _scene_rows if "boxes" in table.schema_arrow.names else _portrait_rows
    for batch in table.iter_batches(64):
        for record in batch.to_pylist():
            pixels = _decode(record["image"], file)
            yield from read(pixels, record)


def _decode(data: bytes, file: Path) -> npt.NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise LabError(f"{file}: holds an image that cannot be decoded")
    return np.asarray(pixels, np.uint8)


def _portrait_rows(
    pixels: npt.NDArray[np.uint8], record: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    landmarks = np.array(record["landmarks"], np.float32).reshape(LANDMARKS, 2)
    expression = record["expression"]
    yield _row(
        pixels,
        align.align(landmarks),
        landmarks,
        np.array(record["blendshapes"], np.float32),
        -1 if expression is None else EXPRESSIONS.index(expression),
        record["subject"],
        record["source"],
    )


def _scene_rows(pixels: npt.NDArray[np.uint8], record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Faces of a scene where the mesh held; of a scene without any, what is no face."""
    unknown = np.full(len(BLENDSHAPES), np.nan, np.float32)
    for flat in record["landmarks"]:
        if len(flat):
            landmarks = np.array(flat, np.float32).reshape(LANDMARKS, 2)
            frame = align.align(landmarks)
            yield _row(pixels, frame, landmarks, unknown, -1, record["name"], "scenes")
    if not record["boxes"]:
        for box in _non_faces(pixels, record["name"]):
            frame = align.frame_of_box(box)
            yield _row(pixels, frame, None, unknown, -1, record["name"], "scenes")


def _non_faces(pixels: npt.NDArray[np.uint8], name: str) -> Iterator[Box]:
    """What the detector mistakes, and places taken at random."""
    found = detect.detect(pixels)[: _NON_FACES_A_SCENE // 2]
    yield from found
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    height, width = pixels.shape[:2]
    for _ in range(_NON_FACES_A_SCENE - len(found)):
        side = float(np.exp(rng.uniform(np.log(20), np.log(min(height, width) / 1.5))))
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        yield Box(x, y, side, side, 0.0)


def _row(
    pixels: npt.NDArray[np.uint8],
    frame: FloatArray,
    landmarks: FloatArray | None,
    blendshapes: FloatArray,
    expression: int,
    subject: str,
    source: str,
) -> dict[str, Any]:
    nothing = np.full((LANDMARKS, 2), np.nan, np.float32)
    inside = nothing if landmarks is None else align.apply(align.invert(frame), landmarks)
    return {
        "crop": align.crop(pixels, widen(frame), WIDE_PIXELS),
        "landmark": inside,
        "blendshape": blendshapes,
        "expression": np.int8(expression),
        "subject": subject,
        "source": source,
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
    crop: npt.NDArray[np.uint8],
    points: npt.NDArray[np.float32],
    blend: npt.NDArray[np.float32],
    order: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The mirrored face: left becomes right in all three."""
    flipped = (points * np.array([-1, 1], np.float32) + np.array([1, 0], np.float32))[order[0]]
    return crop[:, ::-1], flipped.astype(np.float32), blend[order[1]]
