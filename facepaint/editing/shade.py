"""Shade: the light on moved skin, as folds come and go with an expression.

A network sees the face after it was moved and says what its light is to be multiplied by, so that
folds leave where this photo has them (`facepaint.lab.methods.shade`). Light as a ratio that keeps a
photo's own grain is the idea of Liu, Shan & Zhang (2001), "Expressive expression mapping with ratio
images".
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.composite import enlarge, is_grey, strips, touched
from facepaint.editing.windows import EYES, MOUTH, filled
from facepaint.face import FACE_OVAL, LEFT_BROW, RIGHT_BROW, FloatArray
from facepaint.models import Model
from facepaint.segment import disc

Pixels = npt.NDArray[np.uint8]
# What a gain's logarithm is multiplied by in red, green and blue: a fold's shadow is warmer than
# the skin around it. The means of Taiwan's, London's and RADIATE's pairs of photos.
HUES = (0.8, 1.04, 1.16)
_PRIOR, _HUES_BETWEEN = 0.15, (0.4, 1.8)  # how strongly the photo's own are held to these
_SURE = 0.5  # of `skin`, from which on a pixel tells of the photo's shadows
_CLIPS = 12  # exponent of a pixel's brightest channel, as far as which it may be overexposed
LEAST = 0.04  # of white: added before a logarithm, so that black does not decide
_LOGARITHM = np.log(np.arange(256, dtype=np.float32) / 255 + np.float32(LEAST))  # of a grey level
_NEAR = 0.016  # crop units: standard deviation of what counts as near
_GRAIN = 0.03  # of light's logarithm: variation that is grain and no fold
# Landmarks of what moves against the skin beside it, whose edges are no light.
_NOSTRILS = (48, 115, 220, 45, 4, 275, 440, 344, 278, 294, 327, 326, 2, 97, 98, 64)
# Crop units: how far within the face's outline skin begins, its soft edge, and the room that is
# left around lips and lids, brows, and nostrils.
_RIM, _SOFT = 0.04, 0.015
_ROOM_OF_PARTS, _ROOM_OF_BROWS, _ROOM_OF_NOSTRILS = 0.02, 0.012, 0.006


def skin(points: FloatArray, size: int) -> FloatArray:
    """Where a face is skin, without what moves against it.

    Args:
        points: float [478, 2], landmarks in crop units.
        size: pixels a side of the result.

    Returns:
        float32 [size, size], 0 to 1, with soft edges.
    """
    inside = cv2.erode(filled(points[list(FACE_OVAL)], size), disc(round(_RIM * size)))
    others = np.zeros((size, size), np.float32)
    for outline, room in (
        *((part.outer, _ROOM_OF_PARTS) for part in (MOUTH, *EYES)),
        *((brow, _ROOM_OF_BROWS) for brow in (RIGHT_BROW, LEFT_BROW)),
        (_NOSTRILS, _ROOM_OF_NOSTRILS),
    ):
        hull = np.asarray(cv2.convexHull(points[list(outline)])[:, 0], np.float32)
        others = np.maximum(others, cv2.dilate(filled(hull, size), disc(round(room * size))))
    soft = cv2.GaussianBlur(inside, (0, 0), _SOFT * size)
    kept = soft * (1 - cv2.GaussianBlur(others, (0, 0), _SOFT * size / 2))
    return np.asarray(kept, np.float32)


def shade(
    pixels: Pixels,
    frame: FloatArray,
    points: FloatArray,
    told: FloatArray,
    network: Model,
    mask: FloatArray,
) -> None:
    """Give a face's moved skin its new light, in place.

    Args:
        pixels: the photo, uint8 [H, W, 3] RGB, its face moved.
        frame: float [2, 3], from crop units to the photo's pixels.
        points: float [478, 2], landmarks after the move, crop units.
        told: float [110], see `facepaint.editing.mover.told_change`.
        network: "shade".
        mask: float [S, S] over the crop, 0 to 1: where the photo may change.
    """
    rows, columns = touched(frame, mask, pixels.shape)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    size = network.card["window"]
    seen = align.crop(pixels, frame, size)
    where = skin(points, size)
    gain = network(crops=seen[None], skin=where[None], told=told[None])["gain"][0]
    over = cv2.resize(mask, (size, size), interpolation=cv2.INTER_LINEAR) * where
    # how much brighter than white a place was is not known: made darker it would turn grey
    white = cv2.GaussianBlur((seen.max(-1).astype(np.float32) / 255) ** _CLIPS, (0, 0), 2.0)
    gain = np.where(gain < 0, gain * (1 - white), gain)
    hues = np.ones(3, np.float32) if is_grey(seen) else _hues(seen, where)
    colours = np.asarray(cv2.LUT(seen, _LOGARITHM), np.float32)
    light, near = colours.mean(-1), size * _NEAR
    follows = _follows(gain, light, near)
    # what follows the light undoes a fold in its own colour, the rest has the shadows' colour
    middle = np.asarray(cv2.GaussianBlur(colours, (0, 0), near), np.float32)
    rest = gain - follows * (light - middle.mean(-1))
    even = rest[..., None] * hues - follows[..., None] * middle
    fields = np.dstack([even, follows]).astype(np.float32) * over[..., None]
    for strip in strips(rows):
        part = pixels[strip, columns]
        large = enlarge(fields, frame, strip, columns)
        gains = large[..., :3] + large[..., 3:] * np.asarray(cv2.LUT(part, _LOGARITHM), np.float32)
        lit = (part + np.float32(255 * LEAST)) * cv2.exp(gains) - np.float32(255 * LEAST)
        np.copyto(part, cv2.convertScaleAbs(np.maximum(lit, 0, out=lit)))


def _hues(crop: Pixels, skin: FloatArray) -> FloatArray:
    """How red, green and blue follow the light in a photo's own shadows, float32 [3] about 1.

    Slopes of each channel's logarithm over the light's, on skin, by ridge regression towards HUES.
    """
    logarithms = np.asarray(cv2.LUT(crop, _LOGARITHM), np.float32)[skin > _SURE]
    if not len(logarithms):
        return np.array(HUES, np.float32)
    apart = logarithms - logarithms.mean(0)
    light = apart.mean(-1)
    along = (apart * light[:, None]).mean(0) + _PRIOR**2 * np.array(HUES)
    slopes = along / ((light**2).mean() + _PRIOR**2)
    return np.asarray(np.clip(slopes, *_HUES_BETWEEN), np.float32)


def _follows(gain: FloatArray, light: FloatArray, near: float) -> FloatArray:
    """How much a gain undoes what is there: the slope of the gain over the photo's light near each
    place, float32 [S, S], -1 to 0.

    A fold that the network brightens is finer in a large photo than the network sees: where its
    gain follows the light it is made to follow the photo's own light, at its own size. This is the
    local linear model of the guided filter (He, Sun & Tang 2010).

    Args:
        gain: float [S, S], a gain's natural logarithm.
        light: float [S, S], the logarithm of the light.
        near: standard deviation of what counts as near, pixels.
    """

    def mean(x: FloatArray) -> FloatArray:
        return np.asarray(cv2.GaussianBlur(x, (0, 0), near), np.float32)

    middle = mean(light)
    apart = mean(light * gain) - middle * mean(gain)
    slope = apart / (mean(light * light) - middle**2 + _GRAIN**2)
    return np.asarray(np.clip(slope, -1, 0), np.float32)
