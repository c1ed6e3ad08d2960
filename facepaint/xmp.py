"""XMP packets (ISO 16684-1): read without trust, and changed only where they must be.

A packet is RDF in XML. It is never rebuilt: properties are cut out of its bytes and put into them,
so that all the rest stays as its author wrote it. What is no packet, has a document type (and so
could define entities), or is larger than any real one raises XMPError.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from xml.parsers import expat

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
META = "adobe:ns:meta/"
NOTE = "http://ns.adobe.com/xmp/note/"
EXTENDED = (NOTE, "HasExtendedXMP")
THUMBNAILS = ("http://ns.adobe.com/xap/1.0/", "Thumbnails")
IMAGE = "http://ns.google.com/photos/1.0/image/"  # GImage: a whole second picture

MAX_BYTES = 16 << 20  # phones put a second picture into some packets, of a few megabytes
MAX_NODES = 100_000
MAX_DEPTH = 64

Name = tuple[str, str]  # namespace and local name
Splice = tuple[int, int, bytes]  # from byte, to byte, what comes there instead

_TAG = re.compile(rb"<[^\"'>]*(?:(?:\"[^\"]*\"|'[^']*')[^\"'>]*)*>")
_ATTRIBUTE = re.compile(rb"\s+([^\s=]+)\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_WIDE = {  # how packets begin that are not UTF-8; the longer first
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}
_PREFIX = re.compile(rb"[<\s/]([^\s<>/=\"':]{1,100}):")
_WRAPPER = re.compile(rb"<\?xpacket[^>]*\?>")


class XMPError(ValueError):
    """The bytes are no XMP packet that can be read safely."""


@dataclass
class Node:
    """An element, and where it stands in the packet's bytes.

    attributes: in their order. declared: prefixes that it declares itself. outer: the element
    around it. start, inner, close, end: where its first tag, what follows that, its last tag, and
    what follows the element begin.
    """

    name: Name
    attributes: dict[Name, str]
    declared: dict[str, str]
    outer: Node | None
    start: int
    inner: int
    close: int = 0
    end: int = 0
    children: list[Node] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts).strip()

    @property
    def empty(self) -> bool:
        return self.inner == self.end

    def child(self, name: Name) -> Node | None:
        return next((c for c in self.children if c.name == name), None)


@dataclass(frozen=True)
class Property:
    """A property of the picture: an element of a description, or an attribute of one.

    start, end: what to cut to take it out.
    """

    name: Name
    text: str
    node: Node | None
    start: int
    end: int


class Packet:
    """A packet that was read: `data` is UTF-8, `rdf` its rdf:RDF element."""

    def __init__(self, data: bytes) -> None:
        self.data = _as_utf8(data)
        root = _Parser(self.data).root
        found = root if root.name == (RDF, "RDF") else root.child((RDF, "RDF"))
        if found is None or found.empty:
            raise XMPError("no rdf:RDF with a description in it")
        self.rdf = found

    @property
    def about(self) -> str:
        """What all descriptions say they are about; nearly always nothing."""
        nodes = (node for node in self.rdf.children if node.name == (RDF, "Description"))
        return next(
            (n.attributes[RDF, "about"] for n in nodes if (RDF, "about") in n.attributes), ""
        )

    def properties(self) -> Iterator[Property]:
        """The properties of the top-level descriptions, in order."""
        for description in self.rdf.children:
            if description.name != (RDF, "Description"):
                continue
            spans = self._spans(description)
            for (name, text), (start, end) in zip(
                description.attributes.items(), spans, strict=True
            ):
                if name[0] not in ("", RDF, XML):
                    yield Property(name, text, None, start, end)
            for child in description.children:
                yield Property(child.name, child.text, child, child.start, child.end)

    def find(self, name: Name) -> Property | None:
        return next((p for p in self.properties() if p.name == name), None)

    def _spans(self, node: Node) -> list[tuple[int, int]]:
        """Where each attribute but the declarations stands, with the space before it."""
        tag = self.data[node.start : node.inner]
        found = (m for m in _ATTRIBUTE.finditer(tag) if m[1].split(b":")[0] != b"xmlns")
        return [(node.start + m.start(), node.start + m.end()) for m in found]

    def spliced(self, splices: Iterable[Splice]) -> bytes:
        """The bytes with parts replaced, which must not overlap."""
        pieces, at = [], 0
        for start, end, new in sorted(splices):
            pieces += [self.data[at:start], new]
            at = end
        return b"".join([*pieces, self.data[at:]])

    def alone(self, node: Node) -> bytes:
        """The element's bytes with the prefixes that it needs from around it declared."""
        raw = self.data[node.start : node.end]
        used = {prefix.decode("utf-8", "replace") for prefix in _PREFIX.findall(raw)} | {""}
        needed: dict[str, str] = {}
        outer = node.outer
        while outer is not None:
            more = {p: u for p, u in outer.declared.items() if p in used}
            needed, outer = more | needed, outer.outer
        needed = {p: u for p, u in needed.items() if p not in node.declared}
        name = re.match(rb"<[^\s/>]+", raw)
        at = name.end() if name else 0
        return raw[:at] + declarations(needed).encode() + raw[at:]


def declarations(prefixes: dict[str, str]) -> str:
    """Attributes that declare prefixes, with a space before each."""
    names = {f"xmlns:{prefix}" if prefix else "xmlns": uri for prefix, uri in prefixes.items()}
    return "".join(f' {name}="{escape(uri)}"' for name, uri in names.items())


def description(about: str, inside: bytes) -> bytes:
    """A description that holds elements which declare their own prefixes."""
    head = f'<rdf:Description xmlns:rdf="{RDF}" rdf:about="{escape(about)}">'
    return head.encode() + inside + b"</rdf:Description>"


def wrapped(descriptions: bytes) -> bytes:
    """A new packet of descriptions."""
    head = f'<x:xmpmeta xmlns:x="{META}"><rdf:RDF xmlns:rdf="{RDF}">'
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    tail = b'</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    return (begin + head).encode() + descriptions + tail


# --- packets too large for one segment of a JPEG (XMP part 3: extended XMP)


def split(data: bytes, first: Iterable[tuple[Name, ...]], limit: int) -> tuple[bytes, bytes]:
    """A packet of at most `limit` bytes, and the rest as its extension, which it names by MD5.

    first: sets of properties that should be in the former; the earliest set that fits is taken.
    Raises XMPError where the packet cannot be read.
    """
    packet = Packet(data)
    for names in first:
        moved = [p for p in packet.properties() if p.name in names]
        extension = _WRAPPER.sub(b"", packet.spliced((p.start, p.end, b"") for p in moved)).strip()
        digest = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()
        pointer = (
            f'<xmpNote:HasExtendedXMP xmlns:xmpNote="{NOTE}">{digest}</xmpNote:HasExtendedXMP>'
        )
        inside = b"".join(_element(packet, p) for p in moved) + pointer.encode()
        main = wrapped(description(packet.about, inside))
        if len(main) <= limit:
            return main, extension
    raise XMPError("no part of the packet is small enough")


def without_pictures(data: bytes | None) -> bytes | None:
    """A packet without the smaller or other pictures of the photo that some programs put into it,
    which would show it as it was before an edit. What is no packet stays."""
    try:
        packet = Packet(data or b"")
    except XMPError:
        return data
    found = [p for p in packet.properties() if p.name == THUMBNAILS or p.name[0] == IMAGE]
    return packet.spliced((p.start, p.end, b"") for p in found) if found else data


def _element(packet: Packet, property: Property) -> bytes:
    if property.node:
        return packet.alone(property.node)
    uri, name = property.name
    return f'<p:{name} xmlns:p="{escape(uri)}">{escape(property.text)}</p:{name}>'.encode()


def join(data: bytes, extension: bytes) -> bytes:
    """The packet with its extension's descriptions in it, and no longer pointing to it."""
    main, more = Packet(data), Packet(extension)
    inside = b"".join(more.alone(node) for node in more.rdf.children)
    cuts = [(p.start, p.end, b"") for p in main.properties() if p.name == EXTENDED]
    return main.spliced([*cuts, (main.rdf.close, main.rdf.close, inside)])


# --- parsing


def _as_utf8(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise XMPError("larger than any real packet")
    for head, encoding in _WIDE.items():
        if data.startswith(head):
            try:
                data = data.decode(encoding).encode()
                break
            except UnicodeError as error:
                raise XMPError(f"no {encoding}, as it begins") from error
    return data.removeprefix(b"\xef\xbb\xbf").rstrip(b"\0")  # some writers pad


class _Parser:
    """Elements with their places, from expat; whatever could grow without end is refused."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._path: list[Node] = []
        self._declared: dict[str, str] = {}
        self._count = 0
        self.root: Node
        self._expat = parser = expat.ParserCreate("UTF-8", " ")
        parser.buffer_text = parser.ordered_attributes = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartNamespaceDeclHandler = self._declare
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(data, True)
        except (expat.ExpatError, ValueError) as error:
            raise XMPError(f"no XMP packet ({error})") from error

    def _doctype(self, *_: object) -> None:
        raise XMPError("a document type, which XMP has not")

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._declared[prefix or ""] = uri or ""

    def _start(self, name: str, values: list[str]) -> None:
        self._count += 1
        if self._count > MAX_NODES or len(self._path) >= MAX_DEPTH:
            raise XMPError("more elements than any real packet")
        start = self._expat.CurrentByteIndex
        tag = _TAG.match(self._data, start)
        if tag is None:
            raise XMPError("a tag that is none")
        outer = self._path[-1] if self._path else None
        attributes = {_name(k): v for k, v in zip(values[::2], values[1::2], strict=True)}
        node = Node(_name(name), attributes, self._declared, outer, start, tag.end())
        self._declared = {}
        if outer:
            outer.children.append(node)
        else:
            self.root = node
        self._path.append(node)

    def _end(self, _: str) -> None:
        node = self._path.pop()
        if self._data[node.inner - 2 : node.inner] == b"/>":
            node.close = node.end = node.inner
            return
        node.close = self._expat.CurrentByteIndex
        node.end = self._data.index(b">", node.close) + 1

    def _text(self, text: str) -> None:
        self._path[-1].texts.append(text)


def _name(text: str) -> Name:
    uri, _, local = text.rpartition(" ")
    return uri, local
