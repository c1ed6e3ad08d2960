"""Expression ratio images (Liu, Shan & Zhang 2001, "Expressive expression mapping with ratio
images"): by how much light an expression's folds and furrows are darker or brighter than the same
skin at rest. On the mean face, as the logarithm of a gain, averaged over people, so that nothing of
an identity or of a photo's light is left.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.align import CROP
from facepaint.face import EXPRESSIONS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, FloatArray
from facepaint.lab.data import moves
from facepaint.lab.data.faces import FaceSet, cut
from facepaint.mesh import mean_face
from facepaint.segment import face_mask

_DARK = 8.0  # added to grey values 0 to 255, or the ratios of dark skin would be noise
_COARSE = 32  # places a side at which it is known how a face lies over the mean one
_REACH = 0.02  # of a landmark over the face around it, in crop sides
_SOFT = 1.0  # standard deviation of a blur, crop pixels
_EACH = 4  # photos of a person and expression, at most


def ratio_images(faces: FaceSet, groups: moves.Pairs, directions: FloatArray) -> FloatArray:
    """Of each of EXPRESSIONS, float32 [7, 128, 128]: the logarithm of the gain from neutral, alike
    on both sides; zeros outside the face, at mouth and eyes, and where nobody shows both.

    directions: how landmarks move with each, [7, 478, 2]; of each person the photos that go
    farthest along count.
    """
    found: list[list[FloatArray]] = [[] for _ in EXPRESSIONS]
    for group in groups:
        neutral = group[faces.expressions[group] == 0][:_EACH]
        if not len(neutral):
            continue
        rest = np.mean([_flattened(faces, i) for i in neutral], 0)
        for e in range(1, len(EXPRESSIONS)):
            shown = group[faces.expressions[group] == e]
            along = [float((moves.laid(faces, neutral[0], i) * directions[e]).sum()) for i in shown]
            for i in shown[np.argsort(along)[len(along) // 2 :]][-_EACH:]:
                ratio = _flattened(faces, i) - rest
                found[e].append(ratio - np.median(ratio))
    within = _skin()
    out = np.zeros((len(EXPRESSIONS), CROP, CROP), np.float32)
    for e, ratios in enumerate(found):
        if ratios:
            mean = cv2.GaussianBlur(np.mean(ratios, 0), (0, 0), _SOFT) * within
            out[e] = (mean + mean[:, ::-1]) / 2
    return out


def _skin() -> FloatArray:
    """The mean face without its silhouette and without mouth and eyes, whose insides come and go:
    float32 [128, 128], 0 to 1."""
    within = cv2.erode(face_mask(mean_face()), np.ones((17, 17), np.uint8))
    for outline in (OUTER_LIPS, RIGHT_EYE, LEFT_EYE):
        corners = np.round(mean_face()[list(outline)] * CROP).astype(np.int32)
        hole = cv2.fillPoly(np.zeros_like(within), [corners], 1.0)
        within[cv2.dilate(hole, np.ones((5, 5), np.uint8)) > 0] = 0
    return np.asarray(cv2.GaussianBlur(within, (0, 0), 2), np.float32)


def on_face(ratio: FloatArray, points: FloatArray) -> FloatArray:
    """A ratio image of the mean face as it lies on the face of `points` [478, 2], [128, 128].

    Each place of that face looks where it lies on the mean one. (To go back along the offsets of
    the mean face's places would do for small ones alone: it tears the cheeks of a turned head.)
    """
    return _moved(ratio, _offsets(points, mean_face()))


def _flattened(faces: FaceSet, i: int) -> FloatArray:
    """The logarithm of a photo's grey values with its face laid over the mean one, [128, 128]."""
    crop = cv2.cvtColor(cut(faces.crops[i], align.IDENTITY), cv2.COLOR_RGB2GRAY)
    over = _moved(crop.astype(np.float32) + _DARK, _offsets(mean_face(), faces.landmarks[i]))
    return np.log(np.maximum(over, _DARK / 2)).astype(np.float32)


def _offsets(points: FloatArray, others: FloatArray) -> FloatArray:
    """Where each pixel of the face of `points` lies on the face of `others`, relative to its place,
    in crop sides, [128, 128, 2]: the landmarks' own offsets, each counting for what is near it."""
    coarse = (_weights(points) @ (others - points)).reshape(_COARSE, _COARSE, 2)
    return np.asarray(cv2.resize(coarse, (CROP, CROP), interpolation=cv2.INTER_CUBIC), np.float32)


def _weights(points: FloatArray) -> FloatArray:
    """How much each of the landmarks counts at each coarse place, [1024, 478]."""
    at = (np.arange(_COARSE, dtype=np.float32) + 0.5) / _COARSE
    columns, rows = (np.square(at[:, None] - points[:, i]) for i in (0, 1))
    apart = (rows[:, None] + columns[None]).reshape(_COARSE**2, -1)
    # relative to the nearest, so that far from all of them something is left to divide by
    apart -= apart.min(1, keepdims=True)
    nearness = np.exp(apart * (-0.5 / _REACH**2), out=apart)
    return np.asarray(nearness / nearness.sum(1, keepdims=True), np.float32)


def _moved(picture: npt.NDArray[np.float32], offsets: FloatArray) -> FloatArray:
    """Each pixel taken from its offset, in crop sides."""
    y, x = np.mgrid[:CROP, :CROP].astype(np.float32)
    where = (x + offsets[..., 0] * CROP, y + offsets[..., 1] * CROP)
    out = cv2.remap(picture, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)
