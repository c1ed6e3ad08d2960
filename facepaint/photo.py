"""Photo: a picture's pixels and all that travels with them, from and to JPEG, PNG, WebP and TIFF.

Pixels are 8-bit RGB whatever the file held: 16-bit samples are scaled, palettes and CMYK converted,
and of several frames or pages the first is taken. What is written back:

- JPEG: quality 95, colour at full resolution (4:4:4).
- PNG and TIFF (deflate): lossless.
- WebP: lossless, unless the photo came from a JPEG or a lossy WebP; then quality 95.

ICC profile, EXIF and XMP are kept by all four, dots per inch by all but WebP, a JPEG's comment and
a PNG's texts within their own format. The EXIF thumbnail is dropped: it shows the old face.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from facepaint.errors import PhotoError

Bytes = npt.NDArray[np.uint8]
Source: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | Bytes | Photo"

MAX_PIXELS = 120_000_000  # a small file can claim to be this large and fill the memory
MAX_WEBP = 70_000_000  # pixels; Pillow takes 16 bytes for each while it reads one
JPEG_QUALITY = 95

FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}
FORMATS |= {"tif": "TIFF", "tiff": "TIFF"}
ADVICE = "use JPEG, PNG, WebP or TIFF"


@dataclass(frozen=True)
class Metadata:
    """What travels with the pixels, as bytes ready to be written.

    icc: colour profile of the pixels; None means sRGB.
    exif: "Exif\\0\\0" and a TIFF structure whose orientation is 1 (upright).
    xmp: an XMP packet, which holds the mark of what FacePaint did (`facepaint.mark`); in a JPEG it
        may span segments, as extended XMP.
    dpi: horizontal and vertical dots per inch.
    texts: a PNG's texts, keyword and value.
    comment: a JPEG's comment.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: tuple[tuple[str, str], ...] = ()
    comment: bytes | None = None


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photo (EXIF orientation applied) with what its file said besides.

    pixels: uint8 [H, W, 3], RGB in the colour space of `metadata.icc`, C-contiguous.
    alpha: uint8 [H, W], 255 is opaque, not multiplied into the pixels; None where there is none.
    format: "JPEG", "PNG", "WEBP", "TIFF", or None when it came from pixels.
    mode: "RGB" or "L", what it is written as: grey photos come out grey.
    lossless: whether the source stored its pixels exactly; decides how WebP is written.
    """

    pixels: Bytes
    alpha: Bytes | None = None
    format: str | None = None
    mode: str = "RGB"
    metadata: Metadata = Metadata()
    lossless: bool = True

    @classmethod
    def read(cls, source: Source) -> Photo:
        """The photo in a path, encoded bytes, a binary file, a PIL image, or an array.

        An array is uint8 RGB [H, W, 3], RGBA [H, W, 4] or grey [H, W] and is copied; a Photo is
        returned as it is. Raises PhotoError for whatever is no whole photo of at most MAX_PIXELS.
        """
        if isinstance(source, Photo):
            return source
        from facepaint.decode import decode

        return decode(source)

    def with_pixels(self, pixels: Bytes) -> Photo:
        """This photo with other pixels, uint8 [H, W, 3] of the same size, not copied."""
        if pixels.dtype != np.uint8 or pixels.shape != self.pixels.shape:
            wanted = f"uint8 {list(self.pixels.shape)}"
            raise error(
                f"pixels are {pixels.dtype} {list(pixels.shape)}; this photo needs {wanted}"
            )
        return replace(self, pixels=np.ascontiguousarray(pixels))

    def to_image(self) -> Image.Image:
        """A PIL image of mode RGB, RGBA, L or LA with the colour profile and XMP in its `info`.

        Pillow writes the XMP, and with it the mark of an edit, only where its `save` is told to:
        image.save(path, xmp=image.info["xmp"]).
        """
        image = Image.fromarray(self.pixels)
        if self.mode == "L":
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        if self.metadata.icc:
            image.info["icc_profile"] = self.metadata.icc
        if self.metadata.xmp:
            image.info["xmp"] = self.metadata.xmp
        return image

    def encode(self, format: str | None = None) -> bytes:
        """The photo as a file's bytes, in its own format (PNG for pixels) unless told otherwise.

        Raises PhotoError for an unknown format, for one that cannot hold a photo of this size, and
        for JPEG where parts are transparent.
        """
        from facepaint.encode import encode

        return encode(self, format or self.format or "PNG")

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Write to `path` in the format of its suffix, wholly or not at all.

        sign: makes signed bytes of a file's bytes, as `facepaint.credentials` does.

        Raises PhotoError where `encode` does, where the file exists and may not be overwritten, and
        where the system refuses to write; a file that was there before is then left as it was.
        """
        from facepaint.encode import save

        save(self, path, overwrite, sign)


def error(message: str) -> PhotoError:
    """A PhotoError of one line, whatever a file's name or a library's message holds."""
    return PhotoError(" ".join(message.split()))
