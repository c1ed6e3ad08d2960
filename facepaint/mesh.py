"""The mean face and the symmetry of the face mesh."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facepaint.align import EYE_DISTANCE, EYE_Y
from facepaint.face import BLENDSHAPES, FloatArray


@cache
def _table() -> npt.NDArray[np.float64]:
    return np.loadtxt(Path(__file__).with_name("mean_face.csv"), delimiter=",")


def mean_face() -> FloatArray:
    """Landmarks of a mean frontal face in crop units, float32 [478, 2]."""
    return (_table()[:, :2] * EYE_DISTANCE + [0.5, EYE_Y]).astype(np.float32)


def mirrored_landmarks() -> npt.NDArray[np.intp]:
    """For each landmark the one that takes its place in a mirrored photo, [478]."""
    return _table()[:, 2].astype(np.intp)


@cache
def mirrored_blendshapes() -> npt.NDArray[np.intp]:
    """For each blendshape the one that takes its place in a mirrored photo, [52].

    A face that looks to its own left looks to its right in the mirror: eyeLookInLeft becomes
    eyeLookInRight, as all others do.
    """
    swap = {"Left": "Right", "Right": "Left"}
    names = [next((n[: -len(s)] + swap[s] for s in swap if n.endswith(s)), n) for n in BLENDSHAPES]
    return np.array([BLENDSHAPES.index(n) for n in names])
