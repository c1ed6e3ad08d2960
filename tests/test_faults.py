"""What goes wrong outside: full and read-only disks, kills, and others at the same file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facepaint
from facepaint import files
from facepaint.photo import Photo

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
# a program that writes a picture of one grey, and stops in the middle of it where told to
WRITER = """
import os, signal, sys, time
import numpy as np
from facepaint.cli import main
from facepaint.photo import Photo
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background inherits none
path, grey, slow = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "slow"
if slow:
    def wait(_):
        print("writing", flush=True)
        time.sleep(60)
    os.fsync = wait
Photo.read(np.full((300, 300), grey, np.uint8)).save(path, overwrite=sys.argv[4] == "overwrite")
"""


def start(path: Path, grey: int, *how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(grey), *how]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT)


def drawing(seed: int) -> Photo:
    return Photo(np.random.default_rng(seed).integers(0, 256, (400, 400, 3), np.uint8))


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    path = small_disk / "a.png"
    Photo.read(np.zeros((9, 9), np.uint8)).save(path)
    before = path.read_bytes()
    for overwrite, target in ((True, path), (False, small_disk / "b.png")):
        with pytest.raises(facepaint.PhotoError, match="No space left") as error:
            drawing(1).save(target, overwrite=overwrite)
        assert "\n" not in str(error.value)
        assert names(small_disk) == {"a.png"} and path.read_bytes() == before


def test_a_batch_on_a_full_disk_goes_on_elsewhere(
    small_disk: Path, portrait: np.ndarray, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for n in range(4):
        Image.fromarray(portrait[n:]).save(source / f"{n}.png")
    command = [sys.executable, "-m", "facepaint", "batch", str(source), str(small_disk / "out")]
    command += ["--to", "neutral", "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 1 and "No space left" in done.stderr
    out = small_disk / "out"
    assert not [n for n in names(out) if n.endswith(".tmp")]
    for path in out.glob("*.png"):
        Photo.read(path)
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert len(list(out.glob("*.png"))) == 4


def test_a_read_only_disk(small_disk: Path) -> None:
    path = small_disk / "a.png"
    Photo.read(np.zeros((9, 9), np.uint8)).save(path)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for target in (path, small_disk / "b.png"):
        with pytest.raises(facepaint.PhotoError, match="Read-only"):
            drawing(1).save(target, overwrite=True)
    Photo.read(path)


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_while_writing(sent: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    drawing(1).save(path)
    before = path.read_bytes()
    process = start(path, 9, "slow", "overwrite")
    assert process.stdout and process.stdout.readline() == "writing\n"
    (left,) = names(tmp_path) - {"a.png"}
    files._sweep.cache_clear()
    files._sweep(tmp_path)
    assert left in names(tmp_path), "what a living process writes is its own"
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert path.read_bytes() == before
    start(tmp_path / "b.png", 9, "fast", "new").communicate(timeout=60)
    assert names(tmp_path) == {"a.png", "b.png"}, "the next start clears it away"


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_the_command_clears_away_after_itself(portrait: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(portrait).save(tmp_path / "a.png")
    code = (
        "import os, sys, time\nfrom facepaint.cli import main\n"
        "def wait(_):\n    print('writing', flush=True)\n    time.sleep(60)\n"
        "os.fsync = wait\nmain(['edit', sys.argv[1], '--to', 'neutral'])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout and process.stdout.readline() == "writing\n"
        process.terminate()
        process.wait(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert names(tmp_path) == {"a.png"}


def running(mark: str) -> list[int]:
    """The processes whose environment holds a word."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds workers in /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_the_workers_of_a_stopped_batch_end(
    sent: signal.Signals, portrait: np.ndarray, tmp_path: Path
) -> None:
    source, out, mark = tmp_path / "in", tmp_path / "out", uuid.uuid4().hex
    source.mkdir()
    for n in range(30):
        Image.fromarray(portrait[n:]).save(source / f"{n:02}.png")
    command = [sys.executable, "-m", "facepaint", "batch", str(source), str(out)]
    command += ["--to", "neutral", "--workers", "2", "--resume"]
    environment = ENVIRONMENT | {"FACEPAINT_TEST": mark}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    until = time.monotonic() + 120
    while not (out / "manifest.jsonl").exists() or not (out / "manifest.jsonl").read_text():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    assert len(running(mark)) >= 3
    process.send_signal(sent)
    assert process.wait(timeout=60) == (-sent if sent == signal.SIGKILL else 128 + sent)
    while running(mark) and time.monotonic() < until:
        time.sleep(0.1)
    assert running(mark) == []
    assert len(list(out.glob("*.png"))) < 30, "what was not begun was left"
    subprocess.run(command, stderr=subprocess.DEVNULL, env=ENVIRONMENT, check=True)
    assert names(out) == names(source) | {"manifest.jsonl"}


def test_only_our_own_leftovers_are_removed(tmp_path: Path) -> None:
    theirs = {".facepaint-.tmp", ".0123456789abcdef.tmp", "notes.tmp", ".facepaint-zz.tmp"}
    for name in theirs | {".facepaint-0123456789abcdef.tmp"}:
        (tmp_path / name).touch()
    if hasattr(os, "mkfifo"):  # a pipe of that name is not ours, and to open it would wait for ever
        os.mkfifo(tmp_path / ".facepaint-fedcba9876543210.tmp")
        theirs |= {".facepaint-fedcba9876543210.tmp"}
    files.write_whole(tmp_path / "a", b"a")
    assert names(tmp_path) == theirs | {"a"}


def test_of_a_damaged_list_the_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\n\xff two\nthr")
    assert files.whole_lines(path) == ["one", "\ufffd two"]
    assert path.read_bytes() == b"one\n\xff two\n"


def test_of_two_that_write_the_same_file_one_wins_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for how in ("overwrite", "new"):
        path.unlink(missing_ok=True)
        writers = [start(path, grey, "fast", how) for grey in (10, 20, 30, 40)]
        seen = set()
        until = time.monotonic() + 60
        while any(w.poll() is None for w in writers) and time.monotonic() < until:
            if path.exists():  # whole at every moment
                pixels = Photo.read(path).pixels
                seen.add(int(pixels[0, 0, 0]))
                assert (pixels == pixels[0, 0, 0]).all()
        errors = [w.communicate()[1] for w in writers]
        assert seen <= {10, 20, 30, 40} and names(tmp_path) == {"a.png"}
        won = [w.returncode for w in writers].count(0)
        assert won == (4 if how == "overwrite" else 1), errors
        if how == "new":
            assert sum("exists already" in e for e in errors) == 3
