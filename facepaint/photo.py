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

import contextlib
import io
import os
import re
import secrets
import stat
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from facepaint.errors import PhotoError

Bytes = npt.NDArray[np.uint8]
Source: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | Bytes | Photo"

MAX_PIXELS = 120_000_000  # a small file can claim to be this large and fill the memory
JPEG_QUALITY = 95

_FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}
_FORMATS |= {"tif": "TIFF", "tiff": "TIFF"}
_ADVICE = "use JPEG, PNG, WebP or TIFF"
_SIGNATURES = {  # how files begin, as regular expressions
    rb"GIF8": "is a GIF",
    rb"BM": "is a BMP",
    rb"%PDF": "is a PDF",
    rb"....ftypavi": "is an AVIF",
    rb"....ftyp(hei|hev|mif|msf)": "is a HEIC",
    rb"\xff\xd8|\x89PNG|RIFF....WEBP|II\*\0|MM\0\*": "is a truncated or damaged",
}
_SEGMENT = 65_000  # bytes of metadata that fit into one segment of a JPEG
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))([1-8])")
# TIFF keeps these beside the EXIF tags, but they say how its own pixels are stored.
_LAYOUT_TAGS = {*range(254, 267), 273, *range(277, 282), 284, *range(288, 293), *range(317, 348)}
_LAYOUT_TAGS |= {*range(512, 522), 529, 530, 532, 700, 33723, 34377, 34675, 37724}


@dataclass(frozen=True)
class Metadata:
    """What travels with the pixels, as bytes ready to be written.

    icc: colour profile of the pixels; None means sRGB.
    exif: "Exif\\0\\0" and a TIFF structure whose orientation is 1 (upright).
    xmp: an XML packet.
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
        if isinstance(source, np.ndarray):
            return _from_array(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata that can be lived with
            return _read_encoded(source)

    def with_pixels(self, pixels: Bytes) -> Photo:
        """This photo with other pixels, uint8 [H, W, 3] of the same size, not copied."""
        if pixels.dtype != np.uint8 or pixels.shape != self.pixels.shape:
            wanted = f"uint8 {list(self.pixels.shape)}"
            raise _error(
                f"pixels are {pixels.dtype} {list(pixels.shape)}; this photo needs {wanted}"
            )
        return replace(self, pixels=np.ascontiguousarray(pixels))

    def to_image(self) -> Image.Image:
        """A PIL image of mode RGB, RGBA, L or LA that carries the colour profile."""
        image = Image.fromarray(self.pixels)
        if self.mode == "L":
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        if self.metadata.icc:
            image.info["icc_profile"] = self.metadata.icc
        return image

    def encode(self, format: str | None = None) -> bytes:
        """The photo as a file's bytes, in its own format (PNG for pixels) unless told otherwise.

        Raises PhotoError for an unknown format, for one that cannot hold a photo of this size, and
        for JPEG where parts are transparent.
        """
        kind = _format_named(format or self.format or "PNG")
        writer = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "TIFF": _tiff}[kind]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return writer(self)
        except PhotoError:
            raise
        except Exception as error:  # Pillow's writers raise nearly anything; WebP by its size limit
            raise _error(f"the photo cannot be written as {kind} ({error}); try PNG") from error

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write to `path` in the format of its suffix, wholly or not at all.

        Raises PhotoError where `encode` does, where the file exists and may not be overwritten, and
        where the system refuses to write; a file that was there before is then left as it was.
        """
        target = Path(os.path.realpath(path))  # a symbolic link stays one
        kind = _format_named(Path(path).suffix, f"{path}: ")
        if target.is_dir():
            raise _error(f"{path} is a folder; give a file name")
        if target.exists() and not overwrite:
            raise _exists(target)
        _write(target, self.encode(kind), overwrite)


def _error(message: str) -> PhotoError:
    return PhotoError(" ".join(message.split()))


def _exists(path: Path) -> PhotoError:
    return _error(f"{path} exists already; choose another name or allow overwriting")


def _format_named(name: str, where: str = "") -> str:
    kind = _FORMATS.get(name.lower().lstrip("."))
    if kind is None:
        raise _error(f"{where}{name!r} is no format FacePaint can write; {_ADVICE}")
    return kind


# Reading


def _from_array(array: npt.NDArray[Any]) -> Photo:
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not shaped or not array.size:
        what = f"an array of {array.dtype} {list(array.shape)}"
        raise _error(f"{what} is no photo; give uint8 [H, W, 3], [H, W, 4] or [H, W]")
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
        with _opened(source) as file:
            return _decode(file, os.fspath(source))
    if not hasattr(source, "read"):
        what = type(source).__name__
        raise _error(f"{what} is no photo; give a path, bytes, a binary file, an image or an array")
    name = str(getattr(source, "name", "the photo"))
    try:
        return _decode(io.BytesIO(source.read()), name)
    except (OSError, ValueError, TypeError) as error:  # TypeError: opened as text
        raise _error(f"{name} cannot be read ({error}); give a file opened with 'rb'") from error


def _opened(path: str | os.PathLike[str]) -> IO[bytes]:
    """The open file, with one clear line where there is none to open."""
    try:
        if Path(path).is_dir():
            raise _error(f"{path} is a folder; name one photo in it")
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise _error(f"{path} does not exist; check the name") from error
    except PermissionError as error:
        raise _error(f"{path} may not be read; check its permissions") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        raise _error(f"{path} cannot be read ({error}); check the name") from error


def _decode(source: IO[bytes] | Image.Image, name: str) -> Photo:
    try:
        image = source if isinstance(source, Image.Image) else _open(source, name)
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.load()
        return _from_image(image, name, _is_lossless(image, source), image is not source)
    except Image.DecompressionBombError as error:
        limit = f"{MAX_PIXELS / 1e6:g} megapixels"
        raise _error(f"{name} has more than {limit}, the most that is read; shrink it") from error
    except PhotoError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        reason = str(error) or type(error).__name__
        raise _error(
            f"{name} is truncated or damaged ({reason}); copy or export it anew"
        ) from error


def _open(file: IO[bytes], name: str) -> Image.Image:
    try:
        return Image.open(file, formats=tuple(set(_FORMATS.values())))
    except UnidentifiedImageError as error:
        file.seek(0)
        head = file.read(64)
        kinds = (kind for start, kind in _SIGNATURES.items() if re.match(start, head, re.DOTALL))
        complaint = f"{next(kinds, 'is not an image')} file" if head else "is empty"
        raise _error(f"{name} {complaint}; {_ADVICE}") from error


def _is_lossless(image: Image.Image, source: IO[bytes] | Image.Image) -> bool:
    if image.format == "WEBP" and not isinstance(source, Image.Image):
        source.seek(0)
        return b"VP8L" in source.read()  # the name of the chunk that holds lossless pixels
    return image.format not in ("JPEG", "MPO", "WEBP")


def _from_image(image: Image.Image, name: str, lossless: bool, owned: bool) -> Photo:
    """A photo of a loaded image, which is turned upright in place only if it is `owned`."""
    format = "JPEG" if image.format == "MPO" else image.format  # MPO: phones' several JPEGs in one
    format = format if format in _FORMATS.values() else None
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
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        what = f"{name} has grey values of {values.dtype} beyond 16 bits"
        raise _error(f"{what}; export it with 8 or 16 bits")
    scaled = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if "transparency" in image.info:
        opaque = np.uint8(255) * (values != image.info["transparency"])
        scaled.putalpha(Image.fromarray(opaque))
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
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return np.ascontiguousarray(rgba[..., :3]), rgba[..., 3].copy()
    return np.array(image if image.mode == "RGB" else image.convert("RGB")), None


def _metadata(image: Image.Image) -> Metadata:
    info = image.info
    xmp = info.get("xmp")
    if isinstance(xmp, bytes):
        xmp = _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
    # Pillow lists XMP and EXIF among the texts; they are written from their own fields
    skipped = ("XML:com.adobe.xmp", "Raw profile type exif")
    texts = getattr(image, "text", {}).items()
    return Metadata(
        icc=info.get("icc_profile") or None,
        exif=_exif(image),
        xmp=xmp if isinstance(xmp, bytes) else None,
        dpi=_dpi(info),
        texts=tuple((str(key), str(text)) for key, text in texts if key not in skipped),
        comment=info.get("comment") if image.format in ("JPEG", "MPO") else None,
    )


def _exif(image: Image.Image) -> bytes | None:
    """The image's EXIF with orientation 1; None where it has none or it is damaged."""
    with contextlib.suppress(Exception):
        exif = Image.Exif()
        exif.load(image.getexif().tobytes())
        for tag in _LAYOUT_TAGS & set(exif):
            del exif[tag]
        if exif:
            exif[ExifTags.Base.Orientation] = 1
            return exif.tobytes()
    return None


def _dpi(info: Mapping[Any, Any]) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 < x < 65536 and 1 < y < 65536 else None  # 1: Pillow's "not said" in a TIFF


# Writing


def _jpeg(photo: Photo) -> bytes:
    if photo.alpha is not None and photo.alpha.min() < 255:
        raise _error("the photo has transparent parts, which JPEG cannot hold; write PNG or WebP")
    kept = _kept(photo) | {"comment": photo.metadata.comment}
    for name in ("exif", "xmp", "comment"):  # a profile may span several segments
        if len(kept.get(name) or b"") > _SEGMENT:
            del kept[name]
    opaque = replace(photo, alpha=None)
    return _saved(opaque, "JPEG", quality=JPEG_QUALITY, subsampling=0, **kept)


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
    file.write(strip)
    return file.getvalue()


def _differences(samples: Bytes) -> Bytes:
    """Each pixel less its left neighbour, modulo 256: smooth pictures become small numbers."""
    result = samples.copy()
    result[:, 1:] -= samples[:, :-1]
    return result


def _add_kept(tags: TiffImagePlugin.ImageFileDirectory_v2, kept: Metadata) -> None:
    exif = Image.Exif()
    exif.load(kept.exif or b"")
    for tag in exif:
        tags[tag] = _folder(exif, tag) if tag in tuple(ExifTags.IFD) else exif[tag]
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


def _write(target: Path, data: bytes, overwrite: bool) -> None:
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        _move(temporary, target, overwrite)
    except FileExistsError as error:
        raise _exists(target) from error
    except FileNotFoundError as error:
        raise _error(f"the folder {target.parent} does not exist; create it first") from error
    except OSError as error:
        reason = error.strerror or error
        raise _error(f"{target} cannot be written ({reason}); try another folder") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _move(temporary: Path, target: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)  # unlike a rename, never replaces what appeared meanwhile
    except FileExistsError:
        raise
    except OSError as error:  # some file systems have no hard links; there the check must do
        if target.exists():
            raise FileExistsError(str(target)) from error
        temporary.replace(target)
