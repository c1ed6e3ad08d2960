"""Where hair grows on a rendered head, how it is combed, and how a head of hair shines."""

from __future__ import annotations

import numpy as np

from facepaint.face import FloatArray
from facepaint.lab.data.render_light import Lighting
from facepaint.lab.data.render_mesh import Reals, sample, unit
from facepaint.lab.data.render_textures import Look, noise

# rest hairline: height by depth z, both in centimetres; sideburns at 3.4, ears behind them
_HAIRLINE = np.array(
    [
        (-12, -7),
        (-6, -5),
        (-1, -1.5),
        (0, 4.6),
        (3.2, 4.6),
        (3.4, 1.8),
        (4.2, 2.4),
        (5, 6),
        (7, 8.6),
    ]
)
_CROWN = np.array([0.0, 13.0, -3.0])  # rest place that hair is combed away from
_EARS = (7.6, 4.4)  # centimetres: how far from the middle they are at least, and their tops


def scalp(rest: Reals, look: Look) -> FloatArray:
    """Where hair grows.

    Args:
        rest: float [N, 3], rest places.
        look: whose hair.

    Returns:
        float32 [N], 0 to 1.
    """
    line = _line(rest, look)
    ears = (np.abs(rest[:, 0]) > _EARS[0]) & (rest[:, 1] < _EARS[1])
    grown = np.clip((rest[:, 1] - line) / 0.8 + 0.5, 0, 1) * ~ears
    return np.asarray(grown, np.float32)


def _line(rest: Reals, look: Look) -> FloatArray:
    """The height at which hair begins, centimetres, float [N], at rest places [N, 3]."""
    line = np.interp(rest[:, 2], _HAIRLINE[:, 0], _HAIRLINE[:, 1])
    front = np.clip((rest[:, 2] - 4.5) / 2, 0, 1)
    ragged = 0.2 * sample(noise(0.02, 0.2), rest[:, :2] / 15 + look.shift)
    bay = 0.45 * look.hairline * np.exp(-(((np.abs(rest[:, 0]) - 4.2) / 1.5) ** 2))
    found: FloatArray = line + ragged + front * (look.hairline + bay)
    return found


def thickness(rest: Reals, look: Look) -> FloatArray:
    """How far hair stands off the skin, centimetres, float32 [N], at rest places [N, 3]."""
    within = np.clip((rest[:, 1] - _line(rest, look)) / 3.0, 0, 1) * scalp(rest, look)
    return np.asarray(look.volume * np.sqrt(within), np.float32)


def combed(rest: Reals, normals: Reals, look: Look) -> FloatArray:
    """The way hair lies: away from the crown or parting, along the skin.

    Args:
        rest: float [N, 3], rest places.
        normals: float [N, 3], of the skin at rest.
        look: whose hair.

    Returns:
        float32 [N, 3], unit vectors.
    """
    way = rest - (_CROWN + np.array([look.parting, 0, 0]))
    if look.top == 2 or look.parting > 1:  # from a parting to both sides and back
        way = way * np.array([1.6, 1.0, 0.15]) + np.array([0, 0, -1.5])
    elif look.parting < -1:  # back from the forehead
        way = np.where(rest[:, 2:] > 2, -way, way)
    way = way - normals * (way * normals).sum(1, keepdims=True)
    return unit(way)


def coloured(
    rest: Reals, normals: Reals, look: Look, lights: Lighting
) -> tuple[FloatArray, FloatArray]:
    """A head of hair seen as a surface of strands.

    Args:
        rest: float [N, 3], rest places.
        normals: float [N, 3], in view coordinates.
        look: whose hair.
        lights: what it is lit by.

    Returns:
        float32 [N, 3], its colour before light, and float32 [N, 3], highlights.
    """
    arm = rest - (_CROWN + np.array([look.parting, 0, 0]))
    around = np.arctan2(arm[:, 0], arm[:, 2] * 0.5 + 3) / (2 * np.pi)
    down = np.linalg.norm(arm, axis=1) / 60
    fine = sample(noise(0.004, 0.03), np.stack([around * 5, down], 1) + look.shift)
    broad = sample(noise(0.02, 0.2), np.stack([around * 3, down * 0.7], 1) + look.shift)
    colour = look.hair * np.exp(0.35 * fine + 0.3 * broad)[:, None] * 0.9
    # hair shines across its strands (Kajiya and Kay 1989)
    way = combed(rest, normals, look)
    total = np.zeros((len(rest), 3), np.float32)
    for towards, tint in zip(lights.directions, lights.colours, strict=True):
        half = unit(towards + np.array([0, 0, 1]))
        along = way @ half + 0.1 * fine
        spec = np.sqrt(np.maximum(1 - along**2, 0)) ** 60 * np.clip(normals @ towards + 0.2, 0, 1)
        total += (
            (0.05 * spec)[:, None] * tint * (0.4 + look.hair / max(float(look.hair.max()), 1e-3))
        )
    return np.asarray(colour, np.float32), total
