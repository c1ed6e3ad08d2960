"""Faces as the square pictures that generators see and draw."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from facepaint import align
from facepaint.lab.data.faces import FaceSet, narrow


def picture(
    faces: FaceSet, i: int, size: int, colour: bool, flip: bool = False
) -> npt.NDArray[np.uint8]:
    """The aligned face of row i, uint8 [size, size, 3] or, grey, [size, size, 1]."""
    pixels: npt.NDArray[Any] = align.crop(faces.crops[i], narrow(align.IDENTITY), size)
    if flip:
        pixels = pixels[:, ::-1]
    if not colour:
        pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)[..., None]
    return np.ascontiguousarray(pixels)


def to_signed(pictures: Tensor) -> Tensor:
    """uint8 [N, H, W, C] to float [N, C, H, W], -1 to 1, channels last in memory."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(pictures: Tensor) -> npt.NDArray[np.uint8]:
    """Float [N, 1 or 3, H, W], -1 to 1, to uint8 [N, H, W, 3]."""
    out = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    return out.expand(-1, -1, -1, 3).cpu().numpy()
