"""Drawn faces: a FaceSet from nothing, with exact labels, for tests and dry runs."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.face import (
    BLENDSHAPES,
    EXPRESSIONS,
    FACE_OVAL,
    INNER_LIPS,
    LANDMARKS,
    LEFT_EYE,
    LEFT_IRIS,
    OUTER_LIPS,
    RIGHT_EYE,
    RIGHT_IRIS,
    FloatArray,
)
from facepaint.lab.data import closeups
from facepaint.lab.data.closeups import CloseUps
from facepaint.lab.data.datasets import Portrait
from facepaint.lab.data.faces import WIDE, WIDE_PIXELS, FaceSet
from facepaint.lab.data.scenes import SceneSet
from facepaint.lab.data.split import is_held_out
from facepaint.mesh import mean_face

_BROWS = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
_UPPER_LIP = (*(185, 40, 39, 37, 0, 267, 269, 270, 409), *(191, 80, 81, 82, 13, 312, 311, 310, 415))
_LOWER_LIP = (
    *(375, 321, 405, 314, 17, 84, 181, 91, 146),
    *(324, 318, 402, 317, 14, 87, 178, 88, 95),
)
_CORNERS = (61, 78, 291, 308)
_LOOKS = {
    "neutral": {},
    "happy": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "jawOpen": 0.25},
    "surprised": {"browInnerUp": 0.8, "jawOpen": 0.6},
}


def draw(seed: int, people: int = 24) -> FaceSet:
    """`people` drawn people, neutral, happy and surprised each, and a few pictures of no face."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    for person in range(people):
        build, colours = _person(rng), rng.integers(40, 216, (3, 3))
        for name, asked in _LOOKS.items():
            blend = _blend(asked, rng)
            points = build + _moves(blend)
            rows.append((_picture(points, colours), points, blend, name, f"drawn-{person}"))
    for n in range(max(4, people // 4)):
        noise = rng.integers(0, 256, (7, 7, 3), np.uint8)
        picture = cv2.resize(noise, (WIDE_PIXELS, WIDE_PIXELS), interpolation=cv2.INTER_CUBIC)
        nothing = np.full((LANDMARKS, 2), np.nan, np.float32)
        rows.append((picture, nothing, np.full(len(BLENDSHAPES), np.nan), "", f"nobody-{n}"))
    return FaceSet(
        crops=np.stack([r[0] for r in rows]).astype(np.uint8),
        landmarks=np.stack([r[1] for r in rows]).astype(np.float32),
        blendshapes=np.stack([r[2] for r in rows]).astype(np.float32),
        expressions=np.array([EXPRESSIONS.index(r[3]) if r[3] else -1 for r in rows], np.int8),
        subjects=np.array([r[4] for r in rows]),
        sources=np.full(len(rows), "drawn"),
        held_out=np.array([is_held_out(r[4]) for r in rows]),
    )


def _person(rng: np.random.Generator) -> FloatArray:
    """A mean face, a little wider or longer."""
    stretch = 1 + rng.normal(0, 0.03, 2)
    return ((mean_face() - 0.5) * stretch + 0.5).astype(np.float32)


def _blend(asked: dict[str, float], rng: np.random.Generator) -> FloatArray:
    blend = np.zeros(len(BLENDSHAPES), np.float32)
    for name, value in asked.items():
        blend[BLENDSHAPES.index(name)] = np.clip(value + rng.normal(0, 0.05), 0, 1)
    return blend


def _moves(blend: FloatArray) -> FloatArray:
    """Where landmarks go, in crop units: a smile lifts the corners, a jaw drops the lower lip."""
    value = dict(zip(BLENDSHAPES, blend, strict=True))
    moves = np.zeros((LANDMARKS, 2), np.float32)
    smile, jaw = value["mouthSmileLeft"], value["jawOpen"]
    for corner in _CORNERS:
        side = 1 if corner in (291, 308) else -1
        moves[corner] = (0.035 * side * smile, -0.03 * smile)
    moves[list(_LOWER_LIP), 1] += 0.1 * jaw
    moves[list(_UPPER_LIP), 1] -= 0.01 * (jaw + smile)
    moves[[152, 148, 377, 176, 400], 1] += 0.08 * jaw
    moves[[i for brow in _BROWS for i in brow], 1] -= 0.04 * value["browInnerUp"]
    return moves


def _picture(
    points: FloatArray, colours: npt.NDArray[np.int64], size: int = WIDE_PIXELS
) -> npt.NDArray[np.uint8]:
    """The face as a cartoon in a wide crop of `size` pixels."""
    back, skin, lips = (tuple(int(c) for c in row) for row in colours)
    out = np.full((size, size, 3), back, np.uint8)
    at = np.round((points + (WIDE - 1) / 2) * (size / WIDE)).astype(np.int32)
    line = 3 * size // WIDE_PIXELS
    for where, colour in (
        (FACE_OVAL, skin),
        (RIGHT_EYE, (250, 250, 250)),
        (LEFT_EYE, (250, 250, 250)),
        (OUTER_LIPS, lips),
        (INNER_LIPS, (30, 10, 10)),
    ):
        cv2.fillPoly(out, [at[list(where)]], colour, cv2.LINE_AA)
    for iris in (RIGHT_IRIS, LEFT_IRIS):
        cv2.circle(out, tuple(int(v) for v in at[iris]), line, (60, 40, 20), -1, cv2.LINE_AA)
    for brow in _BROWS:
        cv2.polylines(out, [at[list(brow)]], False, (40, 30, 20), line, cv2.LINE_AA)
    return out


def close_ups(seed: int, people: int = 12) -> CloseUps:
    """Drawn people at a sharpness of their own, neutral, happy and surprised each."""
    rng = np.random.default_rng(seed)
    side = 320
    frame = np.array([[1, 0, 0.3], [0, 1, 0.3]], np.float32) * np.float32(side / WIDE)
    found = []
    for person in range(people):
        build, colours = _person(rng), rng.integers(40, 216, (3, 3))
        for name, asked in _LOOKS.items():
            blend = _blend(asked, rng)
            points = (build + _moves(blend)).astype(np.float32)
            pixels, place = _picture(points, colours, side), EXPRESSIONS.index(name)
            landmarks = align.apply(frame, points)
            who = f"drawn-{person}"
            found.append(Portrait(pixels, frame, landmarks, blend, place, who, "drawn"))
    return closeups.of_portraits(found)


def scenes(seed: int, count: int = 16) -> SceneSet:
    """Drawn people before flat grounds, one to three in a scene; some scenes show nobody."""
    rng = np.random.default_rng(seed)
    found = SceneSet([], [], [], [], [])
    for n in range(count):
        canvas = np.full((160, 200, 3), rng.integers(0, 256, 3), np.uint8)
        meshes: list[FloatArray | None] = []
        for k in range(n % 4):
            side, left = int(rng.integers(40, 62)), 4 + 64 * k
            top = int(rng.integers(4, 90))
            points = _person(rng)
            face = _picture(points, rng.integers(40, 216, (3, 3)))
            canvas[top : top + side, left : left + side] = cv2.resize(face, (side, side))
            inside = (points + (WIDE - 1) / 2) / WIDE * side
            meshes.append((inside + np.array([left, top])).astype(np.float32))
        ovals = [m[list(FACE_OVAL)] for m in meshes if m is not None]
        boxes = [np.concatenate([o.min(0), o.max(0)]) for o in ovals]
        _, data = cv2.imencode(".png", canvas[..., ::-1])
        found.photos.append(data.tobytes())
        found.boxes.append(np.array(boxes, np.float32).reshape(-1, 4))
        found.meshes.append(meshes)
        found.names.append(f"drawn-scene-{n}")
    return found
