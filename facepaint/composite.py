"""Composite: strokes of a crop, applied to the photo's own pixels at their own size.

The strokes fade out towards the border of the face, not the pixels: a faded flow moves less, where
blending two pictures would show both contours. Outside the face's mask not a bit changes.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.face import FloatArray
from facepaint.methods import Strokes
from facepaint.motion import warped

Pixels = npt.NDArray[np.uint8]
_STRIP = 64  # rows made at once
_BARE = 1 / 512  # cover up to which paint is less than half a level
_SPARSE = 2.5  # pixels that each of a field's has at least where it is enlarged in two steps
_LARGE = 512  # pixels of the crop's side; from there on detail is worth four times the work


def composite(
    pixels: Pixels,
    frame: FloatArray,
    strokes: Strokes,
    mask: FloatArray,
    detail: FloatArray | None = None,
    crop: Pixels | None = None,
) -> None:
    """Apply `strokes` under `mask` [S, S] to `pixels`, uint8 [H, W, 3] RGB, in place.

    frame: from crop units to photo pixels. crop: that of `frame`, [S, S, 3], where the caller has
    it; else it is cut out anew. detail: what is added to the paint, over the crop,
    [D, D, 3] with D at least S, -1 to 1. Strokes of zeros leave every bit as it was.
    """
    rows, columns = touched(frame, mask, pixels.shape)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    if crop is None:
        crop = align.crop(pixels, frame, mask.shape[0])
    fields = _Fields(
        strokes.flow * mask[..., None],
        np.dstack([strokes.mask * mask, np.expm1(strokes.shade * mask), mask]),
        _detailed(_painted(crop, strokes, mask), detail),
    )
    ends = [*range(rows.start, rows.stop, _STRIP), rows.stop]
    strips = [slice(*two) for two in itertools.pairwise(ends)]
    # each is made of the photo as it was, so that none is written before all are made
    made = [_strip(pixels, frame, fields, strip, columns) for strip in strips]
    for strip, result in zip(strips, made, strict=True):
        pixels[strip, columns] = result


class _Fields(NamedTuple):
    """Strokes under their mask, as they are enlarged: flow; cover, what light gains, and the mask
    itself; and what the paint shows where it covers the photo whole."""

    flow: FloatArray
    over: FloatArray
    painted: FloatArray


def _strip(
    pixels: Pixels, frame: FloatArray, fields: _Fields, rows: slice, columns: slice
) -> Pixels:
    """Some rows of the result; they are few, so that what is computed stays near the processor."""
    made = pixels[rows, columns].copy()
    over = enlarge(fields.over, frame, rows, columns)
    inside = over[..., 2] > 1e-3
    used = np.flatnonzero(inside.any(0))
    if len(used):  # the face is an oval: what lies beside it is left alone
        part = slice(int(used[0]), int(used[-1]) + 1)
        columns = slice(columns.start + part.start, columns.start + part.stop)
        painted = _repainted(pixels, frame, fields, over[:, part], (rows, columns))
        within = np.ascontiguousarray(inside[:, part]).astype(np.uint8)
        made[:, part] = cv2.copyTo(painted, within, np.ascontiguousarray(made[:, part]))
    return made


def _repainted(
    pixels: Pixels,
    frame: FloatArray,
    fields: _Fields,
    over: FloatArray,
    place: tuple[slice, slice],
) -> Pixels:
    """Rows and columns of the photo, moved, lit and painted."""
    flow = np.clip(enlarge(fields.flow, frame, *place), -1, 1)
    shift = cv2.transform(flow, np.ascontiguousarray(frame[:, :2]))
    large = align.side_of(frame) > _LARGE
    sampling = cv2.INTER_LANCZOS4 if large else cv2.INTER_CUBIC
    result = _warp(pixels, np.asarray(shift, np.float32), *place, sampling)
    cover, gain, _ = cv2.split(over)
    # in place, and whole pictures times whole pictures: NumPy spreads a channel over three slowly
    result *= cv2.merge([gain + 1] * 3)
    _paint(result, np.asarray(cover, np.float32), frame, fields, place)
    np.clip(result, 0, 255, out=result)
    return np.asarray(np.rint(result, out=result).astype(np.uint8))


def _paint(
    result: FloatArray,
    cover: FloatArray,
    frame: FloatArray,
    fields: _Fields,
    place: tuple[slice, slice],
) -> None:
    """Lay paint over rows and columns of the result, in place, where there is any."""
    used = np.flatnonzero(cover.max(0) > _BARE)
    if not len(used):
        return
    first, last = int(used[0]), int(used[-1]) + 1
    rows, columns = place[0], slice(place[1].start + first, place[1].start + last)
    part, hidden = result[:, first:last], np.clip(cover[:, first:last], 0, 1)
    painted = enlarge(fields.painted, frame, rows, columns)
    painted -= part
    painted *= cv2.merge([hidden] * 3)
    part += painted


def touched(frame: FloatArray, mask: FloatArray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the photo under the part of the crop where the mask is not zero."""
    size = mask.shape[0]
    used = np.argwhere(mask > 0)
    if not len(used):
        return slice(0, 0), slice(0, 0)
    low, high = used.min(0)[::-1] / size, (used.max(0)[::-1] + 1) / size
    part = np.column_stack([frame[:, :2] * (high - low), align.apply(frame, low[None])[0]])
    return align.bounds(part.astype(np.float32), shape)


def enlarge(field: FloatArray, frame: FloatArray, rows: slice, columns: slice) -> FloatArray:
    """A field over the crop [S, S, C ≤ 4] as one over the photo's rows and columns, [h, w, C]."""
    size = field.shape[0]
    side = align.side_of(frame)
    if side < size / 1.5:  # a face smaller than the crop
        size = max(8, round(side))
        field = np.asarray(cv2.resize(field, (size, size), interpolation=cv2.INTER_AREA))
    step = 1  # a cubic to every second, fourth … pixel is enough where a field has many for each
    while side >= _SPARSE * size * 2 * step:
        step *= 2
    around = step > 1  # one more on each side, for what is linear between them
    wide, high = columns.stop - columns.start, rows.stop - rows.start
    w, h = (-(-n // step) + 2 * around for n in (wide, high))
    matrix = align.centred(frame, size)
    matrix[:, 2] -= (columns.start, rows.start)
    matrix /= step
    matrix[:, 2] += around + 0.5 / step - 0.5
    out = cv2.warpAffine(
        np.ascontiguousarray(field, np.float32), matrix, (w, h), flags=cv2.INTER_CUBIC
    )
    if step > 1:
        out = cv2.resize(out, (w * step, h * step), interpolation=cv2.INTER_LINEAR)
        out = out[step : step + high, step : step + wide]
    return np.asarray(out, np.float32).reshape(high, wide, -1)


def _warp(
    pixels: Pixels, shift: FloatArray, rows: slice, columns: slice, sampling: int
) -> FloatArray:
    """The photo's rows and columns, each pixel taken from `shift` [h, w, 2] pixels away."""
    reach = int(np.ceil(np.abs(shift).max())) + 5  # as far as the widest sampling sees
    top, left = max(0, rows.start - reach), max(0, columns.start - reach)
    around = pixels[top : rows.stop + reach, left : columns.stop + reach]
    x = np.arange(columns.start - left, columns.stop - left, dtype=np.float32)
    y = np.arange(rows.start - top, rows.stop - top, dtype=np.float32)[:, None]
    where = (np.ascontiguousarray(x + shift[..., 0]), np.ascontiguousarray(y + shift[..., 1]))
    out = cv2.remap(around, *where, sampling, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)


def _painted(crop: Pixels, strokes: Strokes, mask: FloatArray) -> FloatArray:
    """What the paint shows where it covers the photo whole, float32 [S, S, 3], 0 to 255.

    It stands on the warped crop, not on the warped photo: below the paint no detail of the old
    mouth may shine through, nor of folds that it fills.
    """
    moved = warped(crop, strokes.flow * mask[..., None]).astype(np.float32)
    lit = moved * np.exp(strokes.shade * mask)[..., None]
    return np.asarray(np.clip(lit + 255 * strokes.paint, 0, 255), np.float32)


def _detailed(painted: FloatArray, detail: FloatArray | None) -> FloatArray:
    """Paint [S, S, 3] with detail of more pixels, at the size of the detail."""
    if detail is None or not detail.any():
        return painted
    size = detail.shape[:2]
    large = cv2.resize(painted, size, interpolation=cv2.INTER_CUBIC) + 255 * detail
    return np.asarray(np.clip(large, 0, 255), np.float32)
