"""How landmarks move when blendshapes change, fitted over people seen with several expressions."""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.change import GAZE
from facepaint.errors import LabError
from facepaint.face import BLENDSHAPES, EXPRESSIONS, FACE_OVAL, LANDMARKS, FloatArray
from facepaint.lab.data.faces import FaceSet
from facepaint.mesh import mean_face, mirrored_landmarks

# Points that an expression hardly moves: irises' places by the eye corners, bridge, forehead.
STILL = (33, 133, 263, 362, 168, 6, 197, 195, 10, 109, 338, 67, 297)

CLOSED = [EXPRESSIONS.index(e) for e in ("sad", "angry", "disgusted")]  # the mouth stays closed
_BONY = sorted({*FACE_OVAL, *STILL})  # what no muscle moves while the mouth is closed


class Labelled(Protocol):
    """Photos of people with expressions, as FaceSet and CloseUps have them."""

    @property
    def subjects(self) -> npt.NDArray[np.str_]: ...
    @property
    def expressions(self) -> npt.NDArray[np.int8]: ...


class Scored(Labelled, Protocol):
    """Photos whose blendshapes and sets are known too."""

    @property
    def blendshapes(self) -> FloatArray: ...
    @property
    def sources(self) -> npt.NDArray[np.str_]: ...


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
        over = np.stack([_laid(first, faces.landmarks[i]) for i in group])
        seen = features(faces.blendshapes[group])
        changes.append(seen - seen.mean(0))
        moves.append((over - over.mean(0)).reshape(len(group), -1))
    x, y = np.concatenate(changes).astype(np.float64), np.concatenate(moves).astype(np.float64)
    solved = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    return solved.astype(np.float32)


def laid(faces: FaceSet, i: int, j: int) -> FloatArray:
    """The landmarks [478, 2] of face j laid over face i by still points."""
    return _laid(faces.landmarks[i], faces.landmarks[j])


def _laid(source: FloatArray, partner: FloatArray) -> FloatArray:
    return align.apply(still_frame(source, partner), partner)


def moved(
    landmarks: FloatArray, have: FloatArray, want: FloatArray, linear: FloatArray
) -> FloatArray:
    """Landmarks [478, 2] after the blendshapes [52] went from `have` to `want`, by the map."""
    move = (features(want) - features(have)) @ linear
    return (landmarks + move.reshape(LANDMARKS, 2)).astype(np.float32)


def expression_moves(faces: FaceSet, groups: Pairs) -> FloatArray:
    """How landmarks move from a person's own neutral face to each of EXPRESSIONS, float32
    [7, 478, 2], crop units, alike on both sides; zeros where nobody shows both.

    The mean of the stronger half, as of the targets. It holds what blendshapes under-read, such as
    corners of the mouth that sink and brows that meet. Who poses anger or disgust also nods: that
    is taken out of those expressions that keep the mouth closed.
    """
    order = mirrored_landmarks()
    result = np.zeros((len(EXPRESSIONS), LANDMARKS, 2), np.float32)
    for e in range(1, len(EXPRESSIONS)):
        seen = [m for group in groups for m in _from_neutral(faces, group, e)]
        if seen:
            all_ = np.stack(seen).reshape(len(seen), -1)
            mean = _stronger(all_, all_.mean(0)).mean(0).reshape(LANDMARKS, 2)
            alike = (mean + mean[order] * (-1, 1)) / 2
            result[e] = _of_muscles(alike) if e in CLOSED else alike
    return result


def _of_muscles(move: FloatArray) -> FloatArray:
    """A move of landmarks [478, 2] without that of the head: what a quadratic makes of the places
    that no muscle moves (the face's outline, while the mouth stays closed, the bridge of the nose
    and the corners of the eyes), as a nod does of a face that is round."""
    x, y = (mean_face() - np.float32(0.5)).T
    quadratic = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)
    fit, *_ = np.linalg.lstsq(quadratic[_BONY], move[_BONY], rcond=None)
    return np.asarray(move - quadratic @ fit, np.float32)


def _from_neutral(faces: FaceSet, group: npt.NDArray[np.intp], e: int) -> list[FloatArray]:
    """The moves [478, 2] of each of a person's photos that show `e`, from the mean of the neutral
    ones."""
    neutral, shown = (group[faces.expressions[group] == k] for k in (0, e))
    if not len(neutral):
        return []
    first = faces.landmarks[neutral[0]]
    rest = np.mean([_laid(first, faces.landmarks[i]) for i in neutral], 0)
    return [_laid(first, faces.landmarks[i]) - rest for i in shown]


def expression_targets(faces: Scored, chosen: npt.NDArray[np.bool_]) -> FloatArray:
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
