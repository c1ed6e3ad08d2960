"""Mover: where the landmarks of a face go when its expression changes.

A linear map takes the change of blendshapes, of their square roots and of the expression's name to
moves of the 478 landmarks in the face's own frontal frame. It was fitted on photos of the same
person with two expressions (`facepaint.lab.methods.mover`), towards the moves of a 3-D face model
where photos show too little. The moves then turn with the head.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from facepaint.face import (
    BLENDSHAPES,
    EXPRESSIONS,
    FACE_OVAL,
    INNER_LIPS,
    LEFT_EYE,
    LEFT_LID_SKIN,
    OUTER_LIPS,
    RIGHT_EYE,
    RIGHT_LID_SKIN,
    FloatArray,
)
from facepaint.face_model import Pose, moves_3d, pose_of
from facepaint.mesh import mean_face
from facepaint.models import Model
from facepaint.names import PAIRS
from facepaint.segment import smoothstep

FEATURES = 2 * len(BLENDSHAPES) + len(EXPRESSIONS) - 1  # of a change (`told_change`)
_DEPTH = 0.7  # of the 3-D model's moves in depth: scores of photos reach farther than its moves
_UPPER_LIP, _LOWER_LIP = INNER_LIPS[1:10], INNER_LIPS[:10:-1]
_OVER, _UNDER = OUTER_LIPS[1:10], OUTER_LIPS[:10:-1]
_MIDDLE_LIPS = (13, 14)
_JAW_OPEN = BLENDSHAPES.index("jawOpen")
# The outline of the face but for the jaw: a change of expression leaves it where it is.
_STILL_OUTLINE = (*FACE_OVAL[:11], *FACE_OVAL[-10:])
# Muscles of the upper lid, and the share of the change of an eye's height that the lower lid makes
# then.
_UPPER_LID = np.array([n.startswith(("eyeBlink", "eyeLook", "eyeWide")) for n in BLENDSHAPES])
_LOWER_LID = 0.2
# How much of an upper lid's move the rings of landmarks above it follow, the nearer one first.
_FOLLOWS = (0.75, 0.4)
_SHUT = 0.008  # crop units: what the fitted opening of a shut mouth is at most
_MIDDLE = 0.06  # crop units from the middle of the face within which both sides count
_EDGE = 0.07  # crop units from the outline within which upper parts of the face move less
_UNDER_NOSE = 2
_JAW_SIDES = (397, 288, 172, 58)  # move half


class Mover:
    """The fitted numbers, from a network file and its card."""

    def __init__(self, model: Model) -> None:
        """Args:
        model: "mover"; from features of a change, float32 [N, 110], to moves [N, 478, 2] of x and
            y, crop units of the mean face. Its card has `gap` and `lids`, 111 numbers each, from
            features of blendshapes, a constant and the names of expressions to the height of the
            mouth's opening, in these units, and to the logarithm of the left eye's opening over
            its width.
        """
        self._model = model
        self._gap, self._lids = (np.array(model.card[k], np.float32) for k in ("gap", "lids"))
        opened = np.zeros(len(BLENDSHAPES), np.float32)
        opened[_JAW_OPEN] = 1
        self._jaw = self._shift(0 * opened, opened, np.zeros(len(EXPRESSIONS), np.float32))

    @property
    def targets(self) -> dict[str, FloatArray]:
        """The blendshapes of each named expression, float32 [52] each."""
        card = self._model.card["expressions"]
        return {name: np.array(values, np.float32) for name, values in card.items()}

    def __call__(
        self, points: FloatArray, have: FloatArray, want: FloatArray, name: FloatArray
    ) -> FloatArray:
        """Move landmarks.

        Args:
            points: float [478, 2], crop units.
            have: float [52], the face's blendshapes, 0 to 1.
            want: float [52], those it is to have.
            name: float [7], how far each of EXPRESSIONS is asked for by name, 0 to 1.5.

        Returns:
            float32 [478, 2], crop units.
        """
        pose = pose_of(points)
        shift = self._shift(have, want, name) * _from_edge(points)[:, None]
        asked = points + pose.lifted(shift)
        asked = self._lips_apart(points, asked, pose, have, want, name)
        for eye, ending in ((LEFT_EYE, "Left"), (RIGHT_EYE, "Right")):
            had, wants = (_of_side(b, ending, gaze=True) for b in (have, want))
            whole = _fitted(wants, self._lids, name) - _fitted(had, self._lids)
            blink = _fitted(np.where(_UPPER_LID, wants, had), self._lids) - _fitted(had, self._lids)
            asked = _lids_apart(points, asked, eye, whole, blink)
        return np.asarray(asked, np.float32)

    def _shift(self, have: FloatArray, want: FloatArray, name: FloatArray) -> FloatArray:
        """The linear part, float32 [478, 3], in the frontal frame.

        Photos of people who move one side alone are few, so each side moves as if both did what
        its own muscles do.
        """
        sides = [(_of_side(have, s), _of_side(want, s)) for s in ("Left", "Right")]
        changes = [told_change(a, b, name) for a, b in sides]
        left, right = self._model(change=np.array(changes, np.float32))["moves"]
        share = _left_share()
        flat = share * left + (1 - share) * right
        depth = _DEPTH * ((want - have) @ moves_3d()[..., 2])
        shift = np.column_stack([flat, depth])
        shift[list(_STILL_OUTLINE)] = 0
        shift[list(_JAW_SIDES)] *= 0.5
        return np.asarray(shift, np.float32)

    def _lips_apart(
        self,
        points: FloatArray,
        asked: FloatArray,
        pose: Pose,
        have: FloatArray,
        want: FloatArray,
        name: FloatArray,
    ) -> FloatArray:
        """Open or close the jaw further until the lips are as far apart as they should be.

        A mouth that closes keeps the share of its opening that its blendshapes keep, so that it
        closes whatever it began from; one that opens gains what they gain.
        """
        had, wants = _fitted(have, self._gap), _fitted(want, self._gap, name)
        down = pose.lifted(np.array([[0, 1, 0]], np.float32))[0]  # the frontal frame's y, as seen
        unit = float(np.hypot(*down))
        axis = down / unit
        upper, lower = _MIDDLE_LIPS
        now = max(0.0, float((points[lower] - points[upper]) @ axis) / unit)
        left = max(0.0, wants - _SHUT) / max(had - _SHUT, 1e-6)
        closes = wants < had and had > _SHUT
        wanted = now * min(1.0, left) if closes else now + wants - had
        reached = float((asked[lower] - asked[upper]) @ axis) / unit
        opened = float(self._jaw[lower, 1] - self._jaw[upper, 1])
        lack = float(np.clip((wanted - reached) / max(opened, 1e-6), -2, 2))
        asked = asked + lack * pose.lifted(self._jaw)
        return _not_crossed(asked, axis, closes and wants <= _SHUT)


def features(blendshapes: FloatArray) -> FloatArray:
    """Blendshapes [52] and their square roots, [104]: small scores stand for larger moves than
    their size says."""
    roots = np.sqrt(np.clip(blendshapes, 0, None))
    return np.concatenate([blendshapes, roots], -1).astype(np.float32)


def told_change(have: FloatArray, want: FloatArray, name: FloatArray) -> FloatArray:
    """What networks are told of a change: features of blendshapes and the name, float32 [110].

    Args:
        have: float [52], the face's blendshapes, 0 to 1.
        want: float [52], those it is to have.
        name: float [7], how far each of EXPRESSIONS is asked for by name.
    """
    change = features(want) - features(have)
    return np.concatenate([change, name[1:]]).astype(np.float32)


def _not_crossed(asked: FloatArray, axis: FloatArray, shut: bool) -> FloatArray:
    """Keep the upper lip above the lower one; where the mouth is to be shut they meet."""
    out = asked.copy()
    for over, up, low, under in zip(_OVER, _UPPER_LIP, _LOWER_LIP, _UNDER, strict=True):
        apart = float((asked[low] - asked[up]) @ axis)
        if shut or apart < 0:
            for place, by in ((up, 0.4), (over, 0.25), (low, -0.6), (under, -0.35)):
                out[place] = asked[place] + by * apart * axis
    return out


def _lids_apart(
    points: FloatArray, asked: FloatArray, eye: tuple[int, ...], whole: float, blink: float
) -> FloatArray:
    """Lids keep their distance times a ratio: eyes differ, and what closes one only narrows
    another.

    Args:
        points: float [478, 2], landmarks as they are.
        asked: float [478, 2], where they are to be, lids not yet.
        eye: outline of the eye.
        whole: logarithm of the ratio.
        blink: what of it is the upper lid's; both lids share the rest.
    """
    top, bottom = list(eye[1:8]), list(eye[:8:-1])
    gap = points[bottom] - points[top]
    corners = [eye[0], eye[8]]
    carried = (asked[corners] - points[corners]).mean(0)
    ratio = float(np.exp(np.clip(whole, -4, 1)))
    upper, both = abs(blink), abs(whole - blink)
    lower = (_LOWER_LID * upper + 0.5 * both) / max(upper + both, 1e-6)
    out = asked.copy()
    out[bottom] = points[bottom] + carried - lower * (1 - ratio) * gap
    out[top] = out[bottom] - ratio * gap
    # the lid's skin comes down with its edge, less the farther away
    for skin, lid, share in _lid_skin(eye):
        behind = share * (out[lid] - points[lid]) - (asked[skin] - points[skin])
        out[skin, 1] += np.maximum(behind[:, 1], 0)
    return out


@cache
def _lid_skin(eye: tuple[int, ...]) -> list[tuple[list[int], list[int], float]]:
    """Of the rings of landmarks above an upper lid: those of the ring, for each the lid's nearest,
    and how much of its move they follow."""
    face, top = mean_face(), list(eye[1:8])
    rings = LEFT_LID_SKIN if eye == LEFT_EYE else RIGHT_LID_SKIN
    found = []
    for ring, share in zip(rings, _FOLLOWS, strict=True):
        aside = np.abs(face[list(ring), :1] - face[top, 0])
        nearest = [top[i] for i in aside.argmin(1)]
        found.append((list(ring), nearest, share))
    return found


def _of_side(blendshapes: FloatArray, ending: str, gaze: bool = False) -> FloatArray:
    """Blendshapes with both sides as the given one has them, "Left" or "Right". The gaze stays as
    it is unless asked for, since eyes that look aside do not mirror each other."""
    out = blendshapes.copy()
    for name, both in PAIRS.items():
        if gaze or not name.startswith("eyeLook"):
            places = [BLENDSHAPES.index(one) for one in both]
            out[places] = blendshapes[BLENDSHAPES.index(name + ending)]
    return out


def _from_edge(points: FloatArray) -> FloatArray:
    """How far each landmark may move, [478], 0 to 1: less near the still outline of the face, where
    a turned head has its far brow and cheek, and a move would drag at the background."""
    edge = points[list(_STILL_OUTLINE)]
    distance = np.linalg.norm(points[:, None] - edge[None], axis=-1).min(1)
    kept = np.clip(distance / _EDGE, 0, 1)
    lower = mean_face()[:, 1] > mean_face()[_UNDER_NOSE, 1]
    return np.asarray(np.where(lower, 1, kept), np.float32)


@cache
def _left_share() -> FloatArray:
    """How far each landmark belongs to the person's left side, float32 [478, 1], 0 to 1."""
    aside = mean_face()[:, :1] - mean_face()[1, 0]  # the nose's tip is in the middle
    return np.asarray(smoothstep(aside, -_MIDDLE, _MIDDLE), np.float32)


def _fitted(blendshapes: FloatArray, weights: FloatArray, name: FloatArray | None = None) -> float:
    """An opening as fitted on blendshapes [52] and on names [7]; weights [111]."""
    names = np.zeros(len(EXPRESSIONS) - 1) if name is None else name[1:]
    return float(np.concatenate([features(blendshapes), [1], names]) @ weights)
