"""Refine: detail for the mouth and eyes of larger faces, where paint of 128 pixels is soft.

A second network looks, at twice the painter's resolution, at three *windows* of the crop, around
the mouth and around each eye, and adds detail where the painter has painted, and only there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.composite import composite, hidden
from facepaint.face import LEFT_EYE, OUTER_LIPS, RIGHT_EYE, FloatArray
from facepaint.methods import Strokes
from facepaint.models import open_model
from facepaint.segment import smoothstep

Pixels = npt.NDArray[np.uint8]
SIZE = 256  # pixels of the crop's side, as the refiner sees it
WINDOW = (96, 128)  # rows and columns of a window: .375 and .5 of the crop's side
LEAST = 512.0  # pixels of the crop's side in the photo up to which a face is left: speed first
DETAIL = 0.5  # of the residual that is added: whole, teeth that are only hinted at come out ragged
_CENTRES = (OUTER_LIPS, RIGHT_EYE, LEFT_EYE)
FRAME: FloatArray = np.array([[SIZE, 0, 0], [0, SIZE, 0]], np.float32)  # of a crop of SIZE
_SOFT = 0.2  # of a window's sides, over which it fades in


class Views(NamedTuple):
    """What the refiner is shown of N windows.

    painted, before: uint8 [N, 96, 128, 3] RGB, with the strokes and without. cover: float32
    [N, 96, 128], 0 to 1, how far paint hides the photo.
    """

    painted: Pixels
    before: Pixels
    cover: FloatArray


Network = Callable[[Views], FloatArray]  # to a residual [N, 96, 128, 3], -1 to 1


class Refiner:
    """The refiner (`facepaint train refiner`): from Views to a residual of colour."""

    def __init__(self, folder: Path) -> None:
        self._model = open_model("refiner", folder)

    @property
    def card(self) -> dict[str, Any]:
        return self._model.card

    def __call__(self, views: Views) -> FloatArray:
        return np.asarray(self._model(**views._asdict())["residual"], np.float32)


def lay(
    pixels: Pixels,
    frame: FloatArray,
    landmarks: FloatArray,
    strokes: Strokes,
    mask: FloatArray,
    refiner: Network | None,
    crop: Pixels | None = None,
) -> None:
    """Composite strokes onto `pixels`, uint8 [H, W, 3] RGB, in place, and refine a large face.

    frame: from crop units to photo pixels. landmarks: [478, 2] in crop units. mask: [S, S], of the
    face. crop: as of `composite`. Without a refiner, and up to LEAST, it is `composite` alone.
    """
    if refiner is None or align.side_of(frame) <= LEAST:
        composite(pixels, frame, strokes, mask, crop=crop)
        return
    before = align.crop(pixels, frame, SIZE)
    painted = before.copy()
    composite(painted, FRAME, strokes, mask)
    detail = residual(painted, before, cover_of(strokes, mask), landmarks, refiner)
    composite(pixels, frame, strokes, mask, detail, crop)


def cover_of(strokes: Strokes, mask: FloatArray) -> FloatArray:
    """How far strokes under a mask [S, S] hide a crop of SIZE, float32 [256, 256], 0 to 1."""
    return np.asarray(cv2.resize(hidden(strokes, mask), (SIZE, SIZE)), np.float32)


def windows(landmarks: FloatArray) -> list[tuple[slice, slice]]:
    """Rows and columns of the windows in a crop of SIZE: mouth, right eye, left eye; whole, and
    moved inwards where they would leave the crop. landmarks: [478, 2] in crop units."""
    found = []
    for points in _CENTRES:
        x, y = landmarks[list(points)].mean(0) * SIZE
        top, left = (
            int(np.clip(round(float(at) - side / 2), 0, SIZE - side))
            for at, side in zip((y, x), WINDOW, strict=True)
        )
        found.append((slice(top, top + WINDOW[0]), slice(left, left + WINDOW[1])))
    return found


def border() -> FloatArray:
    """1 inside a window, falling smoothly to 0 at its edge, float32 [96, 128]."""
    ramps = []
    for side in WINDOW:
        distance = np.minimum(np.arange(side), np.arange(side)[::-1])
        ramps.append(smoothstep(distance, 0, _SOFT * side))
    return np.asarray(np.multiply.outer(*ramps), np.float32)


def residual(
    painted: Pixels, before: Pixels, cover: FloatArray, landmarks: FloatArray, refiner: Network
) -> FloatArray:
    """What is added to the paint, float32 [SIZE, SIZE, 3], -1 to 1; exactly 0 outside the windows.
    Where windows lie over each other their mean is taken."""
    total, weights = (np.zeros((SIZE, SIZE, n), np.float32) for n in (3, 1))
    places = [place for place in windows(landmarks) if cover[place].any()]
    if not places:
        return total
    views = Views(
        painted=np.stack([painted[place] for place in places]),
        before=np.stack([before[place] for place in places]),
        cover=np.stack([cover[place] for place in places]),
    )
    fade = border()[..., None]
    for place, detail in zip(places, refiner(views), strict=True):
        total[place] += DETAIL * detail * fade
        weights[place] += fade
    return np.asarray(total / np.maximum(weights, 1), np.float32)
