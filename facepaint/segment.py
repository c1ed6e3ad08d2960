"""Segment: the soft mask of a face, outside of which no pixel may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.align import CROP
from facepaint.face import (
    FACE_OVAL,
    LEFT_BROW,
    LEFT_EYE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
    Box,
    Face,
    FloatArray,
    MaskedBox,
)

_GROW = 1.08  # of the oval about its centre: cheeks and forehead move a little beyond it
_CHIN = 1.22  # of what lies below the centre: an opening mouth moves the chin down
_CHIN_LINE = (148, 152, 377, 176, 400)
_UNDER_NOSE = 2
_FEATHER = 4.0  # crop pixels of a crop of 128


def face_mask(landmarks: FloatArray, size: int = CROP) -> FloatArray:
    """The face in its crop, float32 [size, size], 1 inside and fading to exactly 0 outside.

    landmarks: float32 [478, 2] in crop units.
    """
    oval = landmarks[list(FACE_OVAL)]
    centre = (oval.min(0) + oval.max(0)) / 2
    arms = (oval - centre) * _GROW
    arms[:, 1] *= np.where(arms[:, 1] > 0, _CHIN / _GROW, 1)
    # fillConvexPoly takes fixed-point corners, here with 4 bits below the pixel
    corners = np.round(((centre + arms) * size - 0.5) * 16).astype(np.int32)
    filled = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(filled, cv2.convexHull(corners), 1.0, shift=4)
    sigma = _FEATHER * size / 128
    blurred = cv2.GaussianBlur(filled, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smoothstep(blurred, 0.2, 0.8) * _border(size), np.float32)


def smoothstep(x: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[Any]:
    """0 up to `low` and 1 from `high` on, and a smooth rise between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def region_mask(
    face: Face, frame: FloatArray, regions: Sequence[str], size: int = CROP
) -> FloatArray:
    """The parts of a face in the crop of `frame`, float32 [size, size], fading to exactly 0."""
    points = align.apply(align.invert(frame), face.landmarks)
    filled = np.zeros((size, size), np.uint8)
    for region in regions:
        for outline, grow in _outlines(points, region):
            part = np.zeros((size, size), np.uint8)
            corners = np.round((outline * size - 0.5) * 16).astype(np.int32)
            cv2.fillConvexPoly(part, cv2.convexHull(corners), 1, shift=4)
            filled |= np.asarray(cv2.dilate(part, disc(round(grow * size))), np.uint8)
    sigma = _FEATHER / 2 * size / 128
    blurred = cv2.GaussianBlur(filled.astype(np.float32), (0, 0), sigma)
    return np.asarray(smoothstep(blurred, 0.1, 0.9), np.float32)


def _outlines(points: FloatArray, region: str) -> list[tuple[FloatArray, float]]:
    """Points around each part of a region, crop units, and how far to grow their hull."""
    if region == "mouth":  # an opening mouth takes the chin along
        return [(points[[*OUTER_LIPS, *_CHIN_LINE]], 0.05)]
    if region == "eyes":
        return [(points[list(RIGHT_EYE)], 0.06), (points[list(LEFT_EYE)], 0.06)]
    if region == "brows":
        return [(points[list(RIGHT_BROW)], 0.05), (points[list(LEFT_BROW)], 0.05)]
    # upper and lower meet under the nose, the crop's top and bottom are far enough
    middle = float(points[_UNDER_NOSE, 1])
    low, high = (-1.0, middle) if region == "upper" else (middle, 2.0)
    return [(np.array([[-1, low], [2, low], [2, high], [-1, high]], np.float32), 0.0)]


def visible_face(
    face: Face, frame: FloatArray, size: int = CROP, asked: FloatArray | None = None
) -> FloatArray:
    """The mask of a face in a crop, without what its detector saw before it.

    A detector's mask is coarse at the face's own border, so only what lies well inside the oval
    and is wider than a few pixels of the crop is taken for something before the face.

    Args:
        face: as it was read.
        frame: float [2, 3], from crop units to the photo's pixels.
        size: pixels a side of the result.
        asked: float [478, 2], landmarks after an edit, crop units: the mask holds the face as it
            is and as it will be. None for the face as it is.

    Returns:
        float32 [size, size], 0 to 1.
    """
    points = align.apply(align.invert(frame), face.landmarks)
    mask = face_mask(points, size)
    if asked is not None:
        mask = np.maximum(mask, face_mask(asked, size))
    if not isinstance(face.box, MaskedBox):
        return mask
    seen = _seen(face.box, face.box.mask, frame, size)
    return without_hidden(mask, points, seen, size // 16, size // 42)


def without_hidden(
    mask: FloatArray, points: FloatArray, seen: FloatArray, rim: int, least: int
) -> FloatArray:
    """A mask of a face without what is before the face.

    Args:
        mask: float [S, S], 0 to 1.
        points: float [478, 2], landmarks in crop units.
        seen: float [S, S], how much of each place shows the face, 0 to 1. Outside the oval of the
            face it is not looked at: a chin may move down over a neck.
        rim: pixels from the oval's edge inwards within which `seen` is not trusted.
        least: pixels that something must be wide to count, over two.

    Returns:
        float32 [S, S], 0 to 1.
    """
    size = len(mask)
    oval = np.zeros((size, size), np.uint8)
    corners = np.round((points[list(FACE_OVAL)] * size - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(oval, [corners], 1, shift=4)
    oval = np.asarray(cv2.erode(oval, disc(rim)), np.uint8)
    hidden = (seen < 0.5).astype(np.uint8) * oval
    hidden = np.asarray(cv2.morphologyEx(hidden, cv2.MORPH_OPEN, disc(least)), np.uint8)
    # up to the oval's rim, where the erosion above stopped, and a little more
    hidden = np.asarray(cv2.dilate(hidden, disc(rim)), np.float32)
    soft = cv2.GaussianBlur(hidden, (0, 0), _FEATHER / 2 * size / CROP)
    return np.asarray(mask * (1 - soft), np.float32)


def disc(radius: int) -> npt.NDArray[np.uint8]:
    """A filled circle of so many pixels around its middle, for morphology."""
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    return np.asarray(shape, np.uint8)


def _seen(box: Box, mask: FloatArray, frame: FloatArray, size: int) -> FloatArray:
    """The detector's mask over its box as one over the crop [size, size]; 1 beyond the box."""
    rows, columns = mask.shape
    # crop units to mask pixels, through the photo
    scale = np.array([columns / box.width, rows / box.height])
    linear = frame[:, :2] * scale[:, None]
    shift = (frame[:, 2] - (box.x, box.y)) * scale
    matrix = align.centred(np.column_stack([linear, shift]).astype(np.float32), size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(mask, matrix, (size, size), flags=flags, borderValue=1.0)
    return np.asarray(out, np.float32)


def _border(size: int) -> FloatArray:
    """1 inside the crop, 0 at its edge: the painter knows nothing of what lies beyond."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1])
    ramp = np.clip(distance / (0.04 * size), 0, 1)
    return np.asarray(np.minimum.outer(ramp, ramp), np.float32)
