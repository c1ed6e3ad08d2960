"""The data that settings name: faces or scenes, from a folder or drawn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint.errors import LabError
from facepaint.lab.data import closeups as close_up_sets
from facepaint.lab.data import drawn
from facepaint.lab.data import faces as face_sets
from facepaint.lab.data import scenes as scene_sets
from facepaint.lab.data.closeups import CloseUps
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.data.scenes import SceneSet
from facepaint.lab.data.split import SPLIT
from facepaint.lab.recipe import Augmented, Settings

_DRAWN = "drawn"  # as data, and as a source of faces
CACHE_VARIABLE = "FACEPAINT_CACHE"


def faces(settings: Settings, folder: str | None) -> FaceSet:
    """The faces of `folder`, or of the environment's for None; drawn ones for data="drawn"."""
    if _is_drawn(settings):
        return drawn.draw(settings.seed)
    return face_sets.load(face_sets.data_folder(folder), cache_folder())


def faces_of_sources(settings: Settings, folder: str | None) -> FaceSet:
    """The faces of those sets alone that the settings name, of which "drawn" may be one; LabError
    where none is of them."""
    assert isinstance(settings, Augmented)
    found = faces(settings, folder)
    if not settings.sources:
        return found
    chosen = found.only(of_sets(found, settings.sources))
    if _DRAWN in settings.sources.split(",") and not _is_drawn(settings):
        chosen = chosen.joined(drawn.draw(settings.seed))
    if not len(chosen):
        sets = ", ".join(by_set(found, np.ones(len(found), bool)))
        raise LabError(f"no faces of sources={settings.sources!r} in the data; there are {sets}")
    return chosen


def close_ups(settings: Settings, folder: str | None) -> CloseUps:
    """The faces of `folder` at the photos' own sharpness, of the sets that the settings name, where
    they have `sources`; or drawn ones."""
    if _is_drawn(settings):
        return drawn.close_ups(settings.seed)
    sources = str(getattr(settings, "sources", ""))
    return close_up_sets.load(face_sets.data_folder(folder), cache_folder(), sources)


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
    if settings.data not in ("photos", _DRAWN):
        raise LabError(f"data={settings.data!r} is neither 'photos' nor 'drawn'")
    return settings.data == _DRAWN


def trained_on(settings: Settings, found: FaceSet | CloseUps) -> dict[str, int]:
    """How many photos of each set are not held out."""
    return by_set(found, ~found.held_out)


def by_set(found: FaceSet | CloseUps, rows: npt.NDArray[Any]) -> dict[str, int]:
    """How many of those faces, given by index or as a mask [N], each set has."""
    sources, counts = np.unique(found.sources[rows], return_counts=True)
    return {str(s): int(n) for s, n in zip(sources, counts, strict=True)}


def of_sets(found: FaceSet, names: str) -> npt.NDArray[np.bool_]:
    """Which faces are of the sets in `names`, separated by commas; all for ""."""
    sources = [s for s in names.split(",") if s]
    return np.isin(found.sources, sources) if sources else np.ones(len(found), bool)
