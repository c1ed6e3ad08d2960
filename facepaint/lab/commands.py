"""What the commands of the lab do, free of any command line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from facepaint.errors import LabError
from facepaint.lab import drawn, faces, loop, measure, recipe
from facepaint.lab.cards import make_card
from facepaint.lab.export import export as export_run
from facepaint.lab.faces import FaceSet
from facepaint.lab.methods import lookup
from facepaint.lab.recipe import Settings, as_table
from facepaint.models import Model, open_file, open_model, write_entry

CACHE_VARIABLE = "FACEPAINT_CACHE"


def train(
    name: str,
    changes: tuple[str, ...],
    run: str | None,
    resume: bool,
    data: str | None,
    listen: loop.Listener | None = None,
) -> Path:
    """Train a recipe; returns the folder of the run."""
    table = recipe.read(name, changes)
    kind, build = lookup(str(table.get("method", "")))
    settings = recipe.settings(kind, table)
    home = Path(run or f"runs/{Path(name).stem}")
    loop.train(build(settings, face_set(settings, data)), home, resume, listen)
    return home


def face_set(settings: Settings, data: str | None) -> FaceSet:
    """The faces that the settings name: drawn ones, or photos."""
    if settings.data == "drawn":
        return drawn.draw(settings.seed)
    if settings.data != "photos":
        raise LabError(f"data={settings.data!r} is neither 'photos' nor 'drawn'")
    cache = Path(os.environ.get(CACHE_VARIABLE, "cache"))
    return faces.load(faces.data_folder(data), cache)


def export(run: str, model: str, data: str | None) -> float:
    """Export a run with its card; returns the largest difference to PyTorch."""
    target = Path(model)
    if target.suffix != ".onnx" or not target.parent.is_dir():
        raise LabError(f"{model}: give a name that ends in .onnx, in a folder that exists")
    state = loop.read_checkpoint(Path(run))
    kind, _ = lookup(state["settings"]["method"])
    settings = recipe.settings(kind, state["settings"])
    found = face_set(settings, data)
    card = make_card(settings, found)
    difference = export_run(Path(run), target, card)
    measured = _measure(open_file(target), found)
    export_run(Path(run), target, card | {"measured": measured})
    return difference


def _measure(model: Model, found: FaceSet) -> dict[str, Any]:
    """What the card says of the network, measured on held-out people."""
    if model.card["name"] == "reader":
        return rounded(measure.reader(model, found))
    return rounded(measure.painter(model, open_model("reader"), found))


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers to three places, as a card shows them."""
    return {
        k: rounded(v) if isinstance(v, dict) else round(v, 4) if isinstance(v, float) else v
        for k, v in values.items()
    }


def adopt(model: str, weights: str) -> None:
    """Take an exported model into a folder of weights, under the name that its card gives."""
    opened, folder = open_file(Path(model)), Path(weights)
    name = str(opened.card["name"])
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.onnx"
    if not (target.exists() and target.samefile(model)):
        shutil.copyfile(model, target)
    write_entry(folder, name, f"{name}.onnx")


def show(name: str) -> str:
    """A recipe with all its settings as JSON."""
    table: dict[str, Any] = recipe.read(name)
    kind, _ = lookup(str(table.get("method", "")))
    return json.dumps(as_table(recipe.settings(kind, table)), indent=2)
