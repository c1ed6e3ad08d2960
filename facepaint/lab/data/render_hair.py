"""Hair of rendered faces, drawn as strands: brows, lashes, beards and what grows on the head."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import LEFT_BROW, RIGHT_BROW, FloatArray
from facepaint.lab.data import render_head as head
from facepaint.lab.data.render_light import tone
from facepaint.lab.data.render_mesh import Reals, unit
from facepaint.lab.data.render_scalp import combed, scalp
from facepaint.lab.data.render_scene import Scene
from facepaint.lab.data.render_textures import noise

Pixels = npt.NDArray[np.uint8]

_BROW_HAIRS = 560  # a side, of a brow of width 1
_BEARD_HAIRS = 7500  # of a full beard
_SHORT_HAIRS, _LONG_HAIRS = 6000, 3800
_HEAD_MIDDLE = np.array([0, 3.5, 1.0])  # mesh coordinates, centimetres
_HEAD_SIZE = np.array([9.4, 11.5, 11.0])  # half axes of what long hair lies around
_SUBPIXEL_BITS = 4
_NOWHERE = np.array([-1e3, 0, 0], np.float32)  # off the picture: pieces that end there are left out
_BLACK = np.array([0.006, 0.005, 0.005], np.float32)


class Strands:
    """Draws strands over a picture, hidden where skin is before them.

    Args:
        s: the scene.
        picture: uint8 [S, S, 3] sRGB; drawn on in place.
        depth: float32 [S, S], the screen depth of what is nearest.
        lit: float32 [S, S], the light that arrives.
    """

    def __init__(self, s: Scene, picture: Pixels, depth: Reals, lit: Reals) -> None:
        self._s, self._picture, self._depth, self._lit = s, picture, depth, lit

    def draw(
        self,
        points: Reals,
        colours: Reals,
        cover: Reals,
        slack: float = 0.4,
        thick: int = 1,
    ) -> None:
        """Draws strands.

        Args:
            points: float [N, K, 3], from root to tip, view coordinates.
            colours: float [N, 3], linear albedo.
            cover: float [K − 1], how much of each piece's colour is the strand's, 0 to 1.
            slack: centimetres that a strand may lie behind the skin.
            thick: pixels of a picture of 1,024 pixels a side.
        """
        camera = self._s.camera
        count, length = points.shape[:2]
        screen = camera.screen(points.reshape(-1, 3).astype(np.float32)).reshape(count, length, 3)
        size = len(self._picture)
        thick = max(1, round(thick * size / 1024))
        at = np.clip(screen[..., :2].astype(int), 0, size - 1)
        there = self._depth[at[..., 1], at[..., 0]]
        shown = screen[..., 2] > there - slack / camera.distance
        light = self._lit[at[:, 0, 1], at[:, 0, 0]][:, None]
        shade = tone(colours * np.clip(light, 0.08, 2)).astype(np.float32)
        corners = np.round((screen[..., :2] - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
        inside = np.all((screen[..., :2] > 2) & (screen[..., :2] < size - 3), axis=2)
        for k in range(length - 1):
            rows = np.flatnonzero(shown[:, k] & shown[:, k + 1] & inside[:, k] & inside[:, k + 1])
            below = self._picture[at[rows, k + 1, 1], at[rows, k + 1, 0]].astype(np.float32)
            mixed = below + (shade[rows] - below) * np.float32(cover[k])
            ends = corners[:, k : k + 2]
            for i, colour in zip(rows.tolist(), mixed.tolist(), strict=True):
                a, b = ends[i].tolist()
                cv2.line(self._picture, a, b, colour, thick, cv2.LINE_AA, _SUBPIXEL_BITS)


def grow(s: Scene, strands: Strands, rng: np.random.Generator) -> None:
    """Draws all hair of a person.

    Args:
        s: the scene.
        strands: where to draw.
        rng: where chance comes from; the same for all pictures of a person.
    """
    if s.look.top:
        _head(s, strands, rng)
    if s.look.beard:
        _beard(s, strands, rng)
    _brows(s, strands, rng)
    _lashes(s, strands, rng)


def _on_skin(s: Scene, places: Reals, heights: Reals) -> FloatArray:
    """Posed places of strands that lie over the face.

    Args:
        s: the scene.
        places: float [N, K, 2], rest places.
        heights: float [K], centimetres above the skin.

    Returns:
        float32 [N, K, 3], view coordinates.
    """
    count, length = places.shape[:2]
    corners, weights, there = head.on_front(s.actor, places.reshape(-1, 2))
    at = np.einsum("nc,nck->nk", weights, s.view[corners])
    up = unit(np.einsum("nc,nck->nk", weights, s.normals[corners]))
    at[~there] = _NOWHERE
    lifted = at.reshape(count, length, 3) + up.reshape(count, length, 3) * heights[:, None]
    return np.asarray(lifted, np.float32)


def _tinted(colour: Reals, count: int, rng: np.random.Generator) -> FloatArray:
    spread = np.exp(rng.normal(0, 0.22, (count, 1)))
    return np.asarray(colour * spread, np.float32)


def _brows(s: Scene, strands: Strands, rng: np.random.Generator) -> None:
    rest = s.actor.landmarks.of(s.actor.model.neutral)[:, :2]
    thick, density = s.look.brow * rng.uniform(0.75, 1.1), rng.uniform(0.6, 1.2)
    lift, arch = rng.normal(0, 0.06), rng.uniform(-0.05, 0.12)
    for side, brow in ((-1, RIGHT_BROW), (1, LEFT_BROW)):
        upper, lower = rest[list(brow[:5])], rest[list(brow[:4:-1])]  # outer to inner end
        count = round(_BROW_HAIRS * s.look.brow * density)
        along = rng.beta(1.15, 1.0, count)  # 0 at the outer end
        across = np.clip(rng.normal(0.5, 0.24, count), 0, 1)
        grid = np.linspace(0, 1, 5)
        top = np.stack([np.interp(along, grid, upper[:, k]) for k in range(2)], 1)
        low = np.stack([np.interp(along, grid, lower[:, k]) for k in range(2)], 1)
        middle = (top + low) / 2
        taper = np.interp(along, [0, 0.35, 1], [0.25, 0.8, 1.0])[:, None] * thick
        root = middle + (top - low) * (across[:, None] - 0.5) * taper * 1.1
        root[:, 1] += lift + arch * np.sin(np.pi * along)
        # hairs lie outwards; at the inner end they stand up
        up = np.interp(along, [0, 0.4, 0.8, 1], [-12, 8, 45, 75]) + rng.normal(0, 11, count)
        up = np.radians(up + 22 * (0.5 - across))
        way = np.stack([side * np.cos(up), np.sin(up)], 1)
        long = rng.uniform(0.3, 0.65, count)[:, None] * (0.75 + 0.25 * taper)
        bend = np.stack([side * np.ones(count), -0.35 * np.ones(count)], 1) * 0.12
        places = np.stack([root + way * long * t + bend * t * t for t in (0, 0.4, 0.75, 1)], 1)
        points = _on_skin(s, places, np.array([0.0, 0.03, 0.04, 0.03]))
        colour = s.look.hair * min(0.75, 0.1 / float(s.look.hair.mean()))
        strands.draw(points, _tinted(colour, count, rng), np.array([0.42, 0.4, 0.25]))


def _lashes(s: Scene, strands: Strands, rng: np.random.Generator) -> None:
    colour = _BLACK + s.look.hair * np.float32(0.12)
    for k, rows in enumerate(s.actor.lashes):
        upper = k < 2
        count = round((170 if upper else 60) * min(1.1, 0.5 + 0.5 * s.look.lash))
        # between neighbours of a layer, so that roots do not stand in columns
        layer = rng.integers(0, 3, count) * 19
        place = np.sort(rng.uniform(0.3, 17.7, count))
        first, part = place.astype(int), (place % 1)[:, None, None]
        a, b = s.view[rows[layer + first]], s.view[rows[layer + first + 1]]
        strand = (a + (b - a) * part)[:, ::-1]  # root first
        reach = np.clip(
            s.look.lash * (0.85 if upper else 0.5) * rng.uniform(0.6, 1.05, count), 0, 1.1
        )
        steps = np.arange(6) * reach[:, None]
        low = np.minimum(steps.astype(int), 4)
        t = (steps - low)[..., None]
        index = np.arange(count)[:, None]
        points = strand[index, low] * (1 - t) + strand[index, low + 1] * t
        lean = rng.normal(0, 0.05, (count, 1, 1)) * np.linspace(0, 1, 6)[None, :, None] ** 1.5
        points = points + lean * np.array([1.0, 0.2, 0])
        strength = (0.75 if upper else 0.4) * min(1.0, 0.45 + 0.5 * s.look.lash)
        cover = strength * np.array([1.0, 0.9, 0.75, 0.55, 0.3])
        strands.draw(points.astype(np.float32), _tinted(colour, count, rng), cover)


def _beard(s: Scene, strands: Strands, rng: np.random.Generator) -> None:
    full = s.look.beard
    count = round(_BEARD_HAIRS * (0.45 + 0.55 * full))
    x, y = rng.uniform(-7, 7, count), rng.uniform(-7.5, 1.5, count)
    density = beard_density(x, y, noise(0.05, 0.4))
    lips = s.look.lip_map
    column, row = head.map_pixels(np.stack([x, y], 1)).astype(int).T
    free = lips[np.clip(row, 0, len(lips) - 1), np.clip(column, 0, lips.shape[1] - 1)] < 0.1
    kept = (rng.uniform(0, 1, count) < density) & free
    x, y = x[kept], y[kept]
    long = np.interp(full, [0, 0.15, 0.4, 1], [0, 0.022, 0.1, 0.5]) * rng.uniform(0.6, 1.2, len(x))
    way = np.stack([0.35 * x / 4 + rng.normal(0, 0.25, len(x)), -np.ones(len(x))], 1)
    way = way / np.linalg.norm(way, axis=1, keepdims=True)
    root = np.stack([x, y], 1)
    places = np.stack([root + way * long[:, None] * t for t in (0, 0.5, 1)], 1)
    points = _on_skin(
        s, places, np.array([0.0, 0.3, 0.35]) * float(long.mean() if len(long) else 0)
    )
    cover = np.array([0.42, 0.36]) * (0.6 + 0.4 * full)
    strands.draw(points, _tinted(s.look.hair * np.float32(0.8), len(x), rng), cover)


def beard_density(x: Reals, y: Reals, cloud: Reals) -> FloatArray:
    """Where a beard grows, at rest places x and y [N]: float [N], 0 to 1."""
    away = np.abs(x)
    cheeks = np.clip((away - 2.6) / 0.8, 0, 1) * np.clip(
        (-(y + 0.2) + (away - 4.5) * 0.9) / 1.2, 0, 1
    )
    chin = np.clip((-3.6 - y) / 0.5, 0, 1) * np.clip((away + 1.2 - (y + 4.6)) / 1.0, 0, 1)
    lip = np.clip((2.9 - away) / 0.6, 0, 1) * np.clip((-0.75 - y) / 0.25, 0, 1) * (y > -3.2)
    rows = (np.abs(y) * 23).astype(int) % len(cloud)
    columns = (np.abs(x + 9) * 23).astype(int) % len(cloud)
    patchy = np.clip(0.85 + 0.2 * cloud[rows, columns], 0, 1)
    density: FloatArray = np.clip(np.maximum.reduce([cheeks, chin, lip]), 0, 1) * patchy
    return density


def _head(s: Scene, strands: Strands, rng: np.random.Generator) -> None:
    rest = s.actor.rest
    grown = np.flatnonzero((s.actor.parts == head.SKIN) & (scalp(rest, s.look) > 0.35))
    long = s.look.top == 2
    count = _LONG_HAIRS if long else _SHORT_HAIRS
    roots = rng.choice(grown, count)
    steps = 9 if long else 3
    length = rng.uniform(12, 22) if long else s.look.volume * rng.uniform(1.6, 2.4)
    step = length / steps * rng.uniform(0.6, 1.2, (count, 1))
    curl, lift = rng.uniform(0.03, 0.2), rng.uniform(0.05, 0.35)
    up = s.normals[roots] @ s.camera.turn  # in mesh coordinates, as all below
    way = combed(rest[roots], up, s.look) + lift * up
    path = [s.view[roots] @ s.camera.turn + rng.normal(0, 0.12, (count, 3))]
    fall = np.array([0, -0.3 if long else -0.03, 0])
    for _ in range(steps):
        way = unit(way) + fall + rng.normal(0, curl, way.shape)
        after = path[-1] + unit(way) * step
        if long:  # around the head and behind the face
            arm = after - _HEAD_MIDDLE
            near = np.linalg.norm(arm / _HEAD_SIZE, axis=1, keepdims=True)
            after = np.where((near < 1) & (after[:, 1:2] > -6), _HEAD_MIDDLE + arm / near, after)
        hidden = (after[:, 2] > 4.2) & (after[:, 1] < rest[roots, 1].clip(None, 9.4) - 0.6)
        path.append(np.where(hidden[:, None], _NOWHERE, after))
    points = np.stack(path, 1) @ s.camera.turn.T
    order = np.argsort(points[:, 0, 2])
    colour = _tinted(s.look.hair, count, rng) * rng.uniform(0.5, 1.5, (count, 1))
    cover = np.linspace(0.6, 0.45, steps)
    strands.draw(points[order], colour[order].astype(np.float32), cover, 1.2, 2 if long else 1)
