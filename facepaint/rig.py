"""Rig: how each muscle moves the landmarks of a face, written down rather than learned.

Photos show some muscles often (a smile), some never (puffed cheeks), and most of them only together
with others and on both sides; a network trained on photos answers "nose sneer" with a smile, and a
wink with nothing. So each blendshape has its own move here, as in the rig of an animated face
(Lewis et al. 2014, "Practice and Theory of Blendshape Facial Models"), of about the size that its
muscle has by the Facial Action Coding System (Ekman & Friesen 1978). What is written is for the
person's left, the photo's right, and mirrored for the other side.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facepaint.face import (
    BLENDSHAPES,
    INNER_LIPS,
    LANDMARKS,
    LEFT_EYE,
    LEFT_IRIS,
    OUTER_LIPS,
    RIGHT_EYE,
    RIGHT_IRIS,
    FloatArray,
)
from facepaint.mesh import mean_face, mirrored_landmarks
from facepaint.names import PAIRS


class Pull(NamedTuple):
    """Landmarks that go the same way at a score of 1: outward and down, in hundredths of the
    distance between the irises; and how far from them, in the same unit, others go along."""

    landmarks: tuple[int, ...]
    outward: float
    down: float
    reach: float = 12.0


_CORNER, _UPPER, _LOWER = (291, 308), (269, 270, 311, 310), (405, 321, 402, 318)
_UPPER_MIDDLE, _LOWER_MIDDLE = (0, 13), (17, 14)
_CHIN, _JAW, _JAW_SIDE = (152, 175, 199, 200, 377), (400, 378), (379, 365)
_INNER_BROW, _MIDDLE_BROW, _OUTER_BROW = (336, 285), (296, 334, 295, 282), (293, 300, 283, 276)
_WING, _FOLD, _CHEEK = (358, 327, 294, 278), (423, 426), (280, 425, 411)
_STILL_NOSE = Pull((1, 2, 4, *_WING), 0, 0, 8)
_STILL_LIPS = Pull((*_UPPER, *_UPPER_MIDDLE, *_LOWER, *_LOWER_MIDDLE), 0, 0, 6)

# By the name of the pair, or of the muscle that has no sides.
_PULLS: dict[str, tuple[Pull, ...]] = {
    "browDown": (
        Pull(_INNER_BROW, -4, 9, 9),
        Pull(_MIDDLE_BROW, -2, 9, 9),
        Pull(_OUTER_BROW, 0, 4, 9),
    ),
    "browInnerUp": (
        Pull(_INNER_BROW, 0, -12, 12),
        Pull(_MIDDLE_BROW, 0, -5, 10),
        Pull(_OUTER_BROW, 0, 0, 10),
    ),
    "browOuterUp": (
        Pull(_OUTER_BROW, 0, -12, 12),
        Pull(_MIDDLE_BROW, 0, -9, 12),
        Pull(_INNER_BROW, 0, -2, 10),
    ),
    "cheekPuff": (
        Pull((425, 411, 427, 416, 376), 10, 0, 18),
        Pull((397, 288, 361, 435), 8, 0, 14),
        Pull(_CORNER, -2, 0, 6),
        _STILL_LIPS,
        _STILL_NOSE,
    ),
    "cheekSquint": (
        Pull((280, 330, 347, 348, 346), 1, -7, 12),
        Pull((374, 380, 373), 0, -3, 5),
        _STILL_NOSE,
    ),
    "jawForward": (Pull(_CHIN, 0, 3, 14), Pull(_LOWER_MIDDLE, 0, 2, 8), Pull(_LOWER, 1, 2, 8)),
    "jawOpen": (
        Pull(_CHIN, 0, 30, 10),
        Pull(_JAW, 0, 29, 10),
        Pull(_JAW_SIDE, 0, 18, 10),
        Pull((397, 288), 0, 6, 10),
        Pull(_LOWER_MIDDLE, 0, 29, 8),
        Pull(_LOWER, -1, 25, 8),
        Pull(_CORNER, -3, 11, 8),
        Pull(_UPPER, 0, 0, 8),
        Pull(_UPPER_MIDDLE, 0, -1, 8),
        _STILL_NOSE,
    ),
    "mouthDimple": (Pull(_CORNER, 8, -1, 8), Pull(_FOLD, 3, 0, 8), _STILL_LIPS),
    "mouthFrown": (
        Pull(_CORNER, 1, 12, 10),
        Pull(_UPPER, 0, 3, 8),
        Pull(_LOWER, 0, 5, 8),
        Pull((*_UPPER_MIDDLE, *_LOWER_MIDDLE), 0, 0, 8),
    ),
    "mouthFunnel": (
        Pull(_CORNER, -10, 1, 10),
        Pull(_UPPER, -5, -4, 8),
        Pull(_LOWER, -5, 7, 8),
        Pull(_UPPER_MIDDLE, 0, -5, 8),
        Pull(_LOWER_MIDDLE, 0, 9, 8),
        Pull(_CHIN, 0, 4, 8),
        _STILL_NOSE,
    ),
    "mouthLowerDown": (
        Pull(_LOWER, 1, 12, 8),
        Pull(_LOWER_MIDDLE, 0, 6, 8),
        Pull(_CORNER, 1, 4, 7),
        Pull(_CHIN, 0, 2, 8),
    ),
    "mouthPress": (
        Pull((269, 270), 0, 3, 6),
        Pull((405, 321), 0, -3, 6),
        Pull((0,), 0, 1.5, 6),
        Pull((17,), 0, -1.5, 6),
        Pull(_CORNER, 2, 0, 6),
    ),
    "mouthPucker": (
        Pull(_CORNER, -13, 0, 10),
        Pull((*_UPPER, *_LOWER), -7, 0, 8),
        Pull(_UPPER_MIDDLE, 0, -2, 8),
        Pull(_LOWER_MIDDLE, 0, 2, 8),
    ),
    "mouthRollLower": (
        Pull((17, 405, 321), 0, -6, 5),
        Pull((14, 402, 318), 0, -1, 4),
        Pull(_CORNER, 0, 0, 5),
    ),
    "mouthRollUpper": (
        Pull((0, 269, 270), 0, 6, 5),
        Pull((13, 311, 310), 0, 1, 4),
        Pull(_CORNER, 0, 0, 5),
        _STILL_NOSE,
    ),
    "mouthShrugLower": (
        Pull((*_LOWER_MIDDLE, *_LOWER), 0, -6, 8),
        Pull((200, 199, 175), 0, -6, 10),
        Pull((*_UPPER_MIDDLE, *_UPPER), 0, -3, 8),
        Pull(_CORNER, 0, 2, 6),
        Pull((152, 377, 400), 0, 0, 8),
        _STILL_NOSE,
    ),
    "mouthShrugUpper": (
        Pull((*_UPPER_MIDDLE, *_UPPER), 0, -6, 7),
        Pull(_CORNER, 0, 0, 6),
        _STILL_NOSE,
    ),
    "mouthSmile": (
        Pull(_CORNER, 13, -13, 10),
        Pull((*_UPPER, *_LOWER), 6, -6, 8),
        Pull(_UPPER_MIDDLE, 0, 0, 8),
        Pull(_LOWER_MIDDLE, 0, 0, 8),
        Pull(_CHEEK, 2, -6, 10),
        _STILL_NOSE,
    ),
    "mouthStretch": (
        Pull(_CORNER, 14, 4, 10),
        Pull(_UPPER, 6, 1, 8),
        Pull(_LOWER, 6, 3, 8),
        Pull((*_UPPER_MIDDLE, *_LOWER_MIDDLE), 0, 0, 8),
    ),
    "mouthUpperUp": (
        Pull(_UPPER, 0, -11, 8),
        Pull(_UPPER_MIDDLE, 0, -5, 8),
        Pull(_CORNER, 0, -2, 7),
        Pull(_WING, 1, -3, 6),
        Pull(_FOLD, 1, -5, 8),
    ),
    "noseSneer": (
        Pull(_WING, 2, -6, 6),
        Pull(_FOLD, 2, -6, 8),
        Pull(_UPPER, 0, -6, 7),
        Pull(_UPPER_MIDDLE, 0, -2, 7),
        Pull(_INNER_BROW, -2, 4, 8),
        Pull(_CORNER, 0, 0, 7),
    ),
    "eyeLookUp": (Pull(tuple(range(LEFT_IRIS, LEFT_IRIS + 5)), 0, -5),),
    "eyeLookDown": (Pull(tuple(range(LEFT_IRIS, LEFT_IRIS + 5)), 0, 5),),
    "eyeLookIn": (Pull(tuple(range(LEFT_IRIS, LEFT_IRIS + 5)), -9, 0),),
    "eyeLookOut": (Pull(tuple(range(LEFT_IRIS, LEFT_IRIS + 5)), 9, 0),),
}
# To the person's left, both sides alike.
_SIDEWAYS: dict[str, tuple[Pull, ...]] = {
    "jaw": (
        Pull((*_CHIN, *_JAW), 10, 0, 14),
        Pull((*_LOWER_MIDDLE, *_LOWER), 9, 0, 8),
        Pull(_CORNER, 4, 0, 7),
        Pull((*_UPPER, *_UPPER_MIDDLE), 0, 0, 8),
        _STILL_NOSE,
    ),
    "mouth": (
        Pull((*_CORNER, *_UPPER, *_LOWER, *_UPPER_MIDDLE, *_LOWER_MIDDLE), 10, 0, 8),
        Pull(_CHIN, 3, 0, 10),
        _STILL_NOSE,
    ),
}
# Lids, of the open eye's height: how far the upper goes down and the lower up. What looks up or
# down takes the upper lid along.
_LIDS = {
    "eyeBlink": (0.9, 0.1),
    "eyeSquint": (0.1, 0.35),
    "eyeWide": (-0.4, -0.08),
    "eyeLookDown": (0.35, 0.0),
    "eyeLookUp": (-0.15, 0.0),
}
_UPPER_CREASE, _LOWER_CREASE = (
    (467, 260, 259, 257, 258, 286, 414),
    (255, 339, 254, 253, 252, 256, 341),
)
_CREASE = 0.4  # of a lid's move, of the skin next to it


def move(points: FloatArray, have: FloatArray, want: FloatArray) -> FloatArray:
    """How far landmarks [478, 2] in crop units go when blendshapes [52] go from `have` to `want`,
    float32 [478, 2]; upright or tilted as the eyes of the face are."""
    shifts = pulled(points, have, want)
    for side, (upper, lower) in enumerate(lids(have, want)):
        _shut(shifts, points, _eye(side), upper, lower)
    return shifts


def pulled(points: FloatArray, have: FloatArray, want: FloatArray) -> FloatArray:
    """The same of all but lids."""
    across = points[LEFT_IRIS] - points[RIGHT_IRIS]
    turn = np.array([across, (-across[1], across[0])], np.float32)  # of length 1: the irises
    shifts = np.tensordot(want - have, _fields(), 1) @ turn
    close = float((want - have)[BLENDSHAPES.index("mouthClose")])
    _shut(shifts, points, _mouth(), 0.4 * close, 0.6 * close)
    return np.asarray(shifts, np.float32)


def lids(have: FloatArray, want: FloatArray) -> tuple[tuple[float, float], ...]:
    """How far the upper lid of the person's left eye, then of the right one, goes down and the
    lower one up, each of the open eye's height."""
    found = []
    for ending in ("Left", "Right"):
        upper = lower = 0.0
        for name, (down, up) in _LIDS.items():
            i = BLENDSHAPES.index(name + ending)
            change = float(want[i] - have[i])
            # of what is left to close
            part = change / max(0.2, 1 - float(have[i])) if change > 0 else change
            upper, lower = upper + part * down, lower + part * up
        over = max(1.0, upper + lower)  # lids meet and go no farther
        found.append((upper / over, lower / over))
    return tuple(found)


class _Slit(NamedTuple):
    """What opens: the landmarks of its upper and of its lower edge, one above the other, and those
    of the skin (of the lips' outline) beside each, and how far these go along."""

    above: tuple[int, ...]
    below: tuple[int, ...]
    over: tuple[int, ...]
    under: tuple[int, ...]
    along: float


def _eye(side: int) -> _Slit:
    """The person's left (0) or right (1) eye."""
    eye, creases = (LEFT_EYE, RIGHT_EYE)[side], (_UPPER_CREASE, _LOWER_CREASE)
    order = mirrored_landmarks()
    over, under = (tuple(int(order[i]) if side else i for i in crease) for crease in creases)
    return _Slit(eye[1:8], eye[:8:-1], over, under, _CREASE)


def _mouth() -> _Slit:
    inner, outer = INNER_LIPS, OUTER_LIPS
    return _Slit(inner[1:10], inner[:10:-1], outer[1:10], outer[:10:-1], 1.0)


def _shut(shifts: FloatArray, points: FloatArray, slit: _Slit, upper: float, lower: float) -> None:
    """Move its edges by parts of its height, down and up, in place."""
    gap = points[list(slit.below)] - points[list(slit.above)]
    for where, by in (
        (slit.above, upper),
        (slit.over, slit.along * upper),
        (slit.below, -lower),
        (slit.under, -slit.along * lower),
    ):
        shifts[list(where)] += by * gap


@cache
def _fields() -> FloatArray:
    """The move of each blendshape at a score of 1, [52, 478, 2], of the irises' distance."""
    fields = np.zeros((len(BLENDSHAPES), LANDMARKS, 2), np.float32)
    order = mirrored_landmarks()
    for name, pulls in _PULLS.items():
        left = [(p, s) for q in pulls for p, s in _anchors(q)]
        right = [(order[i], _Spot(-s.x, s.y, s.reach)) for i, s in left]
        if name in BLENDSHAPES:
            fields[BLENDSHAPES.index(name)] = _field(dict(right) | dict(left))
        else:
            fields[BLENDSHAPES.index(f"{name}Left")] = _field(dict(left))
            fields[BLENDSHAPES.index(f"{name}Right")] = _field(dict(right))
    for name, pulls in _SIDEWAYS.items():
        spots = {p: s for q in pulls for p, s in _anchors(q)}
        spots |= {int(order[i]): s for i, s in spots.items()}
        field = _field(spots)
        fields[BLENDSHAPES.index(f"{name}Left")] = field
        fields[BLENDSHAPES.index(f"{name}Right")] = field[order] * (-1, 1)
    return fields


class _Spot(NamedTuple):
    x: float
    y: float
    reach: float


def _anchors(pull: Pull) -> list[tuple[int, _Spot]]:
    spot = _Spot(pull.outward / 100, pull.down / 100, pull.reach / 100)
    return [(i, spot) for i in pull.landmarks]


def _field(spots: dict[int, _Spot]) -> FloatArray:
    """Between landmarks that are pulled their moves are mixed, away from them they fade; of two
    lips or two lids, each goes its own way."""
    face = mean_face()
    unit = np.linalg.norm(face[LEFT_IRIS] - face[RIGHT_IRIS])
    places = np.array(list(spots))
    pulls = np.array([(s.x, s.y) for s in spots.values()])
    reach = np.array([s.reach for s in spots.values()])
    apart = np.linalg.norm(face[:, None] - face[None, places], axis=2) / unit
    parts = _parts()
    weight = np.exp(-0.5 * (apart / reach) ** 2) * ~_apart(parts[:, None], parts[None, places])
    total = weight.sum(1, keepdims=True)
    mixed = weight @ pulls / np.maximum(total, 1)
    mixed[places] = pulls
    return np.asarray(mixed, np.float32)


_SKIN, _UPPER_LIP, _LOWER_LIP, _UPPER_LID, _LOWER_LID, _IRIS = range(6)


def _parts() -> npt.NDArray[np.int64]:
    """Which part of the face each landmark belongs to, [478]; corners are skin."""
    parts = np.full(LANDMARKS, _SKIN)
    for lips in (OUTER_LIPS, INNER_LIPS):
        parts[list(lips[1:10])] = _UPPER_LIP
        parts[list(lips[11:])] = _LOWER_LIP
    for eye in (LEFT_EYE, RIGHT_EYE):
        parts[list(eye[1:8])] = _UPPER_LID
        parts[list(eye[9:])] = _LOWER_LID
    for iris in (LEFT_IRIS, RIGHT_IRIS):
        parts[iris : iris + 5] = _IRIS
    return parts


def _apart(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether what moves one part leaves the other where it is."""
    pairs = ((_UPPER_LIP, _LOWER_LIP), (_UPPER_LID, _LOWER_LID))
    split = (one == _IRIS) ^ (other == _IRIS)
    for a, b in pairs:
        split = split | ((one == a) & (other == b)) | ((one == b) & (other == a))
    return np.asarray(split, bool)


def places(name: str) -> list[int]:
    """Where a muscle, or both of a pair, stand among the blendshapes."""
    return [BLENDSHAPES.index(b) for b in PAIRS.get(name, (name,))]
