"""All networks of an edit, built in small on drawn faces: once, and only what is missing again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

import facepaint  # noqa: E402
from facepaint import cli  # noqa: E402
from facepaint.errors import LabError, WeightsError  # noqa: E402
from facepaint.lab import build, loop  # noqa: E402
from facepaint.lab.cards import card_of_metrics  # noqa: E402
from facepaint.lab.methods.visibility import VisibilityMethod  # noqa: E402
from facepaint.models import WEIGHTS, open_model  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

# A reader that finds faces takes more than a few steps: this one begins from what ships.
SMALL = (
    *("data=drawn", "steps=4", "batch=2", "precision=32-true", "accelerator=cpu", "compile=false"),
    *("save_every=2", "mouth.features=", "eye.features=", "mover.named="),
    *("reader.rate=1e-9", f"reader.start={WEIGHTS / 'reader.onnx'}"),
    *("mouth.size=32", "mouth.widths=32,32", "eye.size=32", "eye.widths=32,32"),
    *("shade.size=32", "shade.widths=8,8", "visibility.fine=8", "visibility.coarse=8"),
)


def job_in(folder: Path, *names: str, changes: tuple[str, ...] = ()) -> build.Job:
    """A small job; names: of networks, all by default."""
    small = [c for c in SMALL if not names or "." not in c or c.partition(".")[0] in names]
    return build.Job(folder / "weights", folder / "runs", None, (*names, *small, *changes))


def words(lines: Iterator[str]) -> dict[str, str]:
    """What happens to each stage: "eye: train" → "begins"."""
    return {":".join((p := line.split(": "))[:2]): p[2].split(",")[0] for line in lines}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("built")
    said = words(build.build(job_in(folder)))
    assert said == {f"{n}:{s}": "begins" for n in build.NAMES for s in build.STAGES}
    return folder


@pytest.fixture
def built(whole: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    shutil.copytree(whole, tmp_path / "built")
    return tmp_path / "built"


def test_what_is_built_edits_a_photo(whole: Path, portrait: npt.NDArray[np.uint8]) -> None:
    painter = facepaint.load(whole / "weights")
    assert tuple(painter.models) == build.NAMES
    assert not np.array_equal(painter.edit(portrait, "surprised"), portrait)
    for name in build.NAMES:
        card = open_model(name, whole / "weights").card
        numbers = json.loads((whole / "runs" / name / "measured" / "metrics.json").read_text())
        assert card["name"] == name and list(card["data"]) == ["drawn"]
        assert card["measured"] == card_of_metrics(numbers)
    assert not list(whole.rglob("*.tmp"))


def test_built_again_nothing_is_made(whole: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*")}
    assert set(words(build.build(job_in(whole))).values()) == {"done before"}
    lines = build.plan(job_in(whole))
    assert len(lines) == 24 and all(line.endswith(" done") for line in lines)
    assert {p: p.stat().st_mtime_ns for p in whole.rglob("*")} == before


def test_what_is_gone_is_made_again_and_no_more(built: Path) -> None:
    eye, checkpoint = built / "weights" / "eye.onnx", built / "runs" / "eye" / loop.CHECKPOINT
    trained = checkpoint.stat().st_mtime_ns
    (built / "runs" / "eye" / "eye.onnx").unlink()
    said = words(build.build(job_in(built, "eye")))
    assert [said[f"eye:{s}"] for s in build.STAGES[:3]] == ["done before", "begins", "done before"]
    assert checkpoint.stat().st_mtime_ns == trained
    for damage in (eye.unlink, lambda: eye.write_bytes(b"half")):
        damage()
        said = words(build.build(job_in(built, "eye")))
        assert [w for w in said.values() if w != "done before"] == ["begins"]
        open_model("eye", built / "weights")
    elsewhere = build.Job(built / "other", built / "runs", None, job_in(built, "eye").asked)
    assert words(build.build(elsewhere))["eye:adopt"] == "begins"
    assert (built / "other" / "eye.onnx").read_bytes() == eye.read_bytes()


def test_another_recipe_or_other_data_are_refused_before_anything_is_made(built: Path) -> None:
    (built / "weights" / "reader.onnx").unlink()
    for changes, said in (
        (("eye.steps=6", "eye.rate=0.1"), "eye was trained with steps=4, rate=0.0005, and now"),
        (("seed=1",), "reader was trained with seed=0, and now seed=1 is asked; remove it, or"),
    ):
        with pytest.raises(LabError, match=said):
            list(build.build(job_in(built, changes=changes)))
    table = build.plan(job_in(built, "eye", changes=("steps=6",)))
    assert "refused" in table[0] and "now steps=6 is asked" in table[0]
    free = ("devices=1", "workers=2", "save_every=1", "sheet_every=3", "accelerator=auto")
    assert words(build.build(job_in(built, "eye", changes=free)))["eye:train"] == "done before"
    notes = built / "runs" / "eye" / build.NOTES
    noted = json.loads(notes.read_text())
    noted["train"]["from"]["data"] = "another"
    notes.write_text(json.dumps(noted))
    with pytest.raises(LabError, match="eye was trained on other data"):
        list(build.build(job_in(built)))
    assert not (built / "weights" / "reader.onnx").exists()


def test_a_run_of_train_is_taken_and_said_to_be_one(built: Path) -> None:
    (built / "runs" / "mover" / build.NOTES).unlink()
    lines = list(build.build(job_in(built, "mover")))
    assert lines[0].startswith("mover: train: done before, not begun by build")
    assert [line.rpartition(" ")[2] for line in lines[1:]] == ["begins"] * 3
    assert words(build.build(job_in(built, "mover")))["mover:export"] == "done before"


def test_stopped_anywhere_it_goes_on_to_the_same_end(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(tmp_path, "visibility")
    sample = VisibilityMethod.sample

    def stop(self: Any, rng: np.random.Generator, count: int, step: int) -> loop.Batch:
        if step == 3:  # after the checkpoint of step 2
            raise KeyboardInterrupt
        return sample(self, rng, count, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(VisibilityMethod, "sample", stop)
        list(build.build(job))
    assert build.plan(job)[0].split(None, 2)[2] == "stopped  2 steps of 2, 4 samples"
    note = build._Network._note
    for stage in build.STAGES[1:]:  # each is stopped when its file is there and its note is not

        def killed(self: Any, at: str, what: Any, stage: str = stage) -> None:
            if at == stage:
                raise KeyboardInterrupt
            note(self, at, what)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(build._Network, "_note", killed)
            list(build.build(job))
    said = words(build.build(job))
    assert [*said.values()] == ["done before"] * 3 + ["begins"]
    one, two = (
        loop.read_checkpoint(folder / "runs" / "visibility")["ema"]["visibility"]
        for folder in (whole, tmp_path)
    )
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_what_is_left_is_told_with_the_time_it_takes(built: Path) -> None:
    home = built / "runs" / "eye"
    state = loop.read_checkpoint(home)
    torch.save(state | {"step": 1}, home / loop.CHECKPOINT)
    line = json.dumps({"step": 1, "samples_a_second": 0.0008})
    (home / "log.jsonl").write_text(f"{line}\n{line[:9]}")  # the rest is being written
    table = build.plan(job_in(built, "eye"))
    assert table[0].endswith("stopped  3 steps of 2, 6 samples, about 2 h 5 min")
    assert (home / "log.jsonl").read_text().endswith(line[:9])


def test_what_is_damaged_is_made_again_or_named(built: Path) -> None:
    home = built / "runs" / "eye"
    (home / "eye.onnx").write_bytes(b"half")
    assert [line.split(None, 2)[2] for line in build.plan(job_in(built, "eye"))] == [
        *("done", "to do", "to do", "to do")
    ]
    (built / "weights" / "manifest.json").write_text("{")
    with pytest.raises(WeightsError, match=r"no readable manifest\.json"):
        list(build.build(job_in(built, "eye")))
    (built / "weights" / "manifest.json").unlink()
    (home / loop.CHECKPOINT).write_bytes(b"half")
    with pytest.raises(LabError, match="not a checkpoint, or a damaged one"):
        list(build.build(job_in(built, "eye")))
    (home / build.NOTES).write_text("{")
    (home / loop.CHECKPOINT).unlink()
    with pytest.raises(LabError, match=r"build\.json: damaged; remove it"):
        list(build.build(job_in(built, "eye")))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("nose",), "no network 'nose' to build; there are reader, mover, mouth"),
        (("nose.steps=3",), "no network 'nose' to build"),
        (("eye", "mouth.steps=3"), "mouth.steps=3 is of a network that is not built"),
        (("stepz=3",), "no setting stepz; did you mean steps?"),
        (("eye", "fine=3"), "no setting fine"),
        (("eye.steps=0",), "setting steps=0 should be at least 1"),
        (("eye.part=nose",), "part='nose' is not a part"),
        (("method=eye",), "method=eye cannot be asked"),
        (("eye", "devices=2"), "facepaint train eye devices=2 --run"),
        (("start=/nowhere.onnx",), "start=/nowhere.onnx: nothing there to begin from"),
        (("data=photos",), "no data folder: give --data DIR or set FACEPAINT_DATA"),
    ],
)
def test_what_cannot_be_built_is_one_clear_line(
    asked: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACEPAINT_DATA", raising=False)
    job = build.Job(tmp_path / "weights", tmp_path / "runs", None, ("data=drawn", *asked))
    with pytest.raises(LabError, match=said) as error:
        list(build.build(job))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_command_plans_builds_and_fails(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["build", *job_in(whole, "mover").asked, "--out", str(whole / "weights"), "--runs"]
    cli.main([*given, str(tmp_path), "--plan"])
    made = capsys.readouterr()
    assert made.out.splitlines()[0] == "mover       train     to do    solved at once"
    assert len(made.out.splitlines()) == 4 and not made.err and not list(tmp_path.iterdir())
    cli.main([*given, str(whole / "runs")])
    made = capsys.readouterr()
    assert not made.out and made.err.splitlines()[-2:] == [
        "mover: adopt: done before",
        f"{whole / 'weights'}: built",
    ]
    with pytest.raises(SystemExit) as end:
        cli.main([*given, str(whole / "runs"), "seed=1"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert "mover was trained with seed=0, and now seed=1 is asked; remove it, or" in said
