"""Bounds: how much work a photo's file may ask for, where Pillow and libjpeg set no end.

A JPEG or PNG can have millions of empty parts, each of which Pillow reads and some of which it
keeps; and a small JPEG can have thousands of scans, each of which goes over all pixels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import IO, Any

from facepaint.errors import PhotoError

READS = 50_000  # of any file, and one more for each so many bytes:
BYTES_A_READ = 256  # PNGs are written in chunks of some kilobytes, read in four goes
MAX_SCANS = 100  # as in libtiff; progressive JPEGs have about ten
SCANNED = 2_400_000_000  # pixels in all scans: 20 of the largest photo
MAX_JPEG = 1 << 29  # bytes; the largest photo at quality 100 has fewer
# of JPEGs inside TIFFs, which libtiff decodes out of our sight; by default 100
os.environ.setdefault("LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER", "20")

_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")  # but for those inside a scan
_END, _SCAN = 0xD9, 0xDA
_BARE = (0x01, 0xD8)  # markers without a length


class Bounded:
    """A binary file that can be read from only so often; beyond that it raises PhotoError."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = READS + file.seek(0, 2) // BYTES_A_READ
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise PhotoError("the photo's file has more parts than any real one; export it anew")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def png_pixels(file: IO[bytes]) -> int:
    """The pixels that a PNG's header tells of, 0 for any other file; left at its start. Of an
    animated one Pillow takes the memory of a whole frame as it opens it."""
    file.seek(0)
    head = file.read(24)
    file.seek(0)
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        return 0
    return int.from_bytes(head[16:20], "big") * int.from_bytes(head[20:24], "big")


def check_scans(file: IO[bytes], pixels: int) -> None:
    """Raise PhotoError where the JPEG in a file has more scans, or other parts, than one of its
    size may have. The file is left where it was."""
    place = file.tell()
    file.seek(0)
    data = file.read(MAX_JPEG + 1)
    file.seek(place)
    if len(data) > MAX_JPEG:
        raise PhotoError("the JPEG is larger than any real one; export it anew")
    most, scans = min(MAX_SCANS, SCANNED // max(pixels, 1)), 0
    for parts, marker in enumerate(_markers(data)):
        scans += marker == _SCAN
        if scans > most or parts > READS:
            what = f"the JPEG has more than {most} scans or {READS} parts"
            raise PhotoError(f"{what}, the most that are read at its size; export it anew")


def _markers(data: bytes) -> Iterator[int]:
    """The markers of a JPEG up to its end, as libjpeg finds them."""
    place = 2
    while (found := _MARKER.search(data, place)) and (marker := found[1][0]) != _END:
        yield marker
        place = found.end()
        if marker not in _BARE:
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
