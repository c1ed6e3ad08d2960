"""The HTTP service: results as the library's, typed errors, limits, access, and its document."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import shutil
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import facepaint
from facepaint.mark import marks_in
from facepaint.models import WEIGHTS, files_of
from facepaint.web.limits import Limits

httpx = pytest.importorskip("httpx", reason="the extra dev is not installed")
pytest.importorskip("fastapi", reason="the extra web is not installed")
from browsing import start, stop  # noqa: E402

from facepaint.web import gate, service, words  # noqa: E402
from facepaint.web.draft import Draft, Reference, muscles, singles  # noqa: E402
from facepaint.web.gate import Access, Slots  # noqa: E402
from facepaint.web.preview import Preview  # noqa: E402
from facepaint.web.work import Bench  # noqa: E402

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def painter() -> facepaint.Painter:
    return facepaint.load()


@pytest.fixture(scope="module")
def jpeg(portrait: np.ndarray) -> bytes:
    return encoded(portrait, "JPEG", quality=95, comment=b"by hand")


@pytest.fixture(scope="module")
def pair(portrait: np.ndarray) -> bytes:
    """Two faces."""
    return encoded(np.hstack([portrait, portrait[:, ::-1]]), "PNG")


@pytest.fixture
def ask(painter: facepaint.Painter) -> Ask:
    return asker(service.create(Bench(painter)))


def encoded(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def asker(app: Any, base: str = "http://localhost:7860") -> Ask:
    """A function that sends one request to an application and gives the answer."""

    def ask(method: str, path: str, **given: Any) -> Any:
        async def send() -> Any:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **given)

        return asyncio.run(send())

    return ask


def edit(ask: Ask, photo: bytes, asked: Any, like: bytes | None = None, accept: str = "*/*") -> Any:
    files = {"photo": photo} | ({"like": like} if like else {})
    data = {"edit": asked if isinstance(asked, str) else json.dumps(asked)}
    return ask("POST", "/v1/edit", files=files, data=data, headers={"Accept": accept})


def wrong(answer: Any, status: int, type: str, said: str) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"] == type, error
    assert said in error["message"] and "\n" not in error["message"], error


# --- what it does


def test_an_edit_is_what_the_library_returns(
    ask: Ask, painter: facepaint.Painter, jpeg: bytes, pair: bytes
) -> None:
    smirk = {"set": {"mouthSmileLeft": 0.9, "jawOpen": 0.2}, "regions": ["mouth"]}
    _, second = painter.faces(pair)
    sad = facepaint.Edit("sad", 0.5)
    cases: list[tuple[bytes, Any, bytes | None, Any]] = [
        (jpeg, {"to": "neutral"}, None, {"to": "neutral"}),
        (jpeg, {"to": "neutral", "strength": 0.6}, None, {"to": "neutral", "strength": 0.6}),
        (jpeg, smirk, None, smirk),
        (jpeg, {"like": 1}, pair, {"like": second}),
        (pair, {"to": "sad", "faces": [1]}, None, {"to": "sad", "faces": [1]}),
        (
            pair,
            {"faces": {"0": smirk, "1": {"to": "sad", "strength": 0.5}}},
            None,
            {"faces": {0: facepaint.Edit(set=smirk["set"], regions=("mouth",)), 1: sad}},
        ),
    ]
    for photo, asked, like, given in cases:
        answer = edit(ask, photo, asked, like)
        assert answer.status_code == 200, (asked, answer.text)
        assert answer.content == painter.edit(photo, **given), asked
        assert marks_in(facepaint.Photo.read(answer.content).metadata.xmp), "and is marked"
    assert edit(ask, jpeg, {"to": "sad"}).headers["content-type"] == "image/jpeg"


def test_the_format_can_be_chosen(ask: Ask, painter: facepaint.Painter, jpeg: bytes) -> None:
    answer = edit(ask, jpeg, {"to": "neutral", "format": "webp"})
    wanted = painter.edit(facepaint.Photo.read(jpeg), to="neutral")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.content == wanted.encode("WEBP")


def test_an_edit_as_a_document(ask: Ask, painter: facepaint.Painter, pair: bytes) -> None:
    asked = {"faces": {"0": {"to": "neutral"}, "1": {"to": "happy", "strength": 0}}}
    answer = edit(ask, pair, asked, accept="application/json, */*").json()
    each = {0: facepaint.Edit("neutral"), 1: facepaint.Edit("happy", 0)}
    assert base64.b64decode(answer["photo"]) == painter.edit(pair, faces=each)
    assert (answer["media_type"], answer["width"], answer["height"]) == ("image/png", 512, 256)
    assert [face["index"] for face in answer["faces"]] == [0, 1]
    (warning,) = answer["warnings"]
    assert warning.startswith("face 1: nothing changed")


def test_faces_and_facts(ask: Ask, painter: facepaint.Painter, pair: bytes) -> None:
    seen = ask("POST", "/v1/faces", files={"photo": pair}).json()
    read = painter.faces(pair)
    assert (seen["width"], seen["height"]) == (512, 256)
    assert [f["expression"] for f in seen["faces"]] == [f.expression for f in read]
    assert len(seen["faces"][0]["landmarks"]) == 478
    flat = encoded(np.full((64, 64, 3), 90, np.uint8), "PNG")
    assert ask("POST", "/v1/faces", files={"photo": flat}).json()["faces"] == []
    models = ask("GET", "/v1/models").json()
    assert set(models["models"]) == {"reader", *files_of(WEIGHTS, "repaint")}
    assert tuple(models["expressions"]) == facepaint.EXPRESSIONS
    assert models["limits"] == dataclasses.asdict(Limits())
    health = {"status": "ok", "version": facepaint.__version__}
    assert ask("GET", "/healthz").json() == health


def test_it_names_the_expressions_of_its_weights_and_refuses_others(pair: bytes) -> None:
    ask = asker(service.create(Bench(facepaint.load("open"))))
    assert ask("GET", "/v1/models").json()["expressions"] == ["neutral", "happy"]
    wrong(edit(ask, pair, {"to": "sad"}), 422, "EditError", "neutral or happy, not sad")


def test_the_document_has_the_fields_and_defaults_of_edit(ask: Ask) -> None:
    document = ask("GET", "/openapi.json").json()
    shown = document["components"]["schemas"]["OneEdit"]["properties"]
    assert list(shown) == [f.name for f in dataclasses.fields(facepaint.Edit)]
    for field in dataclasses.fields(facepaint.Edit):
        if field.default not in (dataclasses.MISSING, None, ()):
            assert shown[field.name]["default"] == field.default
    assert set(document["paths"]) == {"/v1/faces", "/v1/edit", "/v1/models", "/healthz"}


# --- mistakes


def test_mistakes_are_typed_and_say_what_would_work(ask: Ask, jpeg: bytes) -> None:
    flat = encoded(np.full((64, 64, 3), 90, np.uint8), "PNG")
    happy = {"to": "happy"}
    cases = [
        (b"no photo", happy, None, "PhotoError", "use JPEG, PNG, WebP or TIFF"),
        (b"", happy, None, "PhotoError", "empty"),
        (jpeg[:4000], happy, None, "PhotoError", "truncated"),
        (flat, happy, None, "NoFaceError", "no face found"),
        (jpeg, {"to": "hapy"}, None, "EditError", "did you mean happy"),
        (jpeg, {"to": "happy", "strength": 2}, None, "EditError", "outside 0 to 1.5"),
        (jpeg, {"to": "happy", "strength": 10**400}, None, "EditError", "outside 0 to 1.5"),
        (jpeg, '{"to": "happy", "strength": NaN}', None, "EditError", "outside 0 to 1.5"),
        (jpeg, {"set": {"mouthSmlie": 1}}, None, "EditError", "did you mean mouthSmile"),
        (jpeg, {"set": {"mouthSmile": 7}}, None, "EditError", "outside 0 to 1"),
        (jpeg, happy | {"regions": ["nose"]}, None, "EditError", "there are mouth"),
        (jpeg, happy | {"faces": [9]}, None, "EditError", "no face 9"),
        (jpeg, happy | {"faces": []}, None, "EditError", "names none"),
        (jpeg, happy | {"faces": {"0": happy}}, None, "EditError", "leave out the other"),
        (jpeg, happy | {"format": "gif"}, None, "PhotoError", "gif"),
        (jpeg, {}, None, "EditError", "nothing is asked"),
        (jpeg, {"like": 0}, None, "EditError", "no picture was sent"),
        (jpeg, {"like": 0}, flat, "NoFaceError", "take an expression from"),
        (jpeg, {"like": 3}, jpeg, "EditError", "no face 3"),
        (jpeg, {"like": 0, "to": "sad"}, jpeg, "EditError", "contradict"),
        (jpeg, {"strenght": 1}, None, "Invalid", "strenght"),
        (jpeg, {"to": 7}, None, "Invalid", "to"),
        (jpeg, "{", None, "Invalid", "JSON"),
    ]
    for photo, asked, like, type, said in cases:
        wrong(edit(ask, photo, asked, like), 422, type, said)
    wrong(ask("POST", "/v1/edit", data={"edit": "{}"}), 422, "Invalid", "photo")
    wrong(ask("POST", "/v1/edit", content=b"\xff"), 422, "Invalid", "required")
    wrong(ask("GET", "/v1/nothing"), 404, "NotFound", "")
    answer = ask("GET", "/v1/edit")
    wrong(answer, 405, "MethodNotAllowed", "")
    assert answer.headers["allow"] == "POST"


def test_what_goes_wrong_inside_is_not_told(painter: facepaint.Painter, jpeg: bytes) -> None:
    def broken(*_: Any) -> list[Any]:
        raise RuntimeError("secret")

    answer = edit(asker(service.create(Bench(painter, detector=broken))), jpeg, {"to": "happy"})
    wrong(answer, 500, "Internal", "went wrong")
    assert "secret" not in answer.text


# --- limits


def limited(painter: facepaint.Painter, **limits: int) -> Ask:
    return asker(service.create(Bench(painter, Limits(**limits))))


def test_limits_are_answered(painter: facepaint.Painter, jpeg: bytes, pair: bytes) -> None:
    happy = {"to": "happy"}
    small = limited(painter, bytes=10_000)
    wrong(edit(small, jpeg, happy), 413, "TooLarge", "0.01 MB")

    async def trickle() -> Any:
        for i in range(0, len(jpeg), 1000):
            yield jpeg[i : i + 1000]

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'

    async def announced_by_nobody() -> Any:
        yield body
        async for part in trickle():
            yield part

    answer = small("POST", "/v1/faces", content=announced_by_nobody(), headers=headers)
    wrong(answer, 413, "TooLarge", "0.01 MB")
    wrong(edit(limited(painter, pixels=65_535), jpeg, happy), 413, "TooLarge", "megapixels")
    assert edit(limited(painter, pixels=65_536), jpeg, happy).status_code == 200
    wrong(edit(limited(painter, faces=1), pair, happy), 413, "TooLarge", "2 faces")
    wrong(edit(limited(painter), bomb(), happy), 413, "TooLarge", "megapixels")


def bomb() -> bytes:
    """A PNG of some bytes that says that it has 60,000 × 60,000 pixels."""
    raw = bytearray(encoded(np.zeros((8, 8), np.uint8), "PNG"))
    raw[16:24] = struct.pack(">II", 60000, 60000)
    raw[29:33] = struct.pack(">I", zlib.crc32(bytes(raw[12:29])))
    return bytes(raw)


def test_too_many_at_a_time_are_told_to_come_again(painter: facepaint.Painter, jpeg: bytes) -> None:
    """One runs, one waits, and of the rest each is refused at once; nobody is lost."""
    inside, go_on = threading.Event(), threading.Event()

    class Held(Slots):
        async def run(self, work: Any, *given: Any) -> Any:
            def held(*given: Any) -> Any:
                inside.set()
                assert go_on.wait(30)
                return work(*given)

            return await super().run(held, *given)

    app = service.create(Bench(painter, Limits(workers=1, waiting=1)), Held(1))

    async def main() -> list[Any]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

            def post() -> Any:
                data = {"edit": '{"to": "sad"}'}
                return asyncio.create_task(
                    client.post("/v1/edit", files={"photo": jpeg}, data=data)
                )

            taken = [post(), post()]
            while not inside.is_set():
                await asyncio.sleep(0.01)
            refused = await asyncio.gather(*(post() for _ in range(6)))
            assert not any(task.done() for task in taken)
            go_on.set()
            return [*refused, *await asyncio.gather(*taken)]

    *refused, first, second = asyncio.run(main())
    for answer in refused:
        wrong(answer, 429, "Busy", "2 requests")
        assert answer.headers["retry-after"] == "1"
    wanted = painter.edit(jpeg, to="sad")
    assert first.content == second.content == wanted


# --- access


def test_access(painter: facepaint.Painter) -> None:
    app = service.create(Bench(painter))
    own = Access(app, None, gate.LOOPBACK)
    assert asker(own)("GET", "/v1/models").status_code == 200
    wrong(asker(own, "http://evil.example")("GET", "/v1/models"), 400, "WrongHost", "evil")
    other = {"Origin": "http://evil.example"}
    wrong(asker(own)("POST", "/v1/faces", headers=other), 403, "WrongOrigin", "evil")
    same = {"Origin": "http://localhost:7860"}
    assert asker(own)("POST", "/v1/faces", headers=same).status_code == 422

    ask = asker(Access(app, "right", None), "http://studio.example:7860")
    wrong(ask("GET", "/v1/models"), 401, "Unauthorized", "Bearer TOKEN")
    bearer = {"Authorization": "Bearer wrong"}
    wrong(ask("GET", "/v1/models", headers=bearer), 401, "Unauthorized", "")
    wrong(ask("GET", "/?token=wrong"), 401, "Unauthorized", "")
    bearer = {"Authorization": "Bearer right"}
    assert ask("GET", "/v1/models", headers=bearer).status_code == 200
    assert ask("GET", "/healthz").status_code == 200
    opened = ask("GET", "/?token=right")
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"]
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    shown = {"Cookie": cookie.split(";")[0]}
    assert ask("GET", "/v1/models", headers=shown).status_code == 200
    others = {"Cookie": f"a/b=1; path=/; x[; {cookie.split(';')[0]}"}  # of programs at other ports
    assert ask("GET", "/v1/models", headers=others).status_code == 200
    wrong(ask("GET", "/v1/models", headers={"Cookie": "a/b=1"}), 401, "Unauthorized", "")
    wrong(asker(own)("GET", "/v1/models", headers={"Host": "["}), 400, "WrongHost", "")
    wrong(asker(own)("POST", "/v1/faces", headers={"Origin": "http://["}), 403, "WrongOrigin", "")
    policy = ask("GET", "/healthz").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "http" not in policy


# --- what the page is made of


def test_a_preview_is_the_edit_itself(painter: facepaint.Painter, pair: bytes) -> None:
    """At the photo's own size, to the bit; smaller, nearly what the edited photo made small is."""
    photo = facepaint.Photo.read(pair)
    faces = painter.faces(photo)
    edits = {
        0: facepaint.Edit("neutral", regions=("mouth",)),
        1: facepaint.Edit(set={"jawOpen": 0.4}),
    }
    wanted = painter.edit(photo, faces=edits).pixels
    assert np.array_equal(Preview(painter, photo, faces).edited(edits), wanted)
    small = Preview(painter, photo, faces, longest=256).edited(edits)
    whole = np.asarray(Image.fromarray(wanted).resize((256, 128), Image.Resampling.BOX))
    assert np.abs(small.astype(int) - whole).mean() < 0.7


def draft_of(painter: facepaint.Painter, data: bytes) -> Draft:
    photo = facepaint.Photo.read(data)
    return Draft("group photo.png", photo, painter.faces(photo))


def test_a_draft_goes_back_step_by_step(painter: facepaint.Painter, pair: bytes) -> None:
    start = draft_of(painter, pair)
    assert start.edits() == {} and start.undone() is start
    asked = start.asked([0], "to", "happy", 0)
    for i in range(5):
        asked = asked.moved([0, 1], "mouthSmile", "both", i / 10, 10 + i / 10)
    asked = asked.asked([1], "strength", 0.5, 20).moved([1], "mouthSmile", "Left", 0.9, 21)
    smile = {"mouthSmileLeft": 0.4, "mouthSmileRight": 0.4}
    assert asked.edits() == {
        0: facepaint.Edit("happy", set=smile),
        1: facepaint.Edit(strength=0.5, set=smile | {"mouthSmileLeft": 0.9}),
    }
    back = asked.undone().undone()
    assert back.edits()[1] == facepaint.Edit(set=smile)
    assert back.undone().edits() == {0: facepaint.Edit("happy")}  # five moves were one step
    assert back.undone().undone().edits() == {}
    cleared = asked.cleared([0], 30)
    assert set(cleared.edits()) == {1} and cleared.undone().edits() == asked.edits()
    copied = asked.asked([0], "like", Reference(start.faces[1], "b.png"), 40)
    assert "to" not in copied.wishes[0]  # the two contradict each other
    assert "like" not in copied.asked([0], "to", "sad", 50).wishes[0]


def test_sliders_begin_where_the_face_was_read(painter: facepaint.Painter, pair: bytes) -> None:
    draft = draft_of(painter, pair)
    face = draft.faces[0]
    assert np.array_equal(muscles(face, {}, painter.method), face.blendshapes)
    set_ = muscles(face, {"set": {"jawOpen": 0.5}, "strength": 0.2}, painter.method)
    index = facepaint.BLENDSHAPES.index("jawOpen")
    assert set_[index] == pytest.approx(0.5)
    assert np.array_equal(np.delete(set_, index), np.delete(face.blendshapes, index))
    smile = facepaint.BLENDSHAPES.index("mouthSmileLeft")
    asked = muscles(face, {"to": "neutral", "strength": 0.2}, painter.method)
    assert asked[smile] < 0.3 * face.blendshapes[smile], "all of it, whatever the strength"
    by_name = facepaint.Painter(method="cyclegan").method
    assert np.array_equal(muscles(face, {"to": "neutral"}, by_name), face.blendshapes)
    assert singles("mouthSmile", "Left") == ("mouthSmileLeft",)
    assert singles("mouthLeft", "Right") == ("mouthLeft",)  # it is no pair


def test_the_words_do_what_the_page_does(
    painter: facepaint.Painter, pair: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command and the script that the page shows, run; against what the page saves."""
    import shlex

    from facepaint.cli import main
    from facepaint.web.studio import result

    monkeypatch.chdir(tmp_path)
    (tmp_path / "group photo.png").write_bytes(pair)
    (tmp_path / "-other.png").write_bytes(pair)
    empty = draft_of(painter, pair)
    like = Reference(empty.faces[1], "-other.png")
    both = empty.asked([0, 1], "to", "neutral", 0)
    each = empty.asked([0], "to", "happy", 0).asked([1], "to", "sad", 1)
    drafts = [
        both,
        empty.asked([0], "look", "camera", 0),
        both.asked([0, 1], "look", "camera", 1),
        empty.asked([1], "to", "neutral", 0).asked([1], "strength", 0.6, 1),
        each.asked([0], "strength", 0.25, 2),
        empty.moved([0], "mouthSmile", "both", 0.1, 0).moved([0], "browDown", "Left", 0.5, 1),
        empty.asked([0], "like", like, 0).asked([0], "regions", ("mouth", "eyes"), 1),
        each.asked([0], "regions", ("mouth",), 2),  # no command has another region for each face
    ]
    for draft in drafts:
        wanted = result(Bench(painter), draft).encode()
        name = words.file_name(draft)
        exec(words.python(draft), {})
        assert (tmp_path / name).read_bytes() == wanted, words.python(draft)
        (tmp_path / name).unlink()
        command = words.command_line(draft)
        if draft is drafts[-1]:
            assert command.startswith("#")
            continue
        assert command.startswith("facepaint edit 'group photo.png'"), command
        main([*shlex.split(command)[1:3], "out.png", *shlex.split(command)[3:]])
        assert (tmp_path / "out.png").read_bytes() == wanted, command
    assert words.command_line(empty).startswith("#") and words.python(empty).startswith("#")


# --- as a process


def test_what_runs_is_finished_before_the_end(portrait: np.ndarray) -> None:
    """SIGTERM in the middle of an edit: the edit comes back whole, nothing new is taken."""
    large = encoded(np.asarray(Image.fromarray(portrait).resize((1200, 1200))), "JPEG", quality=90)
    process, address = start("serve", "--workers", "1")
    data = {"edit": '{"to": "neutral", "faces": [0]}'}
    request = httpx.Request("POST", f"{address}/v1/edit", files={"photo": large}, data=data)
    answers: list[Any] = []
    sent = threading.Event()

    def body() -> Iterator[bytes]:
        yield request.read()
        sent.set()

    def post() -> None:
        kind = {"Content-Type": request.headers["content-type"]}
        answers.append(httpx.post(request.url, content=body(), headers=kind, timeout=60))

    asking = threading.Thread(target=post)
    asking.start()
    assert sent.wait(30)
    time.sleep(0.3)  # it takes longer than that
    assert not answers
    process.terminate()
    with pytest.raises(httpx.HTTPError):
        for _ in range(100):
            httpx.get(f"{address}/healthz", timeout=1)
            time.sleep(0.05)
    asking.join(60)
    said = process.communicate(timeout=60)[1]
    assert answers and answers[0].status_code == 200, said
    assert answers[0].content == facepaint.load().edit(large, to="neutral", faces=[0])
    assert "Traceback" not in said, said


def test_fifty_at_a_time_and_memory_stays(portrait: np.ndarray, painter: facepaint.Painter) -> None:
    """Three rounds of fifty concurrent edits: each is answered, with its own picture, and the
    third round takes no more memory than the second."""
    jpeg = encoded(portrait[40:200, 50:210], "JPEG")
    edits = [{"to": to, "strength": s / 10} for s in range(1, 11) for to in ("neutral", "sad")]
    edits += [{"set": {"jawOpen": i / 30}} for i in range(30)]
    wanted = [painter.edit(jpeg, **asked) for asked in edits]
    process, address = start("serve", "--workers", "2", "--max-waiting", "48")

    async def round_() -> list[Any]:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            posts = (
                client.post("/v1/edit", files={"photo": jpeg}, data={"edit": json.dumps(asked)})
                for asked in edits
            )
            return await asyncio.gather(*posts)

    used = []
    for _ in range(3):
        answers = asyncio.run(round_())
        assert [a.status_code for a in answers] == [200] * 50
        assert [a.content for a in answers] == wanted
        used.append(resident(process.pid))
    assert "Traceback" not in stop(process)
    assert used[2] - used[1] < 8e6, used  # a third round is no dearer than a second


def resident(pid: int) -> float:
    """Bytes that a process holds; 0 where nobody says."""
    if not Path(f"/proc/{pid}/status").exists():
        return 0.0
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_a_port_in_use_is_one_line() -> None:
    process, address = start("serve")
    try:
        with pytest.raises(RuntimeError, match=r"^facepaint: cannot listen on .* see --port\n$"):
            second("--port", address.rpartition(":")[2])
    finally:
        stop(process)


def second(*arguments: str) -> None:
    command = [sys.executable, "-m", "facepaint", "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    raise RuntimeError(done.stderr)


def test_others_need_the_token() -> None:
    process, address = start("serve", "--host", "0.0.0.0")
    try:
        bare, _, token = address.partition("/?token=")
        bare = bare.replace("0.0.0.0", "127.0.0.1")
        assert len(token) > 20
        assert httpx.get(f"{bare}/v1/models").status_code == 401
        bearer = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{bare}/v1/models", headers=bearer).status_code == 200
    finally:
        said = stop(process)
    assert "other machines can reach this server" in said


def test_the_lines_of_the_docs_run(jpeg: bytes, pair: bytes, tmp_path: Path) -> None:
    """Each `curl` of docs/studio.md, as it stands there but for the port."""
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    docs = (Path(__file__).parents[1] / "docs/studio.md").read_text()
    lines = [line for line in docs.splitlines() if line.startswith("curl ")]
    assert len(lines) == 8
    with Image.open(io.BytesIO(pair)) as image:
        image.save(tmp_path / "group.jpg", quality=95)
    (tmp_path / "other.jpg").write_bytes(jpeg)
    process, address = start("serve")
    try:
        for line in lines:
            command = line.replace("http://127.0.0.1:7860", address)
            done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True)
            assert done.returncode == 0, line
    finally:
        stop(process)
    made = {p.name for p in tmp_path.iterdir()} - {"group.jpg", "other.jpg"}
    assert made == {"neutral.jpg", "smile.jpg", "each.jpg", "like.png", "edited.json"}
    assert (tmp_path / "like.png").read_bytes().startswith(b"\x89PNG")
    neutral = facepaint.load().edit(
        (tmp_path / "group.jpg").read_bytes(), to="neutral", strength=0.8
    )
    assert (tmp_path / "neutral.jpg").read_bytes() == neutral
    assert len(json.loads((tmp_path / "edited.json").read_text())["faces"]) == 2


@pytest.mark.parametrize("command", ["serve", "studio"])
def test_a_missing_extra_is_named(command: str) -> None:
    code = (
        "import sys\nfrom facepaint.cli import main\n"
        "sys.modules['fastapi'] = sys.modules['uvicorn'] = None\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith("install it with: pip install 'facepaint[web]'\n"), done.stderr
    assert done.stderr.count("\n") == 1


def test_the_commands_flags_are_the_limits() -> None:
    done = subprocess.run([sys.executable, "-m", "facepaint", "serve", "--help"], **TEXT)
    for field in dataclasses.fields(Limits):
        assert field.metadata["flag"] in done.stdout
        assert f"default: {field.default}" in " ".join(done.stdout.split())


TEXT: dict[str, Any] = {"capture_output": True, "text": True}
