"""The free weights, `--weights open`: what they are made of, what they can and cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from running import run

import facepaint
from facepaint import batch
from facepaint.batch import Job
from facepaint.models import SETS, WEIGHTS, folder_of, open_model, read_manifest

FREE = {"london", "drawn"}


def test_names_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder_of(None) == WEIGHTS and folder_of("open") == WEIGHTS / "open"
    assert folder_of("./open") == Path("open") and folder_of(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)  # a folder of that name is reached by its path
    (tmp_path / "open").mkdir()
    assert folder_of("open") == WEIGHTS / "open"
    with pytest.raises(facepaint.WeightsError, match=r"opne: no readable.*by name there are open"):
        facepaint.load("opne")


@pytest.mark.parametrize("name", ["painter", "reader"])
def test_all_of_it_is_free(name: str) -> None:
    card = open_model(name, folder_of("open")).card
    assert set(card["data"]) <= FREE and "london" in card["data"]
    assert "CC BY 4.0" in card["data"]["london"]
    assert card["licence"] == "as free as its data"
    assert card["measured"] and card["limits"]


def test_no_other_network_takes_part() -> None:
    assert sorted(read_manifest(folder_of("open"))) == ["painter", "reader"]
    free = {e["sha256"] for e in read_manifest(folder_of("open")).values()}
    assert not free & {e["sha256"] for e in read_manifest().values()}
    assert set(facepaint.load("open").models.values()) == free


def test_a_portrait_is_made_happy_and_neutral(portrait: np.ndarray) -> None:
    free = facepaint.load("open")
    (face,) = free.faces(portrait)
    assert face.blendshapes[44:46].mean() > 0.3, "a smile is read"
    photo, smile = facepaint.Photo.read(portrait), "mouthSmileLeft"
    sober = free.repaint(photo, [(face, facepaint.Edit("neutral"))]).pixels
    assert (sober != portrait).any(-1).mean() > 0.02
    read = facepaint.load().faces
    before, after = (read(p)[0].top_blendshapes(52) for p in (portrait, sober))
    assert after[smile] < 0.6 * before[smile]
    (again,) = free.faces(sober)
    glad = free.repaint(facepaint.Photo.read(sober), [(again, facepaint.Edit("happy"))]).pixels
    assert read(glad)[0].top_blendshapes(52)[smile] > 1.5 * after[smile]


def test_what_it_has_not_seen_is_refused_in_one_line(portrait: np.ndarray, tmp_path: Path) -> None:
    facepaint.Photo.read(portrait).save(tmp_path / "a.png")
    result = run("edit", tmp_path / "a.png", "--to", "sad", "--weights", "open")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "make a face neutral or happy, not sad" in line
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_the_library_names_what_it_can_make() -> None:
    assert facepaint.load("open").expressions == ("neutral", "happy")
    assert facepaint.load().expressions == facepaint.EXPRESSIONS


def test_every_command_knows_the_name(portrait: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    facepaint.Photo.read(portrait).save(folder / "a.png")
    photo, made_alone = folder / "a.png", tmp_path / "b.png"
    for command in (
        ["edit", photo, made_alone, "--to", "neutral"],
        ["faces", photo],
        ["card", "painter"],
    ):
        result = run(*command, "--weights", "open")
        assert result.returncode == 0, result.stderr
    out = tmp_path / "out"
    batch.run(Job(folder, out, facepaint.Edit("neutral"), weights=SETS[0]))
    (line,) = (json.loads(x) for x in (out / "manifest.jsonl").read_text().splitlines())
    free = {n: e["sha256"] for n, e in read_manifest(folder_of("open")).items()}
    assert line["networks"] == free
    made = facepaint.Photo.read(next(out.glob("a*.png"))).pixels
    assert np.array_equal(made, facepaint.Photo.read(made_alone).pixels)
