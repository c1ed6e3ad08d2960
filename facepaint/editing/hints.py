"""Hints: the person's own mouth or eye, laid where it will be, for the network that repaints it.

A hint is the photo before the edit, warped so that its outlines lie on the asked ones. How far each
place was stretched is told beside it. What a mouth shows inside stays where it is, since upper
teeth do not move with lips: there the hint is known where the photo shows the mouth's inside too,
and the network has to paint the rest. Lower teeth, which go with the jaw, are taken to stay too.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.editing.thin_plate import thin_plate
from facepaint.editing.windows import WINDOW, Part, filled, in_window
from facepaint.face import FloatArray
from facepaint.segment import smoothstep

_GRID = 32  # places a side at which the warp is computed
_SMOOTHING = 1e-4  # of the thin plate, in squared window sides: lips that meet do not fold it
_STRETCH_LIMIT = 3.0  # of the logarithm of an area's ratio
# From the first on a place fades from the hint, and from the second on it is not known: a smear of
# lips where a mouth opens, squeezed teeth where it closes.
_TORN_FROM, _TORN_AT = 0.45, 0.9
_NEXT = np.ones((3, 3), np.uint8)
_SOFT = 1.0  # pixels: standard deviation of the iris' edge
# Of an iris' radius: how far it turns within its lids for what it leaves behind to be unknown, not
# at all up to the first and wholly from the second on; and where that ends.
_TURNED = (0.2, 0.35)
_LEFT_FROM, _LEFT_TO = 1.1, 1.3
# Landmarks around a mouth and around the person's right eye that hold the skin beside it.
_AROUND_MOUTH = (
    *(2, 98, 327, 97, 326, 164, 167, 393, 165, 391, 92, 322, 186, 410, 57, 287),
    *(43, 273, 106, 335, 182, 406, 18, 313, 83, 200, 201, 421, 175, 152, 148, 377),
    *(205, 425, 206, 426, 216, 436, 212, 432, 202, 422, 170, 395),
)
_AROUND_RIGHT_EYE = (
    *(247, 30, 29, 27, 28, 56, 190, 110, 24, 23, 22, 26, 112, 25, 130, 243),
    *(70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 168, 6, 193, 31, 228, 230, 232, 226, 35, 111, 117),
)
_AROUND_LEFT_EYE = (
    *(467, 260, 259, 257, 258, 286, 414, 339, 254, 253, 252, 256, 341, 255, 359, 463),
    *(300, 293, 334, 296, 336, 285, 295, 282, 283, 276, 168, 6, 417, 261, 448, 450, 452, 446),
    *(265, 340, 346),
)


class Hint(NamedTuple):
    """A hint for a window of S pixels a side.

    Attributes:
        picture: float32 [S, S, 3] RGB, 0 to 1, 0 where `known` is.
        known: float32 [S, S], 0 to 1, where there is a hint at all.
        stretch: float32 [S, S], natural logarithm of the source's area over the window's, over its
            limit, so -1 to 1; far below 0 is a smear.
    """

    picture: FloatArray
    known: FloatArray
    stretch: FloatArray

    @classmethod
    def none(cls, size: int = WINDOW) -> Hint:
        """No hint."""
        empty = np.zeros((size, size), np.float32)
        return cls(np.zeros((size, size, 3), np.float32), empty, empty)


def hint(
    pixels: npt.NDArray[np.uint8],
    frame: FloatArray,
    points: FloatArray,
    asked: FloatArray,
    part: Part,
    window: FloatArray,
    size: int = WINDOW,
) -> Hint:
    """Warp a photo's mouth or eye onto asked outlines.

    Args:
        pixels: the photo, uint8 [H, W, 3] RGB; not much larger than the window shows it.
        frame: float [2, 3], from crop units to the photo's pixels.
        points: float [478, 2], the landmarks in the photo, crop units.
        asked: float [478, 2], where they are to be, crop units.
        part: of which part.
        window: float [2, 3], from window units to crop units.
        size: pixels a side.
    """
    source, known, stretch = _source(points, asked, part, window, size)
    at = align.apply(frame, source.reshape(-1, 2)).reshape(size, size, 2)
    x, y = cv2.split(at - np.float32(0.5))
    picture = cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    bright = picture * (known / 255)[..., None]
    return Hint(np.asarray(bright, np.float32), known, stretch)


def _source(
    points: FloatArray, asked: FloatArray, part: Part, window: FloatArray, size: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where each pixel of a window comes from, [S, S, 2] in crop units, where that is known, and
    how far it was stretched, both [S, S]."""
    told = list(_landmarks(part))
    had, wanted = in_window(points, window), in_window(asked, window)
    grid = (np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID
    places = np.asarray(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2), np.float32)
    moved = thin_plate(wanted[told], had[told] - wanted[told], places, _SMOOTHING)
    coarse = np.ascontiguousarray(moved.reshape(_GRID, _GRID, 2))
    # the determinant of the map's derivative: the source's area for each of the window's
    down, right = (np.gradient(coarse, 1 / _GRID, axis=a) for a in (0, 1))
    area = (1 + right[..., 0]) * (1 + down[..., 1]) - right[..., 1] * down[..., 0]
    stretch = np.log(np.clip(area, np.exp(-_STRETCH_LIMIT), np.exp(_STRETCH_LIMIT)))
    torn = cv2.dilate(np.asarray(np.abs(stretch), np.float32), np.ones((3, 3), np.uint8))
    whole = np.clip((_TORN_AT - torn) / (_TORN_AT - _TORN_FROM), 0, 1)
    shift, stretched, known = (
        np.asarray(cv2.resize(f.astype(np.float32), (size, size)), np.float32)
        for f in (coarse, stretch / _STRETCH_LIMIT, whole)
    )
    pixel = (np.arange(size, dtype=np.float32) + 0.5) / size
    place = np.asarray(np.stack(np.meshgrid(pixel, pixel), -1), np.float32)
    source = np.asarray(place + shift, np.float32)
    if part.disc:
        source, known = _with_iris(source, place, known, (had, wanted), part)
    else:
        # without the edge, which is lip
        inside, seen = (
            cv2.erode(filled(shown[list(part.inner)], size), _NEXT) for shown in (wanted, had)
        )
        source = np.where(inside[..., None] > 0, place, source)
        known = np.asarray(known * (1 - inside) + seen * inside, np.float32)
        stretched = stretched * (1 - inside)
    flat = align.apply(window, source.reshape(-1, 2))
    return flat.reshape(size, size, 2), known, stretched


def _with_iris(
    source: FloatArray,
    place: FloatArray,
    known: FloatArray,
    eyes: tuple[FloatArray, FloatArray],
    part: Part,
) -> tuple[FloatArray, FloatArray]:
    """An iris moves as a whole and stays round; what of it the lids hid is not known, and neither
    is what it leaves behind when the eye turns."""
    (old, old_radius), (new, new_radius) = (_disc(points, part) for points in eyes)
    size = len(place)
    distance = np.linalg.norm(place - new, axis=-1)
    inside = np.clip((new_radius - distance) * size / (2 * _SOFT) + 0.5, 0, 1)[..., None]
    carried = old + (place - new) * np.float32(old_radius / max(new_radius, 1e-6))
    left_at = source[_nearest(place, new)]  # where the warp of the lids takes the new middle from
    turned = float(np.linalg.norm(left_at - old)) / max(old_radius, 1e-6)
    away = np.linalg.norm(source - old, axis=-1) / max(old_radius, 1e-6)
    left = smoothstep(-away, -_LEFT_TO, -_LEFT_FROM) * smoothstep(np.array(turned), *_TURNED)
    known = np.asarray(known * (1 - left), np.float32)
    opening = filled(eyes[0][list(part.outer)], size)
    x, y = cv2.split(np.asarray(carried * np.float32(size) - np.float32(0.5), np.float32))
    seen = cv2.remap(opening, x, y, cv2.INTER_LINEAR)
    known = np.asarray(known * (1 - inside[..., 0]) + seen * inside[..., 0], np.float32)
    return np.asarray(source * (1 - inside) + carried * inside, np.float32), known


def _nearest(place: FloatArray, point: FloatArray) -> tuple[int, int]:
    """The row and column of a point in window units, float [2], that may lie beyond the window."""
    last = len(place) - 1
    column, row = np.clip((point * (last + 1)).astype(int), 0, last)
    return int(row), int(column)


def _disc(points: FloatArray, part: Part) -> tuple[FloatArray, float]:
    """Centre and radius of an iris, window units."""
    centre, *rim = points[list(part.inner)]
    return centre, float(np.linalg.norm(np.array(rim) - centre, axis=1).mean())


def _landmarks(part: Part) -> tuple[int, ...]:
    if not part.disc:
        return (*part.outer, *part.inner, *_AROUND_MOUTH)
    return (*part.outer, *(_AROUND_LEFT_EYE if part.mirrored else _AROUND_RIGHT_EYE))
