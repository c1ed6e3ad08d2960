"""Textures of rendered faces, all made by program: noise, skin, lips, teeth and eyes.

Colours are linear RGB, 0 to 1. Paint maps show the rest head from the front
(`facepaint.lab.data.render_head`); what lies on the skin elsewhere is noise in uv.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import BLENDSHAPES, INNER_LIPS, OUTER_LIPS, FloatArray
from facepaint.lab.data.render_head import (
    MAP_HEIGHT,
    MAP_SCALE,
    MAP_WIDTH,
    Actor,
    map_pixels,
)
from facepaint.lab.data.render_mesh import Reals, sample

_NOISE_SIDE = 512  # pixels of a noise texture
_NOISE_SEED = 1
# sRGB skin colours from the darkest to the lightest
_SKIN = (
    (66, 44, 35),
    (98, 66, 50),
    (140, 97, 74),
    (182, 135, 108),
    (216, 171, 148),
    (232, 194, 175),
)
_IRISES = (
    (48, 28, 18),
    (72, 43, 25),
    (110, 78, 44),
    (98, 104, 62),
    (84, 118, 140),
    (122, 138, 148),
)
_HAIR = ((18, 14, 12), (38, 26, 19), (66, 44, 30), (104, 72, 44), (158, 122, 78), (120, 58, 30))
_GREY_HAIR = (170, 168, 164)
_LIPSTICKS = ((150, 24, 36), (176, 62, 78), (120, 40, 52), (196, 104, 98), (168, 90, 84))
_CORNER = (4.75, 3.45)  # rest place of the left eye's outer corner


@dataclass(frozen=True, eq=False)
class Look:
    """How a person looks, drawn at random.

    Attributes:
        skin, lips, gums, teeth, hair, iris, sclera: colours, float32 [3].
        paint: float32 [H, W, 3], what the skin's colour is multiplied by, a paint map.
        lip_map: float32 [H, W], where lips are, 0 to 1.
        folds: heights in centimetres, paint maps, by the name of the muscle that makes them.
        shift: float32 [2], where noise textures begin.
        age: 0 to 1, how deep folds are.
        oil: how strongly the skin shines, about 1.
        gloss: how strongly lips shine, about 1.
        pupil: radius of the pupil, of the iris's.
        beard: 0 for none to 1 for a full one.
        brow: width of the brows, about 1.
        lash: length and strength of the lashes, about 1.
        top: how much hair: 0 bald, 1 short, 2 long.
        volume: how far hair stands off the head, centimetres.
        parting: where hair is parted, centimetres to the person's left.
        hairline: how far the hair line is above the usual, centimetres.
        cloth: colour of what is worn, float32 [3].
    """

    skin: FloatArray
    lips: FloatArray
    gums: FloatArray
    teeth: FloatArray
    hair: FloatArray
    iris: FloatArray
    sclera: FloatArray
    paint: FloatArray
    lip_map: FloatArray
    folds: dict[str, FloatArray]
    shift: FloatArray
    age: float
    oil: float
    gloss: float
    pupil: float
    beard: float
    brow: float
    lash: float
    top: int
    volume: float
    parting: float
    hairline: float
    cloth: FloatArray


def linear(srgb: npt.ArrayLike) -> FloatArray:
    """Linear light of sRGB values 0 to 255, float32."""
    return np.asarray((np.clip(np.asarray(srgb, np.float64), 0, 255) / 255) ** 2.2, np.float32)


@lru_cache(maxsize=16)
def noise(finest: float, coarsest: float, ridged: bool = False) -> FloatArray:
    """A texture of noise that repeats, float32 [512, 512] of mean 0 and deviation 1.

    Args:
        finest: shortest wavelength, of the texture's side.
        coarsest: longest wavelength.
        ridged: whether it shows thin bright lines where noise is near 0, such as veins.
    """
    rng = np.random.default_rng(_NOISE_SEED)
    frequency = np.fft.fftfreq(_NOISE_SIDE, 1 / _NOISE_SIDE)
    radius = np.hypot(frequency[:, None], frequency[None])
    band = np.exp(-((radius * finest) ** 2)) * (1 - np.exp(-((radius * coarsest) ** 2)))
    band /= np.maximum(radius, 1)
    white = np.fft.fft2(rng.normal(size=(_NOISE_SIDE, _NOISE_SIDE)))
    found = np.fft.ifft2(white * band).real
    found /= found.std()
    if ridged:
        found = np.exp(-((found / 0.08) ** 2))
        found = (found - found.mean()) / found.std()
    return np.asarray(found, np.float32)


def draw(actor: Actor, rng: np.random.Generator) -> Look:
    """Draws how a person looks.

    Args:
        actor: the head.
        rng: where chance comes from.
    """
    tone = float(rng.uniform(0, 1))
    skin = _mixed(_SKIN, tone) * rng.uniform(0.9, 1.1, 3)
    hue = rng.normal(0, 0.04)
    skin *= np.array([1 + hue, 1.0, 1 - hue])
    grown = rng.random() < 0.5  # the half of people who may have beards
    beard = float(rng.choice([0, 0.15, 0.4, 1.0], p=[0.3, 0.35, 0.25, 0.1])) if grown else 0.0
    hair = _mixed(_HAIR[:4], rng.beta(1, 2) if tone < 0.5 else rng.uniform(0, 1))
    if tone > 0.5 and rng.random() < 0.3:
        hair = linear(_HAIR[int(rng.integers(4, 6))])
    age = float(rng.uniform(0, 1) ** 1.5)
    if age > 0.6 and rng.random() < 0.5:
        hair = hair + (linear(_GREY_HAIR) - hair) * np.float32(rng.uniform(0.3, 1))
    lips = _lip_colour(skin, tone, rng, made_up := not grown and rng.random() < 0.4)
    irises = _IRISES if tone > 0.55 else _IRISES[:2]
    iris = linear(irises[int(rng.integers(len(irises)))]) * rng.uniform(0.8, 1.3, 3)
    yellow = rng.uniform(0, 1)
    return Look(
        skin=skin.astype(np.float32),
        lips=lips,
        gums=(linear((196, 112, 112)) * rng.uniform(0.75, 1.1, 3) * (0.65 + 0.35 * tone)).astype(
            "f4"
        ),
        teeth=linear((236 - 10 * yellow, 226 - 16 * yellow, 210 - 40 * yellow)),
        hair=np.asarray(hair, np.float32),
        iris=iris.astype(np.float32),
        sclera=linear((206, 197, 191)) * np.float32(rng.uniform(0.8, 1.0)),
        paint=_paint(actor, rng, tone, made_up),
        lip_map=_lip_map(actor),
        folds=_folds(rng),
        shift=rng.uniform(0, 1, 2).astype(np.float32),
        age=age,
        oil=float(rng.uniform(0.5, 1.6)),
        gloss=float(rng.uniform(0.5, 1.2) * (1.8 if made_up else 1)),
        pupil=float(rng.uniform(0.3, 0.5)),
        beard=beard,
        brow=float(rng.uniform(0.7, 1.3) if grown else rng.uniform(0.5, 1.0)),
        lash=float(rng.uniform(0.5, 0.85) if grown else rng.uniform(0.7, 1.2)),
        top=int(rng.choice([0, 1, 2], p=[0.12, 0.73, 0.15] if grown else [0.02, 0.43, 0.55])),
        volume=float(rng.uniform(0.3, 1.4)),
        parting=float(rng.uniform(-3, 3)),
        hairline=float(rng.uniform(-0.3, 1.8)),
        cloth=linear(rng.uniform(10, 235) + rng.normal(0, 25, 3)),
    )


def _mixed(colours: tuple[tuple[int, int, int], ...], place: float) -> FloatArray:
    """The linear colour at a place, 0 to 1, along a row of sRGB colours."""
    at = place * (len(colours) - 1)
    k = min(int(at), len(colours) - 2)
    return linear(np.asarray(colours[k]) * (1 - at + k) + np.asarray(colours[k + 1]) * (at - k))


def _lip_colour(skin: Reals, tone: float, rng: np.random.Generator, made_up: bool) -> FloatArray:
    red = np.array([0.8, 0.4, 0.42]) if tone > 0.45 else np.array([0.85, 0.6, 0.62])
    own = skin * red ** rng.uniform(0.4, 1.0) + (0.02 if tone < 0.35 else 0)
    if made_up:
        stick = linear(_LIPSTICKS[int(rng.integers(len(_LIPSTICKS)))])
        own = own + (stick - own) * rng.uniform(0.5, 1)
    return np.asarray(own, np.float32)


def _blank() -> FloatArray:
    return np.zeros((round(MAP_HEIGHT * MAP_SCALE), round(MAP_WIDTH * MAP_SCALE)), np.float32)


def _soft(picture: Reals, deviation: float) -> FloatArray:
    """A paint map blurred by a Gaussian of so many centimetres."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation * MAP_SCALE), np.float32)


def _blob(x: float, y: float, wide: float, high: float) -> FloatArray:
    """A soft spot on both sides of the face, 1 in its middle."""
    high_side, wide_side = _blank().shape
    rows, columns = np.arange(high_side)[:, None], np.arange(wide_side)[None]
    total = np.zeros_like(_blank())
    for side in (1, -1):
        column, row = map_pixels(np.array([[side * x, y]]))[0]
        away = ((columns - column) / (wide * MAP_SCALE)) ** 2
        away = away + ((rows - row) / (high * MAP_SCALE)) ** 2
        total = np.maximum(total, np.exp(-away))
    return np.asarray(total, np.float32)


def _lip_map(actor: Actor) -> FloatArray:
    picture = _blank()
    outline = map_pixels(actor.landmarks.of(actor.model.neutral)[list(OUTER_LIPS)])
    cv2.fillPoly(picture, [np.round(outline * 16).astype(np.int32)], 1.0, shift=4)
    return _soft(picture, 0.055)


def _paint(actor: Actor, rng: np.random.Generator, tone: float, made_up: bool) -> FloatArray:
    """What the skin's colour is multiplied by: redness, shadows of the eyes, freckles, moles."""
    red = rng.uniform(0.3, 1.0) * (_blob(3.8, -0.3, 2.2, 1.9) + 0.9 * _blob(0, 0.7, 1.3, 1.2))
    red = red + 0.4 * _blob(0, -5.5, 1.6, 1.0) + 0.3 * _blob(3, 4.5, 1.6, 0.6)
    blotches = sample(noise(0.02, 0.25), _map_grid() * 0.09 + rng.uniform(0, 1, 2))
    red = red * (1 + 0.25 * blotches.reshape(red.shape)) * rng.uniform(0.15, 0.32)
    paint = np.stack([1 - 0.1 * red, 1 - 0.75 * red, 1 - 0.7 * red], -1)
    under = rng.uniform(0, 0.22) * _blob(2.9, 2.1, 1.1, 0.45)
    lid = rng.uniform(0, 0.2) * _blob(3.1, 4.6, 1.5, 0.5)
    shadow = linear(rng.uniform(40, 150, 3)) if made_up else np.array([0.55, 0.35, 0.4])
    lid = lid * (2.5 if made_up and rng.random() < 0.5 else 1)
    paint = paint * (1 - (under + lid)[..., None] * (1 - shadow))
    spots = _blank()
    if tone > 0.5 and rng.random() < 0.25:
        for _ in range(int(rng.integers(80, 400))):
            _spot(spots, rng, (rng.normal(0, 3.2), rng.normal(0.8, 1.6)), 0.07, 0.5)
    for _ in range(int(rng.integers(0, 6))):
        _spot(spots, rng, (rng.normal(0, 3.5), rng.normal(0, 4)), 0.1, 1.0)
    spots = _soft(spots, 0.025)[..., None] * np.array([0.35, 0.55, 0.65])
    return np.asarray(paint * (1 - spots), np.float32)


def _spot(
    picture: Reals,
    rng: np.random.Generator,
    place: tuple[float, float],
    size: float,
    strength: float,
) -> None:
    column, row = map_pixels(np.array([place]))[0]
    radius = max(1, round(float(rng.uniform(0.3, 1) * size * MAP_SCALE)))
    value = strength * float(rng.uniform(0.3, 1))
    cv2.circle(picture, (round(float(column)), round(float(row))), radius, value, -1)


def _map_grid() -> FloatArray:
    """Centimetres of all pixels of a paint map, float32 [H × W, 2]."""
    rows, columns = np.indices(_blank().shape)
    pixels = np.stack([columns.ravel(), rows.ravel()], 1)
    return np.asarray(pixels / MAP_SCALE, np.float32)


def _folds(rng: np.random.Generator) -> dict[str, FloatArray]:
    """Folds of the skin as heights in centimetres, by the muscle that makes them."""
    forehead = [
        [(x, y + 0.25 * np.cos(x / 2.5) + rng.normal(0, 0.05)) for x in np.linspace(-4.6, 4.6, 24)]
        for y in 6.6 + 0.85 * np.arange(4) + rng.normal(0, 0.1, 4)
    ]
    frown = [
        [(side * (0.42 + 0.08 * (y - 4.4)), y) for y in np.linspace(4.3, 6.0, 8)]
        for side in (1, -1)
    ]
    x, y = _CORNER
    crow, smile, nose = [], [], []
    for side in (1, -1):
        for k, turn in enumerate(np.radians([28, 6, -18, -40])):
            t = np.linspace(0.25, 1.1 + 0.2 * (k % 2), 8)
            crow.append(
                [(side * (x + a * np.cos(turn)), y + a * np.sin(turn) - 0.12 * a * a) for a in t]
            )
        t = np.linspace(0, 1, 16)
        bow = np.sin(np.pi * t) * 0.35
        smile.append(
            [(side * (1.95 + 1.45 * a + b), 0.2 - 3.0 * a) for a, b in zip(t, bow, strict=True)]
        )
        nose += [[(side * (0.35 + 0.5 * a), 2.4 + k * 0.35 - 0.5 * a) for a in t] for k in range(3)]
    shapes = {
        "browInnerUp": (forehead, 0.1, 0.05),
        "browDown": (frown, 0.09, 0.07),
        "eyeSquint": (crow, 0.05, 0.03),
        "mouthSmile": (smile, 0.12, 0.08),
        "noseSneer": (nose, 0.06, 0.04),
    }
    return {
        name: _grooves([np.array(c, np.float32) for c in curves], width, depth)
        for name, (curves, width, depth) in shapes.items()
    }


def _grooves(curves: list[FloatArray], width: float, depth: float) -> FloatArray:
    picture = _blank()
    for curve in curves:
        points = np.round(map_pixels(curve) * 16).astype(np.int32)
        cv2.polylines(picture, [points], False, 1.0, 2, shift=4)
    soft = _soft(picture, width) - 0.6 * _soft(picture, 2.5 * width)
    return np.asarray(-depth * soft / max(float(soft.max()), 1e-6), np.float32)


def fold_heights(look: Look, asked: Reals) -> FloatArray:
    """The folds of an expression, heights in centimetres, a paint map.

    Args:
        look: the person.
        asked: float [52], blendshapes.
    """
    total = _blank()
    for name, heights in look.folds.items():
        sides = [i for i, b in enumerate(BLENDSHAPES) if b.startswith(name)]
        strength = float(asked[sides].mean()) * (0.25 + 0.75 * look.age)
        if strength > 0.02:
            total += np.float32(strength) * heights
    return total


def lip_line(actor: Actor) -> FloatArray:
    """The line where closed lips meet, rest places from corner to corner, float32 [11, 2]."""
    places = actor.landmarks.of(actor.model.neutral)[list(INNER_LIPS[:11])]
    return np.asarray(places[:, :2], np.float32)
