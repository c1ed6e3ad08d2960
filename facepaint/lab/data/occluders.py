"""Occluders: drawn things before a face, for a network that learns to tell them from the face.

Each kind draws a `Layer` over a crop: hands, microphones, cups and phones, hair, glasses, cloth
(masks, scarves, hats) and blobs of texture. Shapes are signed distances in crop units, negative
inside, so their edges are anti-aliased. Everything random comes from the generator passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import LEFT_IRIS, RIGHT_IRIS, FloatArray

Pixels = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float64]  # [2], x and y in crop units; or [3], a colour or a direction
_TARGETS = (13, 13, 1, 152, 50, 280, RIGHT_IRIS, LEFT_IRIS, 10)  # landmarks that hands hide
_TEMPLES = (127, 356)  # landmarks where the sides of glasses leave the face
_MASK_LINE = (*(234, 93, 132, 58, 172, 150, 152), *(379, 397, 288, 361, 323, 454))  # ear to ear
_NAIL_TINT = np.array([1.14, 1.06, 1.07])  # of skin: nails are lighter and pinker


@dataclass(frozen=True, eq=False)
class Bank:
    """Pictures that occluders take their texture from.

    Attributes:
        skins: uint8 [K, P, P, 3] RGB patches of cheeks; K ≥ 1.
        textures: uint8 [M, T, T, 3] RGB pictures without a face; M may be 0.
    """

    skins: Pixels
    textures: Pixels


@dataclass(frozen=True, eq=False)
class Ground:
    """The face that an occluder is drawn for.

    Attributes:
        points: float32 [478, 2], landmarks in crop units.
        skin: float [3], mean colour of a cheek, 0 to 255.
        hair: float [3], mean colour of the hair, 0 to 255.
        bank: pictures to take textures from.
        size: pixels a side of the crop.
    """

    points: FloatArray
    skin: Vector
    hair: Vector
    bank: Bank
    size: int


class Layer:
    """What is drawn over a crop.

    Attributes:
        colour: float32 [S, S, 3], 0 to 255, already multiplied by `alpha`.
        alpha: float32 [S, S], opacity, 0 to 1.
        cover: float32 [S, S], 1 where the thing is: a clear lens covers but is not opaque.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.colour = np.zeros((size, size, 3), np.float32)
        self.alpha = np.zeros((size, size), np.float32)
        self.cover = np.zeros((size, size), np.float32)
        middles = (np.arange(size, dtype=np.float32) + 0.5) / size
        self.x, self.y = np.meshgrid(middles, middles)

    def lay(self, colour: FloatArray | Vector, alpha: FloatArray, covers: bool = True) -> None:
        """Put a part over what is there: colour float [S, S, 3] or [3], alpha float [S, S]."""
        part = alpha[..., None]
        self.colour = (self.colour * (1 - part) + colour * part).astype(np.float32)
        self.alpha = self.alpha * (1 - alpha) + alpha
        if covers:
            self.cover = self.cover * (1 - alpha) + alpha

    def darken(self, distance: FloatArray, amount: float, reach: float) -> None:
        """Darken what is there near a part: ambient occlusion, `reach` in crop units."""
        light = 1 - amount * np.exp(-np.maximum(distance, 0) / reach)
        self.colour = (self.colour * light[..., None]).astype(np.float32)

    def inside(self, distance: FloatArray) -> FloatArray:
        """The coverage of each pixel, 0 to 1, by a shape of that signed distance in crop units."""
        return np.asarray(np.clip(0.5 - distance * self.size, 0, 1), np.float32)

    def soften(self, sigma: float) -> None:
        """Blur the layer as an unsharp lens would, sigma in pixels."""
        for name in ("colour", "alpha", "cover"):
            blurred = cv2.GaussianBlur(getattr(self, name), (0, 0), sigma)
            setattr(self, name, np.asarray(blurred, np.float32))

    def over(self, pixels: Pixels) -> Pixels:
        """The layer over a crop, uint8 [S, S, 3]."""
        out = pixels * (1 - self.alpha[..., None]) + self.colour
        return np.asarray(np.clip(np.rint(out), 0, 255), np.uint8)


# --- shapes: signed distances, [S, S] in crop units


def _capsule(
    layer: Layer, start: Vector, end: Vector, radii: tuple[float, float]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A rod with round ends.

    Returns:
        its signed distance; how far across a place lies, −1 to 1 inside; how far along, 0 to 1.
    """
    axis = end - start
    length = max(1e-6, float(np.hypot(*axis)))
    ux, uy = axis / length
    dx, dy = layer.x - start[0], layer.y - start[1]
    along = np.clip((dx * ux + dy * uy) / length, 0, 1)
    radius = radii[0] + (radii[1] - radii[0]) * along
    away = np.hypot(dx - along * axis[0], dy - along * axis[1])
    across = (dy * ux - dx * uy) / radius
    return (
        np.asarray(away - radius, np.float32),
        np.asarray(across, np.float32),
        np.asarray(along, np.float32),
    )


def _rectangle(
    layer: Layer, centre: Vector, half: Vector, angle: float, corner: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A rounded rectangle: its signed distance and the places along its sides, −1 to 1 inside."""
    cos, sin = np.cos(angle), np.sin(angle)
    dx, dy = layer.x - centre[0], layer.y - centre[1]
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    ax, ay = np.abs(u) - half[0] + corner, np.abs(v) - half[1] + corner
    outer = np.hypot(np.maximum(ax, 0), np.maximum(ay, 0))
    distance = outer + np.minimum(np.maximum(ax, ay), 0) - corner
    return (
        np.asarray(distance, np.float32),
        np.asarray(u / half[0], np.float32),
        np.asarray(v / half[1], np.float32),
    )


def _blob(layer: Layer, rng: np.random.Generator, centre: Vector, radius: float) -> FloatArray:
    """A closed shape with a random, smooth outline."""
    dx, dy = layer.x - centre[0], layer.y - centre[1]
    stretch, turn = np.exp(rng.normal(0, 0.35)), rng.uniform(0, np.pi)
    u = (dx * np.cos(turn) + dy * np.sin(turn)) * stretch
    v = (dy * np.cos(turn) - dx * np.sin(turn)) / stretch
    angle = np.arctan2(v, u)
    reach = np.ones_like(angle)
    for waves in range(2, 7):
        size = rng.normal(0, 0.22) / waves**0.5
        reach += size * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(u, v) - radius * np.maximum(reach, 0.2), np.float32)


def _polygon(layer: Layer, corners: FloatArray) -> FloatArray:
    """The coverage by a filled polygon, [S, S]; corners float [K, 2] in crop units."""
    large = np.zeros((2 * layer.size, 2 * layer.size), np.uint8)
    at = np.round((corners * 2 * layer.size - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(large, [at], 255, cv2.LINE_AA, shift=4)
    return _halved(large)


def _halved(large: Pixels) -> FloatArray:
    size = len(large) // 2
    small = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(small / np.float32(255), np.float32)


# --- surfaces


def _light(rng: np.random.Generator) -> Vector:
    """A direction that light comes from, float [3]; most from above and the front."""
    direction = np.array([rng.normal(0, 0.6), rng.normal(-0.5, 0.4), rng.uniform(0.5, 1.2)])
    return np.asarray(direction / np.linalg.norm(direction), np.float64)


def _rounded(across: FloatArray, side: Vector, light: Vector, depth: float = 1.0) -> FloatArray:
    """The brightness of a rod's surface, about 0.45 to 1.15, lit from `light`.

    Args:
        across: float [S, S], −1 to 1 inside.
        side: float [2], unit vector of the direction in which `across` grows.
        light: float [3], unit vector.
        depth: 1 for a round rod, less for a flatter one.
    """
    bend = np.clip(across, -1, 1) * depth
    facing = np.sqrt(np.maximum(1 - bend**2, 0)) * light[2] + bend * float(side @ light[:2])
    return np.asarray(0.45 + 0.7 * np.maximum(facing, 0), np.float32)


def _grain(rng: np.random.Generator, ground: Ground) -> FloatArray:
    """Relief of real skin over the crop, float32 [S, S, 3] about 1."""
    skins, size = ground.bank.skins, ground.size
    patch = skins[int(rng.integers(len(skins)))].astype(np.float32) + 1
    relief = patch / np.maximum(cv2.GaussianBlur(patch, (0, 0), 4), 1)
    relief = np.clip(1 + (relief - 1) * rng.uniform(0.7, 2.0), 0.5, 1.5)
    side = round(len(patch) * rng.uniform(1, 2.5))
    relief = cv2.resize(relief, (side, side), interpolation=cv2.INTER_LINEAR)
    tile = np.concatenate([relief, relief[::-1]], 0)
    tile = np.concatenate([tile, tile[:, ::-1]], 1)
    times = -(-size // len(tile))
    return np.asarray(np.tile(tile, (times, times, 1))[:size, :size], np.float32)


def _skin(rng: np.random.Generator, ground: Ground) -> Vector:
    """The colour of a hand: mostly of the face's own skin, else of another's; float [3]."""
    colour = ground.skin
    if rng.random() < 0.25:
        skins = ground.bank.skins
        colour = skins[int(rng.integers(len(skins)))].reshape(-1, 3).mean(0)
    change = np.exp(rng.normal(0, 0.16) + rng.normal(0, 0.04, 3))
    return np.asarray(np.clip(colour * change, 4, 250), np.float64)


def _colour(rng: np.random.Generator) -> Vector:
    """A colour of things: often black, white or grey, float [3]."""
    if rng.random() < 0.5:
        return np.asarray(rng.uniform(0, 255) + rng.normal(0, 8, 3), np.float64).clip(0, 255)
    return rng.uniform(0, 255, 3)


def _surface(rng: np.random.Generator, ground: Ground) -> FloatArray:
    """A picture that things are covered with, float32 [S, S, 3]: part of a photo, or a colour with
    grain and stripes."""
    size, textures = ground.size, ground.bank.textures
    if len(textures) and rng.random() < 0.6:
        picture = textures[int(rng.integers(len(textures)))]
        side = round(len(picture) * rng.uniform(0.3, 1))
        left, top = rng.integers(0, len(picture) - side + 1, 2)
        part = picture[top : top + side, left : left + side]
        how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, (size, size), interpolation=how), np.float32)
    out = np.empty((size, size, 3), np.float32)
    out[:] = _colour(rng)
    steps = np.arange(size) / size
    if rng.random() < 0.35:
        angle, waves = rng.uniform(0, np.pi), rng.uniform(3, 30)
        place = np.add.outer(steps * np.sin(angle), steps * np.cos(angle))
        share = np.clip(0.5 + 2 * np.sin(2 * np.pi * waves * place), 0, 1)[..., None]
        out = (out * (1 - share) + _colour(rng) * share).astype(np.float32)
    coarse = rng.normal(0, rng.uniform(0, 0.25), (5, 5)).astype(np.float32)
    folds = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, rng.uniform(0, 8), (size, size, 1))
    return np.asarray(np.clip(out * np.exp(folds)[..., None] + grain, 0, 255), np.float32)


def _turned(vector: Vector, angle: float) -> Vector:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([vector[0] * cos - vector[1] * sin, vector[0] * sin + vector[1] * cos])


# --- the kinds


def hand(rng: np.random.Generator, ground: Ground) -> Layer:
    """One to five fingers on the face, and the palm behind them."""
    layer = Layer(ground.size)
    target = ground.points[_TARGETS[int(rng.integers(len(_TARGETS)))]] + rng.normal(0, 0.05, 2)
    _draw_hand(layer, rng, ground, target, int(rng.integers(1, 6)))
    return layer


class _Skin(NamedTuple):
    """How a hand looks: its colour, float [3], 0 to 255; relief, float32 [S, S, 3] about 1; the
    direction of the light, float [3]; and how dark it is between fingers, 0 to 1."""

    colour: Vector
    grain: FloatArray
    light: Vector
    crease: float


def _draw_hand(
    layer: Layer, rng: np.random.Generator, ground: Ground, target: Vector, fingers: int
) -> None:
    """A hand whose fingertips are about `target`, from a side or from below."""
    surface = _Skin(_skin(rng, ground), _grain(rng, ground), _light(rng), rng.uniform(0.05, 0.5))
    skin, light = surface.colour, surface.light
    back = _turned(np.array([0.0, 1.0]), float(np.clip(rng.normal(0, 0.9), -2.2, 2.2)))
    side = np.array([-back[1], back[0]])
    radius = rng.uniform(0.028, 0.05)
    gap = 2 * radius * rng.uniform(0.92, 1.3)
    fan, bend = rng.uniform(-0.02, 0.12), rng.normal(0, 0.35)
    curled = 0.5 if rng.random() < 0.3 else 1.0
    first, second = curled * rng.uniform(0.08, 0.14), curled * rng.uniform(0.08, 0.15)
    places = np.arange(fingers) - (fingers - 1) / 2
    knuckles = []
    for place in places:
        toward = _turned(back, -place * fan)
        lag = 0.012 * place**2 + rng.normal(0, 0.012)
        tip = target + side * place * gap + back * lag
        middle = tip + toward * first
        knuckles.append((tip, middle, middle + _turned(toward, bend) * second))
    root = np.mean([k[2] for k in knuckles], 0)
    palm = max(gap * fingers / 2, rng.uniform(0.08, 0.16))
    wrist = root + _turned(back, bend) * 0.5
    _limb(layer, root, wrist, (palm, palm * rng.uniform(0.7, 1.1)), surface, 0.55)
    polish = _colour(rng) if rng.random() < 0.3 else skin * _NAIL_TINT
    nails = rng.random() < 0.6
    for n in rng.permutation(fingers):
        tip, middle, end = knuckles[n]
        thick = radius * rng.uniform(0.9, 1.1)
        _limb(layer, end, middle, (1.12 * thick, 1.02 * thick), surface)
        _limb(layer, middle, tip, (1.02 * thick, 0.82 * thick), surface)
        if nails:
            along = (tip - middle) / np.linalg.norm(tip - middle)
            start = tip - along * 0.35 * thick
            nail, across, _ = _capsule(
                layer, start, start + along * 0.6 * thick, (0.55 * thick, 0.5 * thick)
            )
            shine = _rounded(across, np.array([-along[1], along[0]]), light, 0.8)[..., None]
            layer.lay(np.clip(polish * shine, 0, 255).astype(np.float32), layer.inside(nail))


def _limb(
    layer: Layer,
    start: Vector,
    end: Vector,
    radii: tuple[float, float],
    skin: _Skin,
    depth: float = 1.0,
) -> None:
    """A part of a hand: a rod of skin, with the fold of a joint where it begins."""
    distance, across, along = _capsule(layer, start, end, radii)
    axis = (end - start) / max(1e-6, float(np.hypot(*(end - start))))
    shade = _rounded(across, np.array([-axis[1], axis[0]]), skin.light, depth)
    fold = 1 - 0.12 * np.exp(-((along / 0.12) ** 2))
    tone = np.stack([shade**0.85, shade, shade], -1)  # skin in the shade is redder
    layer.darken(distance, skin.crease, 0.2 * min(radii))
    layer.lay(
        np.clip(skin.colour * tone * skin.grain * fold[..., None], 0, 255).astype(np.float32),
        layer.inside(distance),
    )


def microphone(rng: np.random.Generator, ground: Ground) -> Layer:
    """A microphone before the mouth, on a stick that a hand may hold; or a small headset's."""
    layer, light = Layer(ground.size), _light(rng)
    headset = rng.random() < 0.25
    mouth = ground.points[13].astype(np.float64)
    down = _turned(np.array([0.0, 1.0]), rng.normal(0, 0.7))
    if headset:
        side = -1 if rng.random() < 0.5 else 1
        head = mouth + np.array([side * rng.uniform(0.02, 0.15), rng.uniform(-0.02, 0.08)])
        ear = ground.points[_TEMPLES[side > 0]] + np.array([side * 0.03, 0.15])
        radius, stick, end = rng.uniform(0.015, 0.035), 0.007, ear.astype(np.float64)
    else:
        head = mouth + rng.normal(0, 0.06, 2) + down * rng.uniform(0, 0.14)
        radius = rng.uniform(0.06, 0.13)
        stick, end = radius * rng.uniform(0.4, 0.75), head + down * 1.2
    dark = _colour(rng) * (0.35 if rng.random() < 0.8 else 1.0)
    rod, across, _ = _capsule(layer, end, head, (0.8 * stick, stick))
    axis = (head - end) / np.linalg.norm(head - end)
    tone = _rounded(across, np.array([-axis[1], axis[0]]), light)[..., None]
    layer.lay((_colour(rng) * 0.5 * tone).astype(np.float32), layer.inside(rod))
    dx, dy = layer.x - head[0], layer.y - head[1]
    away = np.hypot(dx, dy * rng.uniform(0.8, 1.1)) - radius
    u, v = np.clip(dx / radius, -1, 1), np.clip(dy / radius, -1, 1)
    facing = np.sqrt(np.maximum(1 - u**2 - v**2, 0)) * light[2] + u * light[0] + v * light[1]
    mesh = rng.uniform(0, 0.5) * np.sin(layer.x * rng.uniform(150, 400))
    mesh = mesh * np.sin(layer.y * rng.uniform(150, 400))
    noise = rng.normal(0, rng.uniform(0.02, 0.25), mesh.shape)
    ball = dark * ((0.4 + 0.9 * np.maximum(facing, 0)) * (1 + mesh + noise))[..., None]
    layer.lay(np.clip(ball, 0, 255).astype(np.float32), layer.inside(away.astype(np.float32)))
    if not headset and rng.random() < 0.4:
        grip = head + down * (radius + rng.uniform(0.05, 0.2))
        _draw_hand(layer, rng, ground, grip, 4)
    return layer


def thing(rng: np.random.Generator, ground: Ground) -> Layer:
    """A cup, phone or another thing with straight sides before a part of the face."""
    layer, light = Layer(ground.size), _light(rng)
    cup = rng.random() < 0.5
    if cup:
        half = np.array([rng.uniform(0.1, 0.2), rng.uniform(0.15, 0.3)])
        angle, corner = rng.normal(0, 0.25), rng.uniform(0.01, 0.05)
        centre = ground.points[13] + _turned(np.array([0.0, half[1]]), angle)
        centre = centre + rng.normal(0, 0.05, 2)
    else:
        half = np.array([rng.uniform(0.1, 0.22), rng.uniform(0.15, 0.4)])
        angle, corner = rng.normal(0, 0.6), rng.uniform(0.005, 0.06)
        centre = ground.points[_TARGETS[int(rng.integers(len(_TARGETS)))]]
        centre = centre + rng.normal(0, 0.15, 2)
    distance, u, v = _rectangle(layer, centre, half, angle, min(corner, half.min()))
    side = np.array([np.cos(angle), np.sin(angle)])
    shade = _rounded(u, side, light, 1.0 if cup else 0.2)[..., None]
    body = _surface(rng, ground) * shade
    if cup and rng.random() < 0.5:  # the rim
        body = np.where(v[..., None] < -0.9, body * 0.6 + 90, body)
    layer.lay(np.clip(body, 0, 255).astype(np.float32), layer.inside(distance))
    if not cup and rng.random() < 0.5:  # lenses of a phone's camera
        for n in range(int(rng.integers(1, 4))):
            at = centre + _turned(half * [0.55, -0.8 + 0.2 * n], angle)
            lens = np.hypot(layer.x - at[0], layer.y - at[1]) - 0.025
            layer.lay(_colour(rng) * 0.3, layer.inside(lens.astype(np.float32)))
    if rng.random() < 0.5:
        edge = centre + side * half[0] * (1 if rng.random() < 0.5 else -1) * 0.6
        _draw_hand(layer, rng, ground, edge, 4)
    return layer


def hair(rng: np.random.Generator, ground: Ground) -> Layer:
    """Strands of hair over the face, from above or from a side."""
    layer, size = Layer(ground.size), 2 * ground.size
    colour = ground.hair if rng.random() < 0.75 else _colour(rng)
    shape, tone = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    fringe = rng.random() < 0.35
    for _ in range(int(rng.integers(6, 16) if fringe else rng.integers(1, 6))):
        bow = rng.normal(0, 0.12, 2)
        if fringe:
            start = np.array([rng.uniform(0.15, 0.85), rng.uniform(-0.05, 0.12)])
            end = start + np.array([rng.normal(0, 0.12), rng.uniform(0.12, 0.38)])
        else:
            left = rng.random() < 0.5
            start = np.array([rng.uniform(0.0, 0.45), rng.uniform(-0.05, 0.25)])
            end = start + np.array([rng.uniform(-0.15, 0.35), rng.uniform(0.3, 0.8)])
            if not left:
                start, end = start * [-1, 1] + [1, 0], end * [-1, 1] + [1, 0]
        spread = rng.uniform(0.003, 0.045)
        for _ in range(int(rng.integers(1, 36))):
            shift = rng.normal(0, spread, (3, 2)) * [[0.6], [1.0], [1.3]]
            control = (start + end) / 2 + bow
            path = _bezier(start + shift[0], control + shift[1], end + shift[2])
            at = [np.round((path * size - 0.5) * 16).astype(np.int32)]
            thick = 1 if rng.random() < 0.6 else 2
            cv2.polylines(shape, at, False, 255, thick, cv2.LINE_AA, 4)
            cv2.polylines(tone, at, False, int(rng.uniform(50, 255)), thick, cv2.LINE_AA, 4)
    alpha, bright = _halved(shape), _halved(tone)
    shine = 0.45 + 0.9 * bright / np.maximum(alpha, 1e-3)
    layer.lay(np.clip(colour * shine[..., None], 0, 255).astype(np.float32), alpha)
    return layer


def _bezier(start: Vector, control: Vector, end: Vector) -> Vector:
    t = np.linspace(0, 1, 24)[:, None]
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end)


def glasses(rng: np.random.Generator, ground: Ground) -> Layer:
    """Glasses or sunglasses where the eyes are: frames, lenses from clear to black, sides."""
    layer, points = Layer(ground.size), ground.points.astype(np.float64)
    right, left = points[RIGHT_IRIS], points[LEFT_IRIS]
    across = left - right
    apart = max(0.05, float(np.hypot(*across)))
    level = across / apart
    down = np.array([-level[1], level[0]])
    half = apart * np.array([rng.uniform(0.34, 0.47), rng.uniform(0.22, 0.44)])
    power, flare = rng.uniform(2, 6), rng.normal(0, 0.12)
    rim = 0.0 if rng.random() < 0.15 else apart * 0.015 * np.exp(rng.uniform(0, 2))
    brow = rng.uniform(1, 2.2)  # how much thicker the rim is above
    drop = apart * rng.uniform(0.0, 0.12)
    frame, tint, opacity, mirror = _colour(rng) * rng.uniform(0.2, 1), *_lens(rng, ground)
    for sign, eye in ((-1, right), (1, left)):
        centre = eye + down * drop + level * sign * apart * 0.02
        dx, dy = layer.x - centre[0], layer.y - centre[1]
        u = (dx * level[0] + dy * level[1]) / half[0]
        v = (dx * down[0] + dy * down[1]) / half[1]
        u = u / (1 + flare * v.clip(-1.5, 1.5))
        reach = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
        distance = np.asarray((reach - 1) * half.min(), np.float32)
        lens = layer.inside(distance)
        fade = np.clip(1 - mirror * (v + 1) / 2, 0, 1)
        layer.lay(tint, (lens * opacity * fade).astype(np.float32), covers=False)
        layer.cover = np.maximum(layer.cover, lens)
        _glare(layer, rng, lens, centre, apart)
        thick = rim * np.where(v < 0, brow, 1) / 2
        layer.lay(frame, layer.inside(np.abs(distance) - thick.astype(np.float32)))
        outer = centre + level * sign * half[0] - down * half[1] * rng.uniform(0.2, 0.7)
        ear = points[_TEMPLES[sign > 0]] + level * sign * 0.05
        rod, _, _ = _capsule(layer, outer, ear, (0.006 + rim / 3, 0.006 + rim / 3))
        layer.lay(frame, layer.inside(rod) * (1 - lens))
    middle = (right + left) / 2 + down * (drop - half[1] * rng.uniform(0.1, 0.6))
    reach = level * (apart / 2 - half[0] + 0.01)
    bridge, _, _ = _capsule(layer, middle - reach, middle + reach, (0.006 + rim / 3,) * 2)
    layer.lay(frame, layer.inside(bridge))
    return layer


def _lens(rng: np.random.Generator, ground: Ground) -> tuple[FloatArray, float, float]:
    """Of a lens what it shows, float32 [S, S, 3]; its opacity; how much less it has below."""
    kind = rng.random()
    opacity = rng.uniform(0, 0.1) if kind < 0.6 else rng.uniform(0.15, 0.7)
    opacity = opacity if kind < 0.75 else rng.uniform(0.8, 1.0)
    dark = _colour(rng) * rng.uniform(0.05, 0.4) if opacity > 0.15 else _colour(rng)
    reflected = rng.uniform(0, 0.35)
    shown = dark * (1 - reflected) + _surface(rng, ground) * reflected
    return shown.astype(np.float32), float(opacity), float(rng.uniform(0, 0.6))


def _glare(
    layer: Layer, rng: np.random.Generator, lens: FloatArray, centre: Vector, apart: float
) -> None:
    """A bright streak over a lens."""
    if rng.random() < 0.5:
        angle, offset = rng.uniform(0, np.pi), rng.normal(0, 0.3) * apart
        place = (layer.x - centre[0]) * np.cos(angle) + (layer.y - centre[1]) * np.sin(angle)
        streak = np.exp(-(((place - offset) / (apart * rng.uniform(0.04, 0.25))) ** 2))
        alpha = lens * streak * rng.uniform(0.05, 0.7)
        layer.lay(np.array([255.0, 255, 255]), alpha.astype(np.float32), covers=False)


def cloth(rng: np.random.Generator, ground: Ground) -> Layer:
    """A mask or scarf over the lower face, or a hat, hood or band over the forehead."""
    layer, points = Layer(ground.size), ground.points
    low = rng.random() < 0.5
    if low:
        top = points[[4, 1, 2, 13][int(rng.integers(4))]]  # from the nose's tip to the lips
        ears = points[[454, 234]] + rng.normal(0, 0.03, (2, 2))
        line = points[list(_MASK_LINE)] + np.array([0, rng.uniform(0, 0.05)])
        if rng.random() < 0.4:  # a scarf goes on below
            line = np.array([[-0.1, 0.6], [-0.1, 1.2], [1.1, 1.2], [1.1, 0.6]])
        corners = np.concatenate([line, ears[:1], top[None], ears[1:]])
    else:
        height = points[10, 1] + rng.uniform(0.0, 0.75) * (points[9, 1] - points[10, 1])
        x = np.linspace(1.1, -0.1, 9)
        edge = height + rng.normal(0, 0.15) * (x - 0.5) + rng.normal(0.1, 0.25) * (x - 0.5) ** 2
        corners = np.concatenate([[[-0.1, -0.1], [1.1, -0.1]], np.column_stack([x, edge])])
    alpha = _polygon(layer, corners.astype(np.float32))
    rise = cv2.GaussianBlur(alpha, (0, 0), 5)  # darker towards its edge
    tone = (0.7 + 0.35 * rise)[..., None]
    layer.lay(np.clip(_surface(rng, ground) * tone, 0, 255).astype(np.float32), alpha)
    return layer


def texture(rng: np.random.Generator, ground: Ground) -> Layer:
    """One to three blobs of any texture."""
    layer = Layer(ground.size)
    for _ in range(int(rng.integers(1, 4))):
        centre = rng.uniform((0.1, 0.1), (0.9, 1.0))
        distance = _blob(layer, rng, centre, rng.uniform(0.04, 0.22))
        layer.lay(_surface(rng, ground), layer.inside(distance))
    return layer


OCCLUDERS: dict[str, Callable[[np.random.Generator, Ground], Layer]] = {
    "hand": hand,
    "microphone": microphone,
    "thing": thing,
    "hair": hair,
    "glasses": glasses,
    "cloth": cloth,
    "texture": texture,
}
