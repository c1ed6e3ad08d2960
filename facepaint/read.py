"""Read: from the boxes of a photo to its faces, by the reader network."""

from __future__ import annotations

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
    frames = [align.frame_of_box(box) for box in boxes]
    for _ in range(LOOKS):
        seen = reader(crops=batch([align.crop(pixels, frame) for frame in frames]))
        points: list[FloatArray] = [
            align.apply(f, p) for f, p in zip(frames, seen["landmarks"], strict=True)
        ]
        frames = [align.align(p) for p in points]
    kept = [i for i in range(len(boxes)) if seen["confidence"][i] >= MIN_CONFIDENCE]
    return [
        Face(
            index=first + n,
            box=boxes[i],
            landmarks=points[i],
            blendshapes=seen["blendshapes"][i].astype(np.float32),
            confidence=float(seen["confidence"][i]),
            probabilities=seen["expressions"][i].astype(np.float32),
        )
        for n, i in enumerate(kept)
    ]
