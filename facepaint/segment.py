"""Segment: the soft mask of a face, outside of which no pixel may change."""

from __future__ import annotations

import cv2
import numpy as np

from facepaint.align import CROP
from facepaint.face import FACE_OVAL, FloatArray

_GROW = 1.08  # of the oval about its centre: cheeks and forehead move a little beyond it
_CHIN = 1.22  # of what lies below the centre: an opening mouth moves the chin down
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
    t = np.clip((blurred - 0.2) / 0.6, 0, 1)
    mask = t * t * (3 - 2 * t)
    return np.asarray(mask * _border(size), np.float32)


def _border(size: int) -> FloatArray:
    """1 inside the crop, 0 at its edge: the painter knows nothing of what lies beyond."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1])
    ramp = np.clip(distance / (0.04 * size), 0, 1)
    return np.asarray(np.minimum.outer(ramp, ramp), np.float32)
