"""Decode: from files, images and arrays to Photos; see `facepaint.photo` for what is kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from facepaint import photo as settings
from facepaint.bounds import Bounded, check_scans, png_pixels
from facepaint.errors import PhotoError
from facepaint.exif import with_types
from facepaint.libtiff import hush
from facepaint.photo import ADVICE, FORMATS, Bytes, Metadata, Photo, error
from facepaint.xmp import EXTENDED, Packet, XMPError, join

_SIGNATURES = {  # how files begin, as regular expressions
    rb"GIF8": "is a GIF",
    rb"BM": "is a BMP",
    rb"%PDF": "is a PDF",
    rb"....ftypavi": "is an AVIF",
    rb"....ftyp(hei|hev|mif|msf)": "is a HEIC",
    rb"\xff\xd8|\x89PNG|RIFF....WEBP|II\*\0|MM\0\*": "is a truncated or damaged",
}
_EXIF = b"Exif\0\0"  # what stands before the TIFF structure
_BAND = 1 << 21  # pixels that are converted at a time
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))([1-8])")
_XMP_EXTENSION = re.compile(  # digest of the whole, its length, offset of this part, the part
    rb"http://ns\.adobe\.com/xmp/extension/\0([0-9A-F]{32}).{4}(.{4})(.*)", re.DOTALL
)
# TIFF keeps these beside the EXIF tags, but they say how its own pixels are stored.
_LAYOUT_TAGS = {*range(254, 267), 273, *range(277, 282), 284, *range(288, 293), *range(317, 348)}
_LAYOUT_TAGS |= {*range(512, 522), 529, 530, 532, 700, 33723, 34377, 34675, 37724}
_LAYOUT_TAGS |= {ExifTags.IFD.Interop}  # belongs below Exif; Pillow reads no TIFF that has it here


def decode(source: Any) -> Photo:
    """The photo in an array, a path, encoded bytes, a binary file or a PIL image."""
    if isinstance(source, np.ndarray):
        return _from_array(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata that can be lived with
        return _read_encoded(source)


def _from_array(array: npt.NDArray[Any]) -> Photo:
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shaped or not array.size:
        what = f"an array of {array.dtype} {list(array.shape)}"
        raise error(f"{what} is no photo; give uint8 [H, W, 3], [H, W, 4] or [H, W]")
    if array.ndim == 2:
        return Photo(np.repeat(array[..., None], 3, axis=2), mode="L")
    alpha = array[..., 3].copy() if array.shape[2] == 4 else None
    return Photo(np.array(array[..., :3], order="C"), alpha)


def _read_encoded(source: str | os.PathLike[str] | bytes | IO[bytes] | Image.Image) -> Photo:
    if isinstance(source, Image.Image):
        return _decode(source, "the image")
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(io.BytesIO(source), "the photo")
    if isinstance(source, str | os.PathLike):
        with opened(source) as file:
            return _decode(file, os.fspath(source))
    if not hasattr(source, "read"):
        what = type(source).__name__
        raise error(f"{what} is no photo; give a path, bytes, a binary file, an image or an array")
    name = str(getattr(source, "name", "the photo"))
    try:
        return _decode(io.BytesIO(source.read()), name)
    except (OSError, ValueError, TypeError) as cause:  # TypeError: opened as text
        raise error(f"{name} cannot be read ({cause}); give a file opened with 'rb'") from cause


def opened(path: str | os.PathLike[str]) -> IO[bytes]:
    """The open file, with one clear line where there is none to open."""
    try:
        if Path(path).is_dir():
            raise error(f"{path} is a folder; name one photo in it")
        return Path(path).open("rb")
    except FileNotFoundError as cause:
        raise error(f"{path} does not exist; check the name") from cause
    except PermissionError as cause:
        raise error(f"{path} may not be read; check its permissions") from cause
    except (OSError, ValueError) as cause:  # ValueError: a name with a NUL in it
        raise error(f"{path} cannot be read ({cause}); check the name") from cause


def _decode(source: IO[bytes] | Image.Image, name: str) -> Photo:
    image = None
    try:
        image = source if isinstance(source, Image.Image) else _open(source, name)
        if image.width * image.height > _most_pixels(image):
            raise Image.DecompressionBombError
        if image.format == "TIFF":
            hush()
        if image.format in ("JPEG", "MPO") and not isinstance(source, Image.Image):
            check_scans(source, image.width * image.height)
        image.load()
        return _from_image(image, name, _is_lossless(image, source), image is not source)
    except Image.DecompressionBombError as cause:
        limit = f"{_most_pixels(image) / 1e6:g} megapixels"
        raise error(f"{name} has more than {limit}, the most that is read; shrink it") from cause
    except PhotoError:
        raise
    except Exception as cause:  # Pillow's readers raise nearly anything on damaged files
        reason = str(cause) or type(cause).__name__
        raise error(f"{name} is truncated or damaged ({reason}); copy or export it anew") from cause


def _most_pixels(image: Image.Image | None) -> int:
    webp = image is not None and image.format == "WEBP"
    return min(settings.MAX_PIXELS, settings.MAX_WEBP) if webp else settings.MAX_PIXELS


def _open(file: IO[bytes], name: str) -> Image.Image:
    try:
        return identified(file)
    except UnidentifiedImageError as cause:
        file.seek(0)
        head = file.read(64)
        kinds = (kind for start, kind in _SIGNATURES.items() if re.match(start, head, re.DOTALL))
        complaint = f"{next(kinds, 'is not an image')} file" if head else "is empty"
        raise error(f"{name} {complaint}; {ADVICE}") from cause


def identified(file: IO[bytes]) -> Image.Image:
    """The image in a file, its header read and no pixel yet; raises as Pillow does."""
    if png_pixels(file) > settings.MAX_PIXELS:
        raise Image.DecompressionBombError
    return Image.open(cast(IO[bytes], Bounded(file)), formats=tuple(set(FORMATS.values())))


def _is_lossless(image: Image.Image, source: IO[bytes] | Image.Image) -> bool:
    if image.format == "WEBP" and not isinstance(source, Image.Image):
        source.seek(0)
        return b"VP8L" in source.read()  # the name of the chunk that holds lossless pixels
    return image.format not in ("JPEG", "MPO", "WEBP")


def _from_image(image: Image.Image, name: str, lossless: bool, owned: bool) -> Photo:
    """A photo of a loaded image, which is turned upright in place only if it is `owned`."""
    format = "JPEG" if image.format == "MPO" else image.format  # MPO: phones' several JPEGs in one
    format = format if format in FORMATS.values() else None
    metadata = _metadata(image)
    image = image if owned else image.copy()
    if format != "TIFF":  # Pillow turns a TIFF as it loads it
        _turn_upright(image)
    if image.mode == "CMYK":
        image = _from_cmyk(image, metadata.icc)
    elif image.mode == "F" or image.mode.startswith("I"):
        image = _from_deep_grey(image, name)
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if (metadata.icc or b"")[16:20] not in (b"RGB ", b"GRAY" if mode == "L" else b"RGB "):
        metadata = replace(metadata, icc=None)  # it described inks or a Lab space
    pixels, alpha = _planes(image)
    return Photo(pixels, alpha, format, mode, metadata, lossless)


def _turn_upright(image: Image.Image) -> None:
    """Turn in place as the EXIF says, or the XMP where the EXIF is silent."""
    with contextlib.suppress(Exception):  # damaged EXIF says nothing of the orientation
        if found := _XMP_ORIENTATION.search(image.info.get("xmp") or b""):
            image.getexif().setdefault(ExifTags.Base.Orientation, int(found[2]))
        ImageOps.exif_transpose(image, in_place=True)


def _from_deep_grey(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits in 8, with an alpha where the file calls one grey value transparent."""
    clear = image.info.get("transparency")
    grey = np.empty((image.height, image.width), np.uint8)
    alpha = None if clear is None else np.empty_like(grey)
    for rows, band in _bands(image):
        values = np.asarray(band)
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
            what = f"{name} has grey values of {values.dtype} beyond 16 bits"
            raise error(f"{what}; export it with 8 or 16 bits")
        grey[rows] = (values.astype(np.uint32) + 128) // 257
        if alpha is not None:
            alpha[rows] = np.uint8(255) * (values != clear)
    scaled = Image.fromarray(grey)
    if alpha is not None:
        scaled.putalpha(Image.fromarray(alpha))
    return scaled


def _from_cmyk(image: Image.Image, icc: bytes | None) -> Image.Image:
    """sRGB by the inks' own profile, or by the plain formula where there is none that works."""
    if icc:
        from PIL import ImageCms

        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            inks = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            screen = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, inks, screen, outputMode="RGB")
            return cast(Image.Image, converted)
    return image.convert("RGB")


def _planes(image: Image.Image) -> tuple[Bytes, Bytes | None]:
    """Writable RGB and, where the image has one, alpha."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty(pixels.shape[:2], np.uint8) if image.has_transparency_data else None
    for rows, band in _bands(image):
        values = np.asarray(band.convert("RGB" if alpha is None else "RGBA"))
        pixels[rows] = values[..., :3]
        if alpha is not None:
            alpha[rows] = values[..., 3]
    return pixels, alpha


def _bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """The image some rows at a time, so that no copies of a large one lie beside it."""
    step = max(1, _BAND // image.width)
    for top in range(0, image.height, step):
        bottom = min(top + step, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _metadata(image: Image.Image) -> Metadata:
    info = image.info
    # Pillow lists XMP and EXIF among the texts; they are written from their own fields
    skipped = ("XML:com.adobe.xmp", "Raw profile type exif")
    texts = getattr(image, "text", {}).items()
    return Metadata(
        icc=info.get("icc_profile") or None,
        exif=_exif(image),
        xmp=_xmp(image),
        dpi=_dpi(info),
        texts=tuple((str(key), str(text)) for key, text in texts if key not in skipped),
        comment=info.get("comment") if image.format in ("JPEG", "MPO") else None,
    )


def _xmp(image: Image.Image) -> bytes | None:
    """The image's XMP, upright; of a JPEG with what did not fit into its first segment."""
    packet = image.info.get("xmp")
    if isinstance(packet, str):
        packet = packet.encode()
    if not isinstance(packet, bytes) or not packet:
        return None
    packet = _XMP_ORIENTATION.sub(rb"\g<1>1", packet)
    with contextlib.suppress(XMPError):
        extension = _xmp_extension(image, packet)
        return join(packet, extension) if extension else packet
    return packet


def _xmp_extension(image: Image.Image, packet: bytes) -> bytes | None:
    """The extension that a JPEG's packet names by its MD5, if it is there whole."""
    heads = (_XMP_EXTENSION.match(segment) for _, segment in getattr(image, "applist", ()))
    parts = sorted((int.from_bytes(m[2], "big"), m[1], m[3]) for m in heads if m)
    pointer = Packet(packet).find(EXTENDED) if parts else None
    if pointer is None:
        return None
    data = b"".join(part for _, digest, part in parts if digest.decode() == pointer.text.upper())
    whole = hashlib.md5(data, usedforsecurity=False).hexdigest().upper() == pointer.text.upper()
    return data if whole else None


def _exif(image: Image.Image) -> bytes | None:
    """The image's EXIF with orientation 1; None where it has none or it is damaged."""
    with contextlib.suppress(Exception):
        exif = Image.Exif()
        exif.load(image.getexif().tobytes())
        for tag in _LAYOUT_TAGS & set(exif):
            del exif[tag]
        if exif:
            exif[ExifTags.Base.Orientation] = 1
            return _EXIF + with_types(exif.tobytes().removeprefix(_EXIF))
    return None


def _dpi(info: Mapping[Any, Any]) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 < x < 65536 and 1 < y < 65536 else None  # 1: Pillow's "not said" in a TIFF
