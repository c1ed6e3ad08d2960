"""Words: a draft as the command line and the Python that do the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from facepaint.edit import Edit
from facepaint.names import PAIRS
from facepaint.photo import FORMATS
from facepaint.web.draft import Draft, Reference, Wish, edit_of

NOTHING_YET = "# nothing is asked yet"
ONLY_PYTHON = (
    "# a command gives all faces the same muscles, parts and picture; use the Python below"
)


def command_line(draft: Draft) -> str:
    """The shell's command for a draft; a comment where it has none."""
    wishes = _asked(draft)
    if not wishes:
        return NOTHING_YET
    first = next(iter(wishes.values()))
    same = all(wish == first for wish in wishes.values())
    if not same and any(_common(wish) != _common(first) for wish in wishes.values()):
        return ONLY_PYTHON
    words = ["facepaint", "edit", _path(draft.name)]
    if same:
        words += _expression(first)
    words += _others(first)
    if not (same and len(wishes) == len(draft.faces)):
        for index, wish in wishes.items():
            words += ["--face", str(index) if same else f"{index}{_own(wish)}"]
    return shlex.join(words)


def python(draft: Draft) -> str:
    """A script for a draft; a comment where there is nothing to do."""
    wishes = _asked(draft)
    if not wishes:
        return NOTHING_YET
    lines = ["import facepaint", "", "painter = facepaint.load()"]
    first = next(iter(wishes.values()))
    if all(wish == first for wish in wishes.values()):
        given = [f"{name}={value}" for name, value in _literals(first)]
        if len(wishes) < len(draft.faces):
            given.append(f"faces={list(wishes)}")
        lines.append(f"photo = painter.edit({draft.name!r}, {', '.join(given)})")
    else:
        lines.append("faces = {")
        for index, wish in wishes.items():
            given = [f"{name}={value}" for name, value in _literals(wish, "painter.face_of({})")]
            lines.append(f"    {index}: facepaint.Edit({', '.join(given)}),")
        lines += ["}", f"photo = painter.edit({draft.name!r}, faces=faces)"]
    lines.append(f"photo.save({file_name(draft)!r})")
    return "\n".join(lines)


def file_name(draft: Draft) -> str:
    """The name of the saved file: the photo's, with what was made of it."""
    path = PurePath(draft.name)
    asked = {wish.get("to") for wish in _asked(draft).values()}
    only = next(iter(asked)) if len(asked) == 1 else None
    format = draft.photo.format or "PNG"
    own = FORMATS.get(path.suffix.lower().lstrip(".")) == format
    return f"{path.stem}.{only or 'edited'}{path.suffix if own else f'.{format.lower()}'}"


def _asked(draft: Draft) -> dict[int, Wish]:
    wishes = {face.index: draft.wishes.get(face.index, {}) for face in draft.faces}
    return {index: wish for index, wish in wishes.items() if edit_of(wish) is not None}


def _common(wish: Wish) -> dict[str, Any]:
    """What a command says once, for all faces."""
    return {name: v for name, v in wish.items() if name not in ("to", "strength")}


def _expression(wish: Wish) -> list[str]:
    words = ["--to", str(wish["to"])] if "to" in wish else []
    return words + (["--strength", f"{wish['strength']:g}"] if "strength" in wish else [])


def _own(wish: Wish) -> str:
    to, strength = wish.get("to"), wish.get("strength", Edit.strength)
    return (f":{to}" if to else "") + (f"@{strength:g}" if strength != Edit.strength else "")


def _others(wish: Wish) -> list[str]:
    words = []
    for name, value in paired(wish.get("set", {})).items():
        words += ["--set", f"{name}={value:g}"]
    if "like" in wish:
        words += ["--like", _named(wish["like"])]
    if "look" in wish:
        words += ["--look", str(wish["look"])]
    for region in wish.get("regions", ()):
        words += ["--region", region]
    return words


def _named(reference: Reference) -> str:
    index = reference.face.index
    return _path(reference.name) + (f"#{index}" if index else "")


def _path(name: str) -> str:
    return f"./{name}" if name.startswith("-") else name  # or it would be an option


def _literals(wish: Wish, like: str = "{}") -> list[tuple[str, str]]:
    """The fields of a wish as Python writes them."""
    values = dict(wish)
    found: list[tuple[str, str]] = []
    found += [(name, repr(values[name])) for name in ("to", "strength") if name in values]
    if "set" in values:
        found.append(("set", repr(paired(values["set"]))))
    if "like" in values:
        found.append(("like", _face_of(values["like"], like)))
    if "look" in values:
        found.append(("look", repr(values["look"])))
    if "regions" in values:
        found.append(("regions", repr(tuple(values["regions"]))))
    return found


def _face_of(reference: Reference, form: str) -> str:
    index = reference.face.index
    if index:
        return f"painter.face_of({reference.name!r}, {index})"
    return form.format(repr(reference.name))


def paired(singles: Mapping[str, float]) -> dict[str, float]:
    """Muscles under the short name of their pair where both sides are the same."""
    values = {name: round(value, 4) for name, value in singles.items()}
    for pair, (left, right) in PAIRS.items():
        if left in values and values.get(left) == values.get(right):
            values[pair] = values.pop(left)
            del values[right]
    return values
