"""Weights: only what the manifest names is opened, and every card says what it must."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facepaint
from facepaint.models import (
    MANIFEST,
    NETWORKS,
    WEIGHTS,
    files_of,
    open_file,
    open_model,
    read_manifest,
    taking_part,
    write_entry,
)
from facepaint.onnxcard import CARD_KEY, card_in

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
NAMES = sorted(read_manifest())
NEEDED = {"cyclegan", "eye", "maskrcnn", "mouth", "mover", "reader"}  # two others may ship
# by their place in docs/metrics
METHODS_OF_SEVERAL = sorted(NETWORKS)
ALL = [*NAMES, *(f"open/{n}" for n in sorted(read_manifest(WEIGHTS / "open")))]


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
    """Those that an edit takes, and one by one the others."""
    assert {*NAMES} - {"shade", "visibility"} == NEEDED
    assert {*taking_part()} == {"reader", *NETWORKS["repaint"]} & {*NAMES}
    sizes = {n: (WEIGHTS / read_manifest()[n]["file"]).stat().st_size for n in NAMES}
    assert sum(sizes[n] for n in taking_part()) <= 20e6
    assert max(sizes.values()) <= 10e6


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
        open_model(name, copy)
    assert "\n" not in str(error.value)


def test_a_folder_that_holds_no_weights(tmp_path: Path) -> None:
    with pytest.raises(facepaint.WeightsError, match="no readable manifest"):
        facepaint.load(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(facepaint.WeightsError, match="no weights of the mover"):
        facepaint.load(tmp_path)


def test_a_painter_alone_goes_with_the_reader_that_ships(copy: Path) -> None:
    shutil.copy(WEIGHTS / "open" / "painter.onnx", copy / "painter.onnx")
    (copy / MANIFEST).unlink()
    write_entry(copy, "painter", "painter.onnx")
    alone, shipped = facepaint.load(copy), facepaint.load()
    assert alone.models["reader"] == shipped.models["reader"], "and the mark names it"
    # but no more than the reader: the mouth and eyes that ship are not that painter's
    assert "mouth" in shipped.models
    assert set(alone.models) == set(alone.cards) == set(taking_part(copy)) == {"reader", "painter"}


@pytest.mark.parametrize("name", NETWORKS["repaint"])
def test_what_a_method_can_do_without_may_be_missing_and_nothing_else(
    name: str, copy: Path
) -> None:
    manifest = read_manifest(copy)
    manifest.pop(name, None)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    if name in ("shade", "visibility"):
        assert name not in facepaint.Painter(copy, "repaint").cards
    else:
        with pytest.raises(facepaint.WeightsError, match=f"no weights of the {name}"):
            facepaint.Painter(copy, "repaint")


def test_a_foreign_model_is_refused(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "x.onnx").write_bytes(b"not a network")
    digest = hashlib.sha256(b"not a network").hexdigest()
    entry = {"reader": {"file": "x.onnx", "sha256": digest}}
    (tmp_path / MANIFEST).write_text(json.dumps(entry))
    with pytest.raises(facepaint.WeightsError, match="is not a model of FacePaint's"):
        open_model("reader", tmp_path)


def onnx_folder(folder: Path, name: str, card: object | None) -> Path:
    """A folder that gives some foreign ONNX network as the weights of `name`."""
    onnx = pytest.importorskip("onnx", reason="the lab's extra is not installed")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "foreign", [value], [other])
    model = onnx.helper.make_model(
        graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    if card is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = CARD_KEY, json.dumps(card)
    (folder / "x.onnx").write_bytes(model.SerializeToString())
    write_entry(folder, name, "x.onnx")
    return folder


@pytest.mark.parametrize("card", [None, {}, [], {"name": "painter"}, "reader"])
def test_a_network_that_is_not_what_it_is_called_is_refused(card: object, tmp_path: Path) -> None:
    folder = onnx_folder(tmp_path, "reader", card)
    with pytest.raises(facepaint.WeightsError):
        open_model("reader", folder)
    assert open_model("other", onnx_folder(tmp_path, "other", {"name": "other"})).sha256


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_another_kind_is_refused(name: str, copy: Path, tmp_path: Path) -> None:
    """Its hash and card are right, but it takes and gives something else."""
    card = open_model(name).card
    folder = onnx_folder(copy, name, card)
    with pytest.raises(facepaint.WeightsError, match="something else"):
        open_model(name, folder)
    Image.new("RGB", (90, 90)).save(tmp_path / "a.png")
    if name in taking_part():
        command = ["edit", str(tmp_path / "a.png"), "--to", "happy", "--weights", str(folder)]
        done = subprocess.run(
            [sys.executable, "-m", "facepaint", *command], capture_output=True, text=True
        )
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


def test_what_a_network_cannot_run_is_one_line() -> None:
    with pytest.raises(facepaint.WeightsError, match="cannot be run") as error:
        open_model("reader")(crops=np.zeros((1, 8, 8, 3), np.uint8))
    assert str(error.value).isprintable()


def test_a_foreign_file_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: opened.append(1))
    for card in (None, {}, [], {"name": "painter"}, "reader"):
        folder = onnx_folder(tmp_path, "reader", card)
        with pytest.raises(facepaint.WeightsError):
            open_model("reader", folder)
        if card is None:
            with pytest.raises(facepaint.WeightsError):
                open_file(folder / "x.onnx")
    for name in NAMES:
        data = (WEIGHTS / read_manifest()[name]["file"]).read_bytes()
        assert card_in(data)["name"] == name
        (tmp_path / "y.onnx").write_bytes(data[: len(data) // 2])
        with pytest.raises(facepaint.WeightsError):
            open_file(tmp_path / "y.onnx")
    assert not opened


def test_a_card_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    commands = pytest.importorskip("facepaint.lab.commands", exc_type=ImportError)
    folder = onnx_folder(tmp_path, "x", {"name": "../outside"})
    with pytest.raises(facepaint.WeightsError, match="no name of a method"):
        commands.adopt(str(folder / "x.onnx"), str(tmp_path / "weights"))
    assert not (tmp_path / "outside.onnx").exists()


def test_models_that_changed_places_are_refused(copy: Path) -> None:
    manifest = read_manifest(copy)
    manifest["reader"], manifest["mouth"] = manifest["mouth"], manifest["reader"]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(facepaint.WeightsError, match="another model"):
        facepaint.load(copy)


@pytest.mark.parametrize(
    "manifest",
    [
        '{"reader": {"file": "reader.onnx"}}',
        '{"reader": {"file": 3, "sha256": "x"}}',
        '{"reader": {"file": "a\\u0000b", "sha256": "x"}}',
        '{"reader": {"file": "../../../etc/passwd", "sha256": "x"}}',
        '{"reader": []}',
        '["reader", {}]',
        "7",
        '{"reader": {"file": "x\\n\\u001b[31m", "sha256": "x"}}',
        "[" * 100_000,
        "\ufeff\udcff",
    ],
)
def test_hostile_manifests_are_refused(manifest: str, copy: Path) -> None:
    (copy / MANIFEST).write_text(manifest, errors="surrogateescape")
    with pytest.raises(facepaint.WeightsError) as error:
        facepaint.load(copy)
    assert str(error.value).isprintable() and "root:" not in str(error.value)
    done = subprocess.run(
        [sys.executable, "-m", "facepaint", "card", "--weights", str(copy)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_no_pickle_is_ever_loaded() -> None:
    """Pickles run what is in them. Whatever reads one must say that it takes tensors alone."""
    root = Path(__file__).resolve().parents[1]
    files = [p for n in ("facepaint", "scripts", "benchmarks") for p in (root / n).rglob("*.py")]
    assert len(files) > 50
    loads = 0
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {a.name.split(".")[0] for a in node.names}
                names.add((getattr(node, "module", "") or "").split(".")[0])
                assert not names & UNSAFE_MODULES, where
            if isinstance(node, ast.Call):
                said = ast.unparse(node.func)
                flags = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert said not in ("eval", "exec", "yaml.load", "pd.read_pickle"), where
                assert flags.get("allow_pickle") in (None, "False"), where
                if said in ("torch.load", "torch.hub.load_state_dict_from_url") or said.endswith(
                    ".get_state_dict"
                ):
                    loads += 1
                    assert flags.get("weights_only") == "True", where
                assert said != "torch.hub.load", where
    assert loads >= 3, "the search finds what it is to look at"


@pytest.mark.parametrize("name", ALL)
def test_a_card_is_its_metrics(name: str) -> None:
    """The numbers on a card are those of docs/metrics, measured on this network."""
    pytest.importorskip("torch", reason="the lab's extra is not installed")
    from facepaint.lab import cards, commands
    from facepaint.lab.data.split import SPLIT
    from facepaint.lab.graph import network_hash

    path = Path(__file__).resolve().parents[1] / "docs" / "metrics" / f"{name}.json"
    assert path.exists(), "facepaint evaluate, then make cards"
    numbers = commands.read_metrics(str(path))
    _, _, method = name.rpartition("/")
    folder = (WEIGHTS / name).parent
    assert numbers["method"] == method
    assert numbers["network"] == network_hash(folder / read_manifest(folder)[method]["file"])
    card = open_model(method, folder).card
    assert card["measured"] == cards.card_of_metrics(numbers), "make cards"
    assert card["split"] == numbers.get("split", SPLIT) == SPLIT
    changed = json.loads(json.dumps(numbers).replace("0.", "0.1"))
    assert card["measured"] != cards.card_of_metrics(changed), "the test can fail"


def test_the_page_of_numbers_is_its_metrics() -> None:
    pytest.importorskip("torch", reason="the lab's extra is not installed")
    from facepaint.lab import commands, tables

    folder = Path(__file__).resolve().parents[1] / "docs" / "metrics"
    names = [n for n in (*METHODS_OF_SEVERAL, *ALL) if (folder / f"{n}.json").exists()]
    every = {name: commands.read_metrics(str(folder / f"{name}.json")) for name in names}
    text = (folder / "README.md").read_text()
    assert text == tables.page(every), "make cards"
    every["open/painter"]["to"]["happy"]["rate_two_way"] -= 0.1
    assert text != tables.page(every), "the test can fail"


@pytest.mark.parametrize("name", METHODS_OF_SEVERAL)
def test_the_edits_of_a_method_were_measured_with_its_networks(name: str) -> None:
    pytest.importorskip("torch", reason="the lab's extra is not installed")
    from facepaint.lab import commands
    from facepaint.lab.data.split import SPLIT
    from facepaint.lab.graph import networks_hash

    path = Path(__file__).resolve().parents[1] / "docs" / "metrics" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the edits of {name} were not measured yet")
    numbers = commands.read_metrics(str(path))
    assert numbers["method"] == name and numbers["split"] == SPLIT
    files = [*files_of(WEIGHTS, name).values()]
    assert numbers["network"] == networks_hash(files), f"facepaint evaluate --method {name}"
    assert numbers["network"] != networks_hash(files[::-1]), "the test can fail"
