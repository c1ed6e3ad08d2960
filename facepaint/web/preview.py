"""Preview: the photo at the size in which it is shown, edited again at each move of a slider.

Faces, crops and masks are kept; only edit and composite run again.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from facepaint import align
from facepaint.edit import Edit
from facepaint.encode import jpeg_xmp
from facepaint.face import Face, FloatArray
from facepaint.mark import marks_in, packet
from facepaint.painter import Painter
from facepaint.photo import JPEG_QUALITY, Bytes, Photo
from facepaint.segment import region_mask, visible_face

LONGEST = 1024  # pixels of a preview's longer side
_QUALITY = 85


@dataclass(frozen=True, eq=False)
class _Part:
    """What is kept of a face: its crop, its landmarks and mask there, and its frame in the photo
    and in the preview."""

    face: Face
    crop: Bytes
    landmarks: FloatArray
    mask: FloatArray
    frame: FloatArray
    shown: FloatArray


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
        to_shown = np.array([[size[0] / width], [size[1] / height]], np.float32)
        self._parts = {face.index: _part(photo, face, to_shown) for face in faces}

    def edited(self, edits: Mapping[int, Edit]) -> Bytes:
        """The preview's pixels, uint8 [H, W, 3], with faces edited by their numbers."""
        pixels = self.photo.pixels.copy()
        for index, edit in edits.items():
            part = self._parts[index]
            strokes = self._painter.method(part.crop, part.face, edit)
            if strokes is not None:
                mask = part.mask
                if edit.regions:
                    mask = mask * region_mask(part.face, part.frame, edit.regions)
                self._painter.lay(pixels, part.shown, part.landmarks, strokes, mask)
        return pixels

    def jpeg(self, edits: Mapping[int, Edit]) -> bytes:
        return jpeg(self.photo.with_pixels(self.edited(edits)), _QUALITY)


def _resized(photo: Photo, size: tuple[int, int]) -> Photo:
    def small(plane: Bytes) -> Bytes:
        return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)

    alpha = None if photo.alpha is None else small(photo.alpha)
    return replace(photo, pixels=small(photo.pixels), alpha=alpha)


def _part(photo: Photo, face: Face, to_shown: FloatArray) -> _Part:
    frame = align.align(face.landmarks)
    crop, mask = align.crop(photo.pixels, frame), visible_face(face, frame)
    landmarks = align.apply(align.invert(frame), face.landmarks)
    return _Part(face, crop, landmarks, mask, frame, frame * to_shown)


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
