"""A rendered head before its camera: what each pixel shows, and how much light arrives there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import INNER_LIPS, FloatArray
from facepaint.lab.data import render_head as head
from facepaint.lab.data import render_light as light
from facepaint.lab.data.render_head import Actor, Posed
from facepaint.lab.data.render_light import Lighting
from facepaint.lab.data.render_mesh import Raster, Reals, normals, rasterise, unit
from facepaint.lab.data.render_scalp import thickness
from facepaint.lab.data.render_textures import Look

VIEW = np.array([0, 0, 1], np.float32)  # direction to the viewer
_WAYS = ((1, 0), (0, 1))  # in which slopes are measured: to the right, down
_EXPOSED = 0.85  # mean light on the face after exposure; 1 shows white paper as white


@dataclass(frozen=True, eq=False)
class Camera:
    """How a head is seen: turned, then in mild perspective.

    Attributes:
        turn: float32 [3, 3], the head's.
        distance: centimetres from the head's middle to the viewer.
        scale: pixels per centimetre at the head's middle.
        shift: float32 [2], pixels, where the head's middle is seen.
    """

    turn: FloatArray
    distance: float
    scale: float
    shift: FloatArray

    def screen(self, view: Reals) -> FloatArray:
        """Places [N, 3] in view coordinates as x, y in pixels and depth, float32 [N, 3]."""
        near = 1 / (1 - view[:, 2] / self.distance)
        xy = view[:, :2] * (near * self.scale)[:, None] * np.array([1, -1]) + self.shift
        return np.column_stack([xy, near]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Scene:
    """A head before the camera, as far as it is the same for all that is drawn.

    Attributes:
        actor, posed, look, camera, lighting: what is seen.
        asked: float32 [52], blendshapes.
        view: float32 [V, 3], vertices in view coordinates.
        screen: float32 [V, 3], pixels and depth.
        normals: float32 [V, 3], in view coordinates.
    """

    actor: Actor
    posed: Posed
    look: Look
    camera: Camera
    lighting: Lighting
    asked: FloatArray
    view: FloatArray
    screen: FloatArray
    normals: FloatArray


@dataclass(frozen=True, eq=False)
class Surface:
    """What the pixels show, arrays of one length N.

    Attributes:
        raster: which pixels.
        parts: int8 [N], of the head.
        normals, rest, view: float32 [N, 3].
        uv: float32 [N, 2], centimetres.
        open: float32 [N], how much of the surrounding light arrives, 0 to 1.
        key: float32 [N], how much of the first lamp arrives, 0 to 1.
    """

    raster: Raster
    parts: npt.NDArray[np.int8]
    normals: FloatArray
    rest: FloatArray
    view: FloatArray
    uv: FloatArray
    open: FloatArray
    key: FloatArray

    def only(self, chosen: npt.NDArray[np.bool_]) -> Surface:
        """The chosen pixels, bool [N]."""
        r = self.raster
        raster = Raster(
            r.pixels[chosen], r.triangles[chosen], r.corners[chosen], r.weights[chosen], r.size
        )
        arrays = (self.normals, self.rest, self.view, self.uv, self.open, self.key)
        return Surface(raster, self.parts[chosen], *(a[chosen] for a in arrays))


def scene(
    actor: Actor, posed: Posed, look: Look, camera: Camera, lighting: Lighting, asked: Reals
) -> Scene:
    """Puts a head before the camera."""
    view = posed.points @ camera.turn.T
    facing = normals(view, actor.triangles)
    if look.top:
        view = view + facing * thickness(actor.rest, look)[:, None]
        facing = normals(view, actor.triangles)
    return Scene(actor, posed, look, camera, lighting, asked, view, camera.screen(view), facing)


def surface(s: Scene, size: int) -> Surface:
    """Finds what each pixel shows and how much light arrives there.

    Args:
        s: the scene.
        size: pixels a side.
    """
    raster = rasterise(s.screen, s.actor.triangles, size)
    parts = s.actor.parts[raster.corners[:, 0]]
    mouth = np.isin(s.actor.parts, (head.SOCKET, head.GUMS, head.TONGUE, head.TEETH))
    opening = s.actor.landmarks.of(s.view)[list(INNER_LIPS)][::-1].astype(np.float32)
    arriving = 0.25 + 0.75 * s.actor.occlusion
    arriving[mouth] = light.through(s.view[mouth], s.normals[mouth], opening)
    arriving[s.actor.parts == head.EYE] = 1
    found = raster.of(np.column_stack([s.normals, s.actor.rest, s.view, s.actor.uv, arriving]))
    view = found[:, 6:9]
    key = light.shadow(
        raster, view, s.view, s.actor.triangles, s.lighting.directions[0], s.camera.scale
    )
    creased = light.creases(raster, view[:, 2], s.camera.scale)
    key = key * (0.4 + 0.6 * creased)
    return Surface(
        raster,
        parts,
        unit(found[:, :3]),
        found[:, 3:6],
        view,
        found[:, 9:11],
        found[:, 11] * creased,
        key,
    )


def exposed(s: Scene, seen: Surface) -> Scene:
    """The scene with its light made so bright that the face is well exposed."""
    face = (seen.parts == head.SKIN) & (seen.rest[:, 2] > 7) & (np.abs(seen.rest[:, 0]) < 4.5)
    some = seen.only(face)
    arriving = diffuse(some, some.normals, some.normals, s.lighting)
    wanted = _EXPOSED * (1.3 - 0.38 * min(1.0, float(light.brightness(s.look.skin)) / 0.5))
    gain = wanted / max(float(light.brightness(arriving).mean()), 1e-3)
    return replace(s, lighting=s.lighting.scaled(gain))


def diffuse(p: Surface, fine: Reals, smooth: Reals, lights: Lighting) -> FloatArray:
    """Light on skin, float32 [N, 3]; red light sees less of the fine relief."""
    total = lights.around(smooth) * p.open[:, None]
    for k, (towards, colour) in enumerate(zip(lights.directions, lights.colours, strict=True)):
        a, b = smooth @ towards, fine @ towards
        cosine = np.stack([0.6 * a + 0.4 * b, 0.3 * a + 0.7 * b, b], 1)
        reach = p.key if k == 0 else np.sqrt(p.open)
        red, blue = (0.75, 1.1) if k == 0 else (1.0, 1.0)  # shadows have reddish edges in skin
        share = np.stack([reach**red, reach, reach**blue], 1)
        total += light.wrapped(cosine) * share * colour
    return total


def shine(
    p: Surface, facing: Reals, lights: Lighting, power: float, strength: Reals | float
) -> FloatArray:
    """Highlights of all lamps, float32 [N, 3]."""
    total = np.zeros((len(facing), 3), np.float32)
    for k, (towards, colour) in enumerate(zip(lights.directions, lights.colours, strict=True)):
        reach = p.key if k == 0 else p.open
        total += (light.shine(facing, towards, VIEW, power) * reach * strength)[:, None] * colour
    return total


def bumped(s: Scene, p: Surface, heights: Reals) -> FloatArray:
    """Normals after a relief of heights [N] in centimetres, float32 [N, 3]."""
    picture = p.raster.picture(heights)
    slopes = [cv2.Sobel(picture, cv2.CV_32F, *way, scale=s.camera.scale / 8) for way in _WAYS]
    across, down = (p.raster.at(np.asarray(slope, np.float32)) for slope in slopes)
    slope = np.stack([np.clip(-across, -0.6, 0.6), np.clip(down, -0.6, 0.6), 0 * down], 1)
    return unit(p.normals + slope)
