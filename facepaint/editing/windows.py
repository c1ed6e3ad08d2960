"""Windows: the squares around mouth and eyes that the networks repaint, and what they are told.

A window is a square of the crop (`facepaint.align`). Its frame takes window units, 0 to 1 over its
side, to crop units. The outlines of lips or lids say what is to be painted; a network is trained to
paint the same outlines back into photos from which they were cut out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.face import (
    BLENDSHAPES,
    INNER_LIPS,
    LEFT_EYE,
    LEFT_IRIS,
    OUTER_LIPS,
    RIGHT_EYE,
    RIGHT_IRIS,
    FloatArray,
)
from facepaint.mesh import mirrored_blendshapes
from facepaint.segment import disc

WINDOW = 128  # pixels a side, of what the networks see
ROOM = 1.5  # of a window's side: what of the source photo a hint may see
MIRROR: FloatArray = np.array([[-1, 0, 1], [0, 1, 0]], np.float32)  # of window units
_OVERSAMPLING = 2  # of outlines that are filled
_SUBPIXEL_BITS = 4  # of OpenCV's polygon corners
_MASK_BLUR = 2.0  # standard deviation in pixels of a window of 128
_MASK_GAIN = 1.3  # after the blur, so that the mask is 1 up to near its edge
_BORDER = 4  # pixels of a window of 128, at its edge, that are never repainted


@dataclass(frozen=True)
class Part:
    """A part of the face that a network repaints.

    Attributes:
        name: as the network is named.
        outer: landmarks of the outline that bounds it (lips, or lids).
        inner: landmarks of what lies inside (the opening of the mouth, or the iris).
        disc: whether `inner` is a centre and four points on a circle around it, of which only what
            lies within `outer` shows.
        side: the window's side, of the crop's.
        room: the window's side at least, of the outline's longer side.
        grow: how far around the outline is repainted, of the window's side.
        blendshapes: indices of those that the network is told.
        mirrored: whether the network sees it mirrored, as if it were the other eye.
    """

    name: str
    outer: tuple[int, ...]
    inner: tuple[int, ...]
    disc: bool
    side: float
    room: float
    grow: float
    blendshapes: tuple[int, ...]
    mirrored: bool = False


def _starting(*names: str) -> tuple[int, ...]:
    return tuple(i for i, name in enumerate(BLENDSHAPES) if name.startswith(names))


_OF_MOUTH = _starting("jaw", "mouth")
_OF_EYE = _starting("eye", "brow", "cheekSquint")


def _iris(first: int) -> tuple[int, ...]:
    return tuple(range(first, first + 5))


MOUTH = Part("mouth", OUTER_LIPS, INNER_LIPS, False, 0.42, 1.3, 0.055, _OF_MOUTH)
EYES = (
    Part("eye", RIGHT_EYE, _iris(RIGHT_IRIS), True, 0.26, 1.3, 0.05, _OF_EYE),
    Part("eye", LEFT_EYE, _iris(LEFT_IRIS), True, 0.26, 1.3, 0.05, _OF_EYE, mirrored=True),
)


@dataclass(frozen=True, eq=False)
class Outlines:
    """What a network is told of a window, each float32 [S, S], 0 to 1.

    Attributes:
        mask: where it repaints, with a soft edge.
        outer: the lips, or the opening of the lids, filled.
        inner: the opening of the mouth, or the iris as far as it shows, filled.
    """

    mask: FloatArray
    outer: FloatArray
    inner: FloatArray


def window_frame(points: FloatArray, part: Part) -> FloatArray:
    """The frame of a part's window, float32 [2, 3], from window units to crop units.

    Args:
        points: float [478, 2], landmarks in crop units.
        part: of which part.
    """
    outline = points[list(part.outer)]
    low, high = outline.min(0), outline.max(0)
    centre = (low + high) / 2
    side = max(part.side, part.room * float((high - low).max()))
    return np.array([[side, 0, centre[0] - side / 2], [0, side, centre[1] - side / 2]], np.float32)


def widened(window: FloatArray) -> FloatArray:
    """The frame of a square ROOM times as wide around a window, float32 [2, 3]."""
    shift = (1 - ROOM) / 2
    return align.chain(window, np.array([[ROOM, 0, shift], [0, ROOM, shift]], np.float32))


def in_window(points: FloatArray, frame: FloatArray) -> FloatArray:
    """Points in crop units, float [N, 2], as window units, float32 [N, 2]."""
    return align.apply(align.invert(frame), points)


def outlines(
    points: FloatArray, part: Part, grow: float | None = None, size: int = WINDOW
) -> Outlines:
    """What a network is told of a window.

    Args:
        points: float [478, 2], landmarks in window units.
        part: of which part.
        grow: how far around the outline is repainted, of the window's side; None for the part's.
        size: pixels a side.
    """
    outer = filled(points[list(part.outer)], size)
    if part.disc:
        inner = filled(_circle(points[list(part.inner)]), size) * outer
    else:
        inner = filled(points[list(part.inner)], size)
    return Outlines(_mask(outer, part.grow if grow is None else grow), outer, inner)


def filled(polygon: FloatArray, size: int) -> FloatArray:
    """1 inside a polygon [N, 2] in window units and 0 outside, float32 [size, size]."""
    large = size * _OVERSAMPLING
    picture = np.zeros((large, large), np.uint8)
    corners = np.round((polygon * large - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(picture, [corners], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(np.asarray(small, np.float32) / 255, np.float32)


def _circle(points: FloatArray) -> FloatArray:
    """A circle around the first point through the others, as a polygon [40, 2]."""
    centre, radius = points[0], np.linalg.norm(points[1:] - points[0], axis=1).mean()
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = centre + radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.asarray(circle, np.float32)


def _mask(outer: FloatArray, grow: float) -> FloatArray:
    size = len(outer)
    radius = max(1, round(grow * size))
    grown = cv2.dilate(outer, disc(radius))
    soft = cv2.GaussianBlur(grown, (0, 0), _MASK_BLUR * size / WINDOW)
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) * (WINDOW / size)
    ramp = np.clip((distance - _BORDER / 2) / _BORDER, 0, 1)
    mask = np.clip(soft * _MASK_GAIN, 0, 1) * np.minimum.outer(ramp, ramp)
    return np.asarray(mask, np.float32)


def mean_colour(window: npt.NDArray[np.floating[Any]], told: Outlines, part: Part) -> FloatArray:
    """The mean colour of the lips, or of the iris, float32 [3], 0 to 1.

    Args:
        window: float [S, S, 3], 0 to 1, the photo's own.
        told: the outlines of what it shows.
        part: of which part.
    """
    if part.disc:
        weight = told.inner
    else:
        weight = np.clip(told.outer - cv2.dilate(told.inner, np.ones((3, 3))), 0, 1)
    total = float(weight.sum())
    if total < len(window) ** 2 / 800:  # too little of it shows to tell
        grey = window.mean((0, 1)) if not part.disc else np.full(3, 0.2)
        return np.asarray(grey, np.float32)
    return np.asarray((window * weight[..., None]).sum((0, 1)) / total, np.float32)


def told_blendshapes(blendshapes: FloatArray, part: Part) -> FloatArray:
    """Of blendshapes [52] those that a part's network is told, mirrored if it sees it mirrored."""
    seen = blendshapes[mirrored_blendshapes()] if part.mirrored else blendshapes
    return np.asarray(seen[list(part.blendshapes)], np.float32)
