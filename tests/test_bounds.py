"""Small files that ask for much work: of many scans, of many parts; and what libtiff says."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from facepaint import bounds
from facepaint.errors import PhotoError
from facepaint.photo import Photo


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scanned(count: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A progressive JPEG of six scans with `count` more of a few bytes each."""
    data = saved(Image.new("L", size, 90), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + b"\xff\xd9"


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_jpeg_of_many_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    six = 6
    assert Photo.read(scanned(bounds.MAX_SCANS - six)).pixels.shape == (48, 64, 3)
    with pytest.raises(PhotoError, match="scans"):
        Photo.read(scanned(bounds.MAX_SCANS - six + 1))
    monkeypatch.setattr(bounds, "SCANNED", 64 * 48 * 10)
    Photo.read(scanned(10 - six))
    with pytest.raises(PhotoError, match="more than 10 scans"):
        Photo.read(scanned(10 - six + 1))


def test_scans_that_would_take_minutes_take_none() -> None:
    data = scanned(20_000, (10_900, 11_000))
    began = time.process_time()
    with pytest.raises(PhotoError, match="scans"):
        Photo.read(data)
    assert len(data) < 4e6 and time.process_time() - began < 5


def test_an_animated_png_of_gigapixels_is_refused_before_it_takes_their_memory() -> None:
    frames = [Image.new("RGB", (36, 24), c) for c in ("red", "blue")]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert b"acTL" in data and Photo.read(data).pixels.shape == (24, 36, 3)
    header = b"IHDR" + struct.pack(">II", 36, 0x8000018) + data[24:29]
    huge = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    began = time.process_time()
    with pytest.raises(PhotoError, match="more than 120 megapixels"):
        Photo.read(huge)
    assert time.process_time() - began < 1


def test_scans_cannot_hide_behind_an_end_that_is_none() -> None:
    comment = b"\xff\xfe\0\x04\xff\xd9"
    data = scanned(bounds.MAX_SCANS)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    for place in (2, first, second):
        with pytest.raises(PhotoError, match="scans"):
            Photo.read(data[:place] + comment + data[place:])


def test_what_only_looks_like_scans_is_none() -> None:
    data = saved(Image.new("L", (64, 48)), "JPEG", comment=b"\xff\xda" * 9_000)
    assert Photo.read(data + b"\xff\xda" * 9_000).pixels.shape == (48, 64, 3)


def test_jpegs_inside_tiffs_are_bounded_too() -> None:
    def tiff(strip: bytes) -> bytes:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        for tag, value in {256: 64, 257: 48, 258: (8,), 259: 7, 262: 1, 277: 1, 278: 48}.items():
            tags[tag] = value
        tags[TiffImagePlugin.STRIPOFFSETS], tags[TiffImagePlugin.STRIPBYTECOUNTS] = 0, len(strip)
        file = io.BytesIO()
        tags.save(file)
        return file.getvalue() + strip

    assert Photo.read(tiff(scanned(5))).pixels.shape == (48, 64, 3)
    with pytest.raises(PhotoError, match="damaged"):
        Photo.read(tiff(scanned(50)))


PARTS = {
    "APP0": ("JPEG", 2, b"\xff\xe0\0\2"),
    "comments": ("JPEG", 2, b"\xff\xfe\0\2"),
    "padding": ("JPEG", 2, b"\xff"),
    "tables between scans": ("JPEG", -2, b"\xff\xc4\0\2"),
    "private": ("PNG", 33, png_chunk(b"prVt", b"")),
    "texts": ("PNG", 33, png_chunk(b"tEXt", b"a\0b")),
    "no pixels": ("PNG", 33, png_chunk(b"IDAT", b"")),
    "at the end": ("PNG", -12, png_chunk(b"tEXt", b"a\0b")),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_file_of_millions_of_parts_is_refused(name: str) -> None:
    kind, place, part = PARTS[name]
    data = saved(Image.new("L", (64, 48)), kind)
    large = data[:place] + part * (8_000_000 // len(part)) + data[place:]
    began = time.process_time()
    with pytest.raises(PhotoError, match="parts"):
        Photo.read(large)
    assert time.process_time() - began < 2
    assert Photo.read(data[:place] + part * 100 + data[place:]).pixels.shape == (48, 64, 3)


def test_a_png_in_small_chunks_is_read() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2_000, 3_000, 3), np.uint8)
    data = saved(Image.fromarray(pixels), "PNG", compress_level=1)
    rows = data[data.index(b"IDAT") - 4 : -12]
    body, place = b"", 0
    while place < len(rows):
        size = int.from_bytes(rows[place : place + 4], "big")
        body, place = body + rows[place + 8 : place + 8 + size], place + 12 + size
    small = b"".join(png_chunk(b"IDAT", body[n : n + 1024]) for n in range(0, len(body), 1024))
    assert len(small) // 1036 > 10_000
    assert np.array_equal(Photo.read(data[:33] + small + data[-12:]).pixels, pixels)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_of_a_damaged_tiff_one_line_is_said(compression: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    data = bytearray(saved(Image.fromarray(pixels), "TIFF", compression=compression))
    data[2000:2600] = bytes(600)
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    command = [sys.executable, "-m", "facepaint", "faces", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("facepaint: ")
