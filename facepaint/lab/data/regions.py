"""Where in a crop paint may be needed, where it may not, and where a mouth opens or closes."""

from __future__ import annotations

import cv2
import numpy as np

from facepaint.align import CROP
from facepaint.face import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, FloatArray
from facepaint.lab.data.topology import fill, filled

_NOSE = (98, 97, 2, 326, 327, 294, 278, 344, 440, 275, 4, 45, 220, 115, 48, 64)


def region(points: FloatArray, before: FloatArray) -> FloatArray:
    """Where paint may be needed: the mouth and the eyes, as asked for; float32 [128, 128] 0 or 1.

    The mouth reaches to the outer lips (teeth may show anywhere within) of the face after the
    change; lips that close leave the old opening behind, so that counts too. Where the mouth gets
    narrower, the folds at its corners are pressed together, and the skin around counts.
    """
    mouth, out = (np.zeros((CROP, CROP), np.float32) for _ in range(2))
    for where in (RIGHT_EYE, LEFT_EYE):
        fill(out, points[list(where)])
    fill(mouth, points[list(OUTER_LIPS)])
    fill(mouth, before[list(INNER_LIPS)])
    wide, was = (np.ptp(x[list(OUTER_LIPS), 0]) for x in (points, before))
    around = int(np.clip((was - wide) * CROP, 0, 6))
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * around + 5,) * 2)
    return np.asarray(
        np.maximum(cv2.dilate(mouth, near), cv2.dilate(out, np.ones((5, 5), np.uint8))), np.float32
    )


def nose(points: FloatArray) -> FloatArray:
    """The nose's tip and wings, float32 [128, 128] 0 or 1: flow is enough for them."""
    return filled(points, _NOSE)


def opening(points: FloatArray, before: FloatArray) -> FloatArray:
    """Between the lips of a mouth that opens or closes, float32 [128, 128] 0 or 1.

    What opens has no teeth yet for the flow to move; what closes would keep a line of them. Empty
    where the mouth is about as open as before.
    """
    after, old = (filled(face, INNER_LIPS) for face in (points, before))
    # a polygon's outline counts as filled, so that a closed mouth has an area too
    outline = len(INNER_LIPS)
    area, was = (max(0.0, float(x.sum()) - outline) for x in (after, old))
    if area > 2 * was:
        return after
    if was > 2 * area and was > outline:
        return np.asarray(cv2.dilate(after, np.ones((3, 1), np.uint8)), np.float32)
    return np.zeros_like(after)
