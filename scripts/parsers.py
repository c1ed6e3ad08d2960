"""What scripts/fuzz.py feeds beside photos: all else that reads what strangers wrote.

A parser has small whole files, and a check that raises where anything but a FacePaintError of one
line comes out. Texts (JSON, arguments) are damaged by putting odd values into them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from facepaint import mark, matroska, mp4
from facepaint.errors import FacePaintError

MARK = mark.Mark((mark.MarkedFace(0, "happy"),), (("painter", "ab" * 32),))
XMP = mark.packet(MARK)
FRAMES = 40  # of a clip that are read
SIGNED = Path(__file__).resolve().parents[1] / "tests" / "signed"


@dataclass(frozen=True)
class Parser:
    """needs: packages without which it is not there. text: whether its files are texts."""

    name: str
    seeds: Callable[[], list[bytes]]
    check: Callable[[bytes], None]
    needs: tuple[str, ...] = ()
    text: bool = False

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if find_spec(name) is None]


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """FacePaintErrors of one line are as they should be."""
    try:
        yield
    except FacePaintError as error:
        said = str(error)
        assert said and said.isprintable(), repr(said)


# --- films


@cache
def films() -> list[bytes]:
    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + kind + content

    head, media = box(b"ftyp", b"isom\0\0\2\0isom"), box(b"mdat", bytes(50))
    marked = io.BytesIO(head + box(b"moov", box(b"mvhd", bytes(100))) + media)
    mp4.write_xmp(marked, XMP)
    udta = box(b"moov", box(b"udta", box(b"XMP_", XMP) + bytes(4)))
    large = struct.pack(">I", 1) + b"free" + struct.pack(">Q", 16 + 5) + b"large"
    return [
        marked.getvalue(),
        head + udta + media,
        head + large + udta + struct.pack(">I", 0) + b"mdat" + b"rest",
    ]


def check_film(data: bytes) -> None:
    """A packet that is written is read again, and no other byte has changed."""
    file = io.BytesIO(data)
    with refused():
        before = mp4.read_xmp(file)
        packet = mark.merged(before, MARK)
        mp4.write_xmp(file, packet)
        now = file.getvalue()
        assert mp4.read_xmp(file) == packet and mark.marks_in(packet)
        changed = sum(a != b for a, b in zip(data, now, strict=False))
        packets = data.count(b"uuid") + data.count(b"\xbe\x7a\xcf\xcb")
        assert now.endswith(packet) and changed <= 4 + 4 * packets + 8, changed


@cache
def matroskas() -> list[bytes]:
    def element(kind: int, content: bytes) -> bytes:
        return (
            kind.to_bytes(-(-kind.bit_length() // 8), "big") + bytes([128 | len(content)]) + content
        )

    head, room = element(0x1A45DFA3, b"matroska"), b"\xec" + struct.pack(">I", 1 << 28 | 9000)
    simple = element(0x67C8, element(0x45A3, b"TITLE") + element(0x4487, b"a film"))
    tags = element(0x1254C367, element(0x7373, element(0x63C0, b"") + simple))
    inside = tags + room + bytes(9000) + element(0x1F43B675, b"frames")
    marked = io.BytesIO(head + struct.pack(">IQ", 0x18538067, 1 << 56 | len(inside)) + inside)
    seeds = [marked.getvalue()]
    assert matroska.write_xmp(marked, XMP)
    return [*seeds, marked.getvalue()]


def check_matroska(data: bytes) -> None:
    """A packet is written into room that is there, and is the one that is read if it was the first;
    the film is as long as before."""
    file = io.BytesIO(data)
    with refused():
        before = matroska.read_xmp(file)
        written = matroska.write_xmp(file, XMP)
        now = file.getvalue()
        assert len(now) == len(data) and (written or now == data)
        assert not written or XMP in now
        after = matroska.read_xmp(file)
        assert after in (before, XMP) and (after == before or written)


@cache
def clips() -> list[bytes]:
    kinds = (
        ("mp4", "libx264", "yuv420p", None),
        ("mov", "libx264", "yuvj420p", 90),
        ("mp4", "mpeg4", "yuv420p", None),
        ("matroska", "libx264", "yuv444p", None),
        ("matroska", "ffv1", "bgr0", None),
        ("webm", "libvpx-vp9", "yuv420p", None),
        ("avi", "mjpeg", "yuvj422p", None),
        ("gif", "gif", "rgb8", None),
    )
    return [_clip(*kind) for kind in kinds]


def _clip(container: str, codec: str, samples: str, rotation: int | None) -> bytes:
    """Six frames of 48 × 32, in some containers with a little sound."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container, options={"fflags": "+bitexact"}) as out:
        stream: Any = out.add_stream(codec, rate=10, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, samples
        stream.codec_context.time_base = Fraction(1, 10)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        sound: Any = out.add_stream("aac", rate=8000) if container in ("mp4", "mov") else None
        y, x = np.mgrid[:32, :48]
        for n in range(6):
            pixels = np.stack([x * 5 + n, y * 7, x * y + 9 * n], -1).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=samples)
            frame.pts, frame.time_base = n, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 8000, 0
            out.mux(sound.encode(silence))
            out.mux(sound.encode(None))
    return file.getvalue()


def check_clip(data: bytes) -> None:
    """What can be read of a clip is changed, written, marked and read again."""
    from facepaint.video.clip import Source, Target

    with tempfile.TemporaryDirectory() as home, refused():
        path = Path(home) / "a.mkv"
        path.write_bytes(data)
        source = Source(path)
        try:
            target = Target(Path(home) / f"b{('.mp4', '.mkv')[len(data) % 2]}", source)
            try:
                made = _copied(source, target)
                out = target.keep(mark=MARK)
            finally:
                target.drop()
        finally:
            source.close()
        if made:
            with out.open("rb") as file:
                read = mp4.read_xmp if out.suffix == ".mp4" else matroska.read_xmp
                assert mark.marks_in(read(file))
        assert sorted(p.name for p in Path(home).iterdir()) == ["a.mkv", out.name]


def _copied(source: Any, target: Any) -> int:
    """Frames that were read, changed and written."""
    from facepaint.video import planes
    from facepaint.video.clip import DamagedError

    made = 0
    how = planes.orientation(source.matrix)
    with contextlib.suppress(DamagedError):
        for item in islice(source, 2 * FRAMES):
            if not hasattr(item, "to_ndarray"):
                target.copy(item)
                continue
            frame = planes.planar(item)
            before = planes.to_rgb(frame)
            planes.turned(before, how)
            target.write(planes.with_change(frame, before, 255 - before))
            made += 1
    return made


# --- signed pictures


def signed() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SIGNED.iterdir())]


def check_signed(data: bytes) -> None:
    from facepaint.credentials import manifest_of, mime
    from facepaint.inspection import inspect

    with refused():
        manifest_of(io.BytesIO(data), mime(data))
    with tempfile.NamedTemporaryFile() as file, refused():
        file.write(data)
        file.flush()
        said = inspect(Path(file.name))
        assert all(line.isprintable() for line in said.lines())
        json.dumps(said.document())


# --- weights


@cache
def networks() -> list[bytes]:
    """A network of one node that gives back what it gets, with a card (ONNX is protobuf)."""

    def number(value: int) -> bytes:
        more = value >> 7
        return bytes([value & 127 | (128 if more else 0)]) + (number(more) if more else b"")

    def field(tag: int, value: bytes | int) -> bytes:
        if isinstance(value, int):
            return number(tag << 3) + number(value)
        return number(tag << 3 | 2) + number(len(value)) + value

    def tensor(name: bytes) -> bytes:
        shape = field(2, field(1, field(1, 1)))
        return field(1, name) + field(2, field(1, field(1, 1) + shape))

    node = field(1, b"x") + field(2, b"y") + field(4, b"Identity")
    graph = field(1, node) + field(2, b"g") + field(11, tensor(b"x")) + field(12, tensor(b"y"))
    card = field(1, b"facepaint.card") + field(2, b'{"name": "other"}')
    return [field(1, 8) + field(7, graph) + field(8, field(2, 17)) + field(14, card)]


def check_network(data: bytes) -> None:
    from facepaint.models import open_file

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file, refused():
        file.write(data)
        file.flush()
        assert isinstance(open_file(Path(file.name)).card, dict)


@cache
def manifests() -> list[bytes]:
    (network,) = networks()
    entry = {"file": "other.onnx", "sha256": hashlib.sha256(network).hexdigest()}
    return [json.dumps({"other": entry, "painter": entry}, indent=1).encode()]


def check_manifest(data: bytes) -> None:
    from facepaint.models import open_model, read_manifest

    (network,) = networks()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        (folder / "manifest.json").write_bytes(data)
        (folder / "other.onnx").write_bytes(network)
        with refused():
            for name in sorted(read_manifest(folder)):
                with refused():
                    open_model(name, folder)


# --- what is asked


def edits() -> list[bytes]:
    asked: list[dict[str, Any]] = [
        {"to": "happy", "strength": 0.5, "regions": ["mouth"], "faces": [0, 1], "format": "png"},
        {"set": {"mouthSmile": 0.5, "jawOpen": 1}, "like": 1, "look": "camera"},
        {"faces": {"0": {"to": "sad"}, "2": {"set": {"jawOpen": 0.1}, "strength": 1.5}}},
    ]
    return [json.dumps(one).encode() for one in asked]


def check_edit(data: bytes) -> None:
    from pydantic import ValidationError

    from facepaint.web.asked import EditRequest, plan

    faces = _faces()
    with refused(), contextlib.suppress(ValidationError):
        asked = EditRequest.model_validate_json(data)
        edits = plan(asked, faces, faces[:2])
        assert edits and all(0 <= edit.strength <= 1.5 for _, edit in edits)
        assert json.dumps([str(mark.marked_person(f.index, e)) for f, e in edits])
        found = mark.mark_of(edits, {})
        (again,) = mark.marks_in(mark.packet(found))
        assert [face.index for face in again.faces] == [face.index for face, _ in edits]


@cache
def _faces() -> list[Any]:
    from facepaint.face import LANDMARKS, Box, Face
    from facepaint.names import BLENDSHAPES, EXPRESSIONS

    points, shapes = np.zeros((LANDMARKS, 2), np.float32), np.zeros(len(BLENDSHAPES), np.float32)
    mood = np.full(len(EXPRESSIONS), 1 / 7, np.float32)
    return [Face(n, Box(n, 2, 30, 40, 0.9), points, shapes, 1.0, mood) for n in range(3)]


def arguments() -> list[bytes]:
    lines = (
        "a.jpg b.png --to happy --strength 0.5 --face 0 --face 2:sad@0.6 --region mouth",
        "a.jpg --set mouthSmile=.6 --set browInnerUp=1 --no-mark --method painter",
        "a.jpg --like other.jpg#1 --look camera --overwrite --detector scan --face 1@1.5",
    )
    return [line.encode() for line in lines]


def check_arguments(data: bytes) -> None:
    """As a shell would pass them; up to where the photo would be read."""
    import click

    from facepaint.cli import options, photos

    words = data.decode("utf-8", "surrogateescape").replace("\0", "").split(" ")
    with refused():
        try:
            asked = photos.edit.make_context("edit", words).params
        except (click.ClickException, click.exceptions.Exit):
            return
        each = dict(options.each_face(asked["faces"]))
        fields = ("to", "strength", "set", "like", "look", "regions")
        common = options.common({name: asked[name] for name in fields}, each)
        assert options.word(common, each)
        if asked["like"]:
            options.like(_Nobody(), asked["like"])


class _Nobody:
    """A painter that is asked for no face but one by a number."""

    def face_of(self, _: str, index: int = 0) -> None:
        assert isinstance(index, int)


def check_upload(data: bytes) -> None:
    """A request as it comes from outside: headers, an empty line, and a body of several parts."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line.partition(b": ") for line in head.split(b"\r\n")]
    headers = [(k.lower(), v) for k, _, v in lines if k and k.isascii()]
    status, answer = _posted(tuple(headers), body)
    assert status in (200, 400, 401, 403, 413, 422), (status, answer)
    if status != 200:
        said = json.loads(answer)["error"]
        assert said["type"] and said["message"] and "\n" not in said["message"], said


def uploads() -> list[bytes]:
    head = b"host: here\r\nauthorization: Bearer t\r\ncookie: a=1; facepaint_token=t\r\n"
    head += b"accept: application/json\r\ncontent-type: multipart/form-data; boundary=cut"
    part = b'--cut\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    photo = part % (b"photo", b'; filename="a.png"', _png())
    files = []
    for edit in edits():
        body = photo + part % (b"edit", b"", edit)
        files.append(head + b"\r\n\r\n" + body + b"--cut--\r\n")
    like = part % (b"like", b'; filename="b.png"', _png())
    body = photo + like + part % (b"edit", b"", edits()[1])
    return [*files, head + b"\r\n\r\n" + body + b"--cut--"]


def _png() -> bytes:
    from facepaint.photo import Photo

    return Photo(np.full((8, 9, 3), 80, np.uint8)).encode("PNG")


def _posted(headers: tuple[tuple[bytes, bytes], ...], body: bytes) -> tuple[int, bytes]:
    """Status and body of the service's answer to a POST; what breaks inside it is raised."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/edit",
        "raw_path": b"/v1/edit",
        "query_string": b"token=x&a=%ff",
        "headers": list(headers),
        "server": ("here", 80),
        "client": ("there", 9),
    }
    service, loop = _service()
    loop.run_until_complete(service(scope, receive, send))
    start = next(m for m in sent if m["type"] == "http.response.start")
    return start["status"], b"".join(m.get("body", b"") for m in sent)


@cache
def _service() -> tuple[Any, asyncio.AbstractEventLoop]:
    import facepaint
    from facepaint.web.gate import Access
    from facepaint.web.service import create
    from facepaint.web.work import Bench

    app = create(Bench(facepaint.load()))
    return Access(app, "t", ("here",)), asyncio.new_event_loop()


# --- lists of lines, recipes


def lists() -> list[bytes]:
    line = {"photo": "a.jpg", "sha256": "ab" * 32, "edit": {"to": "happy"}, "error": None}
    return [b"".join(json.dumps(line | {"n": n}).encode() + b"\n" for n in range(3))]


def check_list(data: bytes) -> None:
    from facepaint.files import whole_lines

    with tempfile.TemporaryDirectory() as home, refused():
        path = Path(home) / "manifest.jsonl"
        path.write_bytes(data)
        lines = whole_lines(path)
        assert whole_lines(path) == lines and path.read_bytes()[-1:] in (b"", b"\n")


def recipes() -> list[bytes]:
    return [b'method = "painter"\nsteps = 100\nrate = 5e-4\ncompile = false\nstart = ""\n']


def check_recipe(data: bytes) -> None:
    from facepaint.lab import recipe

    with tempfile.NamedTemporaryFile(suffix=".toml") as file, refused():
        file.write(data)
        file.flush()
        recipe.settings(recipe.Settings, recipe.read(file.name, ("steps=3", "seed = 1")))


PARSERS = (
    Parser("film", films, check_film),
    Parser("matroska", matroskas, check_matroska),
    Parser("clip", clips, check_clip, ("av",)),
    Parser("signed", signed, check_signed, ("c2pa",)),
    Parser("network", networks, check_network),
    Parser("manifest", manifests, check_manifest, text=True),
    Parser("edit", edits, check_edit, ("pydantic",), text=True),
    Parser("arguments", arguments, check_arguments, text=True),
    Parser("upload", uploads, check_upload, ("fastapi", "python_multipart"), text=True),
    Parser("list", lists, check_list, text=True),
    Parser("recipe", recipes, check_recipe, text=True),
)
