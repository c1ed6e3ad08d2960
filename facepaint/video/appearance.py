"""Appearance: what tells one person of a clip from another, small enough to compare every frame.

Histograms of the gradients' directions (Dalal and Triggs 2005) over the crop without the mouth,
which an edit's source moves most, and the colours of skin and hair on a coarse grid.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import FloatArray

_SIZE = 64  # pixels a side, to which the crop is shrunk: finer detail is noise in a clip
_CELL = 8  # pixels a side
_BINS = 8  # directions, opposite ones the same
_ROWS = 5  # of cells, from the top: below them is the mouth
_COLOUR = 0.04  # what a difference of one unit of CIELAB takes from a similarity


def describe(crop: npt.NDArray[np.uint8]) -> FloatArray:
    """The descriptor of a crop uint8 [S, S, 3] RGB: float32 [352]; see `similarity`."""
    small = cv2.resize(crop, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    colour = cv2.resize(lab[..., 1:], (4, 4), interpolation=cv2.INTER_AREA)
    return np.concatenate([_gradients(np.asarray(lab[..., 0], np.float32)), colour.ravel()]).astype(
        np.float32
    )


def _gradients(light: FloatArray) -> FloatArray:
    """Histograms of directions in _ROWS rows of cells, of length 1 in all."""
    dx, dy = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    length = np.hypot(dx, dy)
    place = np.arctan2(dy, dx) % np.pi / np.pi * _BINS - 0.5
    low = np.floor(place).astype(int)
    part = place - low
    split = np.zeros((_BINS, _SIZE, _SIZE), np.float32)
    rows, columns = np.mgrid[:_SIZE, :_SIZE]
    split[low % _BINS, rows, columns] = length * (1 - part)
    split[(low + 1) % _BINS, rows, columns] += length * part
    cells = split.reshape(_BINS, _SIZE // _CELL, _CELL, _SIZE // _CELL, _CELL).sum((2, 4))
    histogram = np.sqrt(cells[:, :_ROWS].ravel())  # long edges count for less
    return np.asarray(histogram / max(float(np.linalg.norm(histogram)), 1e-6), np.float32)


def similarity(one: FloatArray, other: FloatArray) -> float:
    """How alike two descriptors are: 1 for the same crop, about .8 for the same person in another
    moment, less for another person."""
    split = -32
    colours = one[split:] - other[split:]
    apart = float(np.abs(colours).mean())
    return float(one[:split] @ other[:split]) - _COLOUR * apart
