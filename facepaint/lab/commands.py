"""What the commands of the lab do, free of any command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from facepaint.errors import LabError
from facepaint.lab import loop, recipe
from facepaint.lab.cards import make_card
from facepaint.lab.export import export as export_run
from facepaint.lab.methods import lookup, of_run
from facepaint.lab.recipe import as_table
from facepaint.models import open_file, write_entry


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
    entry = lookup(str(table.get("method", "")))
    settings = recipe.settings(entry.settings, table)
    home = Path(run or f"runs/{Path(name).stem}")
    loop.train(entry.build(settings, entry.data(settings, data)), home, resume, listen)
    return home


def export(run: str, model: str, data: str | None) -> float:
    """Export a run with its card; returns the largest difference to PyTorch."""
    target = Path(model)
    if target.suffix != ".onnx" or not target.parent.is_dir():
        raise LabError(f"{model}: give a name that ends in .onnx, in a folder that exists")
    settings, entry = of_run(loop.read_checkpoint(Path(run)))
    found = entry.data(settings, data)
    card = make_card(settings, entry, found)
    difference = export_run(Path(run), target, card)
    if entry.measure is not None:
        measured = rounded(entry.measure(open_file(target), found))
        export_run(Path(run), target, card | {"measured": measured})
    return difference


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
    entry = lookup(str(table.get("method", "")))
    return json.dumps(as_table(recipe.settings(entry.settings, table)), indent=2)
