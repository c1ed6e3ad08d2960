"""Change: from an edit and a face to what its blendshapes should gain or lose, and to a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

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
_CLEAR = {"happy": 1.1}
Targets = Mapping[str, npt.NDArray[np.float32]]


def change(edit: Edit, face: Face, targets: Targets) -> FloatArray:
    """What must be added to the face's blendshapes, float32 [52], -1 to 1.

    targets: the blendshapes [52] of each expression. What an expression raises most above neutral
    it never lowers: a smile wider than the mean of all smiles is not made smaller by asking for
    happy. But the trace of a smile in angry or afraid faces does not keep one: a smile is happy's,
    which raises it several times as far.
    Happy goes a tenth farther than its mean. The gaze stays but where it is set by name.
    """
    have = face.blendshapes
    difference = _difference(edit, face, targets)
    for name, value in edit.set.items():
        i = BLENDSHAPES.index(name)
        difference[i] = value - have[i]
    if edit.regions:
        difference[~_moves(edit.regions)] = 0
    asked = np.clip(have + edit.strength * difference, 0, 1)
    # a target beyond 0 to 1 would be none; rounding must not change what is not asked to change
    return np.where(difference == 0, 0, asked - have).astype(np.float32)


def named(edit: Edit) -> FloatArray:
    """The name of what an edit asks for, float32 [7]: one-hot of EXPRESSIONS times the strength.

    Zeros where it names none, and where it is held to regions: a name moves the whole face, and
    what it moves elsewhere would be cut off at a region's border.
    """
    name = np.zeros(len(EXPRESSIONS), np.float32)
    if edit.to is not None and not edit.regions:
        name[EXPRESSIONS.index(edit.to)] = edit.strength
    return name


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


def _moves(regions: Sequence[str]) -> npt.NDArray[np.bool_]:
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
