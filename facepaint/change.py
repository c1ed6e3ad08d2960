"""Change: from an edit and a face to what its blendshapes should gain or lose, and to a name; and
which of it the painter's network makes, and which the rig.

The network knows expressions, and muscles as they move in expressions; of a muscle alone, or of
one side, photos have taught it little. So what is set by name is moved by the rig
(`facepaint.rig`), and so are the prototypes of named expressions, beyond the mean of photos that
the network knows. But what opens a mouth the network makes, since a rig has no inside of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facepaint import rig
from facepaint.edit import Edit
from facepaint.errors import EditError
from facepaint.face import Face, FloatArray
from facepaint.names import BLENDSHAPES, EXPRESSIONS, REGIONS

# An expression leaves the gaze where it is.
GAZE = np.array([name.startswith("eyeLook") for name in BLENDSHAPES])

# Of an expression's largest raise above neutral, and of the largest raise of the same blendshape by
# any expression: from there on a blendshape makes the expression up.
_MAIN = 0.5
# How far happy is asked for, of the way to the mean of the people who show it: the mean of many is
# fainter than a face that one would name so.
_CLEAR = {"happy": 1.05}
# What a named expression has at least, or, at 0, has not, beside the mean of the photos that show
# it, whose blendshapes say little of brows and closed mouths: the action units of the emotion's
# prototype (Friesen & Ekman 1983, EMFACS), as far as a blendshape stands for them.
_PROTOTYPES: Mapping[str, Mapping[str, float]] = {
    "sad": {"browInnerUp": 0.9, "browDown": 0.3, "mouthFrown": 1.0, "mouthSmile": 0},
    "angry": {
        "browDown": 1.0,
        "eyeWide": 0.3,
        "noseSneer": 0.25,
        "mouthFrown": 0.3,
        "mouthSmile": 0,
    },
    "disgusted": {
        "noseSneer": 0.4,
        "browDown": 0.9,
        "mouthUpperUp": 0.65,
        "mouthLowerDown": 0,
        "jawOpen": 0,
        "mouthSmile": 0,
    },
    "afraid": {
        "browInnerUp": 0.8,
        "browDown": 0.4,
        "eyeWide": 1.0,
        "jawOpen": 0.12,
        "mouthLowerDown": 0.3,
        "mouthStretch": 0.6,
        "mouthFrown": 0.6,
        "mouthSmile": 0,
    },
}
# How much of its name the network is told beside a prototype: with it, less of the name is read as
# the expression as often, and more as the same person.
_TOLD = {"sad": 0.3, "angry": 0.3, "disgusted": 0.3, "afraid": 0.2}
# How many times as dark the network's shade is in expressions that press skin together: its folds
# are fainter than people's, whose mean it learned within narrow limits.
_DEEPER = 1.5
_PRESS = ("happy", "sad", "angry", "disgusted", "afraid")
# What needs a mouth's inside, which a rig has not: set by name, or by a prototype, both sides of it
# are the network's.
_OF_THE_NETWORK = ("mouthSmile", "jawOpen", "mouthUpperUp")
# The same, where the network has seen mouths open otherwise than in smiles: weights for happy and
# neutral alone answer it with thicker lips.
_OF_ONE_THAT_IS_SURPRISED = ("mouthLowerDown",)
Targets = Mapping[str, npt.NDArray[np.float32]]


class Parts(NamedTuple):
    """Blendshapes [52] as the face has them, as the network is to make them, and as the rig is to
    make them of that."""

    have: FloatArray
    by_network: FloatArray
    by_rig: FloatArray


def change(edit: Edit, face: Face, targets: Targets) -> FloatArray:
    """What must be added to the face's blendshapes, float32 [52], -1 to 1.

    targets: the blendshapes [52] of each expression. What an expression raises most above neutral
    it never lowers: a smile wider than the mean of all smiles is not made smaller by asking for
    happy. But the trace of a smile in angry or afraid faces does not keep one: a smile is happy's,
    which raises it several times as far.
    Happy goes a twentieth farther than its mean; an expression with a prototype has that at least.
    The gaze stays but where it is set by name.
    """
    have, _, want = parts(edit, face, targets)
    return np.asarray(want - have, np.float32)


def parts(edit: Edit, face: Face, targets: Targets) -> Parts:
    """The whole change, and how network and rig share it."""
    have = face.blendshapes
    difference = _difference(edit, face, targets)
    marks = _PROTOTYPES.get(edit.to or "", {})
    marked = {i: score for name, score in marks.items() for i in rig.places(name)}
    absent = [i for i, score in marked.items() if not score]
    difference[absent] = -have[absent]  # what must not be there goes with the rest
    whole = difference.copy()
    of_network = _OF_THE_NETWORK + (_OF_ONE_THAT_IS_SURPRISED if "surprised" in targets else ())
    inside = {i for name in of_network for i in rig.places(name)}
    for i, score in marked.items():
        whole[i] = max(whole[i], score - have[i])
        if i in inside:
            difference[i] = whole[i]
    for name, value in edit.set.items():
        i = BLENDSHAPES.index(name)
        whole[i] = value - have[i]
        if whole[i] < 0:
            difference[i] = whole[i]
    for name in of_network:
        sides = rig.places(name)
        if any(BLENDSHAPES[i] in edit.set for i in sides):
            shared = whole[sides].min() if (whole[sides] > 0).all() else 0
            difference[sides] = np.where(whole[sides] < 0, whole[sides], shared)
    if edit.regions:
        elsewhere = ~moving(edit.regions)
        difference[elsewhere] = whole[elsewhere] = 0
    # a target beyond 0 to 1 would be none; rounding must not change what is not asked to change
    by_network, by_rig = (
        np.where(d == 0, have, np.clip(have + edit.strength * d, 0, 1)).astype(np.float32)
        for d in (difference, whole)
    )
    return Parts(have, by_network, by_rig)


def named(edit: Edit) -> FloatArray:
    """The name of what an edit asks for, float32 [7]: one-hot of EXPRESSIONS times the strength,
    and less than that where a prototype says the rest.

    Zeros where it names none, and where it is held to regions: a name moves the whole face, and
    what it moves elsewhere would be cut off at a region's border.
    """
    name = np.zeros(len(EXPRESSIONS), np.float32)
    if edit.to is not None and not edit.regions:
        name[EXPRESSIONS.index(edit.to)] = edit.strength * _TOLD.get(edit.to, 1.0)
    return name


def depth_of_shade(edit: Edit) -> float:
    """How many times as dark as the network has it the shade shall be."""
    return _DEEPER if edit.to in _PRESS else 1.0


def _difference(edit: Edit, face: Face, targets: Targets) -> npt.NDArray[np.float32]:
    have = face.blendshapes
    if edit.like is not None:
        return np.where(GAZE, 0, edit.like.blendshapes - have).astype(np.float32)
    if edit.to is None:
        return np.zeros(len(BLENDSHAPES), np.float32)
    target, neutral = targets[edit.to], targets["neutral"]
    difference = np.where(GAZE, 0, target - have)
    raised = target - neutral
    most = np.max([t - neutral for t in targets.values()], 0)  # of any expression
    own = (raised > max(_MAIN * float(raised.max()), 0.05)) & (raised > _MAIN * most)
    difference = np.where(own, np.maximum(difference, 0), difference)
    clear = np.clip(have + _CLEAR.get(edit.to, 1.0) * difference, 0, 1) - have
    return np.asarray(clear, np.float32)


def moving(regions: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which blendshapes move any of the regions."""
    starts = tuple(s for region in regions for s in REGIONS[region])
    return np.array([name.startswith(starts) for name in BLENDSHAPES])


def choose(faces: list[Face], wanted: Sequence[int] | None) -> list[Face]:
    """The faces of the wanted indices, all for None; EditError for one that is not there."""
    if wanted is None:
        return faces
    for index in wanted:
        if not 0 <= index < len(faces):
            have = "1 face, 0" if len(faces) == 1 else f"{len(faces)} faces, 0 to {len(faces) - 1}"
            raise EditError(f"no face {index}: the photo has {have}")
    return [face for face in faces if face.index in wanted]
