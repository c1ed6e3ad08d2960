"""How landmarks move when blendshapes change, fitted over people seen with several expressions."""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.change import GAZE
from facepaint.errors import LabError
from facepaint.face import BLENDSHAPES, EXPRESSIONS, LANDMARKS, FloatArray
from facepaint.lab.data.faces import FaceSet

# Points that an expression hardly moves: irises' places by the eye corners, bridge, forehead.
STILL = (33, 133, 263, 362, 168, 6, 197, 195, 10, 109, 338, 67, 297)


class Labelled(Protocol):
    """Photos of people with expressions, as a FaceSet or a WindowSet."""

    @property
    def subjects(self) -> npt.NDArray[np.str_]: ...
    @property
    def expressions(self) -> npt.NDArray[np.int8]: ...


Pairs = list[npt.NDArray[np.intp]]


def people(faces: Labelled, chosen: npt.NDArray[np.bool_]) -> Pairs:
    """The photos of each person who has more than one and more than one expression."""
    by_subject: dict[str, list[int]] = defaultdict(list)
    for i in np.flatnonzero(chosen & (faces.expressions >= 0)):
        by_subject[str(faces.subjects[i])].append(int(i))
    seen = [np.array(v) for v in by_subject.values()]
    return [v for v in seen if len(set(faces.expressions[v])) > 1]


def still_frame(source: FloatArray, partner: FloatArray) -> FloatArray:
    """The similarity that lays the partner's still points over the source's; crop units."""
    return align.fit_similarity(partner[list(STILL)], source[list(STILL)])


def features(blend: FloatArray) -> FloatArray:
    """What landmarks move linearly with: blendshapes [..., 52] and their roots, [..., 104].

    Small scores stand for larger moves than their size says: with the roots, the error at the lips
    of people held out is a quarter smaller than without.
    """
    return np.concatenate([blend, np.sqrt(np.clip(blend, 0, None))], -1).astype(np.float32)


def fit(faces: FaceSet, groups: Pairs, ridge: float = 1.0) -> FloatArray:
    """The map from features to landmark places, float32 [104, 478 · 2], crop units.

    Ridge regression over each person's photos against that person's own mean photo, so that
    nothing of an identity enters. LabError where there is nobody.
    """
    if not groups:
        raise LabError("nobody in the data shows two expressions; the painter learns from those")
    changes, moves = [], []
    for group in groups:
        first = faces.landmarks[group[0]]
        laid = np.stack([_laid(first, faces.landmarks[i]) for i in group])
        seen = features(faces.blendshapes[group])
        changes.append(seen - seen.mean(0))
        moves.append((laid - laid.mean(0)).reshape(len(group), -1))
    x, y = np.concatenate(changes).astype(np.float64), np.concatenate(moves).astype(np.float64)
    solved = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    return solved.astype(np.float32)


def _laid(source: FloatArray, partner: FloatArray) -> FloatArray:
    return align.apply(still_frame(source, partner), partner)


def moved(
    landmarks: FloatArray, have: FloatArray, want: FloatArray, linear: FloatArray
) -> FloatArray:
    """Landmarks [478, 2] after the blendshapes [52] went from `have` to `want`, by the map."""
    move = (features(want) - features(have)) @ linear
    return (landmarks + move.reshape(LANDMARKS, 2)).astype(np.float32)


def expression_targets(faces: FaceSet, chosen: npt.NDArray[np.bool_]) -> FloatArray:
    """The blendshapes of each of EXPRESSIONS, float32 [7, 52]; sets count alike.

    Neutral is the mean of the neutral photos; of the others it is the mean of the stronger half,
    along the direction from neutral to their mean: posed expressions are often faint.
    """
    targets = np.zeros((len(EXPRESSIONS), len(BLENDSHAPES)), np.float32)
    for e in range(len(EXPRESSIONS)):
        rows = chosen & (faces.expressions == e)
        sets = [
            faces.blendshapes[rows & (faces.sources == s)] for s in sorted(set(faces.sources[rows]))
        ]
        if sets:
            mean = np.mean([b.mean(0) for b in sets], 0)
            strong = [_stronger(b, mean - targets[0]) if e else b for b in sets]
            targets[e] = np.mean([b.mean(0) for b in strong], 0)
    targets[:, GAZE] = 0
    return targets


def _stronger(blend: FloatArray, direction: FloatArray) -> FloatArray:
    """The half of `blend` [N, 52] that lies farthest along `direction`."""
    along = blend @ direction
    strong: FloatArray = blend[along >= np.median(along)]
    return strong
