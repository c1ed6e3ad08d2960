"""The ICT head as an actor: identities, expressions, gaze, and where its parts lie.

Mesh coordinates are those of `facepaint.lab.data.ict`: centimetres, x to the person's left, y up,
z to the front. The *rest* of a vertex is its place on the neutral mean head. Paint maps are
pictures of the rest head as seen from the front (`map_pixels`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facepaint.face import BLENDSHAPES, FloatArray
from facepaint.lab.data import ict
from facepaint.lab.data.render_mesh import (
    Bools,
    Ints,
    Raster,
    Reals,
    depth_map,
    normals,
    rasterise,
    unit,
)

SKIN, SOCKET, EYE_SOCKET, GUMS, TONGUE, TEETH, EYE, HIDDEN = range(8)
_ENDS = (11248, 13294, 14062, 17039, 17039, 21451, 24591, 26719)  # vertices, by part
_INNER_EYES = (slice(22221, 23021), slice(23791, 24591))  # irises; ours are painted on the cornea
EYES = (slice(23021, 23791), slice(21451, 22221))  # outer layers: the person's right, left eye
_LASHES = ((26035, 25351), (26377, 25693))  # first vertices: upper (right, left), lower
_LASH_LAYERS, _LASH_VERTICES = 3, 114  # of each lid
_LASH_ROWS, _LASH_COLUMNS = 6, 19

MAP_SCALE = 32  # pixels of a paint map per centimetre
MAP_WIDTH, MAP_HEIGHT = 18.0, 24.0  # centimetres
_MAP_LEFT, _MAP_TOP = -9.0, 14.0

_EYE_BACK = 0.05  # centimetres that eyeballs are pushed back, so that lids close over them
_EYE_BACK_SHUT = 0.2  # centimetres more where lids are shut
_CORNEA = 0.85  # of the model's bulge of the cornea that is kept
_BALL = 1.47  # radius of the eyeball's white, centimetres
_LIPS_TOGETHER = 0.035  # of mouthClose, which the neutral mesh needs for its lips to touch
_OCCLUSION_VIEWS, _OCCLUSION_SIZE = 32, 160  # directions, pixels
_OCCLUSION_BIAS = 0.18  # centimetres


@dataclass(frozen=True, eq=False)
class Actor:
    """The head and what is known of its vertices.

    Attributes:
        model: the ICT model.
        landmarks: a point on the mesh for each of the 478 landmarks.
        identities: float32 [40, V, 3], offsets of the identity shapes.
        triangles: int [T, 3], those that are drawn.
        parts: int8 [V], SKIN to HIDDEN.
        teeth: int [V], which of the teeth, -1 elsewhere.
        uv: float32 [V, 2], texture coordinates in centimetres, nearly.
        occlusion: float32 [V], how much of the sky the skin sees at rest, 0 to 1.
        front: the rest head's front as a paint map shows it.
        lashes: int [4, L, 6], vertices of lash strands from tip to root: upper right, upper left,
            lower right, lower left.
    """

    model: ict.Ict
    landmarks: ict.Correspondence
    identities: FloatArray
    triangles: Ints
    parts: npt.NDArray[np.int8]
    teeth: Ints
    uv: FloatArray
    occlusion: FloatArray
    front: Raster
    lashes: Ints

    @property
    def rest(self) -> FloatArray:
        """The neutral mean head's vertices, float32 [V, 3]."""
        return np.asarray(self.model.neutral, np.float32)


@dataclass(frozen=True, eq=False)
class Posed:
    """A head with an expression.

    Attributes:
        points: float32 [V, 3], mesh coordinates.
        centres: float32 [2, 3], of the eyeballs: right, left.
        gaze: float32 [2, 3, 3], each eyeball's turn.
    """

    points: FloatArray
    centres: FloatArray
    gaze: FloatArray


@lru_cache(maxsize=1)
def load(path: Path) -> Actor:
    """Reads the ICT model and finds what rendering needs; takes some seconds, once.

    Args:
        path: ict_facekit.npz.
    """
    model = ict.load(path)
    with np.load(path, allow_pickle=False) as file:
        quads, corners = file["faces"].astype(np.intp), file["face_uv"].astype(np.intp)
        places = file["uv"].astype(np.float32)
        identities = file["identity"].astype(np.float32)
    count = len(model.neutral)
    uv = np.zeros((count, 2), np.float32)
    for k in range(4):
        there = quads[:, k] >= 0
        uv[quads[there, k]] = places[corners[there, k]]
    parts = _parts(count, uv)
    halves = quads[quads[:, 3] >= 0][:, [0, 2, 3]]
    triangles = np.concatenate([quads[:, :3], halves])
    triangles = triangles[parts[triangles[:, 0]] != HIDDEN]
    rest = np.asarray(model.neutral, np.float32)
    return Actor(
        model,
        ict.correspondence(model),
        identities,
        triangles,
        parts,
        _teeth(quads, parts),
        uv * np.array([29.0, 29.0], np.float32),
        _occlusion(rest, triangles),
        _front(rest, triangles[(triangles < ict.FACE.stop).all(1)]),
        _lash_strands(uv),
    )


def map_pixels(rest: Reals) -> FloatArray:
    """Where rest places [N, 2 or 3] lie in a paint map, float32 [N, 2], column and row."""
    at = (rest[:, :2] - np.array([_MAP_LEFT, _MAP_TOP])) * np.array([MAP_SCALE, -MAP_SCALE])
    return np.asarray(at, np.float32)


def on_front(actor: Actor, places: Reals) -> tuple[Ints, FloatArray, Bools]:
    """Finds the skin at rest places as seen from the front.

    Args:
        actor: the head.
        places: float [N, 2], x and y.

    Returns:
        int [N, 3], vertices; float32 [N, 3], their weights; bool [N], whether there is skin: where
        there is none, vertices and weights mean nothing.
    """
    width, height = round(MAP_WIDTH * MAP_SCALE), round(MAP_HEIGHT * MAP_SCALE)
    side = max(width, height)
    column, row = np.floor(map_pixels(places)).astype(int).T
    pixel = np.clip(row, 0, height - 1) * side + np.clip(column, 0, width - 1)
    found = np.clip(np.searchsorted(actor.front.pixels, pixel), 0, len(actor.front.pixels) - 1)
    there = actor.front.pixels[found] == pixel
    return actor.front.corners[found], actor.front.weights[found], there


def pose(actor: Actor, identity: Reals, asked: Reals, tongue: float = 0.0) -> Posed:
    """Makes a head of an identity with an expression.

    Args:
        actor: the head.
        identity: float [V, 3], offsets from the neutral mesh.
        asked: float [52], blendshapes, 0 to 1.
        tongue: how far the tongue's tip is lifted, centimetres.
    """
    points = actor.rest + identity
    centres = np.stack([_middle(points[s]) for s in EYES])
    # the neutral lips are a little apart; an opened jaw parts them, so they then need no help
    closing = _LIPS_TOGETHER * max(0.0, 1 - 8 * float(asked[BLENDSHAPES.index("jawOpen")]))
    points = points + np.float32(closing) * actor.model.expressions["mouthClose"]
    for name, weight in zip(BLENDSHAPES, asked, strict=True):
        if weight > 0:
            for part in _shapes_of(name, actor.model.expressions):
                points = points + np.float32(weight) * actor.model.expressions[part]
    if tongue:
        points = points + np.float32(tongue) * _tongue_lift(actor)
    turns = [_turn(asked, side) for side in ("Right", "Left")]
    for k, ball in enumerate(EYES):
        shut = float(asked[BLENDSHAPES.index(("eyeBlinkRight", "eyeBlinkLeft")[k])])
        centres[k, 2] -= _EYE_BACK + _EYE_BACK_SHUT * shut
        points[ball] = centres[k] + _flat_cornea(points[ball] - _middle(points[ball])) @ turns[k].T
    gaze = np.stack(turns).astype(np.float32)
    return Posed(points.astype(np.float32), centres.astype(np.float32), gaze)


def _shapes_of(name: str, expressions: dict[str, FloatArray]) -> list[str]:
    """The model's own shapes that make up a blendshape; none for gaze of the eyeballs alone."""
    for ending, mark in (("Left", "_L"), ("Right", "_R")):
        if name.endswith(ending) and name.removesuffix(ending) + mark in expressions:
            return [name.removesuffix(ending) + mark]
    return [part for part in (name, f"{name}_L", f"{name}_R") if part in expressions]


def _middle(points: Reals) -> FloatArray:
    middle: FloatArray = (points.min(0) + points.max(0)) / 2
    return middle


def _flat_cornea(arms: Reals) -> FloatArray:
    radius = np.linalg.norm(arms, axis=1, keepdims=True)
    kept: FloatArray = arms * ((_BALL + _CORNEA * (radius - _BALL)) / radius)
    return kept


def _turn(asked: Reals, side: str) -> FloatArray:
    """How an eyeball is turned by its eyeLook blendshapes, float32 [3, 3]."""

    def degrees(muscle: str) -> float:
        return ict.EYE_TURN[muscle] * float(asked[BLENDSHAPES.index(f"{muscle}{side}")])

    outward = 1 if side == "Left" else -1  # of x
    yaw = np.radians(outward * (degrees("eyeLookOut") - degrees("eyeLookIn")))
    pitch = np.radians(degrees("eyeLookUp") - degrees("eyeLookDown"))
    return rotation(float(yaw), float(pitch), 0.0)


def rotation(yaw: float, pitch: float, roll: float) -> FloatArray:
    """A head's turn, float32 [3, 3].

    Args:
        yaw: radians, positive to the person's left.
        pitch: radians, positive upwards.
        roll: radians, positive counter-clockwise as seen from in front.
    """
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    turned = (
        np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    )
    return np.asarray(turned, np.float32)


def _parts(count: int, uv: Reals) -> npt.NDArray[np.int8]:
    parts = np.searchsorted(_ENDS, np.arange(count), "right").astype(np.int8)
    parts[parts == TONGUE] = GUMS
    tongue = (parts == GUMS) & (uv[:, 0] % 1 > 0.5) & (uv[:, 1] % 1 < 0.45)
    parts[tongue] = TONGUE
    for inner in _INNER_EYES:
        parts[inner] = HIDDEN
    return parts


def _teeth(quads: Ints, parts: npt.NDArray[np.int8]) -> Ints:
    """Which tooth each vertex belongs to: teeth are connected pieces; -1 for what is none."""
    label = np.arange(len(parts))
    of_teeth = quads[parts[quads[:, 0]] == TEETH]
    of_teeth = np.where(of_teeth < 0, of_teeth[:, :1], of_teeth)
    while True:
        least = label[of_teeth].min(1)
        before = label.copy()
        for k in range(4):
            np.minimum.at(label, of_teeth[:, k], least)
        if (before == label).all():
            break
    teeth = np.full(len(parts), -1)
    there = parts == TEETH
    teeth[there] = np.unique(label[there], return_inverse=True)[1]
    return teeth


def _tongue_lift(actor: Actor) -> FloatArray:
    """How the tongue goes when its tip is lifted by a centimetre, float32 [V, 3]."""
    lift = np.zeros_like(actor.rest)
    there = actor.parts == TONGUE
    z = actor.rest[there, 2]
    tip = np.clip((z - 3.0) / (z.max() - 3.0), 0, 1) ** 1.5
    lift[there, 1] = tip
    lift[there, 2] = -0.35 * tip
    return lift


def _lash_strands(uv: Reals) -> Ints:
    strands = []
    for right, left in _LASHES:
        for first in (right, left):
            layers = []
            for layer in range(_LASH_LAYERS):
                start = first + layer * _LASH_VERTICES
                at = uv[start : start + _LASH_VERTICES]
                order = np.lexsort((at[:, 1], np.round(at[:, 0], 3)))
                layers.append(start + order.reshape(_LASH_COLUMNS, _LASH_ROWS))
            strands.append(np.concatenate(layers))
    return np.stack(strands)


def _front(rest: Reals, triangles: Ints) -> Raster:
    screen = np.column_stack([map_pixels(rest), rest[:, 2]]).astype(np.float32)
    return rasterise(screen, triangles, round(max(MAP_WIDTH, MAP_HEIGHT) * MAP_SCALE))


def _occlusion(rest: Reals, triangles: Ints) -> FloatArray:
    """The share of the sky that each vertex sees, weighted by the cosine, float32 [V]."""
    facing = normals(rest, triangles)
    seen, total = np.zeros(len(rest)), np.zeros(len(rest))
    golden = np.pi * (3 - np.sqrt(5))
    middle, scale = np.array([0, -1.0, 1.0]), _OCCLUSION_SIZE / 34.0
    for k in range(_OCCLUSION_VIEWS):
        up = 1 - (2 * k + 1) / _OCCLUSION_VIEWS
        across = np.sqrt(1 - up * up)
        towards = np.array([across * np.cos(golden * k), up, across * np.sin(golden * k)])
        if towards[2] < -0.5:
            continue
        turned = (rest - middle) @ looking(towards).T
        screen = np.column_stack([turned[:, :2] * scale + _OCCLUSION_SIZE / 2, turned[:, 2]])
        depth = depth_map(screen.astype(np.float32), triangles, _OCCLUSION_SIZE)
        column, row = np.clip(screen[:, :2].astype(int), 0, _OCCLUSION_SIZE - 1).T
        cosine = np.clip(facing @ towards, 0, None)
        seen += cosine * (depth[row, column] < turned[:, 2] + _OCCLUSION_BIAS)
        total += cosine
    found: FloatArray = (seen / np.maximum(total, 1e-6)).astype(np.float32)
    return found


def looking(towards: Reals) -> FloatArray:
    """A turn, float32 [3, 3], whose third row is the unit vector `towards`."""
    side = np.array([0, 1.0, 0]) if abs(towards[1]) < 0.9 else np.array([1.0, 0, 0])
    across = unit(np.cross(side, towards))
    return np.stack([across, np.cross(towards, across), towards]).astype(np.float32)
