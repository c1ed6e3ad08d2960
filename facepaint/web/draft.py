"""Draft: a photo at work. What each of its faces is asked, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from facepaint.edit import Edit
from facepaint.face import Face, FloatArray
from facepaint.methods import Method
from facepaint.names import BLENDSHAPES, PAIRS
from facepaint.photo import Photo

Wish = Mapping[str, Any]  # fields of Edit that were asked, by name; a Reference for `like`
Wishes = Mapping[int, Wish]  # of faces, by number
NOTHING: Wish = {}
SIDES = ("both", "Left", "Right")  # of a pair of muscles; the person's own
_PAUSE = 1.5  # seconds after which the same slider begins another step to undo
_STEPS = 200  # steps that can be undone


@dataclass(frozen=True)
class Reference:
    """A face to copy the expression of, and the picture it is from."""

    face: Face
    name: str


@dataclass(frozen=True, eq=False)
class Draft:
    """A photo, its faces, and what each is asked. A change gives another draft.

    name: the photo's file name. wishes: of the faces that were asked anything. past: the wishes
    before each step that can be undone, with the slider that made it and when, in seconds.
    """

    name: str
    photo: Photo
    faces: list[Face]
    wishes: Wishes = field(default_factory=dict)
    past: tuple[tuple[Wishes, str, float], ...] = ()

    def asked(self, chosen: Iterable[int], what: str, value: Any, now: float) -> Draft:
        """The draft in which the field `what` of Edit is `value` for the chosen faces; None takes
        it back. Moves of one slider in quick succession are one step."""
        wishes, chosen = dict(self.wishes), tuple(chosen)
        for index in chosen:
            wishes[index] = _with(wishes.get(index, NOTHING), what, value)
        slider = f"{what} {chosen}" if isinstance(value, float) else ""
        return self._stepped(wishes, slider, now)

    def moved(
        self, chosen: Iterable[int], muscle: str, side: str, value: float, now: float
    ) -> Draft:
        """The draft in which a muscle, or one side of a pair, is set to `value` (0 to 1)."""
        wishes, chosen = dict(self.wishes), tuple(chosen)
        for index in chosen:
            wish = wishes.get(index, NOTHING)
            own = dict(wish.get("set", {})) | dict.fromkeys(singles(muscle, side), float(value))
            wishes[index] = _with(wish, "set", own)
        return self._stepped(wishes, f"{muscle} {side} {chosen}", now)

    def cleared(self, chosen: Iterable[int], now: float) -> Draft:
        """The draft in which the chosen faces are asked nothing."""
        gone = set(chosen)
        wishes = {index: wish for index, wish in self.wishes.items() if index not in gone}
        return self._stepped(wishes, "", now)

    def undone(self) -> Draft:
        """The draft before the last step; the same where there is none."""
        if not self.past:
            return self
        (wishes, _, _), rest = self.past[-1], self.past[:-1]
        return replace(self, wishes=wishes, past=rest)

    def _stepped(self, wishes: Wishes, slider: str, now: float) -> Draft:
        past = self.past
        same = past and slider and past[-1][1] == slider and now - past[-1][2] < _PAUSE
        if same:  # its step goes on from where it began
            past = (*past[:-1], (past[-1][0], slider, now))
        else:
            past = (*past, (self.wishes, slider, now))[-_STEPS:]
        return replace(self, wishes=wishes, past=past)

    def edits(self) -> dict[int, Edit]:
        """The edit of each face that is asked for one."""
        found = ((face.index, edit_of(self.wishes.get(face.index, NOTHING))) for face in self.faces)
        return {index: edit for index, edit in found if edit is not None}


def edit_of(wish: Wish) -> Edit | None:
    """The edit of a wish; None where no expression, muscle, face or gaze is in it."""
    if not any(wish.get(name) for name in ("to", "set", "like", "look")):
        return None
    values = dict(wish)
    if "like" in values:
        values["like"] = values["like"].face
    return Edit(**values)


def value_of(wish: Wish, name: str) -> Any:
    """A field of a wish; the default of Edit where it was not asked."""
    default = {f.name: f.default for f in fields(Edit)}[name]
    return wish.get(name, default)


def muscles(face: Face, wish: Wish, method: Method) -> FloatArray:
    """The face's blendshapes, float32 [52], as its wish would have them at full strength; as they
    were read where nothing is asked or the method knows expressions by name alone."""
    edit = edit_of(wish)
    wanted = None if edit is None else method.wanted(face, replace(edit, strength=1.0))
    return face.blendshapes if wanted is None else wanted


def singles(muscle: str, side: str) -> tuple[str, ...]:
    """The blendshapes of a muscle, or the one on a side of a pair."""
    both = PAIRS.get(muscle, (muscle,))
    return (
        tuple(n for n in both if n.endswith(side)) if side in SIDES[1:] and len(both) > 1 else both
    )


def level(values: FloatArray, muscle: str, side: str) -> float:
    """Where a muscle's slider stands: its blendshape, or the mean of its two."""
    names = singles(muscle, side)
    return round(float(np.mean([values[BLENDSHAPES.index(name)] for name in names])), 2)


def _with(wish: Wish, what: str, value: Any) -> Wish:
    values = {name: v for name, v in wish.items() if name != what}
    if value is None or value == ():
        return values
    other = {"to": "like", "like": "to"}.get(what)  # these two contradict each other
    values.pop(str(other), None)
    return values | {what: value}
