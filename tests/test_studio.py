"""The page, in a real browser: what is done with it, what it saves, who it talks to."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import facepaint
from facepaint.names import BLENDSHAPES, GROUPS

pytest.importorskip("gradio", reason="the extra web is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="the extra dev is not installed")
from browsing import ARGUMENTS, CHROMIUM, server, start, stop  # noqa: E402

from facepaint.web import page as page_module  # noqa: E402

expect = playwright.expect
DESK = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if not CHROMIUM:
        pytest.skip("no chromium here (scripts/browser installs it where it may)")
    with server("studio", "--no-open") as address:
        yield address


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page in a window of its own; it must not complain, nor talk to anyone but its server."""
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.complaints = complaints
    page.goto(address)
    yield page
    context.close()
    elsewhere = [u for u in asked if not u.startswith((address, "data:", "blob:"))]
    assert len(asked) > 10 and elsewhere == []
    assert complaints == []


@pytest.fixture(scope="module")
def painter() -> facepaint.Painter:
    return facepaint.load()


@pytest.fixture
def photo(portrait: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "Ms Collins.jpg"
    Image.fromarray(portrait).save(path, quality=95, comment=b"by hand")
    return path


@pytest.fixture
def pair(portrait: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "pair.png"
    Image.fromarray(np.hstack([portrait, portrait[:, ::-1]])).save(path)
    return path


def put(page: Any, photo: Path) -> None:
    """Open a photo in the page."""
    before = page.locator(".fp-frame").get_attribute("data-version")
    page.set_input_files("#stage input.file", photo)
    page.wait_for_selector(".fp-frame[data-version]")
    assert before is None
    expect(page.locator("#save")).to_be_visible()


def settled(page: Any, version: int) -> None:
    """Until the picture of the n-th change stands."""
    expect(page.locator(f'.fp-frame[data-version="{version}"]')).to_be_visible()


def choose(page: Any, group: str, name: str) -> None:
    page.locator(group).get_by_label(name, exact=True).check()


def slide(page: Any, control: str, value: float) -> None:
    page.locator(f"{control} input[type=range]").fill(str(value))


def saved(page: Any, folder: Path) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.locator("#save").click()
    path = folder / "saved"
    download.value.save_as(path)
    return download.value.suggested_filename, path.read_bytes()


def test_open_choose_move_save(
    page: Any, photo: Path, tmp_path: Path, painter: facepaint.Painter
) -> None:
    """The saved file is, byte for byte, what the library makes of the same edit."""
    put(page, photo)
    (face,) = painter.faces(photo)
    shown = page.locator("#muscle-mouthSmile input[type=range]").input_value()
    read = [face.blendshapes[BLENDSHAPES.index(f"mouthSmile{side}")] for side in ("Left", "Right")]
    assert float(shown) == pytest.approx(np.mean(read), abs=0.01)
    untouched = saved(page, tmp_path)
    assert untouched == ("Ms Collins.edited.jpg", facepaint.Photo.read(photo).encode())

    page.get_by_role("button", name="Face 0, happy").click()
    settled(page, 1)
    before = page.locator("img.after").get_attribute("src")
    choose(page, "#to", "neutral")
    settled(page, 2)
    assert page.locator("img.after").get_attribute("src") != before
    slide(page, "#strength", 0.8)
    settled(page, 3)
    slide(page, "#muscle-mouthPucker", 0.35)
    settled(page, 4)
    name, data = saved(page, tmp_path)
    asked = {"to": "neutral", "strength": 0.8, "set": {"mouthPucker": 0.35}}
    assert name == "Ms Collins.neutral.jpg"
    assert data == painter.edit(photo.read_bytes(), **asked)
    assert Image.open(io.BytesIO(data)).info["comment"] == b"by hand"

    page.get_by_role("button", name="The same as a command").click()
    command = "facepaint edit 'Ms Collins.jpg' --to neutral --strength 0.8 --set mouthPucker=0.35"
    expect(page.get_by_text(command)).to_be_visible()


def test_another_edit_for_each_face_and_the_way_back(
    page: Any, pair: Path, tmp_path: Path, painter: facepaint.Painter
) -> None:
    put(page, pair)
    first = page.locator(".fp-faces button[data-face='0']")
    second = page.locator(".fp-faces button[data-face='1']")
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(second).to_have_attribute("aria-pressed", "false")
    choose(page, "#to", "neutral")
    settled(page, 1)
    second.click()
    settled(page, 2)
    expect(page.locator("#to").get_by_label("as it is")).to_be_checked()
    choose(page, "#to", "sad")
    settled(page, 3)
    each = {0: facepaint.Edit("neutral"), 1: facepaint.Edit("sad")}
    name, data = saved(page, tmp_path)
    assert (name, data) == ("pair.edited.png", painter.edit(pair.read_bytes(), faces=each))

    first.click(modifiers=["Shift"])
    settled(page, 4)
    expect(second).to_have_attribute("aria-pressed", "true")
    page.locator("#side").get_by_label("left", exact=True).check()
    page.get_by_role("button", name="Jaw").click()
    slide(page, "#muscle-jawOpen", 0.3)
    settled(page, 5)
    asked = {"set": {"jawOpen": 0.3}}
    each = {0: facepaint.Edit("neutral", **asked), 1: facepaint.Edit("sad", **asked)}
    assert saved(page, tmp_path)[1] == painter.edit(pair.read_bytes(), faces=each)

    page.locator(".fp-frame").focus()
    page.keyboard.press("Control+z")
    settled(page, 6)
    page.locator("#undo").click()
    settled(page, 7)
    assert saved(page, tmp_path)[1] == painter.edit(pair.read_bytes(), to="neutral", faces=[0])
    page.locator("#reset").click()
    settled(page, 8)
    expect(page.locator("#to").get_by_label("as it is")).to_be_checked()
    assert saved(page, tmp_path)[1] == facepaint.Photo.read(pair).encode()


def test_copy_from_another_picture_in_parts(
    page: Any, photo: Path, astronaut: np.ndarray, tmp_path: Path, painter: facepaint.Painter
) -> None:
    head = astronaut[:256, 96:352]
    other = tmp_path / "other.png"
    Image.fromarray(np.hstack([head, painter.edit(head, to="surprised")])).save(other)
    put(page, photo)
    page.get_by_role("button", name="Copy the expression").click()
    page.set_input_files("#picture input.file", other)
    settled(page, 1)
    expect(page.get_by_alt_text("The picture to copy from")).to_be_visible()
    page.locator("#like label").nth(1).click()
    settled(page, 2)
    page.get_by_role("button", name="Change only parts").click()
    choose(page, "#regions", "mouth")
    settled(page, 3)
    second = painter.face_of(other, 1)
    wanted = painter.edit(photo.read_bytes(), like=second, regions=("mouth",))
    assert saved(page, tmp_path) == ("Ms Collins.edited.jpg", wanted)
    choose(page, "#to", "happy")  # in place of what was copied
    settled(page, 4)
    wanted = painter.edit(photo.read_bytes(), to="happy", regions=("mouth",))
    assert saved(page, tmp_path)[1] == wanted


def test_another_photo_in_the_same_page(page: Any, photo: Path, pair: Path, tmp_path: Path) -> None:
    put(page, photo)
    choose(page, "#to", "sad")
    settled(page, 1)
    page.set_input_files("#stage input.file", pair)
    settled(page, 0)
    expect(page.locator(".fp-faces button")).to_have_count(2)
    expect(page.locator("#to").get_by_label("as it is")).to_be_checked()
    assert saved(page, tmp_path) == ("pair.edited.png", facepaint.Photo.read(pair).encode())


def test_the_divider_and_the_photos_own_pixels(
    page: Any, portrait: np.ndarray, tmp_path: Path
) -> None:
    large = tmp_path / "large.jpg"
    Image.fromarray(portrait).resize((1600, 1600)).save(large)
    put(page, large)
    choose(page, "#to", "neutral")
    settled(page, 1)
    width = "selector => document.querySelector(selector).naturalWidth"
    assert page.evaluate(width, "img.after") == 1024
    divider = page.get_by_role("slider", name="Divider")
    divider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(divider).to_have_attribute("aria-valuenow", "20")
    box = page.locator(".fp-frame").bounding_box()
    handle = divider.bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, handle["y"] + 20, steps=4)
    page.mouse.up()
    expect(divider).to_have_attribute("aria-valuenow", re.compile("49|50|51"))
    clip = page.evaluate("document.querySelector('img.before').style.clipPath")
    assert re.search(r"\b(49|50|51)(\.\d+)?%", clip), clip

    page.get_by_role("button", name="One pixel of the photo").click()
    expect(page.locator(".zoom")).to_have_text("100 %")
    for picture in ("img.before", "img.after"):
        page.wait_for_function(f"({width})('{picture}') === 1600")
    page.locator(".fp-frame").focus()
    page.keyboard.press("0")
    expect(page.locator(".fp-frame")).not_to_have_class(re.compile("zoomed"))


def test_what_is_no_photo_is_said(page: Any, tmp_path: Path) -> None:
    text, flat = tmp_path / "text.png", tmp_path / "flat.png"
    text.write_text("no photo")
    Image.new("RGB", (80, 80), "teal").save(flat)
    page.set_input_files("#stage input.file", text)
    status = page.locator("#stage .fp-status")
    expect(status).to_contain_text("use JPEG, PNG, WebP or TIFF")
    page.set_input_files("#stage input.file", flat)
    expect(status).to_contain_text("No face found")
    # the browser itself notes the refused request
    assert [c for c in page.complaints if "422" not in c] == []
    page.complaints.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_and_by_name(browser: Any, address: str, photo: Path, scheme: str) -> None:
    """Nothing is wider than the phone, and everything that can be used has a name."""
    context = browser.new_context(viewport=PHONE, is_mobile=True, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".fp-invite")
    put(page, photo)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, [role=slider], img, a")]
          .filter((e) => e.checkVisibility() && !(
            e.ariaLabel || e.alt || e.title || e.innerText?.trim() ||
            [...(e.labels ?? [])].some((label) => label.innerText.trim())))
          .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    context.close()


def test_the_page_is_made_of_the_fields_of_edit() -> None:
    from dataclasses import fields

    assert list(page_module._LAID_OUT) == [f.name for f in fields(facepaint.Edit)]
    shown = [name for group in GROUPS for name in page_module.muscle_names(group)]
    assert len(shown) == len(set(shown)) == 33
    assert page_module.label("mouthSmile", "mouth") == "Smile"
    assert page_module.label("eyeLookDown", "eyes") == "Look down"
    assert page_module.label("noseSneer", "cheeks and nose") == "Nose sneer"


def test_the_end_with_a_page_open(browser: Any, photo: Path, tmp_path: Path) -> None:
    """It comes at once, without a complaint, and nothing is left behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    process, address = start("studio", "--no-open", TMPDIR=str(folder))
    assert address.startswith("http://127.0.0.1:")
    page = browser.new_page()
    with page.expect_request(re.compile("heartbeat")):
        page.goto(address)
    put(page, photo)
    assert stop(process) == ""
    assert list(folder.iterdir()) == []
    page.close()


def test_gradios_other_doors_are_shut(address: str) -> None:
    """No uploads to disk, no files by path, no addresses elsewhere, in whatever writing."""
    import httpx

    with httpx.Client(base_url=address) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("file=/etc/passwd", "file/etc/passwd", "proxy=http://x.example", "runs"):
            assert client.get(f"/gradio_api/{path}").status_code == 404, path
        files = {"files": b"x"}
        assert client.post("/gradio_api/upload", files=files).status_code == 404
        named = '{"data": [{"path": "http://x", "meta": {"_type": "gradi\\u006f.FileData"}}]}'
        for body in (named, "no JSON", "[" + " " * 2_000_000 + "]"):
            assert client.post("/gradio_api/run/predict", content=body).status_code == 422
        for path in ("/studio/photos/guess/file", "/studio/photos/guess/before"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["error"]["type"]) == (422, "EditError")
