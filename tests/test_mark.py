"""The mark: in every format, beside all that was there, read back by us and by others."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from running import run

import facepaint
from facepaint import mark, matroska, mp4, xmp
from facepaint.inspection import inspect
from facepaint.mark import COMPOSITE, Mark, MarkedFace, marks_in, merged, packet, source_type
from facepaint.photo import Metadata, Photo

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
MODELS = (("painter", "ab" * 32), ("reader", "cd" * 32))
REGIONS = ("mouth", "eyes")
FACE = MarkedFace(2, "happy", 0.8, (("jawOpen", 0.3),), True, "camera", REGIONS, (1, 2, 30, 40))
MARK = Mark((FACE, MarkedFace(5, None, 1.5)), MODELS)
RDF, DC = xmp.RDF, "http://purl.org/dc/elements/1.1/"
IPTC = mark.PREFIXES["Iptc4xmpExt"]
CAPTURED = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


def theirs(inside: str = "", attributes: str = "", about: str = "") -> bytes:
    """A packet as another program may have written it."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Other 1">\n <r:RDF xmlns:r="{RDF}">\n'
        f"  <!-- kept --><r:Description r:about='{about}' xmlns:dc=\"{DC}\" xmlns:i='{IPTC}'\n"
        f'   dc:source="a &amp; b"{attributes}>{inside}<dc:format>image/x</dc:format>'
        f'</r:Description>\n </r:RDF>\n</x:xmpmeta>\n   <?xpacket end="w"?>'
    ).encode()


def drawing() -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    return np.stack([x * 3, y * 4, x + y], -1).astype(np.uint8)


def marked(kind: str, old: bytes | None = None, the_mark: Mark = MARK) -> bytes:
    photo = Photo(drawing(), metadata=Metadata(xmp=merged(old, the_mark)))
    return photo.encode(kind)


# What is written


@pytest.mark.parametrize("kind", FORMATS)
def test_a_mark_comes_back_from_every_format(kind: str) -> None:
    data = marked(kind)
    assert marks_in(Photo.read(data).metadata.xmp) == [MARK]
    assert data == marked(kind), "the same mark gives the same bytes"
    image = Image.open(io.BytesIO(data))
    image.load()
    assert marks_in(image.info["xmp"]) == [MARK], "as another library finds it"


@pytest.mark.parametrize("kind", FORMATS)
def test_an_edit_is_marked_and_the_rest_stays(kind: str, portrait: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Drawn"
    kept = Metadata(exif=exif.tobytes(), xmp=theirs(), dpi=(72.0, 72.0))
    before = Photo.read(Photo(portrait, metadata=kept).encode(kind))
    painter = facepaint.load()
    after = Photo.read(painter.edit(before, to="neutral").encode())
    (found,) = marks_in(after.metadata.xmp)
    (face,) = painter.faces(before)
    assert found == mark.mark_of([(face, facepaint.Edit("neutral"))], painter.models)
    assert found.models == tuple(sorted(painter.models.items()))
    assert replace(after.metadata, xmp=None) == replace(before.metadata, xmp=None)
    old = ElementTree.fromstring(theirs())
    assert properties(old) <= properties(ElementTree.fromstring(after.metadata.xmp))


def properties(root: ElementTree.Element) -> set[str]:
    nodes = root.iter(f"{{{RDF}}}Description")
    found: set[str] = set()
    for node in nodes:
        found |= {f"{k}={v}" for k, v in node.attrib.items()}
        found |= {f"{c.tag}={c.text}" for c in node}
    return found


def test_what_changes_nothing_is_not_marked(portrait: np.ndarray) -> None:
    painter, unmarking = facepaint.load(), facepaint.Painter(mark=False)
    photo = Photo.read(portrait)
    assert painter.edit(photo, to="happy", strength=0).metadata == photo.metadata
    assert unmarking.edit(photo, to="neutral").metadata == photo.metadata
    plain, with_mark = (p.edit(photo, to="neutral") for p in (unmarking, painter))
    assert np.array_equal(plain.pixels, with_mark.pixels)
    assert marks_in(with_mark.metadata.xmp)


def test_a_pil_image_carries_the_mark(portrait: np.ndarray) -> None:
    painter = facepaint.load()
    first = painter.edit(Image.fromarray(portrait), to="neutral")
    second = painter.edit(first, to="happy")
    assert [m.faces[0].to for m in marks_in(second.info["xmp"])] == ["neutral", "happy"]


def test_what_others_wrote_stays_byte_for_byte() -> None:
    old = theirs("<dc:title><r:Alt><r:li xml:lang='de'>Ä</r:li></r:Alt></dc:title>")
    new = merged(old, MARK)
    head, tail = old[: old.index(b"</r:RDF>")], old[old.index(b"</r:RDF>") :]
    assert new.startswith(head) and new.endswith(tail)
    again = merged(new, MARK)
    assert again.endswith(tail) and len(marks_in(again)) == 2
    assert again.startswith(head)


@pytest.mark.parametrize(
    "old",
    [
        theirs(f"<i:DigitalSourceType>{CAPTURED}</i:DigitalSourceType>"),
        theirs(attributes=f" i:DigitalSourceType = '{CAPTURED}'"),
        theirs(attributes=f'\n i:DigitalSourceType="{CAPTURED}"\n xml:lang="x>y"'),
    ],
)
def test_the_former_source_type_is_replaced_and_told(old: bytes) -> None:
    new = merged(old, MARK)
    assert source_type(new) == COMPOSITE
    assert new.count(b"DigitalSourceType") == 2, "one element"
    assert marks_in(new) == [replace(MARK, former=CAPTURED)]
    assert marks_in(merged(new, MARK)) == [replace(MARK, former=CAPTURED), MARK]


def test_a_wholly_made_picture_stays_one() -> None:
    old = theirs(f"<i:DigitalSourceType>{mark.WHOLLY_MADE}</i:DigitalSourceType>")
    assert source_type(merged(old, MARK)) == mark.WHOLLY_MADE


def test_the_first_tool_and_its_history_stay() -> None:
    mm, event = mark.PREFIXES["xmpMM"], mark.PREFIXES["stEvt"]
    old = theirs(
        f'<xmp:CreatorTool xmlns:xmp="{mark.PREFIXES["xmp"]}">Other 1</xmp:CreatorTool>'
        f'<m:History xmlns:m="{mm}" xmlns:e="{event}"><r:Seq>'
        '<r:li r:parseType="Resource"><e:action>created</e:action></r:li></r:Seq></m:History>'
    )
    new = merged(old, MARK)
    root = ElementTree.fromstring(new)
    assert [n.text for n in root.iter(f"{{{event}}}action")] == ["created", "edited"]
    assert [n.text for n in root.iter(f"{{{mark.PREFIXES['xmp']}}}CreatorTool")] == ["Other 1"]
    assert mark.SOFTWARE in [n.text for n in root.iter(f"{{{event}}}softwareAgent")]


def test_pictures_of_the_face_as_it_was_go(portrait: np.ndarray) -> None:
    """Smaller ones in the packet, and the second one that phones put there; nothing else goes."""
    small = "<p:Thumbnails xmlns:p='http://ns.adobe.com/xap/1.0/'><r:Alt/></p:Thumbnails>"
    second = " xmlns:g='http://ns.google.com/photos/1.0/image/' g:Mime='image/jpeg' g:Data='QUJD'"
    photo = Photo(portrait, metadata=Metadata(xmp=theirs(small, second)))
    for marks in (True, False):
        kept = facepaint.Painter(mark=marks).edit(photo, to="neutral").metadata.xmp
        assert kept and b"Thumbnails" not in kept and b"QUJD" not in kept
        assert b"<!-- kept -->" in kept and b"a &amp; b" in kept and bool(marks_in(kept)) == marks
    same = facepaint.Painter().edit(photo, to="neutral", strength=0)
    assert same.metadata.xmp == photo.metadata.xmp
    assert xmp.without_pictures(theirs()) == theirs() and xmp.without_pictures(b"no") == b"no"
    assert xmp.without_pictures(None) is None


def test_a_picture_to_look_at_carries_the_mark_alone(portrait: np.ndarray) -> None:
    """What the studio shows at full size may be saved from the page too."""
    pytest.importorskip("fastapi", reason="the extra web is not installed")
    from facepaint.web.preview import jpeg

    photo = Photo(portrait, metadata=Metadata(xmp=theirs()))
    edited = facepaint.Painter().edit(photo, to="neutral")
    shown = Photo.read(jpeg(edited)).metadata.xmp
    assert marks_in(shown) == marks_in(edited.metadata.xmp) != []
    assert shown and b"a &amp; b" not in shown
    assert Photo.read(jpeg(photo)).metadata.xmp is None
    many = Mark(tuple(replace(FACE, index=n) for n in range(500)), MODELS)  # more than a segment
    crowd = Photo(portrait, metadata=Metadata(xmp=packet(many)))
    assert marks_in(Photo.read(jpeg(crowd)).metadata.xmp) == [many]


def test_descriptions_of_one_packet_are_about_the_same() -> None:
    new = ElementTree.fromstring(merged(theirs(about="uuid:&lt;1>"), MARK))
    abouts = {n.get(f"{{{RDF}}}about") for n in new.iter(f"{{{RDF}}}Description")}
    assert abouts == {"uuid:<1>"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_other_encodings_of_xmp(encoding: str) -> None:
    text = theirs("<dc:rights>ÄÖ</dc:rights>").decode()
    new = merged(text.encode(encoding), MARK)
    assert marks_in(new) == [MARK] and "ÄÖ" in new.decode()


def test_a_mark_as_others_write_it_anew() -> None:
    """RDF has several ways to write a structure; programs choose their own."""
    own = mark.OWN
    nested = (
        f'<f:Edits xmlns:f="{own}"><r:Seq><r:li><r:Description f:Software="FacePaint 9">'
        '<f:Faces><r:Seq><r:li r:parseType="Resource"><f:Face>3</f:Face><f:To>sad</f:To></r:li>'
        "</r:Seq></f:Faces></r:Description></r:li></r:Seq></f:Edits>"
    )
    assert marks_in(theirs(nested)) == [Mark((MarkedFace(3, "sad"),), (), "FacePaint 9")]
    again = marks_in(merged(theirs(nested), MARK))
    assert [m.software for m in again] == ["FacePaint 9", MARK.software]


# Large packets


@pytest.mark.parametrize("size", [60_000, 64_000, 64_900, 65_100, 66_000, 300_000])
def test_a_mark_in_a_jpeg_survives_a_packet_of_any_size(size: int) -> None:
    old = theirs(f"<dc:description>{'x' * size}</dc:description>")
    data = marked("JPEG", old)
    first = Image.open(io.BytesIO(data)).info["xmp"]  # all that simple readers see
    assert marks_in(first) == [MARK] and source_type(first) == COMPOSITE
    whole = Photo.read(data).metadata.xmp
    assert marks_in(whole) == [MARK]
    assert b"x" * size in whole and properties(ElementTree.fromstring(old)) <= properties(
        ElementTree.fromstring(whole)
    )
    again = marked("JPEG", whole)
    assert marks_in(Photo.read(again).metadata.xmp) == [MARK, MARK]
    assert again.count(b"x" * 50_000) <= size // 50_000, "what was there is there once"
    assert marks_in(Photo.read(Photo.read(again).encode("PNG")).metadata.xmp) == [MARK, MARK]


def test_five_hundred_faces_in_a_jpeg() -> None:
    many = Mark(tuple(replace(FACE, index=i) for i in range(500)), MODELS)
    data = marked("JPEG", the_mark=many)
    assert marks_in(Photo.read(data).metadata.xmp) == [many]
    twice = marked("JPEG", merged(None, many), many)
    first = Image.open(io.BytesIO(twice)).info["xmp"]
    assert source_type(first) == COMPOSITE
    assert marks_in(Photo.read(twice).metadata.xmp) == [many, many]


def test_an_extension_that_is_not_the_one_named_is_left_out() -> None:
    data = bytearray(marked("JPEG", theirs(f"<dc:description>{'x' * 70_000}</dc:description>")))
    data[data.rindex(b"x" * 1000)] = ord("y")
    found = Photo.read(bytes(data)).metadata.xmp
    assert b"xxxx" not in found and marks_in(found) == [MARK]


# Hostile packets

LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    f'<r:RDF xmlns:r="{RDF}"><r:Description>&b;</r:Description></r:RDF>'
)
HOSTILE = {
    "entities": LAUGHS.encode(),
    "a file": b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>',
    "deep": b"<a>" * 5000 + b"</a>" * 5000,
    "wide": b"<a>" + b"<b/>" * 200_000 + b"</a>",
    "many attributes": b"<a %s/>" % b" ".join(b'a%d=""' % i for i in range(50_000)),
    "not closed": theirs()[:-60],
    "no XML": b"\xff\xfe\x00\x01 nothing",
    "unbound": b"<x:xmpmeta><rdf:D a:b='c'/></x:xmpmeta>",
    "empty": b"<r:RDF xmlns:r='%s'/>" % RDF.encode(),
    "quotes": b"<" + b"\"'" * 500_000,
    "one long word": b"<a b='" + b"w" * 5_000_000 + b"'/>",
    "too large": b" " * (xmp.MAX_BYTES + 1),
    "scopes": b"<a %s>" % b" ".join(b'xmlns:p%d="u"' % i for i in range(30_000))
    + b"<b xmlns:q='u'><c/></b>" * 30_000
    + b"</a>",
    "same property": theirs("<i:DigitalSourceType>x</i:DigitalSourceType>" * 90_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_packets_are_refused_or_bounded(name: str) -> None:
    began = time.process_time()
    assert marks_in(HOSTILE[name]) == []
    new = merged(HOSTILE[name], MARK)
    assert marks_in(new) in ([MARK], [replace(MARK, former="x")])
    assert b"ENTITY" not in new
    assert time.process_time() - began < 10


def test_what_a_mark_says_cannot_steer_a_terminal() -> None:
    evil = replace(MARK, software="FacePaint \x9b31m\u202e", models=(("a\x85b", "c"),))
    (found,) = marks_in(packet(evil))
    assert found.software.isprintable() and found.models[0][0].isprintable()


def test_a_damaged_mark_is_no_error() -> None:
    broken = packet(MARK).replace(b'Strength="0.8"', b'Strength="very"')
    (found,) = marks_in(broken)
    assert [f.index for f in found.faces] == [5]


# Films


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def film(*more: bytes, media: bytes = b"frames" * 9) -> bytes:
    moov = box(b"moov", box(b"mvhd", bytes(100)))
    return box(b"ftyp", b"isom\0\0\2\0isom") + moov + b"".join(more) + box(b"mdat", media)


def test_a_film_keeps_every_byte_and_gains_a_mark() -> None:
    file = io.BytesIO(film())
    mp4.write_xmp(file, packet(MARK))
    assert file.getvalue().startswith(film())
    assert mp4.read_xmp(file) == packet(MARK)
    twice = merged(mp4.read_xmp(file), MARK)
    mp4.write_xmp(file, twice)
    assert mp4.read_xmp(file) == twice and len(marks_in(twice)) == 2


def test_a_few_bytes_behind_a_film_give_way() -> None:
    file = io.BytesIO(film() + b"\0\0\0")
    mp4.write_xmp(file, packet(MARK))
    assert file.getvalue().startswith(film()) and mp4.read_xmp(file) == packet(MARK)


def test_films_of_other_makers() -> None:
    udta = box(b"moov", box(b"udta", box(b"XMP_", theirs()) + bytes(4)))
    assert mp4.read_xmp(io.BytesIO(film(udta))) == theirs()
    large = struct.pack(">I", 1) + b"free" + struct.pack(">Q", 16 + 5) + b"large"
    open_ended = io.BytesIO(film(large) + struct.pack(">I", 0) + b"mdat" + b"rest")
    mp4.write_xmp(open_ended, packet(MARK))
    assert mp4.read_xmp(open_ended) == packet(MARK)
    assert mp4.read_xmp(io.BytesIO(film())) is None


def test_damaged_films_are_refused() -> None:
    for data in (film()[:-3], film(box(b"free", b"")[:-1]), film() + b"\0\0\0\4abcd"):
        with pytest.raises(facepaint.PhotoError):
            mp4.read_xmp(io.BytesIO(data))
    with pytest.raises(facepaint.PhotoError, match="more boxes"):
        mp4.read_xmp(io.BytesIO(film() + box(b"free", b"") * 200_000))


def element(kind: str, content: bytes) -> bytes:
    return bytes.fromhex(kind) + struct.pack(">I", 1 << 28 | len(content)) + content


def tag(name: bytes, text: bytes) -> bytes:
    simple = element(
        "67c8", element("45a3", name) + element("447a", b"und") + element("4487", text)
    )
    return element("1254c367", element("7373", element("63c0", b"") + simple))


def mkv(*inside: bytes, frames: bytes = b"frames" * 9) -> bytes:
    head = element("1a45dfa3", element("4282", b"matroska"))
    return head + element("18538067", b"".join([*inside, element("1f43b675", frames)]))


def test_a_matroska_film_is_marked_in_its_room() -> None:
    other, room = tag(b"TITLE", b"XMP"), bytes(9000)
    before = mkv(other, element("ec", room))
    file = io.BytesIO(before)
    assert matroska.read_xmp(file) is None
    assert matroska.write_xmp(file, packet(MARK))
    after = file.getvalue()
    assert matroska.read_xmp(file) == packet(MARK)
    start, end = before.index(room) - 5, before.index(room) + len(room)
    assert after[:start] == before[:start] and after[end:] == before[end:]
    assert len(after) == len(before)


def test_without_room_a_matroska_film_stays() -> None:
    needed = 5 + len(packet(MARK))
    for size in (0, needed, needed + 50):
        file = io.BytesIO(before := mkv(element("ec", bytes(size))))
        assert not matroska.write_xmp(file, packet(MARK))
        assert file.getvalue() == before
    assert matroska.write_xmp(io.BytesIO(mkv(element("ec", bytes(needed + 99)))), packet(MARK))


def test_matroska_films_of_other_makers() -> None:
    ours, frames = tag(b"XMP", theirs()), element("1f43b675", b"more")
    long = tag(b"X" * 200, theirs())
    unknown = bytes.fromhex("1853806701ffffffffffffff")
    segment = mkv(ours)[mkv().index(b"\x18\x53\x80\x67") + 8 :]
    for data in (
        mkv(long, frames, ours),  # behind frames, as mkvmerge does
        mkv(ours) + b"\0\0",
        mkv(ours)[:-20],  # cut off
        element("1a45dfa3", b"") + unknown + segment,  # a stream that was never finished
    ):
        assert matroska.read_xmp(io.BytesIO(data)) == theirs()
    assert matroska.read_xmp(io.BytesIO(mkv(long))) is None
    assert matroska.read_xmp(io.BytesIO(element("1a45dfa3", b""))) is None


def test_damaged_matroska_films_are_refused() -> None:
    whole = mkv(tag(b"XMP", theirs()))
    for data in (
        whole.replace(b"\x12\x54\xc3\x67\x10", b"\x12\x54\xc3\x67\x1f"),
        whole.replace(b"\x12\x54\xc3\x67\x10", b"\x00\x54\xc3\x67\x10"),
        b"\x1a\x45\xdf\xa3",
    ):
        with pytest.raises(facepaint.PhotoError, match="damaged"):
            matroska.read_xmp(io.BytesIO(data))
    with pytest.raises(facepaint.PhotoError, match="more elements"):
        matroska.read_xmp(io.BytesIO(mkv(b"\xec\x80" * 200_000)))
    with pytest.raises(facepaint.PhotoError, match="larger than any real one"):
        matroska.read_xmp(io.BytesIO(mkv(tag(b"XMP", bytes(xmp.MAX_BYTES + 1)))))


# Others


@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not installed")
@pytest.mark.parametrize("kind", [*FORMATS, "MP4"])
@pytest.mark.parametrize("old", [None, theirs(), theirs(f"<dc:rights>{'x' * 70_000}</dc:rights>")])
def test_exiftool_reads_it(kind: str, old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    if kind == "MP4":
        file = io.BytesIO(film())
        mp4.write_xmp(file, merged(old, MARK))
        path.write_bytes(file.getvalue())
    else:
        path.write_bytes(marked(kind, old))
    command = ["exiftool", "-json", "-struct", "-G1", "-XMP:all", "-validate", "-warning", "-a"]
    (said,) = json.loads(subprocess.check_output([*command, str(path)]))
    assert said["XMP-iptcExt:DigitalSourceType"] == COMPOSITE
    assert said["XMP-xmp:CreatorTool"] == mark.SOFTWARE
    (edit,) = said["XMP-facepaint:Edits"]
    assert [f["Face"] for f in edit["Faces"]] == [2, 5]
    assert edit["Models"][0] == {"Name": "painter", "Sha256": "ab" * 32}
    assert said["XMP-xmpMM:History"][0]["SoftwareAgent"] == mark.SOFTWARE
    if old:
        assert said["XMP-dc:Format"] == "image/x"


@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not installed")
def test_a_file_that_exiftool_wrote_anew_keeps_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(marked("JPEG"))
    command = ["exiftool", "-q", "-XMP-dc:title=Hello", "-overwrite_original", str(path)]
    subprocess.run(command, check=True)
    found = Photo.read(path).metadata.xmp
    assert b"Hello" in found and marks_in(found) == [MARK]
    assert len(marks_in(merged(found, MARK))) == 2


def test_inspect_says_it_in_words_and_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(marked("PNG"))
    done = run("inspect", path)
    assert done.returncode == 0 and done.stderr == ""
    for said in ("edited by FacePaint, once", "face 2 (30×40 pixels at 1,2): happy", "ab" * 32):
        assert said in done.stdout
    document = json.loads(run("inspect", path, "--json").stdout)
    assert document["edited_by_facepaint"] is True
    assert document["edits"][0]["faces"][0]["set"] == {"jawOpen": 0.3}
    path.write_bytes(Photo.read(drawing()).encode("PNG"))
    assert "no mark" in run("inspect", path).stdout
    for bad in (tmp_path, tmp_path / "none.jpg", Path(__file__)):
        done = run("inspect", bad)
        assert done.returncode == 2 and done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_name_that_is_no_utf8_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"na\xffme.png")
    path.write_bytes(marked("PNG"))
    command = [sys.executable, "-m", "facepaint", "inspect", path]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, capture_output=True, env=strict)
    assert done.returncode == 0 and b"na\xffme.png: edited by FacePaint" in done.stdout


def test_inspect_refuses_pictures_that_it_cannot_read(tmp_path: Path) -> None:
    """A HEIC is an ISO base media file too, but its XMP lies elsewhere: no mark would be a lie."""
    for brand in (b"heic", b"mif1", b"avif"):
        path = tmp_path / "a.heic"
        path.write_bytes(film().replace(b"ftypisom", b"ftyp" + brand))
        with pytest.raises(facepaint.PhotoError, match=r"is a(n AVIF| HEIC) file"):
            inspect(path)


def test_inspect_reads_films(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(film())
    assert not inspect(path).marks
    with path.open("r+b") as file:
        mp4.write_xmp(file, packet(MARK))
    assert inspect(path).marks == (MARK,)
    path.write_bytes(mkv(tag(b"XMP", packet(MARK))))
    assert inspect(path).marks == (MARK,) and inspect(path).source_type == COMPOSITE
    assert "no place" in inspect(path).credentials


def test_no_mark_in_command_and_batch(portrait: np.ndarray, tmp_path: Path) -> None:
    home = tmp_path / "in"
    home.mkdir()
    Image.fromarray(portrait).save(home / "a.png")
    outs = [tmp_path / "edit.png", tmp_path / "out" / "a.png"]
    commands = [["edit", home / "a.png", outs[0]], ["batch", home, tmp_path / "out"]]
    for command, out in zip(commands, outs, strict=True):
        again = ["--overwrite"] if command[0] == "edit" else ["--resume"]
        assert run(*command, "--to", "neutral").returncode == 0
        assert len(inspect(out).marks) == 1
        with_mark = Photo.read(out)
        assert run(*command, "--to", "neutral", "--no-mark", *again).returncode == 0
        if command[0] == "edit":
            assert not inspect(out).marks
        assert np.array_equal(Photo.read(out).pixels, with_mark.pixels)
