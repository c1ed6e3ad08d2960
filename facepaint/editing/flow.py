"""Flow: where each pixel of an edited face comes from, when its landmarks move."""

from __future__ import annotations

import cv2
import numpy as np

from facepaint.editing.thin_plate import thin_plate
from facepaint.face import (
    FACE_OVAL,
    INNER_LIPS,
    LEFT_BROW,
    LEFT_EYE,
    LEFT_LID_SKIN,
    NOSE_BRIDGE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
    RIGHT_LID_SKIN,
    FloatArray,
)

_GRID = 48  # places a side at which the field is computed
_SMOOTHING = 2e-5  # of the thin plate, in squared crop sides: lips that meet do not fold it
_CONTOURS = (OUTER_LIPS, INNER_LIPS, LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW, FACE_OVAL)
_SKIN_STEP = 5  # of the other landmarks every fifth holds the skin
_TOLD = sorted(
    {i for c in (*_CONTOURS, *LEFT_LID_SKIN, *RIGHT_LID_SKIN) for i in c}
    | {1, 2, 4, *NOSE_BRIDGE}
    | {*range(0, 468, _SKIN_STEP)}
)
_EDGE = np.linspace(-0.1, 1.1, 9, dtype=np.float32)
# Still points around the crop.
_AROUND = np.array(
    [(x, y) for x in _EDGE for y in (-0.1, 1.1)]
    + [(x, y) for x in (-0.1, 1.1) for y in _EDGE[1:-1]],
    np.float32,
)


def flow_between(points: FloatArray, asked: FloatArray, size: int) -> FloatArray:
    """The flow by which a crop follows its landmarks.

    Args:
        points: float [478, 2], landmarks as they are, crop units.
        asked: float [478, 2], where they are to be.
        size: places a side of the result.

    Returns:
        float32 [size, size, 2], crop units: where each place's colour comes from, relative to it.
    """
    at = np.concatenate([asked[_TOLD], _AROUND])
    values = np.concatenate([points[_TOLD] - asked[_TOLD], 0 * _AROUND])
    place = (np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID
    where = np.asarray(np.stack(np.meshgrid(place, place), -1).reshape(-1, 2), np.float32)
    field = thin_plate(at, values, where, _SMOOTHING).reshape(_GRID, _GRID, 2)
    large = cv2.resize(np.ascontiguousarray(field), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.float32)
