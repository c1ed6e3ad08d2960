"""Motion: the flow by which a crop follows the rig, and a crop after a flow."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import rig
from facepaint.align import CROP
from facepaint.face import (
    INNER_LIPS,
    LEFT_BROW,
    LEFT_EYE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
    FloatArray,
)

_CONTOURS = (OUTER_LIPS, INNER_LIPS, LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW)
_BETWEEN = 4  # points on a contour for each of its landmarks
_MOVING = 150.0  # how much more a point weighs for each crop side that it moves
_WIDTHS = ((0.8, 1.0), (2.5, 1e-2), (6.0, 1e-3), (14.0, 1e-4))  # pixels of 128; their weights
_WIDE = 8.0  # pixels: a Gaussian that hardly differs from pixel to pixel
_SOFT = 0.7  # the same: finer than that no flow changes, or enlarging it would overshoot
_MEET = 0.6  # of an eye's height: from there on closing lids meet
_THICK = 0.8  # pixels of 128: half of the line where they do
_LID = 0.5  # of an eye's width: how far up and down skin gives way to a lid


class Motion(NamedTuple):
    """flow: [S, S, 2], as of `Strokes`. seam: [S, S], 0 to 1, where closing lids meet, and a flow,
    which is smooth, would show a line of the eye; edge: a flow that shows the upper lid's edge
    there."""

    flow: FloatArray
    seam: FloatArray
    edge: FloatArray


def motion(points: FloatArray, have: FloatArray, want: FloatArray, size: int) -> Motion:
    """How a crop of `size` pixels moves when blendshapes [52] go from `have` to `want`. points:
    landmarks [478, 2] in crop units."""
    skin = _skin(points, rig.pulled(points, have, want), size)
    eyes, seam, edge = (np.zeros((size, size), np.float32) for _ in range(3))
    for eye, (upper, lower) in zip((LEFT_EYE, RIGHT_EYE), rig.lids(have, want), strict=True):
        if upper or lower:
            lids = _Lids.of(points[list(eye)] * size - 0.5, upper, lower, size)
            lids.shut(eyes)
            lids.close(seam, edge)
    if eyes.any():
        eyes, seam, edge = (warped(f, skin) for f in (eyes, seam, edge))
    flow, to_edge = (np.dstack([skin[..., 0], skin[..., 1] + down / size]) for down in (eyes, edge))
    soft = cv2.GaussianBlur(flow, (0, 0), _SOFT * size / CROP, borderType=cv2.BORDER_REPLICATE)
    return Motion(np.asarray(soft, np.float32), seam, np.asarray(to_edge, np.float32))


def warped(field: npt.NDArray[Any], flow: FloatArray) -> npt.NDArray[Any]:
    """A crop, or a field over it, [S, S, …], each pixel taken from where a flow [S, S, 2] says;
    linear."""
    size = len(field)
    x, y = cv2.split(_grid(size) + flow * size)
    return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@cache
def _grid(size: int) -> FloatArray:
    """The x and y of each pixel, [S, S, 2]."""
    y, x = np.mgrid[:size, :size]
    return np.stack([x, y], -1).astype(np.float32)


def _skin(points: FloatArray, shifts: FloatArray, size: int) -> FloatArray:
    """The flow that takes landmarks along by shifts [478, 2]. Between them Gaussians of several
    widths mix what they say, the narrowest first (normalised convolution, Knutsson & Westin 1993);
    what moves weighs more than what stays."""
    if not shifts.any():
        return np.zeros((size, size, 2), np.float32)
    both = _with_contours(np.concatenate([points, shifts], 1))
    new, moved = (both[:, :2] + both[:, 2:]) * size - 0.5, both[:, 2:]
    weight = 1 + _MOVING * np.linalg.norm(moved, axis=1)
    corner = np.floor(new).astype(int)
    part = new - corner
    x, y = (corner[:, None, :] + [[0, 0], [1, 0], [0, 1], [1, 1]]).reshape(-1, 2).T
    each = np.stack([1 - part, part])  # of the nearer and of the farther column and row
    near = (each[[0, 1, 0, 1], :, 0] * each[[0, 0, 1, 1], :, 1] * weight).T.ravel()
    values = np.column_stack([-moved, np.ones(len(moved))]).repeat(4, 0) * near[:, None]
    inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    place, values = (y * size + x)[inside], values[inside]
    sums = [np.bincount(place, some, size * size) for some in values.T]
    said = np.stack(sums, -1).reshape(size, size, 3).astype(np.float32)
    mixed = np.zeros_like(said)
    for wide, much in _WIDTHS:
        mixed += much * _blurred(said, wide * size / CROP)
    return np.asarray(mixed[..., :2] / (mixed[..., 2:] + 1e-12), np.float32)


def _blurred(field: FloatArray, sigma: float) -> FloatArray:
    """A field blurred by a Gaussian, 0 around it; a wide one at a quarter of the size."""
    size = field.shape[:2]
    if sigma > _WIDE:
        small = cv2.resize(field, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(small, (0, 0), sigma / 4, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR), np.float32)
    soft = cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(soft, np.float32)


def _with_contours(rows: FloatArray) -> FloatArray:
    """Landmarks [478, 4] and those between, along contours, so that an edge stays one line."""
    parts: list[FloatArray] = [rows]
    for contour in _CONTOURS:
        ends = rows[list(contour)].astype(np.float32)
        after = np.roll(ends, -1, 0)
        parts += [ends + (after - ends) * np.float32(k / _BETWEEN) for k in range(1, _BETWEEN)]
    return np.concatenate(parts)


class _Lids(NamedTuple):
    """The lids of one eye at columns of a crop, in pixels: where they were, and where they go, the
    upper down, the lower up. A lid slides over the eye, which stays."""

    columns: npt.NDArray[np.intp]
    above: FloatArray
    below: FloatArray
    top: FloatArray
    bottom: FloatArray
    give: float
    shut_by: float  # of the eye's height

    @classmethod
    def of(cls, eye: FloatArray, upper: float, lower: float, size: int) -> _Lids:
        """eye: its contour [16, 2] in pixels, from corner to corner and back."""
        low, high = sorted(float(x) for x in eye[[0, 8], 0])
        columns = np.arange(max(0, int(np.ceil(low))), min(size - 1, int(high)) + 1)
        above, below = (_line(eye[list(k)], columns) for k in (range(9), (8, *range(9, 16), 0)))
        gap = np.maximum(below - above, 0)
        top, bottom = (
            np.asarray(v, np.float32) for v in (above + upper * gap, below - lower * gap)
        )
        return cls(columns, above, below, top, bottom, _LID * (high - low), upper + lower)

    def shut(self, shift: FloatArray) -> None:
        """Write how far below it each pixel is taken from, in place."""
        rows = np.arange(len(shift), dtype=np.float32)[:, None]
        start, end = self.above - self.give, self.below + self.give
        lower_skin = np.maximum(self.give + self.below - self.bottom, 0.1)
        upper_skin = np.maximum(self.give + self.top - self.above, 0.1)
        middle = np.asarray((self.above + self.below) / 2, np.float32)
        eye = _bared(rows, (self.above, middle, self.below), (self.top, self.bottom))
        source = np.where(rows > self.bottom, end - (end - rows) * self.give / lower_skin, eye)
        source = np.where(rows < self.top, start + (rows - start) * self.give / upper_skin, source)
        shift[:, self.columns] = np.where((rows > start) & (rows < end), source - rows, 0)

    def close(self, seam: FloatArray, edge: FloatArray) -> None:
        """Write where the lids meet, and how far below it the upper one's edge was, in place."""
        how = float(np.clip((self.shut_by - _MEET) / (1 - _MEET), 0, 1))
        if how and len(self.columns):
            rows = np.arange(len(seam), dtype=np.float32)[:, None]
            thick = _THICK * len(seam) / CROP * np.clip((self.below - self.above) / 2, 0, 1)
            apart = np.maximum(self.top - rows, rows - self.bottom) - thick
            seam[:, self.columns] = how * np.clip(1 - apart / thick.clip(0.1), 0, 1)
            edge[:, self.columns] = self.above - 0.5 - rows


def _bared(
    rows: FloatArray,
    was: tuple[FloatArray, FloatArray, FloatArray],
    now: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Where pixels of the open eye come from: their own place, and where it opens wider than it
    was, the eye stretched."""
    (above, middle, below), (top, bottom) = was, now
    up = above + (rows - top) * (middle - above) / np.maximum(middle - top, 0.1)
    down = below - (bottom - rows) * (below - middle) / np.maximum(bottom - middle, 0.1)
    wider = np.where((rows < middle) & (top < above), up, rows)
    return np.asarray(np.where((rows >= middle) & (bottom > below), down, wider), np.float32)


def _line(points: FloatArray, columns: npt.NDArray[np.intp]) -> FloatArray:
    """The heights of a line from corner to corner at columns."""
    order = np.argsort(points[:, 0])
    return np.asarray(np.interp(columns, points[order, 0], points[order, 1]), np.float32)
