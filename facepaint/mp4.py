"""MP4: the XMP of films in ISO base media files (MP4, M4V, MOV), read and written in place.

XMP part 3 puts the packet into a `uuid` box at the top level, and QuickTime into `moov/udta/XMP_`.
Written is always the former, at the end of the file, so that no sample moves; an older packet there
becomes free space. In the latter, which is only read, a packet stays as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

from facepaint.errors import PhotoError
from facepaint.xmp import MAX_BYTES

XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_PICTURES = (b"hei", b"hev", b"mif", b"msf", b"avi")  # how brands of pictures begin
_MAX_BOXES = 100_000  # a hostile file can hold millions of eight bytes each


class Box(NamedTuple):
    """A box: its type, where it starts, where its content starts, and where it ends."""

    kind: bytes
    start: int
    content: int
    end: int
    to_end: bool  # its size is written as 0: it goes to the end of the file


def is_mp4(head: bytes) -> bool:
    """Whether a file that begins so, in 12 bytes or more, is an ISO base media file or an older
    QuickTime film; pictures in the former (HEIC, AVIF) are none."""
    if head[4:8] == b"ftyp":
        return head[8:11] not in _PICTURES
    return head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip")


def read_xmp(file: IO[bytes]) -> bytes | None:
    """The XMP packet of a film in a binary file that can seek; None where there is none.

    Raises PhotoError where the boxes of the file do not fit into each other.
    """
    size = file.seek(0, 2)
    boxes = list(_boxes(file, 0, size))
    for box in boxes:
        if _is_xmp(file, box):
            return _content(file, box, box.content + 16)
    for moov in (b for b in boxes if b.kind == b"moov"):
        for udta in (b for b in _boxes(file, moov.content, moov.end) if b.kind == b"udta"):
            for box in _boxes(file, udta.content, udta.end, lenient=True):
                if box.kind == b"XMP_":
                    return _content(file, box, box.content)
    return None


def write_xmp(file: IO[bytes], packet: bytes) -> None:
    """Give the film in a file opened with "r+b" this XMP packet; no other byte of a film changes,
    but fewer than 8 at its end that are no box give way.

    Raises PhotoError where the boxes of the file do not fit into each other.
    """
    size = file.seek(0, 2)
    boxes = list(_boxes(file, 0, size))
    if boxes and boxes[-1].to_end:
        _close(file, boxes[-1])
    for box in boxes:
        if _is_xmp(file, box):
            file.seek(box.start + 4)
            file.write(b"free")
    file.seek(boxes[-1].end if boxes else 0)  # fewer than 8 bytes behind it are no box
    file.truncate()
    file.write(struct.pack(">I", 24 + len(packet)) + b"uuid" + XMP_UUID + packet)


def is_cut_off(file: IO[bytes]) -> bool:
    """Whether a film's frames, or what says where they are, go on behind the end of its file. What
    else does not fit at the end, as what some cameras put there, is no loss."""
    size, start = file.seek(0, 2), 0
    for _ in range(_MAX_BOXES):
        box = _said(file, start, size)
        if box is None or box.end > size:
            return box is not None and box.kind in (b"mdat", b"moov", b"moof")
        start = box.end
    return False


def _close(file: IO[bytes], last: Box) -> None:
    """Write the size of a last box that said "to the end", for it no longer is."""
    size = last.end - last.start
    if size >= 1 << 32:
        raise PhotoError("the film's last box is too large to put a mark behind it; remux the film")
    file.seek(last.start)
    file.write(struct.pack(">I", size))


def _is_xmp(file: IO[bytes], box: Box) -> bool:
    if box.kind != b"uuid" or box.end - box.content < 16:
        return False
    file.seek(box.content)
    return file.read(16) == XMP_UUID


def _content(file: IO[bytes], box: Box, start: int) -> bytes:
    if box.end - start > MAX_BYTES:
        raise PhotoError("the film's XMP is larger than any real one")
    file.seek(start)
    return file.read(box.end - start)


def _boxes(file: IO[bytes], start: int, end: int, lenient: bool = False) -> Iterator[Box]:
    """The boxes between two places. lenient: what is no box ends them, as zeros end a udta."""
    for _ in range(_MAX_BOXES):
        if start >= end:
            return
        box = _box(file, start, end)
        if box is None and (lenient or end - start < 8):
            return
        if box is None:
            raise PhotoError("the film is truncated or damaged: a box does not fit into its place")
        yield box
        start = box.end
    raise PhotoError("the film has more boxes than any real one")


def _box(file: IO[bytes], start: int, end: int) -> Box | None:
    box = _said(file, start, end)
    return box if box and box.end <= end else None


def _said(file: IO[bytes], start: int, end: int) -> Box | None:
    """The box that begins at a place, as long as it says itself that it is, or up to `end`."""
    file.seek(start)
    head = file.read(16)
    if len(head) < 8 or end - start < 8:
        return None
    size, content = int.from_bytes(head[:4], "big"), start + 8
    to_end = size == 0
    if size == 1:
        size, content = int.from_bytes(head[8:16], "big"), start + 16
    stop = end if to_end else start + size
    return Box(head[4:8], start, content, stop, to_end) if content <= stop else None
