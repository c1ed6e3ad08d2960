"""Light, colour, blur and occlusion as a camera and a scene would give them; geometry beside it.

Photos are uint8 [H, W, 3] RGB. Everything random comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.align import CROP
from facepaint.face import FloatArray
from facepaint.lab.data.faces import cut

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


@dataclass(frozen=True, eq=False)
class Look:
    """One photo's light, colour and lens, drawn once and applied to as many pictures as wanted.

    Both photos of a pair go through the same Look, or a change of light would be learned as part
    of the expression.

    gain: float [3], gamma, lift: a channel's x, 0 to 1, becomes gain · x^gamma + lift. saturation:
    1 keeps it, 0 is grey. shade: what light is multiplied by, float32 [8, 8] over the picture, None
    for 1. small: share of the side to which it is shrunk and from which it is enlarged. blur: of a
    Gaussian, pixels. noise: standard deviation in grey levels, drawn by seed. quality: of a JPEG,
    0 for none.
    """

    gain: npt.NDArray[np.float64]
    gamma: float
    lift: float
    saturation: float
    shade: FloatArray | None
    small: float
    blur: float
    quality: int
    noise: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, strength: float = 1.0, tint: float = 0.07) -> Look:
        """Draw one.

        Args:
            rng: the generator.
            strength: 1 for all that happens in everyday photos, 0 for nothing.
            tint: standard deviation of the logarithm of each channel's gain, at a strength of 1.
        """
        gain = np.exp(rng.normal(0, 0.18 * strength) + rng.normal(0, tint * strength, 3))
        gamma = np.exp(rng.normal(0, 0.22 * strength))
        lift = rng.normal(0, 0.03 * strength)
        saturation = rng.uniform(0.5, 1.3) if rng.random() < 0.4 * strength else 1.0
        if rng.random() < 0.12 * strength:
            saturation = 0.0
        return cls(
            gain=gain,
            gamma=gamma,
            lift=lift,
            saturation=saturation,
            shade=_side_light(rng) if rng.random() < 0.4 * strength else None,
            small=rng.uniform(0.25, 0.9) if rng.random() < 0.35 * strength else 1.0,
            blur=rng.uniform(0.4, 1.4) if rng.random() < 0.2 * strength else 0.0,
            quality=int(rng.uniform(30, 95)) if rng.random() < 0.35 * strength else 0,
            noise=rng.uniform(1, 8) if rng.random() < 0.2 * strength else 0.0,
            seed=int(rng.integers(2**31)),
        )

    def __call__(self, pixels: Pixels) -> Pixels:
        out = np.asarray(cv2.LUT(pixels, self._table()), np.uint8)
        out = _saturate(out, self.saturation)
        if self.shade is not None:
            out = np.clip(out * _fit(self.shade, out.shape), 0, 255).astype(np.uint8)
        out = _soften(out, self.small, self.blur)
        if self.noise:
            noise = np.random.default_rng(self.seed).normal(0, self.noise, out.shape)
            out = np.clip(out + noise, 0, 255).astype(np.uint8)
        if self.quality:
            quality = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
            _, data = cv2.imencode(".jpg", cv2.cvtColor(out, cv2.COLOR_RGB2BGR), quality)
            out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
        return out

    def _table(self) -> Pixels:
        ramp = np.arange(256)[:, None] / 255
        table = np.clip(self.gain * ramp**self.gamma + self.lift, 0, 1) * 255
        return np.round(table).astype(np.uint8)[None]

    def packed(self) -> FloatArray:
        """Its numbers in the order of PACKED, float32 [73]: for the device that trains, which draws
        noise by a generator of its own."""
        values = {n: getattr(self, n) for n in PACKED}
        if self.shade is None:
            values["shade"] = np.ones(PACKED["shade"])
        return np.concatenate([np.ravel(v) for v in values.values()]).astype(np.float32)


# how many numbers of a Look there are of each kind
PACKED = {"gain": 3, "gamma": 1, "lift": 1, "saturation": 1, "shade": 64}
PACKED |= {"small": 1, "blur": 1, "quality": 1, "noise": 1}


def view(
    name: str, wide: Pixels, frame: FloatArray, look: Look, on_device: bool
) -> dict[str, npt.NDArray[Any]]:
    """A picture of a sample under its name, cut out of its wide crop and lit; or what the device
    that trains makes it of (`facepaint.lab.data.render`)."""
    if on_device:
        return {f"{name}_wide": wide, f"{name}_frame": frame, "look": look.packed()}
    return {name: look(cut(wide, frame))}


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


@dataclass(frozen=True, eq=False)
class Cover:
    """Something before the face: an ellipse or quadrangle of one colour, or the crop's edge.

    mask: uint8 [S, S], 1 where it is. colour: uint8 [3]. ends: the first and last row and the first
    and last column that the photo still has, int64 [4]; beyond them it repeats itself.
    """

    mask: Pixels
    colour: Pixels
    ends: npt.NDArray[np.int64]

    @classmethod
    def none(cls, size: int = CROP) -> Cover:
        whole = np.array([0, size - 1, 0, size - 1])
        return cls(np.zeros((size, size), np.uint8), np.zeros(3, np.uint8), whole)

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int = CROP) -> Cover:
        nothing = cls.none(size)
        colour = rng.integers(0, 256, 3).astype(np.uint8)
        if rng.random() < 0.3:
            edge = int(rng.uniform(0.05, 0.35) * size)
            side, ends = int(rng.integers(4)), nothing.ends
            # 0 to 3: top, right, bottom, left
            ends[(0, 3, 1, 2)[side]] = edge if side in (0, 3) else size - 1 - edge
            return replace(nothing, ends=ends)
        centre = rng.uniform(0, size, 2)
        axes = rng.uniform(0.05, 0.25, 2) * size
        if rng.random() < 0.5:
            box = (tuple(centre), tuple(2 * axes), float(rng.uniform(0, 180)))
            cv2.ellipse(nothing.mask, box, 1, -1)
        else:
            corners = centre + rng.normal(0, axes.max(), (4, 2))
            cv2.fillConvexPoly(nothing.mask, cv2.convexHull(corners.astype(np.int32)), 1)
        return replace(nothing, colour=colour)

    def __call__(self, pixels: Pixels) -> Pixels:
        places, (top, bottom, left, right) = np.arange(len(pixels)), self.ends
        out = pixels[places.clip(top, bottom)][:, places.clip(left, right)]
        return np.where(self.mask[..., None] > 0, self.colour, out)
