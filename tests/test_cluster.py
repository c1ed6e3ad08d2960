"""The same batch on Ray, and folders behind URLs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facepaint
from facepaint import batch

pytest.importorskip("pyarrow", reason="the extra cluster is not installed")

from facepaint import cluster
from facepaint.storage import Folder

EDIT = facepaint.Edit("neutral")


def photos(home: Path, portrait: np.ndarray, count: int) -> Path:
    """Photos, some in a folder, and at the end one without a face and a broken one."""
    (home / "deep").mkdir(parents=True)
    for n in range(count):
        name = f"deep/{n:02}.jpg" if n % 3 else f"{n:02}.png"
        Image.fromarray(np.roll(portrait, n, 1)).save(home / name)
    Image.new("RGB", (90, 90), "teal").save(home / "flat.png")
    (home / "broken.jpg").write_bytes(b"not a photo")
    (home / ".hidden.jpg").write_bytes(b"")
    return home


def without_time(lines: list[batch.Line]) -> list[batch.Line]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("manifest"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def worker_of(mark: str) -> int | None:
    """The process of one of the actors that a marked Ray has started, once it works."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            mine = title.startswith(b"ray::") and b"Worker" in title
            if mine and mark.encode() in (process / "environ").read_bytes():
                return int(process.name)
        except OSError:  # it has ended, or is another's
            continue
    return None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds workers in /proc")
def test_a_killed_worker_changes_nothing(tmp_path: Path, portrait: np.ndarray) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    source = photos(tmp_path / "in", portrait, 20)
    out, single = tmp_path / "out", tmp_path / "single"
    mark = uuid.uuid4().hex
    arguments = ["batch", f"file://{source}", f"file://{out}", "--to", "neutral"]
    with subprocess.Popen(
        [sys.executable, "-m", "facepaint", *arguments, "--engine", "ray", "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"FACEPAINT_TEST": mark},
    ) as process:
        end = time.monotonic() + 300  # a machine may be busy
        while not (out / "00.png").exists() and not (out / "deep").exists():  # they are at work
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.02)
        killed = worker_of(mark)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        _, told = process.communicate(timeout=300)
    assert process.returncode == 1, told
    assert told.splitlines()[-1].endswith("20 of 22 photos edited")
    assert any(x.startswith("facepaint: broken.jpg: ") for x in told.splitlines())
    wanted = batch.run(batch.Job(source, single, EDIT))
    lines = Folder(f"file://{out}").lines()
    assert without_time([lines[k] for k in sorted(lines)]) == without_time(wanted)
    assert contents(out) == contents(single)
    text = "".join(p.read_text() for p in out.glob("manifest.*"))
    assert len(text.splitlines()) == 22


def test_a_worker_makes_what_one_process_makes(tmp_path: Path, portrait: np.ndarray) -> None:
    source = photos(tmp_path / "in", portrait, 3)
    wanted = batch.run(batch.Job(source, tmp_path / "single", EDIT))
    for out in (str(tmp_path / "out"), f"file://{tmp_path}/url"):
        worker = cluster.Worker(batch.Job(str(source), out, EDIT))
        names = Folder(str(source)).names()
        rows = [worker({"name": n, "before": ""}) for n in names]
        lines = [json.loads(row["line"]) for row in rows]
        assert without_time(lines) == without_time(wanted)
        assert contents(Path(out.removeprefix("file://"))) == contents(tmp_path / "single")
        again = [worker({"name": n, "before": r["line"]}) for n, r in zip(names, rows, strict=True)]
        assert [r["name"] for r in again if r["line"]] == ["broken.jpg", "flat.png"]
        Image.open(source / "00.png").rotate(3).save(source / "00.png")
        assert worker({"name": "00.png", "before": rows[0]["line"]})["line"]
        Image.fromarray(portrait).save(source / "00.png")


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_manifests_survive_and_join(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facepaint.storage.PART", 2)
    folder = Folder(f"{scheme}{tmp_path}/out")
    assert not folder.has_manifest() and folder.lines() == {}
    with pytest.raises(ValueError, match="stop"), folder.manifest() as manifest:
        for n in range(5):
            manifest.append({"photo": f"{n}.jpg", "seconds": n})
        raise ValueError("stop")
    with folder.manifest() as manifest:
        manifest.append({"photo": "1.jpg", "seconds": 9})
    assert folder.has_manifest()
    assert {k: v["seconds"] for k, v in folder.lines().items()} == {
        "0.jpg": 0,
        "1.jpg": 9,
        "2.jpg": 2,
        "3.jpg": 3,
        "4.jpg": 4,
    }


def test_fsspec_opens_what_pyarrow_does_not(portrait: np.ndarray) -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    files = fsspec.filesystem("memory")
    files.makedirs("/photos/deep", exist_ok=True)
    for name in ("a.jpg", "deep/b.PNG", "deep/notes.txt", ".hidden.jpg", "out/c.jpg"):
        files.pipe_file(f"/photos/{name}", b"x")
    folder, out = Folder("memory://photos"), Folder("memory://photos/out")
    assert folder.names(out) == ["a.jpg", "deep/b.PNG"]
    out.write("deep/b.PNG", b"new")
    assert out.read("deep/b.PNG") == files.cat("/photos/out/deep/b.PNG") == b"new"
    assert out.has("deep/b.PNG") and not out.has("a.jpg")


def test_names_are_those_of_one_process(tmp_path: Path, portrait: np.ndarray) -> None:
    source = photos(tmp_path / "in", portrait, 4)
    (source / "out").mkdir()
    (source / "out" / "x.jpg").write_bytes(b"")
    out = source / "out"
    for place in (str(source), f"file://{source}"):
        assert Folder(place).names(Folder(f"file://{out}")) == batch.find(source, out)


def test_a_ray_that_does_not_start_in_time_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
    asked: list[dict[str, object]] = []

    def init(**options: object) -> None:
        asked.append(options)
        if len(asked) % 3:
            raise Exception("timed out\nduring startup")

    monkeypatch.setattr(ray, "init", init)
    with cluster._ray(2, None):
        assert len(asked) == 3 and asked[0] == asked[2] and asked[0]["num_cpus"] == 3
    for address, tries in ((None, 3), ("here:1", 1)):
        asked[:] = []
        monkeypatch.setattr(ray, "init", lambda **options: asked.append(options) or 1 / 0)
        with (
            pytest.raises(facepaint.PhotoError, match="no Ray at") as caught,
            cluster._ray(2, address),
        ):
            pass
        assert len(asked) == tries and (address or "this machine") in str(caught.value)


def test_mistakes_are_named_before_ray_starts(tmp_path: Path, portrait: np.ndarray) -> None:
    source = photos(tmp_path / "in", portrait, 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.000000.jsonl").write_text("")
    here = f"file://{tmp_path}"
    cases = {
        "no folder there": (f"{here}/none", f"{here}/out"),
        "no photo there": (str(tmp_path / "empty"), f"{here}/out"),
        "is the folder of the photos": (str(source), f"{here}/in"),
        "holds a batch already; --resume": (str(source), f"{here}/old"),
        "nothing://": ("nothing://x", f"{here}/out"),
    }
    for said, (one, two) in cases.items():
        with pytest.raises(facepaint.PhotoError, match=said) as caught:
            cluster.run(batch.Job(one, two, EDIT))
        assert "\n" not in str(caught.value)
    for flags in (["--address", "x:1"], ["--engine", "ray", "--watch"]):
        command = [sys.executable, "-m", "facepaint", "batch", str(source), "out", "--to", "happy"]
        done = subprocess.run([*command, *flags], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
