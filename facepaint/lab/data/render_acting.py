"""Expressions that people make, as blendshapes drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facepaint.face import BLENDSHAPES, EXPRESSIONS, FloatArray

Range = tuple[float, float]
Recipe = dict[str, Range]

_NAMED = 3  # pictures of a person, at the beginning, that show an expression with a name
_LOP_SIDED, _ONE_SIDED = 0.15, 0.1  # how much sides differ; how often one side acts far less

# What each expression is made of: blendshapes (of both sides) and from where to where they go.
_NAMES: dict[str, tuple[Recipe, ...]] = {
    "neutral": ({"eyeSquint": (0, 0.15), "mouthPress": (0, 0.15)},),
    "happy": (
        {"mouthSmile": (0.4, 0.85), "cheekSquint": (0.1, 0.6), "eyeSquint": (0.1, 0.5)},
        {
            "mouthSmile": (0.6, 1.0),
            "cheekSquint": (0.3, 0.9),
            "eyeSquint": (0.2, 0.6),
            "mouthUpperUp": (0.2, 0.6),
            "mouthLowerDown": (0.1, 0.45),
            "jawOpen": (0.0, 0.2),
        },
        {
            "mouthSmile": (0.6, 1.0),
            "cheekSquint": (0.4, 1.0),
            "eyeSquint": (0.3, 0.8),
            "mouthUpperUp": (0.2, 0.5),
            "mouthLowerDown": (0.1, 0.5),
            "jawOpen": (0.2, 0.6),
        },
    ),
    "sad": (
        {
            "browInnerUp": (0.5, 1.0),
            "mouthFrown": (0.4, 1.0),
            "mouthShrugLower": (0.1, 0.5),
            "eyeSquint": (0.1, 0.5),
            "browDown": (0, 0.3),
            "eyeLookDown": (0, 0.4),
        },
        {
            "browInnerUp": (0.4, 1.0),
            "mouthFrown": (0.3, 0.8),
            "mouthStretch": (0.1, 0.4),
            "jawOpen": (0.05, 0.25),
            "mouthLowerDown": (0.1, 0.4),
            "eyeSquint": (0.2, 0.7),
        },
    ),
    "angry": (
        {
            "browDown": (0.6, 1.0),
            "eyeSquint": (0.2, 0.6),
            "mouthPress": (0.3, 0.9),
            "noseSneer": (0.1, 0.4),
            "mouthFrown": (0, 0.4),
            "mouthRollLower": (0, 0.3),
        },
        {
            "browDown": (0.6, 1.0),
            "noseSneer": (0.3, 0.9),
            "mouthUpperUp": (0.3, 0.8),
            "mouthLowerDown": (0.3, 0.8),
            "mouthStretch": (0.1, 0.5),
            "jawOpen": (0, 0.35),
            "eyeSquint": (0.1, 0.5),
        },
    ),
    "disgusted": (
        {
            "noseSneer": (0.6, 1.0),
            "mouthUpperUp": (0.3, 0.8),
            "browDown": (0.2, 0.7),
            "eyeSquint": (0.3, 0.7),
            "mouthShrugLower": (0, 0.5),
            "mouthFrown": (0, 0.4),
            "cheekSquint": (0.2, 0.6),
            "jawOpen": (0, 0.15),
        },
    ),
    "afraid": (
        {
            "browInnerUp": (0.5, 1.0),
            "browOuterUp": (0.1, 0.5),
            "eyeWide": (0.4, 1.0),
            "mouthStretch": (0.4, 1.0),
            "jawOpen": (0.05, 0.45),
            "mouthLowerDown": (0.1, 0.6),
            "browDown": (0, 0.3),
        },
    ),
    "surprised": (
        {
            "browInnerUp": (0.5, 1.0),
            "browOuterUp": (0.5, 1.0),
            "eyeWide": (0.3, 1.0),
            "jawOpen": (0.25, 0.9),
            "mouthFunnel": (0, 0.3),
        },
    ),
}
# What has no name; those with jaws to be opened get an opening drawn evenly from 0 to 1.
_SHUT: tuple[Recipe, ...] = (
    {"mouthPucker": (0.4, 1.0), "eyeSquint": (0, 0.3)},
    {"mouthRollLower": (0.2, 0.8), "mouthRollUpper": (0.1, 0.7), "mouthPress": (0, 0.6)},
    {"cheekPuff": (0.4, 1.0), "mouthPucker": (0, 0.3)},
    {"mouthSmile": (0.2, 0.7), "mouthDimple": (0.1, 0.6)},
    {"mouthShrugLower": (0.3, 0.9), "mouthFrown": (0.1, 0.6), "mouthShrugUpper": (0, 0.4)},
    {"browDown": (0, 0.6), "mouthPress": (0.1, 0.6)},
)
_OPEN: tuple[Recipe, ...] = (
    {"mouthFunnel": (0, 0.7)},
    {"mouthSmile": (0, 0.9), "mouthUpperUp": (0, 0.5), "cheekSquint": (0, 0.5)},
    {"mouthUpperUp": (0.1, 0.7), "mouthLowerDown": (0.1, 0.7), "mouthStretch": (0, 0.7)},
    {"browDown": (0.3, 1.0), "mouthUpperUp": (0.1, 0.6), "noseSneer": (0, 0.7)},
    {"eyeSquint": (0.2, 0.9), "mouthStretch": (0, 0.4), "browInnerUp": (0, 0.5)},
    {"mouthLowerDown": (0, 0.5)},
    {},
)


@dataclass(frozen=True, eq=False)
class Acted:
    """What a face does in a picture.

    Attributes:
        blendshapes: float32 [52], 0 to 1.
        expression: its name, None where it has none.
        tongue: how far the tongue's tip is lifted, centimetres.
    """

    blendshapes: FloatArray
    expression: str | None
    tongue: float


def act(rng: np.random.Generator, which: int) -> Acted:
    """Draws an expression.

    Args:
        rng: where chance comes from.
        which: the number of the person's picture; the first ones show what has a name.
    """
    name = None
    asked: dict[str, float] = {}
    if which < _NAMED:
        name = EXPRESSIONS[int(rng.integers(len(EXPRESSIONS)))]
        _add(asked, _NAMES[name][int(rng.integers(len(_NAMES[name])))], rng)
    elif rng.random() < 0.22:
        _add(asked, _SHUT[int(rng.integers(len(_SHUT)))], rng)
    else:
        asked["jawOpen"] = float(rng.uniform(0, 1))
        _add(asked, _OPEN[int(rng.integers(len(_OPEN)))], rng)
        if rng.random() < 0.1:
            asked["mouthClose"] = asked["jawOpen"] * float(rng.uniform(0, 0.9))
    if name is None:
        _brows(asked, rng)
        _aside(asked, rng)
    _lids(asked, name, rng)
    values = _both_sides(asked, rng)
    _gaze(values, rng)
    tongue = float(max(0.0, rng.normal(0, 0.5))) if rng.random() < 0.6 else 0.0
    array = np.array([np.clip(values.get(b, 0.0), 0, 1) for b in BLENDSHAPES], np.float32)
    return Acted(array, name, min(tongue, 1.2))


def _add(asked: dict[str, float], recipe: Recipe, rng: np.random.Generator) -> None:
    for muscle, (low, high) in recipe.items():
        asked[muscle] = asked.get(muscle, 0.0) + float(rng.uniform(low, high))


def _brows(asked: dict[str, float], rng: np.random.Generator) -> None:
    kind = rng.random()
    if kind < 0.2:
        _add(asked, {"browInnerUp": (0.1, 0.9), "browOuterUp": (0.1, 0.9)}, rng)
    elif kind < 0.35:
        _add(asked, {"browDown": (0.1, 0.9)}, rng)


def _aside(asked: dict[str, float], rng: np.random.Generator) -> None:
    """Jaw and mouth to a side, now and then."""
    if rng.random() < 0.12:
        asked[str(rng.choice(["jawLeft", "jawRight"]))] = float(rng.uniform(0.1, 0.7))
    if rng.random() < 0.12:
        asked[str(rng.choice(["mouthLeft", "mouthRight"]))] = float(rng.uniform(0.1, 0.6))


def _lids(asked: dict[str, float], name: str | None, rng: np.random.Generator) -> None:
    kind = rng.random()
    if name in ("afraid", "surprised"):
        return
    if kind < 0.12:  # shut
        asked["eyeBlink"] = float(rng.uniform(0.9, 1.0))
        asked["eyeSquint"] = asked.get("eyeSquint", 0.0) * 0.4
    elif kind < 0.3:
        asked["eyeBlink"] = float(rng.uniform(0.05, 0.9))
    elif kind < 0.45 and "eyeSquint" not in asked:
        asked["eyeWide"] = float(rng.uniform(0.1, 1.0))


def _both_sides(asked: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Blendshapes by name: what both sides do, a little unlike."""
    values: dict[str, float] = {}
    for muscle, strength in asked.items():
        if muscle in BLENDSHAPES:
            values[muscle] = strength
            continue
        left, right = strength * np.exp(rng.normal(0, _LOP_SIDED, 2))
        if rng.random() < _ONE_SIDED:
            side = rng.random() < 0.5
            left, right = left * (0.3 if side else 1), right * (1 if side else 0.3)
        values[f"{muscle}Left"], values[f"{muscle}Right"] = float(left), float(right)
    return values


def _gaze(values: dict[str, float], rng: np.random.Generator) -> None:
    """Both eyes look at one place: mostly ahead, else anywhere."""
    far = rng.random() < 0.45
    x, y = rng.uniform(-1, 1, 2) if far else rng.normal(0, 0.08, 2)
    if x > 0:
        values["eyeLookOutLeft"], values["eyeLookInRight"] = float(x), float(x)
    else:
        values["eyeLookInLeft"], values["eyeLookOutRight"] = float(-x), float(-x)
    muscle = "eyeLookUp" if y > 0 else "eyeLookDown"
    for side in ("Left", "Right"):
        asked = values.pop(f"eyeLookDown{side}", 0.0)
        values[f"{muscle}{side}"] = abs(float(y)) + (asked if y <= 0 else 0)
