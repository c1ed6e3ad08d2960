"""Edit: what is asked of a face, and the change of blendshapes that it means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facepaint.errors import EditError
from facepaint.face import BLENDSHAPES, EXPRESSIONS, Face, FloatArray

# An edit leaves the gaze where it is.
GAZE = np.array([name.startswith("eyeLook") for name in BLENDSHAPES])

_RAISED = 0.05  # above neutral, from which a blendshape belongs to the expression


@dataclass(frozen=True)
class Edit:
    """An expression to give a face.

    to: one of EXPRESSIONS.
    strength: 0 leaves the face as it is, 1 gives the whole expression.
    Raises EditError for anything else.
    """

    to: str
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.to not in EXPRESSIONS:
            raise EditError(_unknown(self.to))
        if not 0 <= self.strength <= 1:  # also false for NaN
            raise EditError(f"strength {self.strength:g} is outside 0 to 1")


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(str(name).lower(), EXPRESSIONS, 2, 0.4)
    known = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(EXPRESSIONS)}"
    return f"unknown expression {name!r}; {known}"


def change(edit: Edit, face: Face, targets: dict[str, npt.NDArray[np.float32]]) -> FloatArray:
    """What must be added to the face's blendshapes, float32 [52], -1 to 1; the gaze stays.

    targets: the blendshapes [52] of each expression. What an expression raises above neutral it
    never lowers: a smile wider than the mean of all smiles is not made smaller by asking for happy.
    """
    target, neutral = targets[edit.to], targets["neutral"]
    difference = np.where(GAZE, 0, target - face.blendshapes)
    own = target > neutral + _RAISED
    difference = np.where(own, np.maximum(difference, 0), difference)
    return np.asarray(edit.strength * difference, np.float32)


def choose(faces: list[Face], wanted: Sequence[int] | None) -> list[Face]:
    """The faces of the wanted indices, all for None; EditError for one that is not there."""
    if wanted is None:
        return faces
    for index in wanted:
        if not 0 <= index < len(faces):
            have = "1 face, 0" if len(faces) == 1 else f"{len(faces)} faces, 0 to {len(faces) - 1}"
            raise EditError(f"no face {index}: the photo has {have}")
    return [face for face in faces if face.index in wanted]
