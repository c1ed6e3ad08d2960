"""Batches: what is under the folder is edited once, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facepaint
from facepaint import batch
from facepaint.batch import Job
from facepaint.models import WEIGHTS, write_entry

EDIT = facepaint.Edit("neutral")


@pytest.fixture
def folder(tmp_path: Path, portrait: np.ndarray) -> Path:
    """Five photos, one of them in a folder, one without a face, one broken; and other files."""
    home = tmp_path / "in"
    (home / "deep" / "er").mkdir(parents=True)
    photo = Image.fromarray(portrait)
    photo.save(home / "a.jpg", quality=95)
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(home / "b.PNG")
    photo.save(home / "deep" / "er" / "c.webp")
    Image.new("RGB", (90, 90), "teal").save(home / "flat.png")
    (home / "broken.jpg").write_bytes(b"not a photo")
    (home / "notes.txt").write_text("no photo")
    (home / ".hidden.jpg").write_bytes(b"")
    return home


def without_time(lines: list[batch.Line]) -> list[batch.Line]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != batch.MANIFEST)
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_each_photo_is_edited_under_its_own_name(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = batch.run(Job(folder, out, EDIT))
    assert [x["photo"] for x in lines] == [
        "a.jpg",
        "b.PNG",
        "broken.jpg",
        "deep/er/c.webp",
        "flat.png",
    ]
    failed = {x["photo"]: x["error"] for x in lines if x["error"]}
    assert failed.keys() == {"broken.jpg", "flat.png"}
    assert failed["flat.png"] == "no face found"
    assert contents(out).keys() == {"a.jpg", "b.PNG", "deep/er/c.webp"}
    wanted = facepaint.load().edit(folder / "a.jpg", to="neutral").encode()
    assert (out / "a.jpg").read_bytes() == wanted
    manifest = [json.loads(x) for x in (out / batch.MANIFEST).read_text().splitlines()]
    assert without_time(sorted(manifest, key=lambda x: x["photo"])) == without_time(lines)


def test_workers_make_the_same(folder: Path, tmp_path: Path) -> None:
    one = batch.run(Job(folder, tmp_path / "one", EDIT))
    two = batch.run(Job(folder, tmp_path / "two", EDIT), workers=2)
    assert without_time(one) == without_time(two)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_what_is_done_is_not_done_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch.run(Job(folder, out, EDIT))
    times = {p: p.stat().st_mtime_ns for p in out.rglob("*.*g")}
    with pytest.raises(facepaint.PhotoError, match="holds a batch already; --resume"):
        batch.run(Job(folder, out, EDIT))
    (folder / "b.PNG").rename(folder / "new.png")  # gone, and come
    Image.open(folder / "a.jpg").rotate(3).save(folder / "a.jpg")  # changed
    (folder / "broken.jpg").write_bytes((folder / "new.png").read_bytes())  # mended
    lines = batch.run(Job(folder, out, EDIT), resume=True)
    assert [x["photo"] for x in lines if x["error"]] == ["flat.png"]
    changed = {str(p.relative_to(out)) for p, t in times.items() if p.stat().st_mtime_ns != t}
    assert changed == {"a.jpg"}
    before = (out / batch.MANIFEST).read_text()
    batch.run(Job(folder, out, EDIT), resume=True)
    again = (out / batch.MANIFEST).read_text()
    assert again.startswith(before) and again[len(before) :].count("\n") == 1  # flat.png, tried
    other = batch.run(Job(folder, out, facepaint.Edit("happy", 0.5)), resume=True)
    assert all(x["edit"]["to"] == "happy" for x in other)


def test_killed_at_any_moment_nothing_is_lost_or_done_twice(
    tmp_path: Path, portrait: np.ndarray
) -> None:
    source, whole, killed = (tmp_path / n for n in ("in", "whole", "killed"))
    source.mkdir()
    for n in range(24):
        Image.fromarray(np.roll(portrait, n, 1)).save(source / f"{n:02}.png")
    batch.run(Job(source, whole, EDIT))
    command = [sys.executable, "-m", "facepaint", "batch", str(source), str(killed)]
    command += ["--to", "neutral", "--resume"]
    rounds = 0
    while rounds < 20:
        rounds += 1
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        began = time.monotonic()
        while not (killed / batch.MANIFEST).exists() and time.monotonic() - began < 60:
            time.sleep(0.02)
        time.sleep(0.1 * rounds)
        if process.poll() is not None:
            assert process.returncode == 0
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert rounds > 1  # it was killed at least once
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    assert contents(killed) == contents(whole), "and nothing half written is left"
    names = [json.loads(x)["photo"] for x in (killed / batch.MANIFEST).read_text().splitlines()]
    assert sorted(names) == sorted({*names}) and len(names) == 24


def test_a_manifest_cut_off_in_a_line_is_mended(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = batch.run(Job(folder, out, EDIT))
    manifest = out / batch.MANIFEST
    manifest.write_text(manifest.read_text()[:-20])
    assert without_time(batch.run(Job(folder, out, EDIT), resume=True)) == without_time(lines)
    assert all(json.loads(x) for x in manifest.read_text().splitlines())


def test_lines_of_others_in_a_manifest_are_passed_over(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = batch.run(Job(folder, out, EDIT))
    manifest = out / batch.MANIFEST
    ours = manifest.read_text()
    manifest.write_text(
        '[1]\nno line\n{"photo": 3}\n{"photo": "a.png"}\n' + "[" * 9999 + "\n" + ours
    )
    assert without_time(batch.run(Job(folder, out, EDIT), resume=True)) == without_time(lines)
    _, again = manifest.read_text().split(ours)
    assert all(json.loads(x)["error"] for x in again.splitlines()), "and nothing was done twice"


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases = {
        "no folder there": Job(tmp_path / "none", tmp_path / "out", EDIT),
        "no photo there": Job(tmp_path / "empty", tmp_path / "out", EDIT),
        "is the folder of the photos": Job(folder, folder, EDIT),
    }
    for said, job in cases.items():
        with pytest.raises(facepaint.PhotoError, match=said):
            batch.run(job)
    assert not (tmp_path / "out").exists()


def test_results_inside_the_source_are_not_edited_again(folder: Path) -> None:
    out = folder / "out"
    batch.run(Job(folder, out, EDIT))
    assert len(batch.run(Job(folder, out, EDIT), resume=True)) == 5


def test_a_watched_folder_fills(folder: Path, tmp_path: Path) -> None:
    rounds = batch.watch(Job(folder, tmp_path / "out", EDIT), pause=0.05)
    assert len(next(rounds)) == 5
    (folder / "late.jpg").write_bytes((folder / "a.jpg").read_bytes())
    (line,) = next(rounds)  # the others are not looked at again
    assert (line["photo"], line["error"]) == ("late.jpg", None)
    assert (tmp_path / "out" / "late.jpg").read_bytes() == (tmp_path / "out" / "a.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes())  # a copy that had stalled
    (line,) = next(rounds)
    assert (line["photo"], line["error"]) == ("broken.jpg", None)
    again = next(batch.watch(Job(folder, tmp_path / "out", EDIT), pause=0.05))
    assert len(again) == 6 and [x["photo"] for x in again if x["error"]] == ["flat.png"]


def test_a_file_that_still_grows_waits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (folder / "a.jpg").read_bytes()
    parts = iter((whole[:100], whole[:2000]))
    grow = (folder / "growing.jpg").write_bytes
    monkeypatch.setattr("facepaint.batch.time.sleep", lambda _: grow(next(parts, whole)))
    rounds = batch.watch(Job(folder, tmp_path / "out", EDIT))
    assert "growing.jpg" not in {x["photo"] for x in next(rounds)}
    assert {x["photo"]: x["error"] for x in next(rounds)}["growing.jpg"] is None


def test_what_is_asked_in_another_way_is_done_again(folder: Path, tmp_path: Path) -> None:
    """With other options the result is another, though the edit is the same."""
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    batch.run(Job(folder, out, EDIT))
    marked = contents(out)
    batch.run(Job(folder, out, EDIT, mark=False), resume=True)
    batch.run(Job(folder, fresh, EDIT, mark=False))
    assert contents(out) == contents(fresh)
    assert all(contents(out)[name] != marked[name] for name in marked)
    before = (out / batch.MANIFEST).read_text().splitlines()
    batch.run(Job(folder, out, EDIT, mark=False), resume=True)
    again = (out / batch.MANIFEST).read_text().splitlines()[len(before) :]
    assert {json.loads(x)["photo"] for x in again} == {"broken.jpg", "flat.png"}


def test_other_networks_in_the_same_folder_are_noticed(folder: Path, tmp_path: Path) -> None:
    out, weights = tmp_path / "out", tmp_path / "weights"
    shutil.copytree(WEIGHTS, weights)
    job = Job(folder, out, EDIT, weights=str(weights))
    batch.run(job)
    before, old = (out / batch.MANIFEST).read_text(), contents(out)
    note = b"\x0a\x01a\x12\x01b"  # a key and a value beside the card: the same network, other bytes
    network = weights / "mover.onnx"
    network.write_bytes(network.read_bytes() + b"\x72" + bytes([len(note)]) + note)
    write_entry(weights, "mover", network.name)
    lines = batch.run(job, resume=True)
    digest = batch.hashed(network.read_bytes())
    assert all(line["networks"]["mover"] == digest for line in lines)
    assert digest not in before and contents(out).keys() == old.keys()
    assert all(digest.encode() in new for new in contents(out).values()), "and so do the marks say"
    done = (out / batch.MANIFEST).read_text()
    batch.run(job, resume=True)
    again = (out / batch.MANIFEST).read_text()[len(done) :].splitlines()
    assert {json.loads(x)["photo"] for x in again} == {"broken.jpg", "flat.png"}


def test_the_command_tells_what_failed(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "facepaint", "batch", str(folder), str(tmp_path / "out")]
    done = subprocess.run([*command, "--to", "happy"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    told = done.stderr.splitlines()
    assert any(x.startswith("facepaint: broken.jpg: ") for x in told)
    assert told[-1].endswith("3 of 5 photos edited")
    again = subprocess.run([*command, "--to", "happy"], capture_output=True, text=True)
    assert again.returncode == 2 and again.stderr.count("\n") == 1


def test_nothing_is_replaced_that_no_batch_wrote(
    folder: Path, tmp_path: Path, portrait: np.ndarray
) -> None:
    """Neither a file that lies where a result belongs, nor an original, by whatever way."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.jpg").write_bytes(b"mine")
    with pytest.raises(facepaint.PhotoError, match=r"out/a\.jpg is there already"):
        batch.run(Job(folder, out, EDIT))
    assert contents(out) == {"a.jpg": b"mine"}
    (out / "a.jpg").rename(out / "other.jpg")  # a name of none of the photos
    assert len(batch.run(Job(folder, out, EDIT))) == 5
    assert (out / "other.jpg").read_bytes() == b"mine"

    home = tmp_path / "nested" / "b"
    (home / "b").mkdir(parents=True)
    for path in (home / "x.jpg", home / "b" / "x.jpg"):
        Image.fromarray(portrait).save(path)
    before = contents(home)
    with pytest.raises(facepaint.PhotoError, match=r"result of b/x\.jpg would replace x\.jpg"):
        batch.run(Job(home, home.parent, EDIT))
    assert contents(home) == before

    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / batch.MANIFEST).touch()
    (linked / "a.jpg").symlink_to(folder / "a.jpg")
    before = contents(folder)
    with pytest.raises(facepaint.PhotoError, match=r"result of a\.jpg would replace a\.jpg"):
        batch.run(Job(folder, linked, EDIT), resume=True)
    assert contents(folder) == before


def test_a_photo_that_cannot_be_read_any_more_does_not_stop_the_rest(
    folder: Path, tmp_path: Path, portrait: np.ndarray
) -> None:
    out = tmp_path / "out"
    batch.run(Job(folder, out, EDIT))
    (folder / "a.jpg").unlink()
    (folder / "a.jpg").symlink_to(tmp_path / "nowhere.jpg")
    Image.fromarray(portrait).save(folder / "new.jpg")
    lines = {x["photo"]: x for x in batch.run(Job(folder, out, EDIT), resume=True)}
    assert "No such file" in lines["a.jpg"]["error"] and lines["new.jpg"]["error"] is None
    assert (out / "new.jpg").is_file()


def test_a_pipe_with_a_photos_name_is_passed_over(folder: Path) -> None:
    os.mkfifo(folder / "z.jpg")
    assert "z.jpg" not in batch.find(folder) and "a.jpg" in batch.find(folder)
