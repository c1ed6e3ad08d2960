"""Shading of rendered faces: colours of skin, lips and mouths under their light."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from facepaint.face import FloatArray
from facepaint.lab.data import render_head as head
from facepaint.lab.data import render_light as light
from facepaint.lab.data.render_eyes import eye
from facepaint.lab.data.render_light import Lighting
from facepaint.lab.data.render_mesh import Reals, remapped, sample
from facepaint.lab.data.render_scalp import coloured, scalp
from facepaint.lab.data.render_scene import Scene, Surface, bumped, diffuse, shine
from facepaint.lab.data.render_textures import fold_heights, linear, noise

Painter = Callable[[Scene, Surface, Lighting], tuple[FloatArray, FloatArray]]

_PORES, _LIP_LINES = 0.005, 0.006  # heights in centimetres
_SKIN_F0 = 0.028  # reflectance of skin straight on
_COLLAR = -12.2  # rest height of the collar, centimetres


def shade(s: Scene, seen: Surface, background: Reals) -> tuple[FloatArray, FloatArray]:
    """Colours of the picture.

    Args:
        s: the scene.
        seen: what its pixels show.
        background: float [S, S, 3], linear.

    Returns:
        float32 [S, S, 3], linear RGB, and float32 [S, S], the light that arrives at each pixel.
    """
    out, lit = background.copy(), np.ones(background.shape[:2], np.float32)
    flat, flat_lit = out.reshape(-1, 3), lit.reshape(-1)
    painters: dict[tuple[int, ...], Painter] = {
        (head.SKIN,): _skin,
        (head.SOCKET, head.GUMS, head.TONGUE, head.TEETH): _mouth,
        (head.EYE,): eye,
        (head.EYE_SOCKET,): _lining,
    }
    for parts, painter in painters.items():
        chosen = np.isin(seen.parts, parts)
        if chosen.any():
            some = seen.only(chosen)
            colours, arriving = painter(s, some, s.lighting)
            flat[some.raster.pixels] = colours
            flat_lit[some.raster.pixels] = light.brightness(arriving)
    return out, lit


def _skin(s: Scene, p: Surface, lights: Lighting) -> tuple[FloatArray, FloatArray]:
    look = s.look
    at = head.map_pixels(p.rest)
    found = remapped(np.dstack([look.paint, look.lip_map]), at - 0.5)
    folds = remapped(fold_heights(look, s.asked), at - 0.5)
    front = np.clip((p.rest[:, 2] - 5) / 2, 0, 1)
    lips = found[:, 3] * front
    noise_at = p.uv / 12 + look.shift
    pores = sample(noise(0.004, 0.02), noise_at * 2.5)
    mottled = sample(noise(0.02, 0.2), noise_at)
    lines = sample(noise(0.006, 0.06), np.stack([p.rest[:, 0] * 0.21, p.rest[:, 1] * 0.035], 1))
    heights = folds * front + _PORES * (1 - lips) * pores + _LIP_LINES * lips * lines
    fine = bumped(s, p, heights)
    albedo: Reals = look.skin * (1 + (found[:, :3] - 1) * front[:, None])
    albedo = albedo * (1 + (0.035 * mottled + 0.03 * pores)[:, None] * np.array([0.7, 1.1, 1.1]))
    own = look.lips * (1 + 0.05 * lines + 0.05 * mottled)[:, None]
    albedo += (own - albedo) * lips[:, None]
    albedo = _dressed(s, p, albedo.astype(np.float32), mottled)
    hairy = scalp(p.rest, look) if look.top else np.zeros_like(lips)
    strands = coloured(p.rest, p.normals, look, lights)
    albedo += (strands[0] - albedo) * hairy[:, None]
    arriving = diffuse(p, fine, p.normals, lights)
    colours = np.clip(albedo, 0.004, 1) * arriving
    covered = np.clip((_COLLAR - p.rest[:, 1]) * 4, 0, 1)
    oil = look.oil * (1 + 0.1 * mottled + 0.2 * pores) * (1 - lips) * (1 - covered) * (1 - hairy)
    colours += shine(p, fine, lights, 11, 0.55 * _SKIN_F0 * oil)
    colours += shine(p, fine, lights, 42, 0.3 * _SKIN_F0 * oil)
    colours += strands[1] * (hairy * p.key)[:, None]
    wet = look.gloss * lips
    colours += shine(p, fine, lights, 30, 0.6 * _SKIN_F0 * wet)
    colours += shine(p, fine, lights, 130, 0.25 * _SKIN_F0 * wet)
    edge = (1 - np.clip(fine[:, 2], 0, 1)) ** 5 * (1 - covered) * (1 - hairy) * p.open
    colours += (0.15 * edge)[:, None] * lights.around(fine)
    return colours, arriving


def _dressed(s: Scene, p: Surface, albedo: Reals, mottled: Reals) -> FloatArray:
    """Clothes below the neck, over skin of colours [N, 3]."""
    low = _COLLAR + 0.03 * mottled - p.rest[:, 1] - 0.02 * p.rest[:, 0] ** 2
    weave = 1 + 0.1 * sample(noise(0.004, 0.02), p.uv / 6)[:, None]
    cloth = np.clip(low * 6, 0, 1)[:, None]
    found: FloatArray = albedo + (s.look.cloth * weave - albedo) * cloth
    return found


def _mouth(s: Scene, p: Surface, lights: Lighting) -> tuple[FloatArray, FloatArray]:
    look = s.look
    grain = sample(noise(0.01, 0.06), p.uv / 3 + look.shift)
    cloudy = sample(noise(0.05, 0.4), p.uv / 4 + look.shift)
    teeth, tongue = p.parts == head.TEETH, p.parts == head.TONGUE
    albedo = look.gums * (1 + 0.1 * cloudy + 0.04 * grain)[:, None]
    albedo[tongue] = (
        look.gums * np.array([1.25, 1.1, 1.1]) * (1 + 0.08 * grain + 0.1 * cloudy)[:, None]
    )[tongue]
    deep = p.parts == head.SOCKET
    albedo[deep] = (linear((150, 62, 58)) * (1 + 0.1 * cloudy)[:, None])[deep]
    enamel = _enamel(s, p)
    albedo[teeth] = enamel[teeth]
    inside = p.open**0.65
    # light that was thrown back by the walls is red
    tint = 1 - (1 - np.sqrt(inside))[:, None] * np.array([0.0, 0.42, 0.46])
    facing = bumped(s, p, np.where(teeth, 0.002 * cloudy, 0.005 * grain))
    arriving = lights.around(facing) * inside[:, None]
    inward = lights.colours[lights.directions[:, 2] > 0].sum(0)
    arriving += 0.45 * inside[:, None] * inward
    for k, (towards, colour) in enumerate(zip(lights.directions, lights.colours, strict=True)):
        reach = (p.key if k == 0 else 1) * np.sqrt(inside) * 0.75
        arriving += (np.maximum(0.15 + 0.85 * (facing @ towards), 0) * reach)[:, None] * colour
    arriving = arriving * tint
    colours = albedo * arriving
    wet = np.where(teeth, 0.05, 0.035) * np.sqrt(p.open)
    colours += shine(p, facing, lights, 60, 0.5 * wet)
    colours += shine(p, facing, lights, 260, 0.2 * wet)
    return np.asarray(colours, np.float32), np.asarray(arriving, np.float32)


def _enamel(s: Scene, p: Surface) -> FloatArray:
    """Colours of teeth: yellower to the gums, greyer and clearer to the edge."""
    which = s.actor.teeth[p.raster.corners[:, 0]]
    rng = np.random.default_rng(int(s.look.shift[0] * 1e6))
    own = 1 + rng.normal(0, 0.03, (64, 3)) * np.array([0.6, 0.8, 1.4])
    edge = np.abs(p.rest[:, 1] + 3.35)
    root = np.clip((edge - 0.35) / 0.8, 0, 1)[:, None]
    clear = np.clip(1 - edge / 0.2, 0, 1)[:, None]
    colour = s.look.teeth * own[which]
    colour = colour * (1 - root * np.array([0.08, 0.17, 0.29]))
    colour = colour * (1 - clear * np.array([0.2, 0.15, 0.1]))
    return np.asarray(colour, np.float32)


def _lining(s: Scene, p: Surface, lights: Lighting) -> tuple[FloatArray, FloatArray]:
    """The inside of the lids."""
    arriving = lights.around(p.normals) * (0.6 * p.open)[:, None]
    return s.look.gums * 0.6 * arriving, arriving
