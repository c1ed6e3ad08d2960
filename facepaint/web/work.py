"""Work: what requests ask of the library, within the limits; plain functions that threads run."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field

from PIL import Image

from facepaint.decode import identified
from facepaint.detect import Detector, detect
from facepaint.face import Box, Face
from facepaint.painter import Painter
from facepaint.photo import Bytes, Photo
from facepaint.web.faults import TooLarge
from facepaint.web.limits import Limits


@dataclass(frozen=True)
class Bench:
    """What all requests work with: a painter, a detector (None for the default), limits."""

    painter: Painter
    limits: Limits = field(default_factory=Limits)
    detector: str | Detector | None = None

    def read(self, data: bytes) -> tuple[Photo, list[Face]]:
        """A photo and its faces. Raises PhotoError where it is none, TooLarge beyond the limits."""
        self._check_size(data)
        photo = Photo.read(data)
        return photo, self.painter.faces(photo, self._detect)

    def _check_size(self, data: bytes) -> None:
        """Before the pixels are decoded: a small file can hold very many."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with identified(io.BytesIO(data)) as image:
                    pixels = image.width * image.height
        except Image.DecompressionBombError:
            pixels = self.limits.pixels + 1
        except Exception:  # what is wrong with it, Photo.read says
            return
        if pixels > self.limits.pixels:
            most = f"{self.limits.pixels / 1e6:g} megapixels"
            raise TooLarge(f"the photo has more than {most}, the most that is taken; shrink it")

    def _detect(self, pixels: Bytes) -> list[Box]:
        """The boxes, counted before the faces in them are read."""
        boxes = detect(pixels, self.detector)
        if len(boxes) > self.limits.faces:
            what = f"the photo shows {len(boxes)} faces or more"
            raise TooLarge(f"{what}, {self.limits.faces} are taken; cut it into parts")
        return boxes
