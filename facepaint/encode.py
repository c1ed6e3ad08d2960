"""Encode: from Photos to files, whole or not at all; see `facepaint.photo` for what is written."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from facepaint import mark, xmp
from facepaint.errors import PhotoError
from facepaint.exif import with_types
from facepaint.files import write_whole
from facepaint.photo import ADVICE, FORMATS, JPEG_QUALITY, Bytes, Metadata, Photo, error

_SEGMENT = 65_000  # bytes of metadata that fit into one segment of a JPEG
_XMP = b"http://ns.adobe.com/xap/1.0/\0"  # how segments of XMP begin, and of what did not fit
_FOLDERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)  # others hang below these
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"


def encode(photo: Photo, format: str) -> bytes:
    """The photo as a file of `format`; raises PhotoError where that cannot hold it."""
    kind = _format_named(format)
    writer = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "TIFF": _tiff}[kind]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return writer(photo)
    except PhotoError:
        raise
    except Exception as cause:  # Pillow's writers raise nearly anything; WebP by its size limit
        raise error(f"the photo cannot be written as {kind} ({cause}); try PNG") from cause


def save(
    photo: Photo,
    path: str | os.PathLike[str],
    overwrite: bool,
    sign: Callable[[bytes], bytes] | None = None,
) -> None:
    """Write to `path` by way of a temporary file beside it; see Photo.save."""
    target = Path(os.path.realpath(path))  # a symbolic link stays one
    kind = _format_named(Path(path).suffix, f"{path}: ")
    if target.is_dir():
        raise error(f"{path} is a folder; give a file name")
    if target.exists() and not overwrite:
        raise _exists(target)
    data = photo.encode(kind)
    write(target, sign(data) if sign else data, overwrite)


def write(target: Path, data: bytes, overwrite: bool) -> None:
    """`write_whole` with one clear line, a PhotoError, where it cannot."""
    try:
        write_whole(target, data, overwrite)
    except FileExistsError as cause:
        raise _exists(target) from cause
    except FileNotFoundError as cause:
        raise error(f"the folder {target.parent} does not exist; create it first") from cause
    except OSError as cause:
        reason = cause.strerror or cause
        raise error(f"{target} cannot be written ({reason}); try another folder") from cause


def _exists(path: Path) -> PhotoError:
    return error(f"{path} exists already; choose another name or allow overwriting")


def _format_named(name: str, where: str = "") -> str:
    kind = FORMATS.get(name.lower().lstrip("."))
    if kind is None:
        raise error(f"{where}{name!r} is no format FacePaint can write; {ADVICE}")
    return kind


def _jpeg(photo: Photo) -> bytes:
    if photo.alpha is not None and photo.alpha.min() < 255:
        raise error("the photo has transparent parts, which JPEG cannot hold; write PNG or WebP")
    kept = _kept(photo) | {"comment": photo.metadata.comment}
    for name in ("exif", "comment"):  # a profile may span several segments
        if len(kept.get(name) or b"") > _SEGMENT:
            del kept[name]
    kept |= jpeg_xmp(kept.pop("xmp", None))
    opaque = replace(photo, alpha=None)
    return _saved(opaque, "JPEG", quality=JPEG_QUALITY, subsampling=0, **kept)


def jpeg_xmp(packet: bytes | None) -> dict[str, bytes]:
    """Pillow's options for a JPEG with a packet of any size, or with none."""
    if not packet:
        return {}
    return {"xmp": packet} if len(packet) <= _SEGMENT else {"extra": _xmp_segments(packet)}


def _xmp_segments(packet: bytes) -> bytes:
    """Segments of a packet that is too large for one; nothing where it cannot be read."""
    try:
        main, extension = xmp.split(packet, mark.FIRST, _SEGMENT)
    except xmp.XMPError:
        return b""
    digest = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode()
    parts = [_XMP + main]
    for start in range(0, len(extension), _SEGMENT):
        where = struct.pack(">II", len(extension), start)
        parts.append(_EXTENSION + digest + where + extension[start : start + _SEGMENT])
    return b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in parts)


def _png(photo: Photo) -> bytes:
    texts = PngImagePlugin.PngInfo()
    for key, text in photo.metadata.texts:
        texts.add_text(key, text)
    if photo.metadata.xmp:
        texts.add_itxt("XML:com.adobe.xmp", photo.metadata.xmp.decode("utf-8", "replace"))
    return _saved(photo, "PNG", pnginfo=texts, **_kept(photo))


def _webp(photo: Photo) -> bytes:
    kept = _kept(photo)
    if (photo.metadata.icc or b"")[16:20] == b"GRAY":
        kept["icc_profile"] = None  # WebP has no grey, and a grey profile does not fit RGB
    if photo.lossless:
        return _saved(photo, "WEBP", lossless=True, exact=True, **kept)
    return _saved(photo, "WEBP", quality=JPEG_QUALITY, **kept)


def _kept(photo: Photo) -> dict[str, Any]:
    """Metadata by the names of Pillow's save options; those a format does not know do no harm."""
    kept = photo.metadata
    options = {"icc_profile": kept.icc, "exif": kept.exif, "xmp": kept.xmp, "dpi": kept.dpi}
    return {name: value for name, value in options.items() if value}


def _saved(photo: Photo, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = photo.to_image()
    image.info = {}  # only what is passed here is written
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _tiff(photo: Photo) -> bytes:
    """One deflated strip behind its tags; Pillow's own writer cannot deflate beside camera EXIF."""
    samples = np.atleast_3d(np.asarray(photo.to_image()))
    strip = zlib.compress(_differences(samples).data)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    _add_kept(tags, photo.metadata)
    height, width, channels = samples.shape
    tags[TiffImagePlugin.IMAGEWIDTH] = width
    tags[TiffImagePlugin.IMAGELENGTH] = tags[TiffImagePlugin.ROWSPERSTRIP] = height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (8,) * channels
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    tags[TiffImagePlugin.COMPRESSION] = 8  # deflate
    tags[TiffImagePlugin.PREDICTOR] = 2  # differences
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2 if channels > 2 else 1
    tags[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    if photo.alpha is not None:
        tags[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha, not multiplied in
    tags[TiffImagePlugin.STRIPOFFSETS] = 0  # counted from the end of the tags by Pillow
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = len(strip)
    file = io.BytesIO()
    tags.save(file)
    return with_types(file.getvalue()) + strip


def _differences(samples: Bytes) -> Bytes:
    """Each pixel less its left neighbour, modulo 256: smooth pictures become small numbers."""
    result = samples.copy()
    result[:, 1:] -= samples[:, :-1]
    return result


def _add_kept(tags: TiffImagePlugin.ImageFileDirectory_v2, kept: Metadata) -> None:
    exif = Image.Exif()
    exif.load(kept.exif or b"")
    for tag in exif:
        tags[tag] = _folder(exif, tag) if tag in _FOLDERS else exif[tag]
    if kept.dpi:
        tags[TiffImagePlugin.RESOLUTION_UNIT] = 2  # inch
        tags[TiffImagePlugin.X_RESOLUTION], tags[TiffImagePlugin.Y_RESOLUTION] = kept.dpi
    if kept.xmp:
        tags[TiffImagePlugin.XMP] = kept.xmp
    if kept.icc:
        tags[TiffImagePlugin.ICCPROFILE] = kept.icc


def _folder(exif: Image.Exif, tag: int) -> dict[int, Any]:
    """The tags under one tag of the EXIF, as GPS has; Interop hangs one level deeper."""
    tags = dict(exif.get_ifd(tag))
    if ExifTags.IFD.Interop in tags:
        tags[ExifTags.IFD.Interop] = exif.get_ifd(ExifTags.IFD.Interop)
    return tags
