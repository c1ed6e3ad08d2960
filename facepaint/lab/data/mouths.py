"""How bright teeth are in people's smiles, beside the skin around them, and how dark the inside of
open mouths is.

New teeth have nothing in the photo to go by, and a painter likes them brighter than they are. In
real smiles they follow the light of the face, less than in proportion: skin differs in colour from
person to person more than teeth do. Of mouths that open without a smile mostly a dark inside is
seen, darkest below the upper lip.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from facepaint import align
from facepaint.align import CROP
from facepaint.face import INNER_LIPS, OUTER_LIPS, FloatArray
from facepaint.lab.data.faces import FaceSet, cut
from facepaint.lab.data.topology import SMILING, filled
from facepaint.segment import face_mask

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
_BROAD = 0.5  # the mean of these from which on teeth show
_LEAST = 60  # pixels between the lips, in a crop
_ROWS, _COLUMNS = 8, 12  # places between the lips at which it is known how dark they are
_SHADOW = 0.55  # of the skin's luminance, up to which a mouth's inside is dark
_BRIGHT = 0.7  # share of the pixels between the lips that are darker than teeth
_FEWEST = 20  # smiles to measure
_DARK = 0.02  # luminance under which nothing is told
_ROOM = 1.1  # times what is usual: how bright teeth may be
_HUE = 0.15  # how far a channel's gain may be from that of the luminance


class Lines(NamedTuple):
    """ln(teeth) = slope · ln(skin) + offset, float32 [3] each, of red, green and blue, 0 to 1."""

    slope: FloatArray
    offset: FloatArray


def measure(faces: FaceSet, rows: npt.NDArray[np.intp]) -> Lines | None:
    """The lines through the broad smiles among those rows; None where there are too few of them."""
    smiles = [i for i in rows if faces.blendshapes[i][SMILING].mean() > _BROAD]
    found = [both for i in smiles if (both := _of(faces, int(i))) is not None]
    if len(found) < _FEWEST:
        return None
    skin, teeth = np.log(np.array(found)).transpose(1, 0, 2)
    spread = np.maximum(skin.var(0), 1e-4)
    slope = ((skin - skin.mean(0)) * (teeth - teeth.mean(0))).mean(0) / spread
    offset = teeth.mean(0) - slope * skin.mean(0)
    return Lines(slope.astype(np.float32), offset.astype(np.float32))


def dark_inside(faces: FaceSet, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Of those rows, bool [N], whether the mouth is open and what lies between the lips is dark,
    neither teeth nor tongue: what one sees of a mouth that opens in surprise."""
    return np.array([_is_dark(faces, int(i)) for i in rows], bool)


def mean_inside(faces: FaceSet, rows: npt.NDArray[np.intp]) -> FloatArray | None:
    """How dark the inside of a mouth is from place to place: the mean over those rows, whose mouths
    are open and dark, of the logarithm of its colour over that of skin, alike on both sides,
    float32 [8, 12, 3]; from the upper lip to the lower and from corner to corner. None without
    any."""
    found = []
    for i in rows:
        crop, _, skin = _mouth(faces, int(i))
        x, y, where = _places(faces.landmarks[i])
        ratio = np.log(np.maximum(crop[where], _DARK) / np.maximum(_mean(crop, skin), _DARK))
        at = (
            np.round(y[where] * (_ROWS - 1)).astype(int),
            np.round(x[where] * (_COLUMNS - 1)).astype(int),
        )
        total = np.zeros((_ROWS, _COLUMNS, 4))
        np.add.at(total, at, np.column_stack([ratio, np.ones(len(ratio))]))
        smooth = cv2.GaussianBlur(total, (0, 0), 1.0)
        found.append(smooth[..., :3] / np.maximum(smooth[..., 3:], 1e-6))
    if not found:
        return None
    mean = np.mean(found, 0)
    return np.asarray((mean + mean[:, ::-1]) / 2, np.float32)


def laid_inside(inside: FloatArray, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """That as it lies between the lips of a face, [128, 128, 3], and where that is, [128, 128], 0
    or 1. points: landmarks [478, 2] in crop units."""
    x, y, where = _places(points)
    at = x * np.float32(_COLUMNS - 1), y * np.float32(_ROWS - 1)
    laid = cv2.remap(inside, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(laid, np.float32), where.astype(np.float32)


def _places(points: FloatArray) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Where between the lips each pixel of a crop lies, from corner to corner and from the upper to
    the lower, 0 to 1, and which pixels do, each [128, 128]."""
    where = _inner(filled(points, INNER_LIPS)) > 0
    rows, columns = np.mgrid[:CROP, :CROP].astype(np.float32)
    used = where.any(0)
    first = np.where(used, where.argmax(0), 0)
    last = np.where(used, CROP - 1 - where[::-1].argmax(0), 1)
    y = np.clip((rows - first) / np.maximum(last - first, 1), 0, 1)
    ends = np.flatnonzero(used)
    left, right = (int(ends[0]), int(ends[-1])) if len(ends) else (0, 1)
    x = np.clip((columns - left) / max(right - left, 1), 0, 1)
    return np.asarray(x, np.float32), np.asarray(y, np.float32), where


def _is_dark(faces: FaceSet, i: int) -> bool:
    crop, between, skin = _mouth(faces, i)
    grey, inside = _grey(crop)[..., None], _inner(between)
    if between.sum() < _LEAST or not inside.any() or skin.sum() < _LEAST:
        return False
    dark, light = (float(_mean(grey, where)[0]) for where in (inside, skin))
    return dark < _SHADOW * light


def _of(faces: FaceSet, i: int) -> FloatArray | None:
    """The mean colour of skin and that of the bright part between the lips, [2, 3]; None where the
    mouth is closed or all is dark."""
    crop, between, skin = _mouth(faces, i)
    if between.sum() < _LEAST or skin.sum() < _LEAST:
        return None
    inside, grey = crop[between > 0], _grey(crop)[between > 0]
    of_teeth = inside[grey >= np.quantile(grey, _BRIGHT)].mean(0)
    both = np.stack([_mean(crop, skin), of_teeth])
    return both.astype(np.float32) if both.min() > _DARK else None


def _mouth(faces: FaceSet, i: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A crop, 0 to 1, and where the mouth's inside and the skin are in it, [128, 128]."""
    crop = cut(faces.crops[i], align.IDENTITY).astype(np.float32) / 255
    points = faces.landmarks[i]
    between, mouth = (filled(points, lips) for lips in (INNER_LIPS, OUTER_LIPS))
    skin = np.asarray(face_mask(points) * (1 - mouth), np.float32)
    return np.asarray(crop, np.float32), between, skin


def _inner(filled: FloatArray) -> FloatArray:
    """What lies within an outline, without the outline, which counts as filled."""
    return np.asarray(cv2.erode(filled, np.ones((3, 3), np.uint8)), np.float32)


def _grey(crop: FloatArray) -> FloatArray:
    return np.asarray(crop @ np.array(LUMINANCE, np.float32), np.float32)


def _mean(picture: FloatArray, where: FloatArray) -> FloatArray:
    """The mean [C] of a picture [H, W, C] where [H, W] says."""
    return np.asarray((picture * where[..., None]).sum((0, 1)) / where.sum(), np.float32)


def held_back(pictures: Tensor, between: Tensor, skin: Tensor, lines: Lines) -> Tensor:
    """Pictures [N, 3, H, W], 0 to 1, whose teeth are no brighter, and about of the hue, that teeth
    have beside such skin. between: [N, H, W], 0 or 1, the inside of mouths; skin: its mean colour,
    [N, 3]. What is darker than usual is left as it is."""
    weights = torch.tensor(LUMINANCE, device=pictures.device)
    slope, offset = (torch.from_numpy(x).to(pictures.device) for x in lines)
    usual = _ROOM * torch.exp(slope * skin.clamp(min=_DARK).log() + offset)
    gains = torch.ones_like(skin)
    for n, inside in enumerate(between > 0):
        if int(inside.sum()) < _LEAST:
            continue
        seen = pictures[n][:, inside]
        grey = weights @ seen
        bright = seen[:, grey >= grey.quantile(_BRIGHT)].mean(1).clamp(min=_DARK)
        gain = (weights @ usual[n]) / (weights @ bright)
        if gain < 1:
            gains[n] = (usual[n] / bright).clamp((1 - _HUE) * gain, (1 + _HUE) * gain)
    soft = F.avg_pool2d(between[:, None], 3, 1, 1)
    return pictures * (1 + soft * (gains[:, :, None, None] - 1))
