"""The registry of methods that train: one file and one line here for each."""

from __future__ import annotations

from typing import Any

from facepaint.errors import LabError
from facepaint.lab import recipe
from facepaint.lab.entry import Entry
from facepaint.lab.methods import (
    cyclegan,
    inpainting,
    maskrcnn,
    mover,
    painter,
    reader,
    sagan,
    shade,
    visibility,
)
from facepaint.lab.recipe import Settings

METHODS: dict[str, Entry] = {
    "reader": reader.ENTRY,
    "painter": painter.ENTRY,
    "mover": mover.ENTRY,
    "mouth": inpainting.MOUTH,
    "eye": inpainting.EYE,
    "visibility": visibility.ENTRY,
    "shade": shade.ENTRY,
    "maskrcnn": maskrcnn.ENTRY,
    "sagan": sagan.ENTRY,
    "cyclegan": cyclegan.ENTRY,
}


def lookup(name: str) -> Entry:
    """The entry of a method by name."""
    if name not in METHODS:
        raise LabError(f"no method {name!r} to train; there are {', '.join(METHODS)}")
    return METHODS[name]


def of_run(state: dict[str, Any]) -> tuple[Settings, Entry]:
    """The settings and the entry of a run's checkpoint."""
    entry = lookup(state["settings"]["method"])
    return recipe.settings(entry.settings, state["settings"]), entry
