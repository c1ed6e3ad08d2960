"""Asked: edits as JSON. The fields, defaults and descriptions are those of `Edit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model
from pydantic import Field as Described

from facepaint.change import choose
from facepaint.edit import STRONGEST, Edit
from facepaint.errors import EditError, NoFaceError
from facepaint.face import Face
from facepaint.names import BLENDSHAPES, EXPRESSIONS, LOOKS, PAIRS, REGIONS
from facepaint.painter import NO_FACE
from facepaint.photo import FORMATS

_SHOWN: dict[str, dict[str, Any]] = {  # what the document says beside the type
    "to": {"enum": [None, *EXPRESSIONS]},
    "strength": {"minimum": 0, "maximum": STRONGEST},
    "set": {"propertyNames": {"enum": [*PAIRS, *BLENDSHAPES[1:]]}},
    "like": {"description": "The number of a face in the picture that is sent as `like`."},
    "look": {"enum": [None, *LOOKS]},
    "regions": {"items": {"type": "string", "enum": list(REGIONS)}},
}


def _field(field: Field[Any]) -> Any:
    more = {"description": field.metadata["help"], **_SHOWN.get(field.name, {})}
    if field.default_factory is not MISSING:
        return Described(default_factory=field.default_factory, json_schema_extra=more)
    return Described(default=field.default, json_schema_extra=more)


# in JSON a face is the number of one
_TYPES = get_type_hints(Edit, localns={"Face": int})
_FIELDS: dict[str, Any] = {f.name: (_TYPES[f.name], _field(f)) for f in fields(Edit)}
# a misspelled field is an error, not a wish that is passed over
OneEdit: type[BaseModel] = create_model(
    "OneEdit", __config__=ConfigDict(extra="forbid"), __doc__="What one face is asked.", **_FIELDS
)

_FACES = "Which faces, by number; all by default; or another edit for each: {number: edit}."
_FORMAT = f"Of the result: {', '.join(sorted(set(FORMATS.values())))}; the photo's own by default."
_MORE: dict[str, Any] = {
    "faces": (list[int] | dict[int, OneEdit] | None, Described(None, description=_FACES)),  # type: ignore[valid-type]
    "format": (str | None, Described(None, description=_FORMAT)),
}
EditRequest: type[BaseModel] = create_model(
    "EditRequest",
    __base__=OneEdit,
    __doc__="What the faces of a photo are asked, and in which format the result is written.",
    **_MORE,
)


def plan(
    asked: BaseModel, found: list[Face], like: Sequence[Face] | None
) -> list[tuple[Face, Edit]]:
    """What each face gets, by an EditRequest.

    like: the faces of the picture that was sent to copy from, None without one. Raises EditError
    for what cannot be asked of these faces, NoFaceError where there are none.
    """
    faces = asked.faces  # type: ignore[attr-defined]
    if not isinstance(faces, dict):
        common = _edit(asked, like)
        each = None
    else:
        if asked.model_fields_set & set(_FIELDS):
            raise EditError("faces says what each face is asked; leave out the other fields")
        each = {number: _edit(one, like) for number, one in faces.items()}
    if not found:
        raise NoFaceError(NO_FACE)
    if faces is not None and not faces:
        raise EditError("faces names none; leave it out to edit all")
    chosen = choose(found, None if faces is None else list(faces))
    return [(face, each[face.index] if each else common) for face in chosen]


def _edit(asked: BaseModel, like: Sequence[Face] | None) -> Edit:
    values = {name: getattr(asked, name) for name in _FIELDS}
    if values["like"] is not None:
        if like is None:
            raise EditError("like names a face of a picture, but no picture was sent as `like`")
        if not like:
            raise NoFaceError(f"the picture to take an expression from: {NO_FACE}")
        values["like"] = choose(list(like), [values["like"]])[0]
    return Edit(**values)
