"""Preview: the photo at the size in which it is shown, edited again at each move of a slider.

Faces are kept; only their edits run again.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
from PIL import Image

from facepaint.edit import Edit
from facepaint.encode import jpeg_xmp
from facepaint.face import Box, Face, FloatArray, MaskedBox
from facepaint.mark import marks_in, packet
from facepaint.painter import Painter
from facepaint.photo import JPEG_QUALITY, Bytes, Photo

LONGEST = 1024  # pixels of a preview's longer side
_QUALITY = 85


class Preview:
    """A photo made small once, and its faces ready to be edited there."""

    def __init__(
        self, painter: Painter, photo: Photo, faces: list[Face], longest: int = LONGEST
    ) -> None:
        """longest: of the preview's sides, pixels; a smaller photo keeps its size."""
        self._painter = painter
        height, width = photo.pixels.shape[:2]
        scale = min(1.0, longest / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        self.photo = photo if scale == 1 else _resized(photo, size)
        to_shown = np.array([size[0] / width, size[1] / height], np.float32)
        self._faces = {face.index: _scaled(face, to_shown) for face in faces}

    def edited(self, edits: Mapping[int, Edit]) -> Bytes:
        """The preview's pixels, uint8 [H, W, 3], with faces edited by their numbers."""
        plan = [(self._faces[index], edit) for index, edit in edits.items()]
        return self._painter.paint(self.photo.pixels, plan)[0]

    def jpeg(self, edits: Mapping[int, Edit]) -> bytes:
        return jpeg(self.photo.with_pixels(self.edited(edits)), _QUALITY)


def _resized(photo: Photo, size: tuple[int, int]) -> Photo:
    def small(plane: Bytes) -> Bytes:
        return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)

    alpha = None if photo.alpha is None else small(photo.alpha)
    return replace(photo, pixels=small(photo.pixels), alpha=alpha)


def _scaled(face: Face, by: FloatArray) -> Face:
    """A face as it lies in a photo whose sides are `by` [2] times as long."""
    box = face.box
    x, y = by.tolist()
    scaled = Box(box.x * x, box.y * y, box.width * x, box.height * y, box.score)
    if isinstance(box, MaskedBox):
        scaled = MaskedBox.of(scaled, box.mask)
    return replace(face, landmarks=face.landmarks * by, box=scaled)


def jpeg(photo: Photo, quality: int = JPEG_QUALITY) -> bytes:
    """A picture to look at: the colour profile and the mark of an edit are in it and nothing else;
    transparency is white."""
    image = photo.to_image()
    profile = image.info.get("icc_profile")
    if photo.alpha is not None:
        white = Image.new("RGB", image.size, "white")
        white.paste(image.convert("RGB"), mask=image.getchannel("A"))
        image = white
    buffer = io.BytesIO()
    *_, mark = (None, *marks_in(photo.metadata.xmp))
    kept = jpeg_xmp(packet(mark) if mark else None)
    image.save(buffer, "JPEG", quality=quality, icc_profile=profile, **kept)
    return buffer.getvalue()
