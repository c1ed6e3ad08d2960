"""Mark: what FacePaint says, inside a picture or film, of what it did to it.

The mark is XMP (ISO 16684-1): IPTC's DigitalSourceType, which laws and platforms look for; the
program's name; a line of xmpMM:History; and in a namespace of its own each edit, face by face, with
the sha256 of the networks that made it. It has no time and no chance in it: the same photo and edit
give the same bytes. An earlier mark stays, and the new one is added behind it. Whoever wants to can
take a mark out, or write a false one; see `facepaint.credentials` for one that is signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

from facepaint import xmp
from facepaint._version import __version__
from facepaint.xmp import RDF, Name, Node, Packet, Splice, XMPError

if TYPE_CHECKING:
    from facepaint.edit import Edit
    from facepaint.face import Face

SOFTWARE = f"FacePaint {__version__}"
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
# A picture that was wholly made by a network stays one.
WHOLLY_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

PREFIXES = {
    "rdf": RDF,
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "facepaint": "urn:uuid:0d7f3b52-6c1e-4f0a-9a57-3d1f8f6f2c1b#",
}
OWN = PREFIXES["facepaint"]
SOURCE_TYPE: Name = (PREFIXES["Iptc4xmpExt"], "DigitalSourceType")
CREATOR_TOOL: Name = (PREFIXES["xmp"], "CreatorTool")
HISTORY: Name = (PREFIXES["xmpMM"], "History")
EDITS: Name = (OWN, "Edits")
# What belongs into the part of a packet that every reader sees; less where space is short.
FIRST = ((SOURCE_TYPE, CREATOR_TOOL, EDITS), (SOURCE_TYPE, CREATOR_TOOL), ())

_LI, _SEQ = (RDF, "li"), (RDF, "Seq")
_LONGEST = 200  # characters of a value that are shown


@dataclass(frozen=True)
class MarkedFace:
    """What was asked of one face. The fields are those of `Edit`; like: whether another face's
    expression was copied. index: the face's number. box: x, y, width, height in pixels of the
    picture as it then was; None where it moved (in a film)."""

    index: int
    to: str | None = None
    strength: float = 1.0
    set: tuple[tuple[str, float], ...] = ()
    like: bool = False
    look: str | None = None
    regions: tuple[str, ...] = ()
    box: tuple[int, ...] | None = None

    def __str__(self) -> str:
        words = [self.to] if self.to else []
        words += ["the expression of another face"] if self.like else []
        words += [f"eyes to the {self.look}"] if self.look else []
        words += [f"{name} {value:g}" for name, value in self.set]
        words += [f"strength {self.strength:g}"]
        words += [f"only {' and '.join(self.regions)}"] if self.regions else []
        return ", ".join(words)


@dataclass(frozen=True)
class Mark:
    """One edit of a picture: its faces, and name and sha256 of each network that took part.

    former: the DigitalSourceType that the picture had before, if any.
    """

    faces: tuple[MarkedFace, ...]
    models: tuple[tuple[str, str], ...]
    software: str = SOFTWARE
    former: str | None = None


def mark_of(edits: Sequence[tuple[Face, Edit]], models: Mapping[str, str]) -> Mark:
    """The mark of edits made; models: sha256 by name."""
    return Mark(tuple(_marked_face(*pair) for pair in edits), tuple(sorted(models.items())))


def _marked_face(face: Face, edit: Edit) -> MarkedFace:
    box = tuple(round(float(v)) for v in face.box[:4])
    return replace(marked_person(face.index, edit), box=box)


def marked_person(index: int, edit: Edit) -> MarkedFace:
    """What was asked of one person of a film, who has no place that stays."""
    like = edit.like is not None
    muscles = tuple(sorted(edit.set.items()))
    return MarkedFace(index, edit.to, edit.strength, muscles, like, edit.look, edit.regions)


# --- writing


def packet(mark: Mark) -> bytes:
    """A new XMP packet that holds the mark alone, UTF-8."""
    return xmp.wrapped(xmp.description("", _properties(mark, COMPOSITE)))


def merged(data: bytes | None, mark: Mark) -> bytes:
    """The packet `data` with the mark added; all that it held besides stays byte for byte.

    A DigitalSourceType is replaced, and kept as `former`; CreatorTool, which names the first tool,
    stays. What is no readable packet gives way to a new one.
    """
    if data:
        try:
            result = _merged(Packet(data), mark)
            if marks_in(result):
                return result
        except XMPError:
            pass
    return packet(mark)


def _merged(packet: Packet, mark: Mark) -> bytes:
    splices: list[Splice] = []
    former = [p for p in packet.properties() if p.name == SOURCE_TYPE]
    splices += [(p.start, p.end, b"") for p in former]
    if former and former[0].text != COMPOSITE:
        mark = replace(mark, former=shown(former[0].text))
    kind = WHOLLY_MADE if any(p.text == WHOLLY_MADE for p in former) else COMPOSITE
    inside = _property("Iptc4xmpExt:DigitalSourceType", escape(kind))
    if packet.find(CREATOR_TOOL) is None:
        inside += _property("xmp:CreatorTool", escape(mark.software))
    for name, write, item in (
        (EDITS, "facepaint:Edits", _edit_item(mark)),
        (HISTORY, "xmpMM:History", _history_item(mark)),
    ):
        old = packet.find(name)
        seq = old.node.child(_SEQ) if old and old.node else None
        if old is None:
            inside += _property(write, f"<rdf:Seq>{item}</rdf:Seq>")
        elif seq is not None and not seq.empty:
            own = item.replace("<rdf:li", f"<rdf:li{xmp.declarations(PREFIXES)}", 1)
            splices.append((seq.close, seq.close, own.encode()))
        elif name == EDITS:  # one that we did not write
            splices.append((old.start, old.end, b""))
            inside += _property(write, f"<rdf:Seq>{item}</rdf:Seq>")
    end = packet.rdf.close
    added = xmp.description(packet.about, inside.encode())
    return packet.spliced([*splices, (end, end, added)])


def _properties(mark: Mark, kind: str) -> bytes:
    text = _property("Iptc4xmpExt:DigitalSourceType", escape(kind))
    text += _property("xmp:CreatorTool", escape(mark.software))
    text += _property("facepaint:Edits", f"<rdf:Seq>{_edit_item(mark)}</rdf:Seq>")
    text += _property("xmpMM:History", f"<rdf:Seq>{_history_item(mark)}</rdf:Seq>")
    return text.encode()


def _property(name: str, inside: str) -> str:
    """An element that declares all the prefixes which it may need."""
    used = {p: u for p, u in PREFIXES.items() if f"{p}:" in name + inside}
    return f"<{name}{xmp.declarations(used)}>{inside}</{name}>"


def _edit_item(mark: Mark) -> str:
    faces = "".join(f"<rdf:li{_attributes(_face_values(f))}/>" for f in mark.faces)
    models = "".join(
        f"<rdf:li{_attributes({'Name': name, 'Sha256': digest})}/>" for name, digest in mark.models
    )
    former = escape(mark.former or "")
    if former:
        former = f"<facepaint:FormerSourceType>{former}</facepaint:FormerSourceType>"
    return (
        '<rdf:li rdf:parseType="Resource">'
        f"<facepaint:Software>{escape(mark.software)}</facepaint:Software>"
        f"<facepaint:Faces><rdf:Seq>{faces}</rdf:Seq></facepaint:Faces>"
        f"<facepaint:Models><rdf:Seq>{models}</rdf:Seq></facepaint:Models>"
        f"{former}</rdf:li>"
    )


def _face_values(face: MarkedFace) -> dict[str, str]:
    values = {
        "Face": str(face.index),
        "To": face.to or "",
        "Strength": f"{face.strength:g}",
        "Set": " ".join(f"{name}={value:g}" for name, value in face.set),
        "Like": "another face" if face.like else "",
        "Look": face.look or "",
        "Regions": " ".join(face.regions),
        "Box": " ".join(map(str, face.box or ())),
    }
    return {name: value for name, value in values.items() if value}


def _attributes(values: Mapping[str, str]) -> str:
    return "".join(f' facepaint:{name}="{escape(value)}"' for name, value in values.items())


def _history_item(mark: Mark) -> str:
    """An event of xmpMM:History, whose `when` is left out: it would make no two files alike."""
    said = "; ".join(f"face {f.index}: {f}" for f in mark.faces[:20])
    said += f"; and {len(mark.faces) - 20} more" if len(mark.faces) > 20 else ""
    values = {"action": "edited", "softwareAgent": mark.software, "parameters": said}
    fields = "".join(f"<stEvt:{k}>{escape(v)}</stEvt:{k}>" for k, v in values.items())
    return f'<rdf:li rdf:parseType="Resource">{fields}</rdf:li>'


# --- reading


def marks_in(data: bytes | None) -> list[Mark]:
    """FacePaint's marks in a packet, the oldest first; none where there is no readable packet."""
    try:
        found = Packet(data).find(EDITS) if data else None
    except XMPError:
        return []
    seq = found.node.child(_SEQ) if found and found.node else None
    return [_mark(_fields(item)) for item in seq.children if item.name == _LI] if seq else []


def source_type(data: bytes | None) -> str | None:
    """The DigitalSourceType that a packet gives."""
    try:
        found = Packet(data).find(SOURCE_TYPE) if data else None
    except XMPError:
        return None
    return shown(found.text) if found else None


_Fields = dict[str, "Node | str"]


def _fields(node: Node) -> _Fields:
    """Our fields of a structure, in any of the ways in which RDF may write one."""
    if (inner := node.child((RDF, "Description"))) is not None:
        return _fields(inner)
    result: _Fields = {n: v for (uri, n), v in node.attributes.items() if uri == OWN}
    return result | {c.name[1]: c for c in node.children if c.name[0] == OWN}


def _mark(fields: _Fields) -> Mark:
    faces = (_face(_fields(item)) for item in _items(fields.get("Faces")))
    models = (_fields(item) for item in _items(fields.get("Models")))
    return Mark(
        tuple(face for face in faces if face is not None),
        tuple((_text(m, "Name"), _text(m, "Sha256")) for m in models),
        _text(fields, "Software") or "FacePaint, of a version that is not said",
        _text(fields, "FormerSourceType") or None,
    )


def _items(value: Node | str | None) -> Iterable[Node]:
    seq = value.child(_SEQ) if isinstance(value, Node) else None
    return [item for item in seq.children if item.name == _LI] if seq else []


def _face(fields: _Fields) -> MarkedFace | None:
    try:
        pairs = (text.partition("=") for text in _text(fields, "Set", 9999).split())
        box = tuple(int(v) for v in _text(fields, "Box").split()[:4])
        return MarkedFace(
            int(_text(fields, "Face")),
            _text(fields, "To") or None,
            float(_text(fields, "Strength") or MarkedFace.strength),
            tuple((name, float(value)) for name, _, value in pairs),
            bool(_text(fields, "Like")),
            _text(fields, "Look") or None,
            tuple(_text(fields, "Regions").split()),
            box or None,
        )
    except ValueError:  # not as we write them
        return None


def _text(fields: _Fields, name: str, longest: int = _LONGEST) -> str:
    value = fields.get(name, "")
    return shown(value.text if isinstance(value, Node) else value, longest)


def shown(text: str, longest: int = _LONGEST) -> str:
    """A value from a file as it may be printed: nothing in it can steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:longest]).strip()
