"""A method on drawn data, and its training step without log and files; for what times steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from facepaint.lab import precision, recipe
from facepaint.lab.data import drawn
from facepaint.lab.data.named import faces as any_faces
from facepaint.lab.methods import lookup


def method_of(table: dict[str, Any]) -> tuple[Any, dict[str, Tensor]]:
    """The method of a recipe's table on drawn data, and one batch of it."""
    entry = lookup(table["method"])
    asked = {"data": "drawn", "sources": ""}  # no other set is drawn
    known = entry.settings.__dataclass_fields__
    changed = table | {k: v for k, v in asked.items() if k in known}
    settings = recipe.settings(entry.settings, changed)
    seen = any_faces(settings, None) if entry.data is any_faces else drawn.scenes(0)
    method = entry.build(settings, seen)
    return method, method.sample(np.random.default_rng(0), settings.batch, 0)


def losses(method: Any, batch: dict[str, Tensor]) -> Iterator[tuple[Tensor, tuple[str, ...]]]:
    """The loss of each phase, computed in bf16 when it is its turn, and the networks it trains."""
    seen = dict(batch)
    for phase, names in method.phases.items():
        with precision.autocast("cpu"):
            loss, _ = method.loss(phase, method.networks, seen, 0)
        yield loss, names
