"""Read: from the boxes of a photo to its faces, by the reader network."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.face import Box, Face, FloatArray
from facepaint.models import Model, batch

MIN_CONFIDENCE = 0.5  # below it a box is no face
LOOKS = 3  # each look is cropped by what the one before saw; the first by the box
_AT_ONCE = 32  # faces in one call: keeps the memory of a crowd flat


def read(pixels: npt.NDArray[np.uint8], boxes: list[Box], reader: Model) -> list[Face]:
    """The faces in `boxes`, numbered in their order; a box that shows no face is left out.

    pixels: uint8 [H, W, 3] RGB.
    """
    faces: list[Face] = []
    rest = iter(boxes)
    while chunk := list(islice(rest, _AT_ONCE)):
        faces += _read_chunk(pixels, chunk, reader, len(faces))
    return faces


def _read_chunk(
    pixels: npt.NDArray[np.uint8], boxes: list[Box], reader: Model, first: int
) -> list[Face]:
    faces = _look(pixels, [align.frame_of_box(box) for box in boxes], reader, LOOKS)
    kept = [(f, b) for f, b in zip(faces, boxes, strict=True) if f.confidence >= MIN_CONFIDENCE]
    return [replace(f, index=first + n, box=b) for n, (f, b) in enumerate(kept)]


def reread(
    pixels: npt.NDArray[np.uint8], frames: list[FloatArray], reader: Model, looks: int
) -> list[Face]:
    """What the crops of `frames` show, a face for each, numbered in their order; whether it is one
    its confidence says. For pictures that follow each other, where the frames are nearly known.
    """
    faces: list[Face] = []
    for at in range(0, len(frames), _AT_ONCE):
        faces += _look(pixels, frames[at : at + _AT_ONCE], reader, looks)
    return [replace(face, index=n) for n, face in enumerate(faces)]


def _look(
    pixels: npt.NDArray[np.uint8], frames: list[FloatArray], reader: Model, looks: int
) -> list[Face]:
    for _ in range(looks):
        seen = reader(crops=batch([align.crop(pixels, frame) for frame in frames]))
        points: list[FloatArray] = [
            align.apply(f, p) for f, p in zip(frames, seen["landmarks"], strict=True)
        ]
        frames = [align.align(p) for p in points]
    return [
        Face(
            index=i,
            box=_around(points[i], float(seen["confidence"][i])),
            landmarks=points[i],
            blendshapes=seen["blendshapes"][i].astype(np.float32),
            confidence=float(seen["confidence"][i]),
            probabilities=seen["expressions"][i].astype(np.float32),
        )
        for i in range(len(frames))
    ]


def _around(points: FloatArray, score: float) -> Box:
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    return Box(left, top, right - left, bottom - top, score)
