"""Identity: how far apart two pictures of a face are to a network that tells people apart.

For measuring only. The default is dlib's face recognition network (King 2017; its weights are in
the public domain), in the extra `dlib`. Another one is one more line in EMBEDDERS.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.errors import LabError
from facepaint.face import FloatArray

# a picture uint8 [H, W, 3] and its landmarks [478, 2] in pixels to a vector
Embed = Callable[[npt.NDArray[np.uint8], FloatArray], npt.NDArray[np.float64]]

_CHIP = 150  # pixels of dlib's input
_HOW = "pip install 'facepaint[dlib]', or --identity none"
_MARGIN = 0.2  # of the crop's side, on each side, that dlib's chips do not show


def dlib() -> Embed:
    """dlib's network on chips cut at the place of our crop, a fifth narrower: about what dlib's
    own alignment shows."""
    weights = _weights()
    try:
        import dlib as library
    except ImportError as error:
        raise LabError(f"identity needs dlib: {_HOW}") from error
    network: Any = library.face_recognition_model_v1(str(weights))
    inner = np.array([[1 - _MARGIN, 0, _MARGIN / 2], [0, 1 - _MARGIN, 0.6 * _MARGIN]], np.float32)

    def embed(pixels: npt.NDArray[np.uint8], landmarks: FloatArray) -> npt.NDArray[np.float64]:
        chip = align.crop(pixels, align.chain(align.align(landmarks), inner), _CHIP)
        return np.array(network.compute_face_descriptor(np.ascontiguousarray(chip)))

    return embed


def _weights() -> Path:
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or not found.origin:
        raise LabError(f"identity needs weights: {_HOW}")
    return Path(found.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"


EMBEDDERS: dict[str, Callable[[], Embed]] = {"dlib": dlib}


def embedder(name: str) -> Embed | None:
    """An embedder by name; None for "none"."""
    if name == "none":
        return None
    if name not in EMBEDDERS:
        raise LabError(f"no embedder {name!r}; there are {', '.join(EMBEDDERS)} and none")
    return EMBEDDERS[name]()
