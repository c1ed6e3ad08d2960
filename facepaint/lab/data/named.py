"""The data that settings name: faces or scenes, from a folder or drawn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint.errors import LabError
from facepaint.lab.data import drawn
from facepaint.lab.data import faces as face_sets
from facepaint.lab.data import scenes as scene_sets
from facepaint.lab.data import windows as window_sets
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.data.scenes import SceneSet
from facepaint.lab.data.split import SPLIT
from facepaint.lab.data.windows import WindowSet
from facepaint.lab.recipe import Settings

CACHE_VARIABLE = "FACEPAINT_CACHE"


def faces(settings: Settings, folder: str | None) -> FaceSet:
    """The faces of `folder`, or of the environment's for None; drawn ones for data="drawn"."""
    if _is_drawn(settings):
        return drawn.draw(settings.seed)
    return face_sets.load(face_sets.data_folder(folder), cache_folder())


def windows(settings: Settings, folder: str | None, sources: str) -> WindowSet:
    """The large faces of `folder` that are of `sources`, likewise; drawn ones are of no source."""
    if _is_drawn(settings):
        return drawn.windows(settings.seed)
    return window_sets.load(face_sets.data_folder(folder), cache_folder(), sources)


def scenes(settings: Settings, folder: str | None) -> SceneSet:
    """Scenes of `folder`, likewise."""
    if _is_drawn(settings):
        return drawn.scenes(settings.seed)
    return scene_sets.load(face_sets.data_folder(folder))


def cache_folder() -> Path:
    """Where what is read or computed once is kept."""
    return Path(os.environ.get(CACHE_VARIABLE, "cache"))


def _is_drawn(settings: Settings) -> bool:
    """Whether faces are to be drawn; LabError for data or a split that there is not."""
    if settings.split != SPLIT:
        raise LabError(f"split={settings.split!r} is not how people are held out: {SPLIT!r} is")
    if settings.data not in ("photos", "drawn"):
        raise LabError(f"data={settings.data!r} is neither 'photos' nor 'drawn'")
    return settings.data == "drawn"


def trained_on(settings: Settings, found: FaceSet) -> dict[str, int]:
    """How many photos of each set are not held out."""
    return by_set(found, ~found.held_out)


def by_set(found: FaceSet | WindowSet, rows: npt.NDArray[Any]) -> dict[str, int]:
    """How many of those faces, given by index or as a mask [N], each set has."""
    sources, counts = np.unique(found.sources[rows], return_counts=True)
    return {str(s): int(n) for s, n in zip(sources, counts, strict=True)}


def of_sets(found: FaceSet, names: str) -> npt.NDArray[np.bool_]:
    """Which faces are of the sets in `names`, separated by commas; all for ""."""
    sources = [s for s in names.split(",") if s]
    return np.isin(found.sources, sources) if sources else np.ones(len(found), bool)
