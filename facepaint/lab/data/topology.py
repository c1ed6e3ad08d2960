"""What the lab needs of the face mesh beside the mean face."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.align import CROP
from facepaint.face import BLENDSHAPES, FloatArray

SMILING = [BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")]


def fill(picture: npt.NDArray[np.float32], polygon: FloatArray) -> None:
    """Set a polygon of a crop, [N, 2] in crop units, to 1 in a picture [128, 128], in place."""
    corners = np.round((polygon * CROP - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(picture, [corners], 1.0, shift=4)


def filled(points: FloatArray, outline: Sequence[int]) -> FloatArray:
    """1 within an outline of landmarks and on it, else 0, float32 [128, 128]. points: [478, 2] in
    crop units."""
    out = np.zeros((CROP, CROP), np.float32)
    fill(out, points[list(outline)])
    return out
