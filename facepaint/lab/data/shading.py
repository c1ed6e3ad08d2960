"""Samples for the network that shades skin: one photo moved to where another of the same person is.

What is left between the moved photo and the other one, away from mouth and eyes, is light: folds
that come and go, cheeks that round, a brow that wrinkles.
"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.editing.flow import flow_between
from facepaint.editing.repaint import SHADE_FLOW, SHADE_SIZE
from facepaint.editing.windows import EYES, MOUTH, outlines
from facepaint.face import EXPRESSIONS, FloatArray, head_turn
from facepaint.lab.data.augment import Look, random_frame
from facepaint.lab.data.closeups import CloseUps
from facepaint.mesh import mirrored_blendshapes, mirrored_landmarks
from facepaint.segment import face_mask

_MIRROR = np.array([[-1, 0, 1], [0, 1, 0]], np.float32)
_SAME_TURN = 0.15  # of `head_turn`, by which two photos of a person may differ
_SAME_SET_ONLY = ("taiwan", "london", "radiate", "kdef", "clips", "rendered", "drawn")
_UNCHANGED = 0.06  # share of samples in which nothing is asked
_KEPT_WIDTH = 0.03  # of the crop's side, around mouth and eyes, that is not judged


class Chances(Protocol):
    """The settings that samples are drawn by (see `ShadeSettings`)."""

    @property
    def light(self) -> float: ...


class ShadingSamples:
    """Draws pairs of photos of one person, not held out, in the same light."""

    def __init__(self, settings: Chances, faces: CloseUps) -> None:
        self._s = settings
        self.faces = faces.only(~faces.held_out & np.isin(faces.sources, _SAME_SET_ONLY))
        turn = np.array([head_turn(p) for p in self.faces.landmarks])
        self._mates = {
            i: near
            for i, others in self.faces.others().items()
            if len(near := others[np.abs(turn[others] - turn[i]) < _SAME_TURN])
        }
        self._rows = np.array(sorted(self._mates))
        sets, counts = np.unique(self.faces.sources[self._rows], return_counts=True)
        share = dict(zip(sets, counts**-0.5, strict=True))  # small sets count more
        odds = np.array([share[s] for s in self.faces.sources[self._rows]])
        self._odds = odds / odds.sum()
        self._order = mirrored_blendshapes()

    def draw(self, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """One sample.

        Returns:
            moved, true: uint8 [256, 256, 3] RGB. flow: float32 [64, 64, 2], crop units. told:
            float32 [59], change of blendshapes and of the name. weight: float32 [256, 256], where
            the result counts.
        """
        i = int(self._rows[rng.choice(len(self._rows), p=self._odds)])
        j = i if rng.random() < _UNCHANGED else int(rng.choice(self._mates[i]))
        frame = random_frame(rng, 4, 0.05, 0.02)
        points, asked = (self.faces.landmarks[k] for k in (i, j))
        have, want = (self.faces.blendshapes[k] for k in (i, j))
        if rng.random() < 0.5:
            frame = align.chain(frame, _MIRROR)
            have, want = have[self._order], want[self._order]
            order = mirrored_landmarks()
            points, asked = points[order], asked[order]
        undo = align.invert(frame)
        points, asked = (align.apply(undo, p) for p in (points, asked))
        look = Look.draw(rng, self._s.light)
        before, true = (look(self.faces.window(k, frame, SHADE_SIZE)) for k in (i, j))
        moved, flow = moved_crop(before, points, asked)
        told = np.concatenate([want - have, self._name(j) - self._name(i)])
        return {
            "moved": moved,
            "true": true,
            "flow": flow,
            "told": told.astype(np.float32),
            "weight": skin(asked),
        }

    def _name(self, i: int) -> FloatArray:
        name = np.zeros(len(EXPRESSIONS), np.float32)
        if self.faces.expressions[i] >= 0:
            name[self.faces.expressions[i]] = 1
        return name


def moved_crop(
    before: npt.NDArray[np.uint8], points: FloatArray, asked: FloatArray
) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """A crop [S, S, 3] after its landmarks moved, and the flow [64, 64, 2] that did it."""
    size = len(before)
    flow = flow_between(points, asked, SHADE_FLOW)
    large = cv2.resize(flow, (size, size), interpolation=cv2.INTER_CUBIC) * size
    y, x = np.mgrid[:size, :size].astype(np.float32)
    at_x, at_y = x + large[..., 0], y + large[..., 1]
    moved = cv2.remap(before, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8), flow


def skin(points: FloatArray, size: int = SHADE_SIZE) -> FloatArray:
    """The face without mouth and eyes, which other networks paint, float32 [size, size]."""
    kept = face_mask(points, size)
    for part in (MOUTH, *EYES):
        kept = kept * (1 - outlines(points, part, _KEPT_WIDTH, size).mask)
    return np.asarray(kept, np.float32)
