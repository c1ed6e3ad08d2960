"""Methods: what can repaint a crop. A method is a function from crops and changes to strokes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint.face import FloatArray
from facepaint.models import open_model


@dataclass(frozen=True, eq=False)
class Strokes:
    """A repainting of one crop of S × S pixels, all float32; zeros change nothing.

    flow: [S, S, 2], where each pixel's colour comes from, relative to its place, in crop sides.
    mask: [S, S], how far the paint hides the photo, 0 to 1.
    paint: [S, S, 3], a colour residual under the mask, -1 to 1.
    shade: [S, S], the logarithm of a gain.
    The idea of a flow that is learned small and used large is that of Dorta et al. (2020), "The GAN
    that warped".
    """

    flow: FloatArray
    mask: FloatArray
    paint: FloatArray
    shade: FloatArray


Method = Callable[[npt.NDArray[np.uint8], FloatArray], Strokes]


class PainterNetwork:
    """The painter (`facepaint train painter`): crop uint8 [128, 128, 3], change float32 [52]."""

    def __init__(self, folder: Path) -> None:
        self._model = open_model("painter", folder)

    def __call__(self, crop: npt.NDArray[np.uint8], change: FloatArray) -> Strokes:
        out = self._model(crops=crop[None], change=change[None])
        return Strokes(**{name: np.asarray(value[0], np.float32) for name, value in out.items()})

    @property
    def card(self) -> dict[str, Any]:
        return self._model.card


METHODS: dict[str, Callable[[Path], PainterNetwork]] = {"painter": PainterNetwork}
