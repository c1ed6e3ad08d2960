"""Light of rendered faces: lamps, ambient light, shadows and what is dark for being hidden.

View coordinates are centimetres, x to the right, y up, z towards the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import FloatArray
from facepaint.lab.data.render_head import looking
from facepaint.lab.data.render_mesh import Ints, Raster, Reals, depth_map

_SHADOW_SIZE = 448  # pixels a side of the shadow map
_SHADOW_BIAS = 0.22  # centimetres
_SHADOW_BLUR = 0.14  # centimetres on the screen
_WRAP = np.array([0.34, 0.16, 0.1], np.float32)  # how far red, green, blue light goes around skin
_CREASES = ((0.08, 0.1, 0.5), (0.3, 0.35, 0.45))  # centimetres wide, centimetres deep, darkness
_GREY = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True, eq=False)
class Lighting:
    """What a head is lit by.

    Attributes:
        directions: float32 [L, 3], unit vectors towards the lamps; the first throws shadows.
        colours: float32 [L, 3], of the lamps, linear.
        ambient: float32 [4, 3], first-order spherical harmonics: constant, x, y, z.
    """

    directions: FloatArray
    colours: FloatArray
    ambient: FloatArray

    def around(self, normals: Reals) -> FloatArray:
        """Ambient light on normals [N, 3], float32 [N, 3]."""
        light: FloatArray = self.ambient[0] + normals @ self.ambient[1:]
        return np.maximum(light, 0)

    def scaled(self, gain: float) -> Lighting:
        """Light of the same kind, `gain` times as bright."""
        return Lighting(
            self.directions, self.colours * np.float32(gain), self.ambient * np.float32(gain)
        )


def draw(rng: np.random.Generator) -> Lighting:
    """Draws one to three lamps and ambient light.

    Args:
        rng: where chance comes from.
    """
    azimuth = float(np.clip(rng.normal(0, 38), -80, 80))
    towards = [_direction(azimuth, float(rng.uniform(0, 55)))]
    colours = [_temperature(rng) * rng.uniform(0.5, 1.1)]
    if rng.random() < 0.75:  # from the other side
        side = -np.sign(azimuth) if azimuth else 1.0
        towards.append(_direction(float(side * rng.uniform(25, 85)), float(rng.uniform(-15, 35))))
        colours.append(_temperature(rng) * rng.uniform(0.08, 0.45))
    if rng.random() < 0.45:  # a rim from behind
        towards.append(_direction(float(rng.choice([-1, 1]) * rng.uniform(105, 150)), 25.0))
        colours.append(_temperature(rng) * rng.uniform(0.2, 1.0))
    constant = _temperature(rng) * rng.uniform(0.25, 0.6)
    x, z = constant * rng.normal(0, 0.15), constant * rng.uniform(0.0, 0.35)
    y = constant * rng.uniform(0.1, 0.45) * _temperature(rng)
    return Lighting(
        np.asarray(towards, np.float32),
        np.asarray(colours, np.float32),
        np.stack([constant, x, y, z]).astype(np.float32),
    )


def _direction(azimuth: float, elevation: float) -> npt.NDArray[np.float64]:
    a, e = np.radians([azimuth, elevation])
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])


def _temperature(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The colour of a lamp: mostly near white, from candles to a clear sky."""
    warm = float(np.clip(rng.normal(0.02, 0.1), -0.3, 0.35))
    return np.array([1 + warm, 1 + 0.15 * warm, 1 - warm]) * (1 + rng.normal(0, 0.02, 3))


def wrapped(cosine: Reals) -> FloatArray:
    """Diffuse light on skin of cosines [N, 3] (by colour), which goes a little around edges."""
    light: FloatArray = np.maximum((cosine + _WRAP) / (1 + _WRAP), 0) ** (1 + _WRAP)
    return light


def shine(normals: Reals, towards: Reals, view: Reals, power: float) -> FloatArray:
    """A lamp's highlight (Blinn and Phong, with its energy kept), float32 [N].

    Args:
        normals: float [N, 3].
        towards: float [3], to the lamp.
        view: float [3], to the viewer.
        power: the exponent; higher is sharper.
    """
    half = towards + view
    half = half / max(float(np.linalg.norm(half)), 1e-6)
    light: FloatArray = np.maximum(normals @ half, 0) ** np.float32(power)
    return light * np.maximum(normals @ towards, 0) * np.float32((power + 8) / 8)


def shadow(
    raster: Raster,
    view: Reals,
    points: Reals,
    triangles: Ints,
    towards: Reals,
    per_cm: float,
) -> FloatArray:
    """How much of a lamp each pixel sees, float32 [N], 0 to 1.

    Args:
        raster: which pixels.
        view: float [N, 3], their places.
        points: float [V, 3], the vertices' places.
        triangles: int [T, 3].
        towards: float [3], to the lamp.
        per_cm: pixels of the picture per centimetre.
    """
    turn = looking(towards)
    turned = points @ turn.T
    low, high = turned[:, :2].min(0), turned[:, :2].max(0)
    scale = (_SHADOW_SIZE - 2) / float((high - low).max())
    screen = turned.copy()
    screen[:, :2] = (turned[:, :2] - low) * scale + 1
    nearest = depth_map(screen.astype(np.float32), triangles, _SHADOW_SIZE)
    at = view @ turn.T
    place = (at[:, :2] - low) * scale + 0.5
    column, row = np.clip(place, 0, _SHADOW_SIZE - 1).astype(np.intp).T
    lit = (nearest[row, column] < at[:, 2] + _SHADOW_BIAS).astype(np.float32)
    both = cv2.GaussianBlur(
        raster.picture(np.stack([lit, np.ones_like(lit)], 1)), (0, 0), _SHADOW_BLUR * per_cm
    )
    soft = raster.at(np.asarray(both, np.float32))
    return np.asarray(soft[:, 0] / np.maximum(soft[:, 1], 1e-3), np.float32)


def creases(raster: Raster, depth: Reals, per_cm: float) -> FloatArray:
    """Darkening where a pixel lies deeper than what is around it, float32 [N], 1 for none.

    Args:
        raster: which pixels.
        depth: float [N], centimetres towards the viewer.
        per_cm: pixels of the picture per centimetre.
    """
    both = raster.picture(np.stack([depth, np.ones_like(depth)], 1))
    total = np.ones_like(depth)
    for width, deep, darkness in _CREASES:
        soft = cv2.GaussianBlur(both, (0, 0), width * per_cm)
        blurred = raster.at(np.asarray(soft, np.float32))
        around = blurred[:, 0] / np.maximum(blurred[:, 1], 1e-3)
        total *= 1 - np.float32(darkness) * np.clip((around - depth) / np.float32(deep), 0, 1)
    return total


def through(points: Reals, normals: Reals, opening: Reals) -> FloatArray:
    """Light that comes through an opening, of what comes without walls, float32 [N], 0 to 1.

    Lambert's form factor of a polygon, half of it without regard to the normal, as light is
    thrown about inside.

    Args:
        points: float [N, 3].
        normals: float [N, 3].
        opening: float [K, 3], the opening's outline, counter-clockwise as seen from outside.
    """
    total = np.zeros_like(points)
    arms = opening[None] - points[:, None]
    arms = arms / np.maximum(np.linalg.norm(arms, axis=2, keepdims=True), 1e-4)
    after = np.roll(arms, -1, axis=1)
    cross = np.cross(arms, after)
    length = np.linalg.norm(cross, axis=2, keepdims=True)
    angle = np.arcsin(np.clip(length, 0, 1))
    angle = np.where((arms * after).sum(2, keepdims=True) < 0, np.pi - angle, angle)
    total = (cross / np.maximum(length, 1e-6) * angle).sum(1) / (2 * np.pi)
    facing = np.maximum((total * normals).sum(1), 0)
    found: FloatArray = np.minimum(0.6 * facing + 0.4 * np.linalg.norm(total, axis=1), 1)
    return found.astype(np.float32)


def brightness(colours: Reals) -> FloatArray:
    """Luminance of linear colours [..., 3], float32 [...]."""
    return np.asarray(colours @ _GREY, np.float32)


def tone(colours: Reals) -> npt.NDArray[np.uint8]:
    """sRGB of linear light, uint8; what is brighter than 0.6 is compressed towards 1."""
    high = np.maximum(colours - 0.6, 0)
    light = np.minimum(colours, 0.6) + 0.4 * (1 - np.exp(-high / 0.4))
    srgb = np.clip(light, 0, 1) ** np.float32(1 / 2.2)
    return np.asarray(np.rint(srgb * 255), np.uint8)
