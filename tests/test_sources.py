"""Faces of some sets alone: what weights whose data is free are trained on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.errors import LabError
from facepaint.lab import recipe
from facepaint.lab.cards import make_card
from facepaint.lab.data import drawn, named
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.methods import lookup
from facepaint.names import EXPRESSIONS


@pytest.fixture(autouse=True)
def mixed(monkeypatch: pytest.MonkeyPatch) -> FaceSet:
    """Drawn faces in the place of photos: the people of even number London's, the rest of research;
    only the latter are surprised."""
    faces = drawn.draw(0)
    number = np.array([int(s.rpartition("-")[2]) for s in faces.subjects])
    sources = np.where(number % 2, "taiwan", "london")
    surprised = faces.expressions == EXPRESSIONS.index("surprised")
    faces = dataclasses.replace(faces, sources=sources).only(~surprised | (sources == "taiwan"))
    monkeypatch.setattr(named, "faces", lambda settings, folder: faces)
    return faces


def settings_of(method: str, **changes: Any) -> Any:
    return recipe.settings(lookup(method).settings, {"method": method} | changes)


@pytest.mark.parametrize("method", ["reader", "painter"])
def test_only_the_sets_that_are_asked_for_are_seen(method: str, mixed: FaceSet) -> None:
    entry = lookup(method)
    found = entry.data(settings_of(method, sources="london"), None)
    assert set(found.sources) == {"london"}
    wanted = mixed.sources == "london"
    for field in dataclasses.fields(FaceSet):
        kept = getattr(mixed, field.name)[wanted]
        assert np.array_equal(getattr(found, field.name), kept, equal_nan=kept.dtype.kind == "f")
    assert entry.data(settings_of(method), None) is mixed


def test_drawn_faces_may_be_among_the_sets(mixed: FaceSet) -> None:
    found = named.faces_of_sources(settings_of("reader", sources="london,drawn", seed=3), None)
    london = int((mixed.sources == "london").sum())
    assert np.array_equal(found.crops[london:], drawn.draw(3).crops)
    assert set(found.sources) == {"london", "drawn"} and len(found) == len(found.held_out)


def test_sets_that_are_not_there_are_one_clear_line() -> None:
    with pytest.raises(LabError, match=r"no faces of sources='lodnon'.*there are london, taiwan"):
        named.faces_of_sources(settings_of("painter", sources="lodnon"), None)


def test_the_card_has_the_licence_and_the_expressions_of_those_sets() -> None:
    for sources, licence, knows in (
        ("london", "as free as its data", ["neutral", "happy"]),
        ("", "research use: the licences of the data forbid more", None),
    ):
        entry, settings = lookup("painter"), settings_of("painter", sources=sources)
        card = make_card(settings, entry, entry.data(settings, None))
        assert card["licence"] == licence
        assert list(card["expressions"]) == (knows or ["neutral", "happy", "surprised"])
        assert ("taiwan" in card["data"]) == (not sources)
        assert ("people (london) and no others" in card["limits"]) == bool(sources)
