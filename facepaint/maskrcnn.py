"""Mask R-CNN in the runtime: boxes of faces, and for each what of it can be seen.

The network (`facepaint train maskrcnn`) looks at squares of one size; the photo is shown to it as
a whole and, where it is larger than that, enlarged in overlapping tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import Box, MaskedBox
from facepaint.models import Model, open_model

Pixels = npt.NDArray[np.uint8]
SCORE_THRESHOLD = 0.5
_LARGEST = 1920  # pixels of the longest side at the finest level: beyond it tiles get too many
_STEP = 2.5  # from a level to the next finer one
_OVERLAP = 0.2  # of neighbouring tiles, in their side
_CUT = 0.02  # of a tile's side: a box that ends so near to an inner edge may be half a face
_GREY = (124, 116, 104)


def find(pixels: Pixels, model: Model | None = None) -> list[Box]:
    """Faces of a photo, RGB uint8 [H, W, 3]; one face may come twice, from two levels. Each box
    has a mask. Faces narrower than a sixtieth of a photo's longest side may be missed. model: the
    network, None for the one that ships."""
    model = model or _model()
    size = int(model.session.get_inputs()[0].shape[0])
    boxes: list[Box] = []
    for scale, left, top in _tiles(pixels.shape[0], pixels.shape[1], size):
        tile = np.full((size, size, 3), _GREY, np.uint8)
        matrix = np.array([[scale, 0, -left], [0, scale, -top]], np.float32)
        how = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        cv2.warpAffine(
            pixels, matrix, (size, size), tile, how, cv2.BORDER_CONSTANT, borderValue=_GREY
        )
        seen = model(picture=tile)
        limits = scale * pixels.shape[1] - left, scale * pixels.shape[0] - top
        for box, score, mask in zip(seen["boxes"], seen["scores"], seen["masks"], strict=True):
            if score < SCORE_THRESHOLD or _is_cut(box, (left, top), limits, size):
                continue
            x0, y0, x1, y1 = (float(v) for v in box / scale)
            x, y = x0 + left / scale, y0 + top / scale
            found = Box(x, y, x1 - x0, y1 - y0, float(score))
            boxes.append(MaskedBox.of(found, mask.astype(np.float32)))
    return boxes


@cache
def _model() -> Model:
    return open_model("maskrcnn")


def _tiles(height: int, width: int, size: int) -> Iterator[tuple[float, float, float]]:
    """Scale, left and top (in pixels of the level) of every square shown to the network."""
    longest = max(height, width)
    scale = size / longest
    while True:
        level = [scale * height, scale * width]
        for top, left in product(*(_starts(side, size) for side in level)):
            yield scale, left, top
        if scale >= 1 or scale * longest >= _LARGEST:
            return
        scale = min(scale * _STEP, 1.0, _LARGEST / longest)


def _starts(side: float, size: int) -> list[float]:
    """Where tiles of `size` begin that cover `side` and overlap."""
    if side <= size:
        return [0.0]
    count = int(np.ceil((side - _OVERLAP * size) / ((1 - _OVERLAP) * size)))
    return [float(v) for v in np.linspace(0, side - size, count)]


def _is_cut(
    box: npt.NDArray[np.float32],
    start: tuple[float, float],
    limits: tuple[float, float],
    size: int,
) -> bool:
    """Whether a box ends at an edge of its tile where the photo goes on."""
    near = _CUT * size
    low = any(start[k] > 0 and box[k] < near for k in (0, 1))
    high = any(limits[k] > size + 1 and box[2 + k] > size - near for k in (0, 1))
    return low or high
