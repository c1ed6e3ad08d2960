"""Derives the 3-D face model that ships with the package from the ICT Face Model Light.

The ICT Face Model (Li et al. 2020, "Learning Formation of Physically-Based Face Attributes") is a
head mesh with one offset per vertex for each expression. This module finds a point on that mesh
for each of the 478 face-mesh landmarks, and reads each landmark's place and moves there.

Mesh coordinates are the ICT model's: centimetres, x to the person's left, y up, z to the front.
Crop units are those of `facepaint.align`, with z towards the viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facepaint.face import (
    BLENDSHAPES,
    INNER_LIPS,
    LANDMARKS,
    LEFT_IRIS,
    OUTER_LIPS,
    RIGHT_IRIS,
    FloatArray,
)
from facepaint.mesh import mean_face, mirrored_blendshapes, mirrored_landmarks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

FACE = slice(0, 9409)  # vertices of the face's skin
EYEBALLS = slice(21451, 24591)  # vertices of both eyeballs

# The 68 Multi-PIE landmarks as vertices, from the ICT model's documentation.
MULTI_PIE = (
    *(1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272),
    *(4088, 3443, 268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942),
    *(4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756),
    *(3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841),
    *(5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966),
)


@dataclass(frozen=True)
class _Chain:
    """A curve on the mesh and the landmarks that lie on it, both from end to end.

    points: Multi-PIE landmarks; a smooth curve runs through them.
    landmarks: face-mesh landmarks. They divide the curve as they divide their own outline.
    """

    points: tuple[int, ...]
    landmarks: tuple[int, ...]


_JAW = _Chain(
    tuple(range(17)),
    (
        *(127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148),
        *(152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356),
    ),
)
_NOSE = _Chain((27, 28, 29, 30), (168, 6, 197, 195, 5, 4))
_UPPER_LID = _Chain((36, 37, 38, 39), (33, 246, 161, 160, 159, 158, 157, 173, 133))
_LOWER_LID = _Chain((36, 41, 40, 39), (33, 7, 163, 144, 145, 153, 154, 155, 133))
_UPPER_OUTER = _Chain(tuple(range(48, 55)), OUTER_LIPS[:11])
_LOWER_OUTER = _Chain((48, 59, 58, 57, 56, 55, 54), (61, *OUTER_LIPS[:9:-1]))
_UPPER_INNER = _Chain(tuple(range(60, 65)), INNER_LIPS[:11])
_LOWER_INNER = _Chain((60, 67, 66, 65, 64), (78, *INNER_LIPS[:9:-1]))
_CHAINS = (
    *(_JAW, _NOSE, _UPPER_LID, _LOWER_LID),
    *(_UPPER_OUTER, _LOWER_OUTER, _UPPER_INNER, _LOWER_INNER),
)
# Landmarks of the person's right side and the middle, and the vertex each lies on.
_SINGLE = {
    **dict(zip((70, 63, 105, 66, 107), MULTI_PIE[17:22], strict=True)),  # brow
    98: 1139,  # base of the nose
    97: 1142,
    2: 1147,
}
_WING = (129, (-1.88, -0.04))  # the nose wing's outermost landmark, and its x, y on the mesh
_NOSTRILS = (79, 237, 239)  # the mean face has them inside the holes; they belong on the rim
_RIM_DEPTH = 12.0  # z of the rims of the nostrils, centimetres
# The outline above the eyes and the middle of the forehead: no Multi-PIE landmark is near, so they
# stay where the similarity of the whole face puts them.
_FOREHEAD = (10, 151, 109, 67, 103, 54, 21, 162)
# Landmarks on the lips between the outer and the inner outline, corners left out.
_UPPER_BETWEEN = (185, 184, 183, 74, 42, 73, 41, 72, 38, 11, 12, 40, 39, 37, 0)
_LOWER_BETWEEN = (77, 96, 90, 89, 180, 179, 85, 86, 16, 15, 146, 91, 181, 84, 17)

# Landmarks and Multi-PIE points that give the scale: eye corners and the nose.
_SCALE_LANDMARKS = (33, 133, 362, 263, 168, 4, 2)
_SCALE_POINTS = (36, 39, 42, 45, 27, 30, 33)

# Degrees that an eyeball turns at a score of 1. The ICT eyeballs are larger than real ones, so
# these are less than what real eyes turn: a pupil travels 0.09 of the eyes' distance sideways.
EYE_TURN = {"eyeLookUp": 14.0, "eyeLookDown": 14.0, "eyeLookIn": 22.0, "eyeLookOut": 22.0}


@dataclass(frozen=True, eq=False)
class Ict:
    """The ICT Face Model Light, as far as it is needed here.

    neutral: float64 [V, 3], vertices of the neutral head, mesh coordinates.
    triangles: int [T, 3], vertices of each triangle of the skin of the face.
    eyeballs: int [E, 3], vertices of each triangle of the eyeballs.
    expressions: offsets by the model's own name (ending in _L or _R), float32 [V, 3].
    """

    neutral: Floats
    triangles: Ints
    eyeballs: Ints
    expressions: dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Correspondence:
    """A point on the mesh for each landmark.

    vertices: int [478, 3], the corners of the triangle that the point lies in.
    weights: float64 [478, 3], barycentric; each row sums to 1.
    """

    vertices: Ints
    weights: Floats

    def of(self, values: npt.NDArray[np.floating]) -> Floats:
        """Interpolates values of the vertices at the landmarks.

        Args:
            values: [V, 3], such as vertices or their offsets.

        Returns:
            float64 [478, 3].
        """
        found: Floats = np.einsum("nc,nck->nk", self.weights, values[self.vertices])
        return found


def load(path: Path) -> Ict:
    """Reads the ICT model.

    Args:
        path: an npz file with neutral [V, 3], faces [F, 4] (-1 where a triangle has no fourth
            corner), expression [E, V, 3] and expression_names [E].

    Returns:
        The model, without its identities.
    """
    with np.load(path, allow_pickle=False) as file:
        quads = file["faces"].astype(np.intp)
        neutral = file["neutral"].astype(np.float64)
        moves = file["expression"].astype(np.float32)
        names = [str(n) for n in file["expression_names"]]
    halves = quads[quads[:, 3] >= 0][:, [0, 2, 3]]
    triangles = np.concatenate([quads[:, :3], halves])
    skin = (triangles < FACE.stop).all(1)
    balls = ((triangles >= EYEBALLS.start) & (triangles < EYEBALLS.stop)).all(1)
    return Ict(neutral, triangles[skin], triangles[balls], dict(zip(names, moves, strict=True)))


def correspondence(model: Ict) -> Correspondence:
    """Finds a point on the neutral mesh for each landmark.

    Landmarks of the outlines (jaw, lids, lips, nose bridge) are put on curves through Multi-PIE
    landmarks. A thin-plate spline from the mean face to the front view of the mesh goes through
    them, and tells where all others lie; of each such place the front-most skin is taken. The
    person's left side is the mirror image of the right.

    Args:
        model: the ICT model.

    Returns:
        A point on the skin for landmarks 0 to 467, on the eyeballs for the irises, 468 to 477.
    """
    face = mean_face().astype(np.float64)
    known = _known(model, face)
    at = np.array(list(known))
    places = np.array(list(known.values()))
    warped = _thin_plate(face[at], places[:, :2], face)
    sides = _lip_sides(model)

    vertices = np.zeros((LANDMARKS, 3), np.intp)
    weights = np.zeros((LANDMARKS, 3))
    chained = {i for chain in _CHAINS for i in chain.landmarks} | set(_SINGLE)
    mirrored = mirrored_landmarks()
    for i in np.flatnonzero(face[:, 0] <= 0.5 + 1e-6):
        on = model.triangles
        if i in (*_UPPER_BETWEEN, *INNER_LIPS[1:10]):
            on = on[sides[0]]
        elif i in (*_LOWER_BETWEEN, *INNER_LIPS[11:]):
            on = on[sides[1]]
        if RIGHT_IRIS <= i < LEFT_IRIS:
            vertices[i], weights[i] = _front(model.neutral, model.eyeballs, warped[i])
        elif i in _NOSTRILS:
            place = np.array([*warped[i], _RIM_DEPTH])
            vertices[i], weights[i] = _nearest(model.neutral, on, place)
        elif i in chained:
            vertices[i], weights[i] = _nearest(model.neutral, on, known[int(i)])
        else:
            vertices[i], weights[i] = _front(model.neutral, on, warped[i])
        if mirrored[i] != i:
            vertices[mirrored[i]] = _mirrored_vertices(model.neutral, vertices[i])
            weights[mirrored[i]] = weights[i]
    return Correspondence(vertices, weights)


def scale(model: Ict) -> float:
    """Crop units per centimetre of the mesh, from the eye corners and the nose."""
    points = model.neutral[[MULTI_PIE[p] for p in _SCALE_POINTS], :2]
    target = mean_face().astype(np.float64)[list(_SCALE_LANDMARKS)]
    points, target = points - points.mean(0), target - target.mean(0)
    return float(np.sqrt((target**2).sum() / (points**2).sum()))


def mean_3d(model: Ict, on: Correspondence) -> FloatArray:
    """Makes the mean face in 3-D.

    Args:
        model: the ICT model.
        on: where the landmarks lie on it.

    Returns:
        float32 [478, 3], crop units, z towards the viewer. x and y are those of `mean_face`; z
        comes from the mesh and is 0 at the irises' centres.
    """
    depth = on.of(model.neutral)[:, 2]
    depth = (depth + depth[mirrored_landmarks()]) / 2
    depth = (depth - depth[RIGHT_IRIS]) * scale(model)
    return np.column_stack([mean_face(), depth]).astype(np.float32)


def moves_3d(model: Ict, on: Correspondence) -> FloatArray:
    """Makes the offset of each landmark at a score of 1 of each blendshape.

    Both sides are averaged, so a move to the left is the mirror image of the one to the right.

    Args:
        model: the ICT model.
        on: where the landmarks lie on it.

    Returns:
        float32 [52, 478, 3], crop units, z towards the viewer, in the order of `BLENDSHAPES`.
    """
    moves = np.zeros((len(BLENDSHAPES), LANDMARKS, 3))
    for i, name in enumerate(BLENDSHAPES):
        for part in _parts_of(name, model.expressions):
            moves[i] += on.of(model.expressions[part]) * (1, -1, 1)
        moves[i, RIGHT_IRIS:] += _gaze(model, on, name)
    mirrored = moves[mirrored_blendshapes()][:, mirrored_landmarks()] * (-1, 1, 1)
    moves = (moves + mirrored) / 2 * scale(model)
    return moves.astype(np.float32)


def write(model: Ict, path: Path) -> None:
    """Writes the file that `facepaint.face_model` reads.

    Args:
        model: the ICT model.
        path: the npz file to write: mean_3d, float32 [478, 3], and moves_3d, float16 [52, 478, 3].
    """
    on = correspondence(model)
    moves = moves_3d(model, on).astype(np.float16)
    np.savez_compressed(path, mean_3d=mean_3d(model, on), moves_3d=moves)


def _parts_of(name: str, names: Sequence[str] | dict[str, FloatArray]) -> list[str]:
    """The ICT expressions that make up one blendshape; none for `_neutral`."""
    for ending, mark in (("Left", "_L"), ("Right", "_R")):
        if name.endswith(ending) and name.removesuffix(ending) + mark in names:
            return [name.removesuffix(ending) + mark]
    return [part for part in (name, f"{name}_L", f"{name}_R") if part in names]


def _gaze(model: Ict, on: Correspondence, name: str) -> Floats:
    """How far the ten iris landmarks go, [10, 3] in centimetres, y down, when an eyeball turns.

    The ICT expressions leave the eyeballs as they are, so they are turned here.
    """
    moved = np.zeros((LANDMARKS - RIGHT_IRIS, 3))
    muscle = name.removesuffix("Left").removesuffix("Right")
    if muscle not in EYE_TURN:
        return moved
    left = name.endswith("Left")
    part = slice(5, 10) if left else slice(0, 5)
    points = (on.of(model.neutral)[RIGHT_IRIS:] * (1, -1, 1))[part]
    balls = model.neutral[EYEBALLS]
    ball = balls[(balls[:, 0] > 0) == left] * (1, -1, 1)
    centre = (ball.min(0) + ball.max(0)) / 2
    angle = np.radians(EYE_TURN[muscle])
    # the direction in which the front of the eye goes: x to the person's left, y down
    outward = 1.0 if left else -1.0
    x, y = {
        "eyeLookUp": (0.0, -1.0),
        "eyeLookDown": (0.0, 1.0),
        "eyeLookIn": (-outward, 0.0),
        "eyeLookOut": (outward, 0.0),
    }[muscle]
    direction, front = np.array([x, y, 0.0]), np.array([0.0, 0.0, 1.0])
    arm = points - centre
    along, ahead = arm @ direction, arm @ front
    turned = np.outer(along * np.cos(angle) + ahead * np.sin(angle) - along, direction)
    turned += np.outer(ahead * np.cos(angle) - along * np.sin(angle) - ahead, front)
    moved[part] = turned
    return moved


def _known(model: Ict, face: Floats) -> dict[int, Floats]:
    """Landmarks whose place on the mesh is known, both sides: x, y, z in centimetres."""
    known: dict[int, Floats] = {}
    for i, vertex in _SINGLE.items():
        known[i] = model.neutral[vertex]
    wing, place = _WING
    vertices, weights = _front(model.neutral, model.triangles, np.array(place))
    known[wing] = weights @ model.neutral[vertices]
    forehead = _in_front_view(model, face, face[list(_FOREHEAD)])
    known |= {i: np.array([*place, 0.0]) for i, place in zip(_FOREHEAD, forehead, strict=True)}
    for chain in _CHAINS:
        corners = model.neutral[[MULTI_PIE[p] for p in chain.points]]
        fractions = _lengths(face[list(chain.landmarks)])
        known |= dict(zip(chain.landmarks, _along(corners, fractions), strict=True))
    # the irises: as large as the mean face's, around the front of the eyeball
    radius = float(np.ptp(face[RIGHT_IRIS : RIGHT_IRIS + 5, 0])) / 2 / scale(model)
    balls = model.neutral[EYEBALLS]
    right = balls[balls[:, 0] < 0]
    pupil = right[right[:, 2].argmax()]
    for k, (x, y) in enumerate(((0, 0), *_directions(face))):
        known[RIGHT_IRIS + k] = pupil + np.array([x, y, 0]) * radius
    mirrored = mirrored_landmarks()
    right_side = {i: p for i, p in known.items() if face[i, 0] < 0.5 + 1e-6}
    return right_side | {
        int(mirrored[i]): p * (-1, 1, 1) for i, p in right_side.items() if mirrored[i] != i
    }


def _directions(face: Floats) -> list[tuple[int, int]]:
    """Towards which side of the iris its four edge landmarks lie: x right, y up."""
    arms = face[RIGHT_IRIS + 1 : RIGHT_IRIS + 5] - face[RIGHT_IRIS]
    return [(int(np.sign(x)), 0) if abs(x) > abs(y) else (0, -int(np.sign(y))) for x, y in arms]


def _in_front_view(model: Ict, face: Floats, places: Floats) -> Floats:
    """Takes places on the mean face, [N, 2], to the front view of the mesh by scale and shift."""
    points = model.neutral[[MULTI_PIE[p] for p in _SCALE_POINTS], :2]
    away = places - face[list(_SCALE_LANDMARKS)].mean(0)
    moved: Floats = away * (1, -1) / scale(model) + points.mean(0)
    return moved


def _lengths(points: Floats) -> Floats:
    """How far along a polyline each of its corners lies, 0 to 1."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    total = np.concatenate([[0], np.cumsum(steps)])
    fractions: Floats = total / total[-1]
    return fractions


def _along(corners: Floats, fractions: Floats) -> Floats:
    """Points at fractions of the length of a Catmull-Rom curve through corners [K, 3]."""
    ends = np.concatenate(
        [2 * corners[:1] - corners[1:2], corners, 2 * corners[-1:] - corners[-2:-1]]
    )
    t = np.linspace(0, 1, 33)[:-1, None]
    parts = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        cubic = (3 * b - 3 * c + d - a) * t**3 + (2 * a - 5 * b + 4 * c - d) * t**2
        parts.append((cubic + (c - a) * t) / 2 + b)
    dense = np.concatenate([*parts, corners[-1:]])
    at = _lengths(dense[:, :2])
    return np.column_stack([np.interp(fractions, at, dense[:, k]) for k in range(3)])


def _thin_plate(source: Floats, target: Floats, places: Floats) -> Floats:
    """The thin-plate spline that takes source to target, both [N, 2], at places [M, 2]."""

    def kernel(a: Floats, b: Floats) -> Floats:
        squared = ((a[:, None] - b[None]) ** 2).sum(2)
        bent: Floats = squared * np.log(squared + 1e-12)
        return bent

    def plane(a: Floats) -> Floats:
        return np.column_stack([np.ones(len(a)), a])

    count = len(source)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = kernel(source, source) + 1e-5 * np.eye(count)
    system[:count, count:] = plane(source)
    system[count:, :count] = plane(source).T
    solved = np.linalg.solve(system, np.concatenate([target, np.zeros((3, 2))]))
    warped: Floats = np.concatenate([kernel(places, source), plane(places)], 1) @ solved
    return warped


def _lip_sides(model: Ict) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which triangles of the skin may belong to the upper lip, and which to the lower one.

    A jaw that opens takes the lower lip along. Between the corners of the mouth a vertex belongs
    to the lip whose inner outline, at its x, goes down about as far.
    """
    drop = -model.expressions["jawOpen"][FACE, 1].astype(np.float64)
    x = model.neutral[FACE, 0]
    upper, lower = (
        np.array([MULTI_PIE[p] for p in chain.points]) for chain in (_UPPER_INNER, _LOWER_INNER)
    )
    middle = np.interp(x, model.neutral[upper, 0], (drop[upper] + drop[lower]) / 2)
    below = drop > middle
    return ~below[model.triangles].any(1), below[model.triangles].all(1)


def _front(points: Floats, triangles: Ints, place: Floats) -> tuple[Ints, Floats]:
    """The front-most point of the triangles at x, y; where there is none, the nearest one."""
    corners = points[triangles]
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    area = _cross(b - a, c - a)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = (
            np.column_stack(
                [
                    _cross(b - place, c - place),
                    _cross(c - place, a - place),
                    _cross(a - place, b - place),
                ]
            )
            / area[:, None]
        )
    inside = (area > 1e-9) & (weights >= -1e-9).all(1)
    if not inside.any():
        return _nearest(points, triangles[area > 1e-9], place)
    depth = np.where(inside, (weights * corners[:, :, 2]).sum(1), -np.inf)
    best = int(depth.argmax())
    return triangles[best], weights[best]


def _nearest(points: Floats, triangles: Ints, place: Floats) -> tuple[Ints, Floats]:
    """The point of the triangles nearest to a place; of x and y alone if it has no z."""
    corners = points[triangles][:, :, : len(place)]
    near = np.argsort(((corners - place) ** 2).sum(2).min(1))[:64]
    steps = 24
    grid = np.array([(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)])
    weights = grid / steps
    away = ((np.einsum("gc,tck->tgk", weights, corners[near]) - place) ** 2).sum(2)
    triangle, spot = np.unravel_index(away.argmin(), away.shape)
    return triangles[near[triangle]], weights[spot]


def _mirrored_vertices(points: Floats, vertices: Ints) -> Ints:
    """The vertices that lie where these would in a mirror."""
    away = ((points[vertices][:, None] * (-1, 1, 1) - points[None, : EYEBALLS.stop]) ** 2).sum(2)
    # skin is mirrored to skin, eyeballs to eyeballs
    skin = vertices[0] < FACE.stop
    away[:, FACE.stop :] += 1e6 * skin
    away[:, : EYEBALLS.start] += 1e6 * (not skin)
    found: Ints = away.argmin(1)
    return found


def _cross(a: Floats, b: Floats) -> Floats:
    product: Floats = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product
