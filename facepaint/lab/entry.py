"""Entry: what a method that trains tells the lab of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from facepaint.lab.data.named import faces, trained_on
from facepaint.lab.loop import Method, Networks
from facepaint.lab.recipe import Settings


@dataclass(frozen=True)
class Entry:
    """What the lab needs to know of a method. Everything but the first three is for its export.

    settings: the dataclass of its recipes. build: from settings and data to the method. data: from
    settings and a folder (None for the environment's) to what `build` takes.
    graph: from settings and averaged weights to an `export.Graph`. measure: from the exported model
    and data to what its card says. used: from settings and data to photos by set, for the card.
    extra: from settings and data to what else the runtime or a reader of the card needs.
    solve: of a method that is solved at once and not trained in steps, in place of `build`: from
    settings and data to its networks. what, limits: for the card.
    """

    settings: type[Settings]
    build: Callable[[Any, Any], Method] | None
    data: Callable[[Settings, str | None], Any] = faces
    graph: Callable[[Any, dict[str, Any]], Any] | None = None
    measure: Callable[[Any, Any], dict[str, Any]] | None = None
    used: Callable[[Any, Any], dict[str, int]] = trained_on
    extra: Callable[[Any, Any], dict[str, Any]] = lambda settings, found: {}
    solve: Callable[[Any, Any], Networks] | None = None
    what: str = ""
    limits: str = ""
