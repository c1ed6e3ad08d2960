"""Inspection: whether and how FacePaint edited a picture or film, as far as its file says."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from facepaint import matroska, mp4
from facepaint.errors import CredentialsError
from facepaint.mark import Mark, MarkedFace, marks_in, shown, source_type
from facepaint.matroska import is_matroska
from facepaint.mp4 import is_mp4

CAVEAT = (
    "A mark can be removed, and a false one written: no mark does not mean that nothing was edited."
)
_FILM = "video/mp4"
_NO_PLACE = "none; Matroska has no place for them"
_SIGNED = {
    "trusted": "valid, by a signer on the list of those trusted here",
    "valid": "valid; whether the signer can be trusted is not known here",
    "invalid": "INVALID: the file or the manifest was changed after it was signed",
}


@dataclass(frozen=True)
class Inspection:
    """What a file says of itself.

    marks: FacePaint's, the oldest first. source_type: IPTC's DigitalSourceType. credentials: one
    line on its C2PA manifest.
    """

    marks: tuple[Mark, ...]
    source_type: str | None
    credentials: str

    def lines(self) -> list[str]:
        """It in plain words."""
        text = [self._verdict()]
        for mark in self.marks:
            text.append(f"{mark.software} edited")
            text += [f"  face {face.index}{_where(face)}: {face}" for face in mark.faces]
            text += [f"  by the network {name}, sha256 {digest}" for name, digest in mark.models]
            if mark.former:
                text.append(f"  before, its source type (IPTC) was {mark.former}")
        if self.source_type:
            text.append(f"its source type (IPTC DigitalSourceType) is {self.source_type}")
        return [*text, f"its content credentials (C2PA): {self.credentials}", CAVEAT]

    def document(self) -> dict[str, Any]:
        """It as plain values, for JSON."""
        return {
            "edited_by_facepaint": bool(self.marks),
            "edits": [_plain(mark) for mark in self.marks],
            "digital_source_type": self.source_type,
            "c2pa": self.credentials,
            "caveat": CAVEAT,
        }

    def _verdict(self) -> str:
        if not self.marks:
            return "no mark of FacePaint's"
        times = "once" if len(self.marks) == 1 else f"{len(self.marks)} times"
        return f"edited by FacePaint, {times}"


def inspect(path: Path) -> Inspection:
    """What the picture or film in a file says of itself.

    Raises PhotoError where it is none that can be read.
    """
    from facepaint.decode import opened
    from facepaint.photo import Photo

    with opened(path) as file:
        head = file.read(16)
        if is_matroska(head):
            xmp, signed = matroska.read_xmp(file), _NO_PLACE
        elif is_mp4(head):
            xmp, signed = mp4.read_xmp(file), _credentials(file, _FILM)
        else:
            xmp, signed = Photo.read(path).metadata.xmp, _credentials(file, "")
        return Inspection(tuple(marks_in(xmp)), source_type(xmp), signed)


def _credentials(file: IO[bytes], kind: str) -> str:
    from facepaint.credentials import manifest_of, mime

    file.seek(0)
    try:
        if not kind:
            data = file.read()
            kind, file = mime(data), io.BytesIO(data)
        found = manifest_of(file, kind)
    except CredentialsError as error:
        return f"not known; {error}"
    if found is None:
        return "none"
    by = f" by {shown(found.signer)}" if found.signer else ""
    actions = shown(", ".join(found.actions)) or "no actions"
    sources, signed = found.ingredients
    state = _SIGNED.get(found.state, found.state)
    return f"signed{by}: {state}; {actions}; {sources} sources, {signed} of them with a manifest"


def _where(face: MarkedFace) -> str:
    if face.box is None or len(face.box) < 4:
        return ""
    x, y, width, height = face.box
    return f" ({width}×{height} pixels at {x},{y})"


def _plain(mark: Mark) -> dict[str, Any]:
    faces = [vars(face) | {"set": dict(face.set)} for face in mark.faces]
    return {
        "software": mark.software,
        "faces": faces,
        "models": dict(mark.models),
        "former_digital_source_type": mark.former,
    }
