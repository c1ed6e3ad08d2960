"""Matroska: a packet of XMP in MKV and WebM films, read and written in place.

No standard gives XMP a place there. A tag may have any name, so it is a tag of the whole film that
is called XMP; what lists a film's tags shows it. It is written into a void element that the film
was made with (`PADDING`), before the first frames, so that no other byte moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

from facepaint.errors import PhotoError
from facepaint.xmp import MAX_BYTES

PADDING = 32 << 10  # bytes; a mark of 250 people or more
NAME = b"XMP"

_EBML, _SEGMENT, _CLUSTER, _VOID = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xEC
_TAGS, _TAG, _TARGETS, _SIMPLE, _NAME, _TEXT = 0x1254C367, 0x7373, 0x63C0, 0x67C8, 0x45A3, 0x4487
_UNKNOWN = 1 << 64  # behind the end of any film
_MAX_ELEMENTS = 100_000  # of one element: a hostile film can hold millions of two bytes each


class Element(NamedTuple):
    """An element: its id, where it starts, where its content starts, and where it ends."""

    kind: int
    start: int
    content: int
    end: int


def is_matroska(head: bytes) -> bool:
    """Whether a file that begins so, in 4 bytes or more, is a Matroska or WebM film."""
    return head[:4] == _EBML.to_bytes(4, "big")


def read_xmp(file: IO[bytes]) -> bytes | None:
    """The XMP packet of a film in a binary file that can seek; None where there is none.

    Raises PhotoError where what lies before the frames is damaged.
    """
    for tags in (e for e in _top(file) if e.kind == _TAGS):
        for tag in (e for e in _inside(file, tags) if e.kind == _TAG):
            for simple in (e for e in _inside(file, tag) if e.kind == _SIMPLE):
                text = _named(file, simple)
                if text is not None:
                    return text
    return None


def write_xmp(file: IO[bytes], packet: bytes) -> bool:
    """Write a packet into the first void element that has room for it, in a film opened with "r+b"
    that has no packet yet. Whether there was room; else nothing is changed."""
    text = _element(_NAME, NAME) + _element(_TEXT, packet)
    tags = _element(_TAGS, _element(_TAG, _element(_TARGETS, b"") + _element(_SIMPLE, text)))
    smallest = len(_element(_VOID, b""))
    for void in (e for e in _top(file) if e.kind == _VOID):
        left = void.end - void.start - len(tags)
        if left >= smallest:
            file.seek(void.start)
            file.write(tags + _element(_VOID, bytes(left - smallest)))
            return True
    return False


def is_cut_off(file: IO[bytes]) -> bool:
    """Whether a film whose length is known, as one that was finished, has less than that."""
    size = file.seek(0, 2)
    first = _at(file, 0, size)
    segment = _said(file, first.end) if first else None
    return segment is not None and segment.kind == _SEGMENT and size < segment.end < _UNKNOWN


def _top(file: IO[bytes]) -> Iterator[Element]:
    """The elements of the film itself."""
    size = file.seek(0, 2)
    whole = Element(0, 0, 0, size)
    segment = next((e for e in _inside(file, whole) if e.kind == _SEGMENT), None)
    if segment is not None:  # what lies behind it is no part of the film
        yield from _inside(file, segment)


def _inside(file: IO[bytes], parent: Element) -> Iterator[Element]:
    start = parent.content
    for _ in range(_MAX_ELEMENTS):
        if start >= parent.end:
            return
        element = _at(file, start, parent.end)
        if element is None:
            raise PhotoError("the film is damaged: an element does not fit into its place")
        yield element
        start = element.end
    raise PhotoError("the film has more elements than any real one")


def _at(file: IO[bytes], start: int, end: int) -> Element | None:
    """The element at a place; None where there is none that ends before `end`. Frames of a film
    that was cut off, or never finished, end with the file."""
    said = _said(file, start)
    if said is None:
        return None
    if said.kind in (_SEGMENT, _CLUSTER) and said.end > end:
        said = said._replace(end=end)
    return said if said.content <= said.end <= end else None


def _said(file: IO[bytes], start: int) -> Element | None:
    """The element that begins at a place, as long as it says itself that it is; None for none. One
    that does not say its length ends at _UNKNOWN."""
    file.seek(start)
    head = file.read(12)
    kind = _number(head)
    size = _number(head[kind[1] :]) if kind else None
    if kind is None or size is None or kind[1] > 4:
        return None
    content = start + kind[1] + size[1]
    unknown = size[0] == (1 << 7 * size[1]) - 1
    name = int.from_bytes(head[: kind[1]], "big")
    return Element(name, start, content, _UNKNOWN if unknown else content + size[0])


def _number(data: bytes) -> tuple[int, int] | None:
    """A number of variable length, without the bits that say it, and its length in bytes."""
    length = 9 - data[0].bit_length() if data and data[0] else 9
    if length > min(8, len(data)):
        return None
    return int.from_bytes(data[:length], "big") & (1 << 7 * length) - 1, length


def _named(file: IO[bytes], simple: Element) -> bytes | None:
    """The text of a tag, if it is the one of XMP."""
    parts = {e.kind: e for e in _inside(file, simple) if e.kind in (_NAME, _TEXT)}
    if len(parts) < 2 or _bytes(file, parts[_NAME], len(NAME)) != NAME:
        return None
    text = _bytes(file, parts[_TEXT], MAX_BYTES)
    if text is None:
        raise PhotoError("the film's XMP is larger than any real one")
    return text


def _bytes(file: IO[bytes], element: Element, longest: int) -> bytes | None:
    """What an element holds; None where it is too long."""
    if element.end - element.content > longest:
        return None
    file.seek(element.content)
    return file.read(element.end - element.content)


def _element(kind: int, content: bytes) -> bytes:
    """An element, its size in eight bytes as that of all its kind may be."""
    name = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    return name + (1 << 56 | len(content)).to_bytes(8, "big") + content
