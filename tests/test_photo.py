"""Photos in and out: what was drawn comes back, and nothing is half read or half written."""

import errno
import io
import os
import stat
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

import facepaint.photo as photo_module
from facepaint.errors import PhotoError
from facepaint.photo import MAX_PIXELS, Metadata, Photo

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY = SRGB[:16] + b"GRAY" + SRGB[20:]  # only its colour space is looked at
UPRIGHT = {  # EXIF orientation → how the stored pixels are to be turned
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def drawing(height=24, width=36):
    """Smooth colour with a sharp patch near one corner, so that no flip looks like another."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack([x * 6, y * 9, (x + y) * 3], axis=-1).astype(np.uint8)
    picture[2:8, 3:15] = (250, 20, 90)
    return picture


def noise(height=120, width=160):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image, kind, **options):
    file = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def camera_exif(orientation=1):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Drawn"
    exif[ExifTags.Base.Orientation] = orientation
    details = {ExifTags.Base.ExposureTime: 0.01, ExifTags.Base.MakerNote: b"note" * 9}
    exif[ExifTags.IFD.Exif] = details
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitude: (1.0, 2.0, 3.0)}
    return exif.tobytes()


def xmp(orientation=1):
    return b'<x:xmpmeta><rdf:D tiff:Orientation="%d" dc:t="here"/></x:xmpmeta>' % orientation


def refusal(call, *args, **options):
    """The message of the PhotoError that the call must raise, which is one line."""
    with pytest.raises(PhotoError) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


# Round trips


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("channels", [None, 3, 4])
def test_lossless_formats_return_every_bit(kind, channels):
    rgba = np.dstack([drawing(), drawing()[..., 0]])
    array = rgba[..., 0] if channels is None else rgba[..., :channels]
    photo = Photo.read(array)
    back = Photo.read(photo.encode(kind))
    np.testing.assert_array_equal(back.pixels, photo.pixels)
    if channels == 4:
        np.testing.assert_array_equal(back.alpha, rgba[..., 3])
    else:
        assert back.alpha is None
    assert back.format == kind
    assert back.lossless
    assert back.mode == ("L" if channels is None and kind != "WEBP" else "RGB")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_and_mode_comes_back_as_it_was(kind, mode, tmp_path):
    source = tmp_path / f"in{SUFFIX[kind]}"
    Image.fromarray(drawing()).convert(mode).save(source)
    photo = Photo.read(source)
    target = tmp_path / f"out{SUFFIX[kind]}"
    photo.save(target)
    again = Photo.read(str(target))
    assert (again.format, again.mode) == (photo.format, photo.mode) == (kind, again.mode)
    assert opened(target.read_bytes()).mode == ("RGB" if kind == "WEBP" else mode)
    difference = np.abs(again.pixels.astype(int) - photo.pixels)
    assert difference.mean() < (4 if kind in ("JPEG", "WEBP") else 1e-9)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (33, 65)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_tiff_is_read_alike_by_another_library(size, mode):
    image = Image.fromarray(noise(*size)).convert("RGBA")
    image.putalpha(Image.fromarray(noise(*size)[..., 1]))
    photo = Photo.read(image.convert(mode))
    files = (photo.encode("tif"), encoded(photo.to_image(), "TIFF"))
    mine, pillows = (
        cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED) for file in files
    )
    np.testing.assert_array_equal(mine, pillows)
    mine = opened(files[0])
    assert mine.mode == mode
    np.testing.assert_array_equal(np.asarray(mine), np.asarray(photo.to_image()))


def test_sources_of_one_picture_agree(tmp_path):
    data = encoded(drawing(), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        photos = [Photo.read(s) for s in (path, str(path), data, bytearray(data), file)]
    photos += [Photo.read(Image.open(path)), Photo.read(drawing())]
    for photo in photos:
        np.testing.assert_array_equal(photo.pixels, drawing())
        assert photo.pixels.flags.c_contiguous and photo.pixels.flags.writeable
    assert [photo.format for photo in photos] == ["PNG"] * 6 + [None]
    assert Photo.read(photos[0]) is photos[0]


def test_array_is_copied_and_never_modified():
    array = drawing()[:, ::-1]
    photo = Photo.read(array)
    photo.pixels[:] = 0
    np.testing.assert_array_equal(array, drawing()[:, ::-1])


def test_callers_image_is_left_as_it_was():
    image = opened(encoded(drawing(), "PNG", exif=camera_exif(6)))
    before, size = dict(image.info), image.size
    Photo.read(image)
    assert (image.info, image.size) == (before, size)
    assert image.getexif()[ExifTags.Base.Orientation] == 6


def test_other_pixels_leave_the_rest():
    photo = Photo.read(encoded(drawing(), "JPEG", exif=camera_exif(), icc_profile=SRGB))
    other = photo.with_pixels(255 - photo.pixels[:, ::-1])
    assert (other.metadata, other.format, other.mode) == (photo.metadata, "JPEG", "RGB")
    np.testing.assert_array_equal(other.pixels, 255 - photo.pixels[:, ::-1])
    assert other.pixels.flags.c_contiguous
    assert "uint8 [24, 36, 3]" in refusal(photo.with_pixels, photo.pixels[1:])
    refusal(photo.with_pixels, photo.pixels.astype(np.float32))


# Modes


def test_palette_with_and_without_transparency():
    palette = Image.fromarray(drawing()).quantize(16)
    photo = Photo.read(encoded(palette, "PNG"))
    np.testing.assert_array_equal(photo.pixels, np.asarray(palette.convert("RGB")))
    assert (photo.mode, photo.alpha) == ("RGB", None)
    index = palette.getpixel((4, 4))
    photo = Photo.read(encoded(palette, "PNG", transparency=index))
    np.testing.assert_array_equal(photo.alpha == 0, np.asarray(palette) == index)
    np.testing.assert_array_equal(photo.pixels, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_one_bit_is_black_and_white(kind):
    bits = Image.fromarray(drawing()[..., 0] > 128)
    photo = Photo.read(encoded(bits, kind))
    np.testing.assert_array_equal(photo.pixels[..., 1], np.where(np.asarray(bits), 255, 0))
    assert photo.mode == "L"


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_scaled_to_eight(suffix, channels):
    values = np.random.default_rng(1).integers(0, 65536, (20, 30, channels), dtype=np.uint16)
    values[0, :2] = [[0] * channels, [65535] * channels]
    photo = Photo.read(cv2.imencode(suffix, values)[1].tobytes())
    wanted = values / 257
    if channels > 2:
        wanted[..., :3] = wanted[..., 2::-1]  # OpenCV takes BGR
    error = np.abs(photo.pixels - wanted[..., :3]).max()
    assert error <= 0.5 or (channels > 1 and error <= 1)  # Pillow cuts colour off, does not round
    assert photo.pixels[0, 0].tolist() == [0] * 3
    assert photo.pixels[0, 1].tolist() == [255] * 3
    assert photo.mode == ("L" if channels == 1 else "RGB")
    if channels == 4:
        assert np.abs(photo.alpha - wanted[..., 3]).max() <= 1


def test_deep_grey_keeps_orientation_and_transparent_value():
    values = (np.arange(600).reshape(20, 30) * 100).astype(np.uint16)
    data = encoded(Image.fromarray(values), "PNG", exif=camera_exif(6), transparency=500)
    photo = Photo.read(data)
    assert photo.pixels.shape == (30, 20, 3)
    assert (photo.alpha == 0).sum() == 1
    assert photo.alpha[5, -1] == 0  # value 500 was stored in row 0, column 5
    assert "16 bits" in refusal(Photo.read, encoded(Image.new("F", (4, 4)), "TIFF"))
    assert "16 bits" in refusal(Photo.read, Image.new("I", (4, 4), 70_000))
    assert Photo.read(Image.new("I", (4, 4), 65_535)).pixels.min() == 255


def ink_profile():
    """A CMYK profile in which only black ink is seen: L* is 100 without it and 0 with it."""
    table = b"".join(struct.pack(">3B", 0 if corner & 1 else 255, 128, 128) for corner in range(16))
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4 + table + identity * 3
    lut += b"\0" * (-len(lut) % 4)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    start = 128 + 4 + 12 * 2
    tags = struct.pack(">I", 2)
    tags += b"A2B0" + struct.pack(">II", start, len(lut))
    tags += b"wtpt" + struct.pack(">II", start + len(lut), len(white))
    head = struct.pack(
        ">I4sI4s4s4s", start + len(lut) + len(white), b"test", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + tags + lut + white


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_become_rgb_by_their_profile(kind):
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    plain = Photo.read(encoded(cyan, kind)).pixels[8, 8].astype(int)
    assert np.abs(plain - (0, 255, 255)).max() <= 3
    photo = Photo.read(encoded(cyan, kind, icc_profile=ink_profile()))
    assert photo.pixels[8, 8].min() >= 250  # this profile sees black ink only
    black = Image.new("CMYK", (16, 16), (0, 0, 0, 255))
    assert Photo.read(encoded(black, kind, icc_profile=ink_profile())).pixels[8, 8].max() <= 5
    assert photo.metadata.icc is None
    assert opened(photo.encode()).mode == "RGB"
    broken = Photo.read(encoded(cyan, kind, icc_profile=ink_profile()[:200]))
    np.testing.assert_array_equal(broken.pixels[8, 8], plain)


def test_first_frame_is_taken():
    frames = [Image.fromarray(drawing()), Image.fromarray(255 - drawing())]
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("MPO", {})):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        photo = Photo.read(data)
        assert np.abs(photo.pixels.astype(int) - drawing()).mean() < 9
        assert photo.format == ("JPEG" if kind == "MPO" else kind)
        assert getattr(opened(photo.encode()), "n_frames", 1) == 1


# Orientation and metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_and_reset(kind, orientation):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(drawing(), kind, exif=camera_exif(orientation), **options)
    photo = Photo.read(data)
    np.testing.assert_array_equal(photo.pixels, UPRIGHT[orientation](drawing()))
    for target in FORMATS:
        image = opened(photo.encode(target))
        assert image.size == photo.pixels.shape[1::-1]
        assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_orientation_is_applied_to_what_is_stored(orientation):
    plain = encoded(drawing(), "JPEG", quality=95)
    turned = encoded(drawing(), "JPEG", quality=95, exif=camera_exif(orientation))
    stored = Photo.read(plain).pixels
    np.testing.assert_array_equal(Photo.read(turned).pixels, UPRIGHT[orientation](stored))


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_metadata_survives_from_any_format_to_any(source, target):
    data = Photo(drawing(), metadata=Metadata(SRGB, camera_exif(), xmp(), (200.0, 300.0))).encode(
        source
    )
    image = opened(Photo.read(data).encode(target))
    exif = image.getexif()
    assert exif[ExifTags.Base.Make] == "Drawn"
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == pytest.approx(0.01)
    assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] == b"note" * 9
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (1, 2, 3)
    assert image.info["icc_profile"] == SRGB
    assert image.info["xmp"] == xmp()
    if "WEBP" not in (source, target):
        assert image.info["dpi"] == pytest.approx((200, 300), abs=0.1)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_exif_of_no_type_stays_so(source, target):
    """Pillow would write it as bytes (1); the standard says undefined (7)."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Drawn"
    exif[ExifTags.IFD.Exif] = {0x9101: b"\1\2\3\0", 0x9286: b"ASCII\0\0\0hello"}
    exif[ExifTags.IFD.GPSInfo] = {0x001B: b"ASCII\0\0\0GPS"}
    data = Photo.read(encoded(drawing(), source, exif=exif.tobytes())).encode(target)
    for tag in (0x9101, 0x9286, 0x001B):
        kinds = [struct.pack("<HH", tag, kind) in data for kind in (1, 7)]
        kinds_big = [struct.pack(">HH", tag, kind) in data for kind in (1, 7)]
        assert [False, True] in (kinds, kinds_big), hex(tag)
    again = Image.open(io.BytesIO(data)).getexif()
    assert again.get_ifd(ExifTags.IFD.Exif)[0x9286] == b"ASCII\0\0\0hello"
    assert again.get_ifd(ExifTags.IFD.GPSInfo)[0x001B] == b"ASCII\0\0\0GPS"


@pytest.mark.parametrize("place", [8, 10, 0, 2**32 - 1])
def test_exif_that_leads_in_a_circle_or_nowhere(place):
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[0xA005], exif[0x927C] = "Drawn", place, b"note"
    for kind in FORMATS:
        again = Photo.read(Photo.read(encoded(drawing(), "JPEG", exif=exif.tobytes())).encode(kind))
        assert b"Drawn" in again.metadata.exif


def test_camera_files_of_pillow_are_kept_too():
    options = {"exif": camera_exif(6), "icc_profile": SRGB, "dpi": (200, 300)}
    for kind in ("JPEG", "TIFF"):
        photo = Photo.read(encoded(drawing(), kind, **options))
        exif = opened(photo.encode("PNG")).getexif()
        assert exif[ExifTags.Base.Make] == "Drawn"
        assert 256 not in exif and 273 not in exif  # a TIFF's layout is not the photo's EXIF
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (1, 2, 3)
        assert photo.metadata.dpi == pytest.approx((200, 300))
        assert photo.metadata.icc == SRGB


def test_orientation_in_xmp_does_not_contradict():
    data = encoded(drawing(), "WEBP", lossless=True, xmp=xmp(6), exif=camera_exif(1))
    photo = Photo.read(data)
    np.testing.assert_array_equal(photo.pixels, drawing())  # EXIF is believed first
    assert photo.metadata.xmp == xmp(1)
    photo = Photo.read(encoded(drawing(), "WEBP", lossless=True, xmp=xmp(6)))
    np.testing.assert_array_equal(photo.pixels, UPRIGHT[6](drawing()))
    assert photo.metadata.xmp == xmp(1)
    np.testing.assert_array_equal(Photo.read(photo.encode("PNG")).pixels, photo.pixels)


@pytest.mark.parametrize("quote", [b'"', b"'"])
def test_tiff_is_turned_once_where_exif_and_xmp_agree(quote):
    exif = Image.Exif()
    exif.load(camera_exif(6))
    exif[700] = xmp(6).replace(b'"', quote)
    photo = Photo.read(encoded(drawing(), "TIFF", exif=exif))
    np.testing.assert_array_equal(photo.pixels, UPRIGHT[6](drawing()))
    assert b"=" + quote + b"6" not in photo.metadata.xmp


def test_texts_and_comment_stay_in_their_format():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "me")
    texts.add_itxt("Title", "Müll")
    photo = Photo.read(encoded(drawing(), "PNG", pnginfo=texts))
    assert opened(photo.encode()).text == {"Author": "me", "Title": "Müll"}
    photo = Photo.read(encoded(drawing(), "JPEG", comment=b"hello"))
    assert opened(photo.encode()).info["comment"] == b"hello"
    assert "comment" not in opened(photo.encode("PNG")).info


def test_grey_profile_is_kept_where_grey_is_written():
    grey = Image.fromarray(drawing()).convert("L")
    photo = Photo.read(encoded(grey, "PNG", icc_profile=GRAY))
    for kind in ("JPEG", "PNG", "TIFF"):
        assert opened(photo.encode(kind)).info["icc_profile"] == GRAY
    assert "icc_profile" not in opened(photo.encode("WEBP")).info
    assert photo.to_image().info["icc_profile"] == GRAY
    assert Photo.read(encoded(drawing(), "PNG", icc_profile=GRAY)).metadata.icc is None


def test_damaged_or_oversized_metadata_does_not_cost_the_photo():
    for junk in (b"Exif\0\0junk!junk!", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"):
        photo = Photo.read(encoded(drawing(), "PNG", exif=junk))
        np.testing.assert_array_equal(photo.pixels, drawing())
        assert photo.metadata.exif is None
    big = Metadata(exif=None, xmp=b"x" * 70_000, comment=b"y" * 70_000)
    image = opened(Photo(drawing(), metadata=big).encode("JPEG"))
    assert "xmp" not in image.info and "comment" not in image.info


# How each format is written


def test_jpeg_has_full_colour_resolution_and_quality_95():
    data = Photo.read(noise()).encode("JPEG")
    start = data.index(b"\xff\xc0")
    count = data[start + 9]
    sampling = [data[start + 11 + 3 * i] for i in range(count)]
    assert sampling == [0x11] * 3
    reference = opened(encoded(noise(), "JPEG", quality=95))
    assert opened(data).quantization == reference.quantization


def test_webp_is_lossless_unless_the_source_was_not():
    assert b"VP8L" in Photo.read(encoded(drawing(), "TIFF")).encode("WEBP")
    assert b"VP8L" in Photo.read(encoded(drawing(), "WEBP", lossless=True)).encode()
    assert b"VP8L" not in Photo.read(encoded(drawing(), "WEBP")).encode()
    assert b"VP8L" not in Photo.read(encoded(drawing(), "JPEG")).encode("WEBP")


def test_jpeg_refuses_transparency_and_drops_opaque_alpha():
    clear = np.dstack([drawing(), np.full((24, 36), 254, np.uint8)])
    assert "PNG" in refusal(Photo.read(clear).encode, "JPEG")
    clear[..., 3] = 255
    assert opened(Photo.read(clear).encode("jpg")).mode == "RGB"
    assert opened(Photo.read(clear).encode("PNG")).mode == "RGBA"


def test_formats_that_cannot_hold_it_are_named():
    assert "WEBP" in refusal(Photo.read(np.zeros((1, 17_000), np.uint8)).encode, "WEBP")
    assert "'gif'" in refusal(Photo.read(drawing()).encode, "gif")


# Refusals on reading


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_photo_is_refused(kind, share, tmp_path):
    data = encoded(noise(), kind)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(len(data) * share)])
    message = refusal(Photo.read, path)
    assert "truncated or damaged" in message and str(path) in message


def test_truncated_compressed_variants_are_refused():
    variants = [encoded(noise(), "JPEG", progressive=True), encoded(noise(), "WEBP", lossless=True)]
    variants += [encoded(noise(), "TIFF", compression=c) for c in ("tiff_lzw", "jpeg")]
    variants += [Photo.read(noise()).encode("TIFF")]
    for data in variants:
        for share in (0.3, 0.9):
            refusal(Photo.read, data[: int(len(data) * share)])


def test_other_files_are_named(tmp_path):
    assert "is a GIF file" in refusal(Photo.read, encoded(drawing(), "GIF"))
    assert "is a BMP file" in refusal(Photo.read, encoded(drawing(), "BMP"))
    assert "AVIF" in refusal(Photo.read, b"\0\0\0\x1cftypavif" + bytes(40))
    assert "HEIC" in refusal(Photo.read, b"\0\0\0\x1cftypheic" + bytes(40))
    assert "not an image" in refusal(Photo.read, b"Dear diary")
    path = tmp_path / "empty.jpg"
    path.touch()
    assert f"{path} is empty" in refusal(Photo.read, path)


def test_paths_that_cannot_be_read(tmp_path, monkeypatch):
    assert "does not exist" in refusal(Photo.read, tmp_path / "no\nsuch.jpg")
    assert "is a folder" in refusal(Photo.read, tmp_path)
    refusal(Photo.read, "nul\0name.jpg")
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(drawing(), "PNG"))

    def denied(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)  # root may read everything
    assert "permissions" in refusal(Photo.read, path)


def test_things_that_are_no_photo():
    good = drawing()
    shapes = [good[..., :2], good[None], good[:0], good[0, 0], good.astype(np.float32), good > 9]
    for array in shapes:
        assert "[H, W, 3]" in refusal(Photo.read, array)
    refusal(Photo.read, 7)
    refusal(Photo.read, None)
    assert "'rb'" in refusal(Photo.read, io.StringIO("text"))


def png_header(width, height):
    def chunk(kind, body):
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0"))


@pytest.mark.parametrize("width", [60_000, 12_001])  # above and below Pillow's own limit
def test_photo_too_large_is_refused_from_its_header(width):
    height = width if width > 20_000 else MAX_PIXELS // 12_000
    message = refusal(Photo.read, png_header(width, height))
    assert f"{MAX_PIXELS / 1e6:g} megapixels" in message


def test_limit_is_inclusive(monkeypatch):
    monkeypatch.setattr(photo_module, "MAX_PIXELS", 24 * 36)
    data = encoded(drawing(), "PNG")
    assert Photo.read(data).pixels.shape == (24, 36, 3)
    monkeypatch.setattr(photo_module, "MAX_PIXELS", 24 * 36 - 1)
    assert "megapixels" in refusal(Photo.read, data)


# Saving


def only(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".tif", ".tiff"])
def test_suffix_decides_the_format(suffix, tmp_path):
    Photo.read(drawing()).save(tmp_path / f"a{suffix}")
    kind = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix[1:], suffix[1:].upper())
    assert opened((tmp_path / f"a{suffix}").read_bytes()).format == kind
    assert only(tmp_path) == [f"a{suffix}"]


def test_existing_file_is_replaced_only_when_allowed(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    assert "exists" in refusal(Photo.read(drawing()).save, path)
    assert path.read_bytes() == b"old"
    Photo.read(drawing()).save(path, overwrite=True)
    np.testing.assert_array_equal(Photo.read(path).pixels, drawing())
    assert only(tmp_path) == ["a.png"]


@pytest.mark.parametrize("links", [True, False])
def test_file_that_appears_while_encoding_is_not_replaced(links, tmp_path, monkeypatch):
    path = tmp_path / "a.png"

    def slow(_photo, _kind):
        path.write_bytes(b"theirs")
        return b"mine"

    monkeypatch.setattr(Photo, "encode", slow)
    if not links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    assert "exists" in refusal(Photo.read(drawing()).save, path)
    assert path.read_bytes() == b"theirs"
    assert only(tmp_path) == ["a.png"]


def failing(code):
    def fail(*_args, **_options):
        raise OSError(code, os.strerror(code))

    return fail


def test_saves_where_there_are_no_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    Photo.read(drawing()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(Photo.read(tmp_path / "a.png").pixels, drawing())
    assert only(tmp_path) == ["a.png"]


@pytest.mark.parametrize("step", ["fsync", "replace", "rename"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_full_disk_leaves_everything_as_it_was(step, overwrite, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    if overwrite:
        path.write_bytes(b"old")
    for name in {"fsync": ["fsync"]}.get(step, ["link", "replace", "rename"]):
        monkeypatch.setattr(os, name, failing(errno.ENOSPC))
    message = refusal(Photo.read(drawing()).save, path, overwrite=overwrite)
    assert "No space left" in message and str(path) in message
    assert only(tmp_path) == (["a.png"] if overwrite else [])
    if overwrite:
        assert path.read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="modes are POSIX")
def test_mode_follows_umask_or_the_file_replaced(tmp_path):
    old = os.umask(0o027)
    try:
        Photo.read(drawing()).save(tmp_path / "a.png")
        assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640
        (tmp_path / "a.png").chmod(0o604)
        Photo.read(drawing()).save(tmp_path / "a.png", overwrite=True)
        assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o604
    finally:
        os.umask(old)


def test_symbolic_link_stays_a_link(tmp_path):
    (tmp_path / "real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    Photo.read(drawing()).save(tmp_path / "link.png", overwrite=True)
    assert (tmp_path / "link.png").is_symlink()
    np.testing.assert_array_equal(Photo.read(tmp_path / "real.png").pixels, drawing())


def test_targets_that_cannot_be_written(tmp_path):
    photo = Photo.read(drawing())
    assert "does not exist" in refusal(photo.save, tmp_path / "no" / "a.png")
    (tmp_path / "folder.png").mkdir()
    assert "is a folder" in refusal(photo.save, tmp_path / "folder.png", overwrite=True)
    assert "'.gif'" in refusal(photo.save, tmp_path / "a.gif")
    assert "''" in refusal(photo.save, tmp_path / "a")
    (tmp_path / "file").touch()
    assert "file" in refusal(photo.save, tmp_path / "file" / "a.png")
    assert only(tmp_path) == ["file", "folder.png"]


def test_import_is_light():
    heavy = "{'cv2', 'PIL.ImageCms', 'torch', 'onnxruntime'}"
    code = f"import sys, facepaint.photo; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
