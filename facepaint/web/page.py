"""Page: the studio's controls, made of the fields of Edit and the names, and what they do.

The picture itself is static/stage.js: it opens photos, shows faces, before and after. Everything
asked lives in the Draft of the open photo; the page only knows that photo's key.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import Base, colors, sizes

from facepaint.edit import STRONGEST, Edit
from facepaint.errors import FacePaintError
from facepaint.face import Face
from facepaint.names import BLENDSHAPES, GROUPS, LOOKS, PAIRS, REGIONS
from facepaint.web import words
from facepaint.web.draft import NOTHING, SIDES, Reference, level, muscles, value_of
from facepaint.web.gate import Slots
from facepaint.web.shelf import Open, Shelf
from facepaint.web.work import Bench

STATIC = Path(__file__).with_name("static")
AS_IT_IS = "as it is"  # no expression asked
_FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
Listener = Callable[..., Awaitable[Any]]


def static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def theme() -> Any:
    """Fonts of the system: none is fetched."""
    made = Base(
        primary_hue=colors.orange,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_lg,
        font=_FONT,
        font_mono=_MONO,
    )
    return made.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
        slider_color="*primary_600",
        slider_color_dark="*primary_500",
        block_border_width="0px",
        block_shadow="none",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        body_background_fill="*neutral_100",
        body_background_fill_dark="*neutral_950",
        background_fill_primary_dark="*neutral_900",
    )


def muscle_names(group: str) -> list[str]:
    """The muscles of a group: pairs by their short name, then those that are alone."""
    lone = [n for n in BLENDSHAPES[1:] if not any(n in both for both in PAIRS.values())]
    return [name for name in (*PAIRS, *lone) if name.startswith(GROUPS[group])]


def label(muscle: str, group: str) -> str:
    """mouthSmile in the group mouth as "Smile"; noseSneer in cheeks and nose as "Nose sneer"."""
    text = muscle.removeprefix(group) if len(GROUPS[group]) > 1 else _rest(muscle, GROUPS[group][0])
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower().capitalize()


def _rest(muscle: str, start: str) -> str:
    return muscle.removeprefix(start) or muscle


def build(bench: Bench, slots: Slots, shelf: Shelf, has_example: bool) -> Any:
    """The page as Gradio's Blocks."""
    return _Page(bench, slots, shelf, has_example).blocks


class _Page:
    def __init__(self, bench: Bench, slots: Slots, shelf: Shelf, has_example: bool) -> None:
        self._bench, self._slots, self._shelf = bench, slots, shelf
        # a method whose expressions have blendshapes moves muscles
        self._has_muscles = isinstance(bench.painter.method.card["expressions"], dict)
        self._controls: dict[str, Any] = {}  # by the name of Edit's field
        self._muscles: dict[str, Any] = {}
        with gr.Blocks(
            title="FacePaint studio", fill_width=True, analytics_enabled=False
        ) as self.blocks:
            self._lay_out(has_example)
            self._listen()

    # --- what is on the page

    def _lay_out(self, has_example: bool) -> None:
        self._key = gr.State(None)
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=7, elem_id="left", min_width=320):
                self._stage = gr.HTML(
                    value={"example": has_example},
                    html_template=static("stage.html"),
                    js_on_load=static("stage.js"),
                    apply_default_css=False,
                    elem_id="stage",
                )
            with gr.Column(scale=4, elem_id="panel", min_width=330, visible=False) as self._panel:
                self._lay_out_panel()

    def _lay_out_panel(self) -> None:
        self._faces = gr.CheckboxGroup([], label="Faces", elem_id="faces")
        for field in fields(Edit):
            _LAID_OUT[field.name](self, field)
        with gr.Accordion("The same as a command, and in Python", open=False):
            self._command = gr.Code(language="shell", label="Command line", interactive=False)
            self._python = gr.Code(language="python", label="Python", interactive=False)
        with gr.Row(elem_id="bar"):
            self._undo = gr.Button("Undo", elem_id="undo", min_width=60)
            self._reset = gr.Button("Reset", elem_id="reset", min_width=60)
            self._save = gr.Button("Save photo", variant="primary", elem_id="save", min_width=120)

    def _lay_out_to(self, field: Field[Any]) -> None:
        self._controls["to"] = gr.Radio(
            [AS_IT_IS, *self._bench.painter.expressions],
            value=AS_IT_IS,
            label="Expression",
            elem_id="to",
        )

    def _lay_out_strength(self, field: Field[Any]) -> None:
        self._controls["strength"] = gr.Slider(
            0,
            STRONGEST,
            value=field.default,
            step=0.01,
            label="Strength",
            info=field.metadata["help"],
            elem_id="strength",
        )

    def _lay_out_set(self, field: Field[Any]) -> None:
        with gr.Group(elem_id="muscles", visible=self._has_muscles):
            self._side = gr.Radio(
                [(s.lower() if s in SIDES[1:] else s, s) for s in SIDES],
                value=SIDES[0],
                label="Muscles, on which side of the person",
                elem_id="side",
            )
            for group in GROUPS:
                with gr.Accordion(group.capitalize(), open=group == next(iter(GROUPS))):
                    for name in muscle_names(group):
                        self._muscles[name] = gr.Slider(
                            0,
                            1,
                            step=0.01,
                            buttons=[],
                            label=label(name, group),
                            elem_id=f"muscle-{name}",
                            elem_classes="muscle",
                        )

    def _lay_out_like(self, field: Field[Any]) -> None:
        with gr.Accordion("Copy the expression of another picture", open=False, elem_id="copying"):
            self._picture = gr.HTML(
                value={},
                html_template=static("picture.html"),
                js_on_load=static("picture.js"),
                apply_default_css=False,
                elem_id="picture",
            )
            self._picture_key = gr.State(None)
            self._controls["like"] = gr.Radio(
                [], label="Which face of it", visible=False, elem_id="like"
            )

    def _lay_out_look(self, field: Field[Any]) -> None:
        self._controls["look"] = gr.Radio(
            [AS_IT_IS, *LOOKS],
            value=AS_IT_IS,
            label="Eyes look to",
            visible=self._bench.painter.method.turns_eyes,
            elem_id="look",
        )

    def _lay_out_regions(self, field: Field[Any]) -> None:
        with gr.Accordion("Change only parts of the face", open=False):
            self._controls["regions"] = gr.CheckboxGroup(
                list(REGIONS), label="Parts; the whole face where none is ticked", elem_id="regions"
            )

    # --- what happens

    def _listen(self) -> None:
        shown = [self._stage, self._command, self._python]
        all_of_it = [*shown, *self._outputs()]
        on = self._on
        on(self._stage.opened, self._open, [], [self._key, self._panel, *all_of_it])
        on(self._stage.chose, self._choose_there, [], all_of_it)
        on(self._faces.input, self._choose, [self._faces], all_of_it)
        on(self._side.input, self._turn, [self._side], all_of_it)
        on(self._undo.click, self._go_back, [], all_of_it)
        on(self._reset.click, self._clear, [], all_of_it)
        on(self._picture.opened, self._take_picture, [], [self._picture_key, *all_of_it])
        for name, outputs in _REDRAWN.items():
            control = self._controls[name]
            inputs = [control] if name != "like" else [self._picture_key, control]
            on(control.input, self._asks(name), inputs, all_of_it if outputs else shown)
        for name, slider in self._muscles.items():
            on(slider.input, self._moves(name), [slider], shown)
        self._save.click(None, js="() => document.querySelector('#stage .save').click()")

    def _on(self, event: Any, does: Listener, inputs: list[Any], outputs: list[Any]) -> None:
        # not queued: one request and its answer, and of many moves only the last one waits
        event(
            does,
            [self._key, *inputs],
            outputs,
            queue=False,
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )

    def _outputs(self) -> list[Any]:
        """The controls that show what is asked, in the order of `_values`."""
        return [self._faces, *self._controls.values(), *self._muscles.values()]

    def _values(self, opened: Open) -> list[Any]:
        draft, first = opened.draft, opened.chosen[0] if opened.chosen else None
        wish = draft.wishes.get(first, NOTHING) if first is not None else NOTHING
        names = _names(draft.faces)
        settled = [
            gr.CheckboxGroup(names, value=list(opened.chosen)),
            wish.get("to", AS_IT_IS) if "like" not in wish else None,
            value_of(wish, "strength"),
            gr.skip() if "like" in wish else gr.Radio(value=None),
            wish.get("look", AS_IT_IS),
            list(wish.get("regions", ())),
        ]
        return settled + self._levels(opened, first, wish)

    def _levels(self, opened: Open, first: int | None, wish: Any) -> list[Any]:
        if first is None or not self._has_muscles:
            return [gr.skip() for _ in self._muscles]
        values = muscles(opened.draft.faces[first], wish, self._bench.painter.method)
        return [level(values, name, opened.side) for name in self._muscles]

    async def _shown(self, opened: Open) -> list[Any]:
        """The stage and the words, as the draft now is."""
        draft, version = opened.draft, opened.version
        edits = draft.edits()
        picture = await self._slots.run(opened.preview.jpeg, edits) if edits else b""
        height, width = draft.photo.pixels.shape[:2]
        value = {
            "key": opened.key,
            "version": version,
            "name": draft.name,
            "width": width,
            "height": height,
            "shown": opened.preview.photo.pixels.shape[1],
            "faces": [_outline(face) for face in draft.faces],
            "chosen": list(opened.chosen),
            "after": base64.b64encode(picture).decode(),
        }
        return [value, words.command_line(draft), words.python(draft)]

    async def _all(self, opened: Open) -> list[Any]:
        return await self._shown(opened) + self._values(opened)

    async def _open(self, key: str | None, event: gr.EventData) -> list[Any]:
        opened = self._got(event.key)
        if key != opened.key:
            self._shelf.drop(key)
        return [opened.key, gr.Column(visible=True), *await self._all(opened)]

    async def _choose_there(self, key: str, event: gr.EventData) -> list[Any]:
        return await self._choose(key, event.faces)

    async def _choose(self, key: str, faces: list[int]) -> list[Any]:
        opened = self._got(key)
        opened.chosen = tuple(f.index for f in opened.draft.faces if f.index in faces)
        opened.version += 1
        return await self._all(opened)

    async def _turn(self, key: str, side: str) -> list[Any]:
        opened = self._got(key)
        opened.side = side
        return await self._all(opened)

    async def _go_back(self, key: str) -> list[Any]:
        opened = self._got(key)
        opened.now(opened.draft.undone())
        return await self._all(opened)

    async def _clear(self, key: str) -> list[Any]:
        opened = self._got(key)
        opened.now(opened.draft.cleared(opened.chosen, time.monotonic()))
        return await self._all(opened)

    def _asks(self, name: str) -> Listener:
        async def asks(key: str, *given: Any) -> list[Any]:
            opened = self._got(key)
            value = self._understood(name, *given)
            draft = opened.draft.asked(opened.chosen, name, value, time.monotonic())
            opened.now(draft)
            return await (self._all if _REDRAWN[name] else self._shown)(opened)

        return asks

    def _moves(self, muscle: str) -> Listener:
        async def moves(key: str, value: float) -> list[Any]:
            opened = self._got(key)
            draft = opened.draft.moved(
                opened.chosen, muscle, opened.side, round(value, 2), time.monotonic()
            )
            opened.now(draft)
            return await self._shown(opened)

        return moves

    def _understood(self, name: str, *given: Any) -> Any:
        """What a control says, as the value of Edit's field."""
        if name in ("to", "look"):
            return None if given[0] == AS_IT_IS else given[0]
        if name == "regions":
            return tuple(given[0])
        if name == "like":
            other = self._got(given[0]).draft
            return Reference(other.faces[given[1]], other.name)
        return round(float(given[0]), 2)

    async def _take_picture(self, key: str, event: gr.EventData) -> list[Any]:
        """A picture to copy from has come: its first face is copied."""
        opened, other = self._got(key), self._got(event.key)
        if not other.draft.faces:
            raise gr.Error(f"{other.draft.name} shows no face to copy")
        faces = other.draft.faces
        wish = Reference(faces[0], other.draft.name)
        opened.now(opened.draft.asked(opened.chosen, "like", wish, time.monotonic()))
        everything = await self._all(opened)
        place = 3 + self._outputs().index(self._controls["like"])
        everything[place] = gr.Radio(_names(faces), value=0, visible=len(faces) > 1)
        return [other.key, *everything]

    def _got(self, key: str | None) -> Open:
        try:
            return self._shelf.get(key)
        except FacePaintError as error:
            raise gr.Error(str(error)) from error


# How each field of Edit is laid out; a new field has to be given a place here.
_LAID_OUT: dict[str, Callable[[_Page, Field[Any]], None]] = {
    "to": _Page._lay_out_to,
    "strength": _Page._lay_out_strength,
    "set": _Page._lay_out_set,
    "like": _Page._lay_out_like,
    "look": _Page._lay_out_look,
    "regions": _Page._lay_out_regions,
}
# Controls of one value each, and whether the other controls show something else after it.
_REDRAWN = {"to": True, "strength": False, "like": True, "look": True, "regions": True}


def _names(faces: list[Face]) -> list[tuple[str, int]]:
    """Faces as choices: what is shown, and the number."""
    return [(f"{face.index} · {face.expression}", face.index) for face in faces]


def _outline(face: Face) -> dict[str, Any]:
    x, y, width, height, _ = face.box
    return {
        "index": face.index,
        "expression": face.expression,
        "box": [round(float(v), 1) for v in (x, y, width, height)],
    }
