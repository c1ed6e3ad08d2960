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
from facepaint.align import CROP
from facepaint.face import FloatArray
from facepaint.motion import warped
from facepaint.segment import smoothstep
from facepaint.strokes import Strokes

Pixels = npt.NDArray[np.uint8]
_STRIP = 64  # rows made at once
_SPARSE = 1.9  # pixels that each of a field's has at least where it is enlarged in two steps
_ADDED, _HIDING = 0.035, 0.1  # change by paint up to which it is added, and from which on it hides
_NEAR, _AROUND = 2, 3.0  # pixels of 128: how far that is looked for, and how softly it ends
# The crop's side in pixels, up to which the best sampling costs little, and from which on detail is
# worth four times the work; between them it would make an edit a third slower.
_SMALL, _LARGE = 256, 512
_GREY_BELOW = 1.5  # levels: mean distance of channels from their mean, of a crop without colour


def composite(
    pixels: Pixels,
    frame: FloatArray,
    strokes: Strokes,
    mask: FloatArray,
    crop: Pixels | None = None,
) -> None:
    """Apply `strokes` under `mask` [S, S] to `pixels`, uint8 [H, W, 3] RGB, in place.

    frame: from crop units to photo pixels. crop: that of `frame`, [S, S, 3], where the caller has
    it; else it is cut out anew. Strokes of zeros leave every bit as it was.
    """
    rows, columns = touched(frame, mask, pixels.shape)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    if crop is None:
        crop = align.crop(pixels, frame, mask.shape[0])
    fields = _fields(crop, frame, strokes, mask)
    # each is made of the photo as it was, so that none is written before all are made
    made = [_strip(pixels, frame, fields, strip, columns) for strip in strips(rows)]
    for strip, result in zip(strips(rows), made, strict=True):
        pixels[strip, columns] = result


def strips(rows: slice) -> list[slice]:
    """Rows cut into strips, whose pixels fit into a processor's cache."""
    ends = [*range(rows.start, rows.stop, _STRIP), rows.stop]
    return [slice(*two) for two in itertools.pairwise(ends)]


class _Fields(NamedTuple):
    """Strokes under their mask, as they are enlarged, both [S, S, ·]: from how many of
    the photo's pixels away a pixel comes, how far paint hides it, and the mask itself, 4 channels;
    and what is added to what is not hidden, light and paint, in levels, -255 to 255."""

    moved: FloatArray
    added: FloatArray


def is_grey(crop: Pixels) -> bool:
    """Whether a crop has no colour, but for what JPEG leaves."""
    channels = crop[::2, ::2].astype(np.float32)  # every second pixel of every second row will do
    return bool(np.abs(channels - channels.mean(-1, keepdims=True)).mean() < _GREY_BELOW)


def hidden(strokes: Strokes, mask: FloatArray) -> FloatArray:
    """How far paint hides the photo under a mask [S, S], 0 to 1.

    Less than it covers it: where paint, and all near it, changes little, it is added to the photo,
    so that lips which only move keep their lines, where paint is as coarse as the crop.
    """
    cover = strokes.mask * mask
    change = np.abs(strokes.paint).max(-1) * cover
    pixel = mask.shape[0] / CROP
    near = cv2.dilate(change, np.ones((2 * round(_NEAR * pixel) + 1,) * 2, np.uint8))
    near = cv2.GaussianBlur(near, (0, 0), _AROUND * pixel)
    return np.asarray(cover * smoothstep(near, _ADDED, _HIDING), np.float32)


def _fields(crop: Pixels, frame: FloatArray, strokes: Strokes, mask: FloatArray) -> _Fields:
    """Light is added, not multiplied with: what a shade makes of the crop, whose pixels are large,
    leaves the grain of the skin as it was, where a gain would take it away with the light.

    Paint that hides the photo stands on the warped crop, not on the warped photo: below it no
    detail of the old mouth may shine through, nor of folds that it fills.
    """
    flow, cover = strokes.flow * mask[..., None], hidden(strokes, mask)
    under = warped(crop, flow).astype(np.float32)
    light = under * np.expm1(strokes.shade * mask)[..., None]
    painted = np.clip(under + light + 255 * strokes.paint, 0, 255)
    shift = cv2.transform(np.clip(flow, -1, 1), np.ascontiguousarray(frame[:, :2]))
    moved = np.dstack([shift, cover, mask])
    bare = strokes.mask * mask - cover  # where paint is laid and hides nothing
    added = light + cover[..., None] * (painted - light)
    added += bare[..., None] * (painted - under - light)
    return _Fields(np.asarray(moved, np.float32), np.asarray(added, np.float32))


def _strip(
    pixels: Pixels, frame: FloatArray, fields: _Fields, rows: slice, columns: slice
) -> Pixels:
    """Some rows of the result; they are few, so that what is computed stays near the processor."""
    made = pixels[rows, columns].copy()
    moved = enlarge(fields.moved, frame, rows, columns)
    inside = moved[..., 3] > 1e-3
    used = np.flatnonzero(inside.any(0))
    if len(used):  # the face is an oval: what lies beside it is left alone
        part = slice(int(used[0]), int(used[-1]) + 1)
        columns = slice(columns.start + part.start, columns.start + part.stop)
        painted = _repainted(pixels, frame, fields, moved[:, part], (rows, columns))
        within = np.ascontiguousarray(inside[:, part]).astype(np.uint8)
        made[:, part] = cv2.copyTo(painted, within, np.ascontiguousarray(made[:, part]))
    return made


def _repainted(
    pixels: Pixels,
    frame: FloatArray,
    fields: _Fields,
    moved: FloatArray,
    place: tuple[slice, slice],
) -> Pixels:
    """Rows and columns of the photo, moved, lit and painted."""
    between = _SMALL < align.side_of(frame) <= _LARGE
    sampling = cv2.INTER_CUBIC if between else cv2.INTER_LANCZOS4
    result = _warp(pixels, moved[..., :2], *place, sampling)
    # in place, and whole pictures times whole pictures: NumPy spreads a channel over three slowly
    bare = 1 - moved[..., 2]
    result *= cv2.merge([bare] * 3)
    result += enlarge(fields.added, frame, *place)
    np.clip(result, 0, 255, out=result)
    return np.asarray(np.rint(result, out=result).astype(np.uint8))


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
