"""The registry of methods that train: one file and one line here for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from facepaint.errors import LabError
from facepaint.lab.faces import FaceSet
from facepaint.lab.loop import Method
from facepaint.lab.methods.painter import PainterMethod, PainterSettings
from facepaint.lab.methods.reader import ReaderMethod, ReaderSettings
from facepaint.lab.recipe import Settings

Entry = tuple[type[Settings], Callable[[Any, FaceSet], Method]]

METHODS: dict[str, Entry] = {
    "reader": (ReaderSettings, ReaderMethod),
    "painter": (PainterSettings, PainterMethod),
}


def lookup(name: str) -> Entry:
    """The settings and the constructor of a method by name."""
    if name not in METHODS:
        raise LabError(f"no method {name!r} to train; there are {', '.join(METHODS)}")
    return METHODS[name]
