"""Eyes of rendered faces: white, veins, iris, pupil, and what the wet cornea reflects."""

from __future__ import annotations

import cv2
import numpy as np

from facepaint.face import LEFT_IRIS, RIGHT_IRIS, FloatArray
from facepaint.lab.data.render_light import Lighting, shine, wrapped
from facepaint.lab.data.render_mesh import Reals, sample, unit
from facepaint.lab.data.render_scene import VIEW, Scene, Surface
from facepaint.lab.data.render_textures import linear, noise

_BULGE = 0.9  # by how much a normal of the cornea leans more than the eyeball's
_SHADE, _SHADE_WIDTH = 0.8, 0.2  # darkness under the lids, and how far it goes, centimetres
_CORNERS = ((133, 33), (362, 263))  # landmarks: inner and outer corner, right and left eye
_CARUNCLE = 0.34  # radius of the pink flesh in the inner corner, centimetres


def eye(s: Scene, p: Surface, lights: Lighting) -> tuple[FloatArray, FloatArray]:
    """Colours of the eyeballs.

    Args:
        s: the scene.
        p: the pixels that show an eyeball.
        lights: the scene's light, exposed.

    Returns:
        float32 [N, 3], linear colours, and float32 [N, 3], the light that arrives.
    """
    landmarks = s.actor.landmarks.of(s.posed.points)
    seen = s.actor.landmarks.of(s.view)
    colours, arriving = np.zeros_like(p.view), np.zeros_like(p.view)
    for k, first in enumerate((RIGHT_IRIS, LEFT_IRIS)):
        chosen = (p.rest[:, 0] > 0) == (k == 1)
        if not chosen.any():
            continue
        q = p.only(chosen)
        axes = s.camera.turn @ s.posed.gaze[k]
        local = (q.view - s.camera.turn @ s.posed.centres[k]) @ axes
        arms = landmarks[first + 1 : first + 5] - landmarks[first]
        radius = float(np.linalg.norm(arms, axis=1).mean())
        inner = seen[_CORNERS[k][0]].astype(np.float32)
        colours[chosen], arriving[chosen] = _eyeball(s, q, lights, local / radius, axes, inner)
    return colours, arriving


def _eyeball(
    s: Scene, p: Surface, lights: Lighting, local: Reals, axes: Reals, inner: Reals
) -> tuple[FloatArray, FloatArray]:
    """One eye; `local` are places in radii of the iris, z along the gaze."""
    away = np.hypot(local[:, 0], local[:, 1])
    iris = np.clip((1.04 - away) / 0.13 + 0.5, 0, 1) * (local[:, 2] > 0)
    iris = iris * iris * (3 - 2 * iris)
    albedo = _white(s, p, local, away)
    flesh = np.linalg.norm((p.view - inner) * np.array([0.8, 1, 0.3]), axis=1)
    pink = np.clip(1.3 - flesh / _CARUNCLE, 0, 1)[:, None]
    albedo = albedo + (s.look.gums * np.array([1.0, 0.9, 0.9]) - albedo) * pink**1.5
    shade = _under_lids(s, p)
    smooth = unit(local @ axes.T)
    arriving = lights.around(smooth) * shade[:, None]
    for k, (towards, colour) in enumerate(zip(lights.directions, lights.colours, strict=True)):
        cosine = np.repeat((smooth @ towards)[:, None], 3, 1)
        reach = shade * (0.25 + 0.75 * p.key if k == 0 else 1)
        arriving += wrapped(cosine) * reach[:, None] * colour
    depth = _iris(s, lights, local, away, axes)
    colours = (albedo * (1 - iris[:, None]) + depth * iris[:, None]) * arriving
    # the cornea is rounder than the eyeball
    lean = local * np.stack([1 + _BULGE * iris] * 2 + [np.ones_like(iris)], 1)
    facing = unit(unit(lean) @ axes.T)
    reach = np.sqrt(shade)
    for k, (towards, colour) in enumerate(zip(lights.directions, lights.colours, strict=True)):
        through = reach * (0.3 + 0.7 * p.key if k == 0 else 1)
        spot = np.minimum(shine(facing, towards, VIEW, 700) * 0.1, 1.6)
        sheen = shine(facing, towards, VIEW, 60) * 0.02 * (1 - 0.5 * iris)
        colours += ((spot + sheen) * through)[:, None] * colour
    colours += _reflection(s, facing, lights) * (reach * (0.3 + 0.7 * iris))[:, None]
    wet = np.exp(-(((_edge(s, p) - 0.02) / 0.018) ** 2)) * 0.1
    colours += wet[:, None] * lights.around(p.normals)
    return np.asarray(colours, np.float32), np.asarray(arriving, np.float32)


def _white(s: Scene, p: Surface, local: Reals, away: Reals) -> FloatArray:
    """The white of the eye: a little yellow, redder and veined towards the corners."""
    angles = np.stack([local[:, 0], local[:, 1]], 1) / 9 + s.look.shift
    veins = np.clip(sample(noise(0.012, 0.09, ridged=True), angles), 0, 3)
    out = np.clip((away - 1.2) / 1.2, 0, 1)
    red = (0.03 + 0.2 * out * s.look.age + 0.07 * out + 0.045 * veins * out)[:, None]
    return np.asarray(s.look.sclera * (1 - red * np.array([0.35, 1.0, 0.95])), np.float32)


def _iris(s: Scene, lights: Lighting, local: Reals, away: Reals, axes: Reals) -> FloatArray:
    """The iris: fibres, a ring around the pupil, a dark rim, lit from across."""
    angle = np.arctan2(local[:, 1], local[:, 0]) / (2 * np.pi)
    warp = 0.02 * sample(noise(0.03, 0.3), local[:, :2] / 4)
    fibres = sample(noise(0.008, 0.05), np.stack([angle + warp, away * 0.09], 1) + s.look.shift)
    patches = sample(noise(0.05, 0.4), local[:, :2] / 3 + s.look.shift)
    pupil = s.look.pupil
    ring = np.exp(-(((away - pupil - 0.14) / 0.13) ** 2))
    value = 0.85 + 0.28 * fibres * np.clip(2.2 - 1.6 * away, 0.4, 1.2) + 0.1 * patches
    value = np.clip(value, 0.25, 2)[:, None]
    warm = linear((130, 92, 50)) * max(1.0, float(s.look.iris.mean()) * 5)
    colour = s.look.iris * 1.1 + (warm * 0.7 - s.look.iris) * (0.35 * ring)[:, None]
    rim = np.clip((away - 0.74) / 0.28, 0, 1)[:, None] ** 1.5
    colour = colour * value * (1 - 0.8 * rim)
    # light enters the cornea on one side and falls on the other
    towards = lights.directions[0] @ axes
    across = -(local[:, 0] * towards[0] + local[:, 1] * towards[1])
    colour = colour * (1 + 0.55 * np.clip(across, -0.7, 0.9))[:, None]
    hole = np.clip((away - pupil) / 0.09 + 0.5, 0, 1)[:, None]
    return np.asarray(colour * hole + 0.004, np.float32)


def _under_lids(s: Scene, p: Surface) -> FloatArray:
    """How much light lids and lashes leave, darkest under the upper lid, float32 [N]."""
    there = p.raster.picture(np.ones(len(p.view), np.float32))
    wide = _SHADE_WIDTH * s.camera.scale
    down = np.array([[1, 0, 0], [0, 1, 0.6 * wide]], np.float32)
    size = p.raster.size
    lowered = cv2.warpAffine(there, down, (size, size))
    soft = cv2.GaussianBlur(there * lowered, (0, 0), wide)
    hidden = 1 - p.raster.at(np.asarray(soft, np.float32))
    found: FloatArray = 1 - _SHADE * np.clip(1.5 * hidden - 0.15, 0, 1)
    return found


def _edge(s: Scene, p: Surface) -> FloatArray:
    """How far the lid's edge is, centimetres on the screen, float32 [N]."""
    there = p.raster.picture(np.ones(len(p.view), np.float32)).astype(np.uint8)
    away = cv2.distanceTransform(there, cv2.DIST_L2, 3)
    found: FloatArray = p.raster.at(np.asarray(away, np.float32)) / s.camera.scale
    return found


def _reflection(s: Scene, facing: Reals, lights: Lighting) -> FloatArray:
    """A soft picture of the surroundings: a window above and a dim horizon."""
    rng = np.random.default_rng(int(s.look.shift[1] * 1e6))
    mirrored = 2 * facing[:, 2:] * facing - VIEW
    x, y = mirrored[:, 0] - rng.uniform(-0.4, 0.4), mirrored[:, 1] - rng.uniform(0.25, 0.6)
    wide, high = rng.uniform(0.12, 0.3), rng.uniform(0.12, 0.25)
    window = np.clip((wide - np.abs(x)) / 0.05, 0, 1) * np.clip((high - np.abs(y)) / 0.05, 0, 1)
    strength = rng.uniform(0, 0.35) * window + 0.018 + 0.03 * np.clip(mirrored[:, 1], 0, 1)
    found: FloatArray = np.asarray(strength[:, None] * lights.ambient[0], np.float32)
    return found
