"""Weights: only what the manifest names is opened, and every card says what it must."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import facepaint
from facepaint.models import MANIFEST, WEIGHTS, open_model, read_manifest

NAMES = sorted(read_manifest())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS, tmp_path / "weights"))


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_the_network_is(name: str) -> None:
    card = open_model(name).card
    for key in ("name", "what", "data", "licence", "limits", "measured", "steps"):
        assert card[key], key
    assert card["name"] == name
    assert "research" in card["licence"]


def test_weights_are_small() -> None:
    assert NAMES == ["painter", "reader"]
    assert sum(f.stat().st_size for f in WEIGHTS.glob("*.onnx")) <= 20e6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["flipped", "truncated", "swapped", "missing", "empty"])
def test_damaged_weights_are_refused(name: str, damage: str, copy: Path) -> None:
    file = copy / read_manifest(copy)[name]["file"]
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    elif damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "swapped":
        other = next(n for n in NAMES if n != name)
        data = bytearray((copy / read_manifest(copy)[other]["file"]).read_bytes())
    elif damage == "empty":
        data.clear()
    file.write_bytes(data)
    if damage == "missing":
        file.unlink()
    with pytest.raises(facepaint.WeightsError) as error:
        facepaint.load(copy)
    assert "\n" not in str(error.value)


def test_a_folder_that_holds_no_weights(tmp_path: Path) -> None:
    with pytest.raises(facepaint.WeightsError, match="no readable manifest"):
        facepaint.load(tmp_path)
    (tmp_path / MANIFEST).write_text("[]")
    with pytest.raises(facepaint.WeightsError, match="no weights of the reader"):
        facepaint.load(tmp_path)


def test_a_foreign_model_is_refused(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "x.onnx").write_bytes(b"not a network")
    digest = hashlib.sha256(b"not a network").hexdigest()
    entry = {"reader": {"file": "x.onnx", "sha256": digest}}
    (tmp_path / MANIFEST).write_text(json.dumps(entry))
    with pytest.raises(facepaint.WeightsError, match="is not a model of FacePaint's"):
        open_model("reader", tmp_path)


def test_the_painters_card_is_its_metrics() -> None:
    """The numbers on the card are those of docs/metrics/painter.json, measured on this network."""
    pytest.importorskip("torch", reason="the lab's extra is not installed")
    from facepaint.lab import commands
    from facepaint.lab.graph import network_hash

    path = Path(__file__).resolve().parents[1] / "docs" / "metrics" / "painter.json"
    numbers = commands.read_metrics(str(path))
    assert numbers["network"] == network_hash(WEIGHTS / "painter.onnx")
    assert open_model("painter").card["measured"] == commands.card_of_metrics(numbers)
