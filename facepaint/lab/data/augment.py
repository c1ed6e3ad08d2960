"""Light, colour, blur and occlusion as a camera and a scene would give them; geometry beside it.

Photos are uint8 [H, W, 3] RGB. Everything random comes from the generator that is passed in.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import FloatArray

Pixels = npt.NDArray[np.uint8]


def random_frame(rng: np.random.Generator, turn: float, scale: float, shift: float) -> FloatArray:
    """A similarity of crop units about the crop's centre, float32 [2, 3].

    turn: standard deviation in degrees, cut at twice it; scale: of its logarithm; shift: in sides.
    """
    angle = np.deg2rad(np.clip(rng.normal(0, turn), -2 * turn, 2 * turn))
    size = np.exp(np.clip(rng.normal(0, scale), -2 * scale, 2 * scale))
    cos, sin = size * np.cos(angle), size * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    centre = 0.5 + np.clip(rng.normal(0, shift, 2), -2.5 * shift, 2.5 * shift)
    return np.column_stack([linear, centre - linear @ [0.5, 0.5]]).astype(np.float32)


class Look:
    """One photo's light, colour and lens, drawn once and applied to as many pictures as wanted.

    Both photos of a pair go through the same Look, or a change of light would be learned as part
    of the expression.
    """

    def __init__(self, rng: np.random.Generator, strength: float = 1.0) -> None:
        gain = np.exp(rng.normal(0, 0.18 * strength) + rng.normal(0, 0.07 * strength, 3))
        gamma = np.exp(rng.normal(0, 0.22 * strength))
        lift = rng.normal(0, 0.03 * strength)
        ramp = np.arange(256)[:, None] / 255
        table = np.clip(gain * ramp**gamma + lift, 0, 1) * 255
        self._table = np.round(table).astype(np.uint8)[None]
        self._saturation = rng.uniform(0.5, 1.3) if rng.random() < 0.4 * strength else 1.0
        if rng.random() < 0.12 * strength:
            self._saturation = 0.0
        self._shade = _side_light(rng) if rng.random() < 0.4 * strength else None
        self._small = rng.uniform(0.25, 0.9) if rng.random() < 0.35 * strength else 1.0
        self._blur = rng.uniform(0.4, 1.4) if rng.random() < 0.2 * strength else 0.0
        self._quality = int(rng.uniform(30, 95)) if rng.random() < 0.35 * strength else 0
        self._noise = rng.uniform(1, 8) if rng.random() < 0.2 * strength else 0.0
        self._seed = int(rng.integers(2**31))

    def __call__(self, pixels: Pixels) -> Pixels:
        out = np.asarray(cv2.LUT(pixels, self._table), np.uint8)
        out = _saturate(out, self._saturation)
        if self._shade is not None:
            out = np.clip(out * _fit(self._shade, out.shape), 0, 255).astype(np.uint8)
        out = _soften(out, self._small, self._blur)
        if self._noise:
            noise = np.random.default_rng(self._seed).normal(0, self._noise, out.shape)
            out = np.clip(out + noise, 0, 255).astype(np.uint8)
        if self._quality:
            _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
            out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return out


def _side_light(rng: np.random.Generator) -> FloatArray:
    """A smooth light that is stronger on one side, [8, 8] about 1."""
    field = np.exp(rng.normal(0, 0.25, (3, 3))).astype(np.float32)
    return np.asarray(cv2.resize(field, (8, 8), interpolation=cv2.INTER_CUBIC), np.float32)


def _fit(field: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    fitted = cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fitted, np.float32)[..., None]


def _saturate(pixels: Pixels, amount: float) -> Pixels:
    if amount == 1.0:
        return pixels
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(pixels, amount, grey, 1 - amount, 0), np.uint8)


def _soften(pixels: Pixels, small: float, blur: float) -> Pixels:
    height, width = pixels.shape[:2]
    if small < 1:
        size = (max(1, round(width * small)), max(1, round(height * small)))
        tiny = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        pixels = as_pixels(cv2.resize(tiny, (width, height), interpolation=cv2.INTER_LINEAR))
    if blur:
        pixels = as_pixels(cv2.GaussianBlur(pixels, (0, 0), blur))
    return pixels


def as_pixels(array: npt.NDArray[Any]) -> Pixels:
    return np.asarray(array, np.uint8)


def occlude(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Something before the face: an ellipse or quadrangle of one colour, or the crop's edge."""
    size = pixels.shape[0]
    colour = tuple(int(c) for c in rng.integers(0, 256, 3))
    out = pixels.copy()
    if rng.random() < 0.3:  # the photo ends here
        edge = int(rng.uniform(0.05, 0.35) * size)
        out = np.rot90(out, side := int(rng.integers(4))).copy()
        out[:edge] = out[edge]
        return np.ascontiguousarray(np.rot90(out, -side))
    centre = rng.uniform(0, size, 2)
    axes = rng.uniform(0.05, 0.25, 2) * size
    if rng.random() < 0.5:
        box = (tuple(centre), tuple(2 * axes), float(rng.uniform(0, 180)))
        cv2.ellipse(out, box, colour, -1)
    else:
        corners = centre + rng.normal(0, axes.max(), (4, 2))
        cv2.fillConvexPoly(out, cv2.convexHull(corners.astype(np.int32)), colour)
    return out
