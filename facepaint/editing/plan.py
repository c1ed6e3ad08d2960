"""Plan: what an edit asks of one face, in blendshapes and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facepaint.edit import Edit
from facepaint.editing.gaze import at_viewer, turned
from facepaint.face import Face, FloatArray
from facepaint.names import BLENDSHAPES, EXPRESSIONS, REGIONS

Targets = Mapping[str, FloatArray]  # blendshapes [52] by the name of an expression

# An expression leaves the gaze where it is, but for `look`.
GAZE = np.array([name.startswith("eyeLook") for name in BLENDSHAPES])
# A blendshape belongs to an expression that raises it by so much, and by this share of the largest
# raise that any expression gives it.
_RAISED_ABOVE, _OWN_ABOVE = 0.05, 0.5
# A face counts as showing an expression from this share of the way from neutral to its target on:
# from the second number on it keeps its pixels.
_REACHED_FROM, _REACHED_AT = 0.6, 0.9
# The same for neutral: how far blendshapes are from it, as a Euclidean distance.
_NEUTRAL_AT, _NEUTRAL_FROM = 0.12, 0.3


class Plan(NamedTuple):
    """What is asked of a face.

    Attributes:
        have: float32 [52], its blendshapes, 0 to 1.
        want: float32 [52], those it is to have.
        name: float32 [7], how far each of EXPRESSIONS is asked for by name, 0 to 1.5.
    """

    have: FloatArray
    want: FloatArray
    name: FloatArray

    @property
    def asks_nothing(self) -> bool:
        """Whether the face is to stay as it is."""
        return bool((self.want == self.have).all() and not self.name.any())


def plan(edit: Edit, face: Face, targets: Targets) -> Plan:
    """Say what an edit asks of a face.

    A named expression raises the blendshapes that belong to it to its target, and lowers all others
    to what a neutral face has of them. What belongs to it is never lowered: a wide smile is not
    made smaller by asking for happy. A face that shows the expression already is asked for nothing.
    Where eyes look is planned by the head alone; `facepaint.editing.gaze.turn` sees the irises.

    Args:
        edit: what the user asks.
        face: as it was read.
        targets: blendshapes of each named expression.
    """
    have = face.blendshapes
    change, name = np.zeros_like(have), np.zeros(len(EXPRESSIONS), np.float32)
    if edit.like is not None:
        change = np.where(GAZE, 0, edit.like.blendshapes - have)
    elif edit.to is not None:
        change, amount = _towards(edit.to, have, targets)
        name[EXPRESSIONS.index(edit.to)] = amount
    if edit.look is not None:
        change = np.where(turned(edit), at_viewer(face.landmarks) - have, change)
    for muscle, value in edit.set.items():
        i = BLENDSHAPES.index(muscle)
        change[i] = value - have[i]
    if edit.regions:
        change = np.where(moving(edit.regions), change, 0)
        name = name * 0
    want = np.clip(have + edit.strength * change, 0, 1)
    want = np.where(change == 0, have, want).astype(np.float32)
    return Plan(have, want, np.asarray(edit.strength * name, np.float32))


def _towards(to: str, have: FloatArray, targets: Targets) -> tuple[FloatArray, float]:
    """The change that a named expression asks for, [52], and how much of its name, 0 to 1."""
    target, neutral = targets[to], targets["neutral"]
    change = np.where(GAZE, 0, target - have)
    if to == "neutral":
        away = float(np.linalg.norm(change))
        amount = _ramp(away, _NEUTRAL_AT, _NEUTRAL_FROM)
        return np.asarray(change * amount, np.float32), amount
    raised, own = target - neutral, belonging(to, targets)
    rest = np.where(GAZE, 0, np.minimum(neutral - have, 0))
    change = np.where(own, np.maximum(change, 0), rest)
    marks = np.where(own, raised, 0)
    reached = float((have - neutral) @ marks) / max(float(marks @ marks), 1e-6)
    amount = 1 - _ramp(reached, _REACHED_FROM, _REACHED_AT)
    return np.asarray(change * amount, np.float32), amount


def belonging(to: str, targets: Targets) -> npt.NDArray[np.bool_]:
    """Which blendshapes belong to a named expression, bool [52]: those that it raises, and not much
    less than any other expression does."""
    neutral = targets["neutral"]
    raised = np.where(GAZE, 0, targets[to] - neutral)
    most = np.max([t - neutral for t in targets.values()], 0)
    return np.asarray((raised > _RAISED_ABOVE) & (raised > _OWN_ABOVE * most), np.bool_)


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, smooth between."""
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3 - 2 * t)


def moving(regions: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Which blendshapes move any of the regions, [52]."""
    starts = tuple(s for region in regions for s in REGIONS[region])
    return np.array([name.startswith(starts) for name in BLENDSHAPES])
