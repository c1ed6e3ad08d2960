"""Face: what is known about one face of a photo, and the words for it.

Coordinates are x, y in pixels of the upright photo, continuous: the pixel in column j and row i
covers [j, j+1) × [i, i+1), so its centre lies at (j + .5, i + .5). Landmarks follow the face-mesh
topology (Kartynnik et al. 2019) with irises, blendshapes the names that ARKit gave them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from facepaint.names import BLENDSHAPES as BLENDSHAPES
from facepaint.names import EXPRESSIONS as EXPRESSIONS

FloatArray = npt.NDArray[np.float32]

LANDMARKS = 478
# Landmark indices of the face-mesh topology.
RIGHT_IRIS, LEFT_IRIS = 468, 473  # the person's right eye is on the photo's left
NOSE_BRIDGE = (168, 6, 197, 195)
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
OUTER_LIPS = (
    *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    *(291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
)
INNER_LIPS = (
    *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
)
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
# Rings of landmarks in the skin above an upper lid, the nearer one first.
RIGHT_LID_SKIN = ((247, 30, 29, 27, 28, 56, 190), (113, 225, 224, 223, 222, 221, 189))
LEFT_LID_SKIN = ((467, 260, 259, 257, 258, 286, 414), (342, 445, 444, 443, 442, 441, 413))
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)


_CHEEKS, _NOSE_TIP = (454, 234), 1
_FAR = 1.0  # `head_turn`, about 45 degrees


class Box(NamedTuple):
    """An upright rectangle in photo pixels, and the detector's score for a face in it (0 to 1)."""

    x: float
    y: float
    width: float
    height: float
    score: float


class MaskedBox(Box):
    """A Box from a detector that also knows what is before the face.

    mask: what of the rectangle shows the face and nothing before it, float32 [S, S], 0 to 1, over
    the whole rectangle.
    """

    mask: FloatArray

    @classmethod
    def of(cls, box: Box, mask: FloatArray) -> MaskedBox:
        made = cls(*box)
        made.mask = mask
        return made


@dataclass(frozen=True, eq=False)
class Face:
    """One face, read from a photo.

    index: place in reading order, from 0; the same in every command.
    box: where the detector found it.
    landmarks: float32 [478, 2], photo pixels.
    blendshapes: float32 [52], 0 to 1, in the order of BLENDSHAPES.
    confidence: 0 to 1, the reader's belief that this is a face at all.
    probabilities: float32 [7], of EXPRESSIONS, summing to 1.
    """

    index: int
    box: Box
    landmarks: FloatArray
    blendshapes: FloatArray
    confidence: float
    probabilities: FloatArray

    @property
    def expression(self) -> str:
        """The likeliest of EXPRESSIONS."""
        return EXPRESSIONS[int(np.argmax(self.probabilities))]

    @property
    def turned_far(self) -> bool:
        """Whether the head is turned so far to a side, some 45 degrees or more, that an edit may
        well look wrong: few such were seen in training."""
        return abs(head_turn(self.landmarks)) > _FAR

    def top_blendshapes(self, count: int = 5) -> dict[str, float]:
        """The `count` strongest blendshapes by name, strongest first; `_neutral` is left out."""
        order = np.argsort(-self.blendshapes[1:], kind="stable")[:count] + 1
        return {BLENDSHAPES[i]: round(float(self.blendshapes[i]), 3) for i in order}


def head_turn(landmarks: FloatArray) -> float:
    """How far a head is turned to a side, 0 straight: the nose tip's place between the cheeks'
    edges, along the line of the eyes. Roughly the tangent of the angle."""
    axis = landmarks[LEFT_IRIS] - landmarks[RIGHT_IRIS]
    along = landmarks[[*_CHEEKS, _NOSE_TIP]] @ axis / max(1e-6, float(np.linalg.norm(axis)))
    left, right, nose = along.tolist()
    return float((2 * nose - left - right) / max(1e-6, abs(left - right)))
