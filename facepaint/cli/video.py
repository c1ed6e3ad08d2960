"""The command of the extra `video`."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from facepaint.cli import options as given
from facepaint.cli.group import cli
from facepaint.cli.options import (
    Bar,
    detector_option,
    edit_options,
    face_option,
    method_option,
    no_mark_option,
    weights_option,
)
from facepaint.edit import Edit

if TYPE_CHECKING:
    from facepaint.video import Report


def _seconds(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """3, 3s or 0.5s."""
    try:
        value = float(text.removesuffix("s")) if text is not None else None
    except ValueError:
        value = 0.0
    if value is not None and not 0 < value < float("inf"):
        raise click.BadParameter(f"{text!r} is no time like 3s", context, option)
    return value


@cli.command()
@click.argument("clip")
@click.argument("out", required=False)
@edit_options
@face_option
@click.option(
    "--preview", metavar="TIME", callback=_seconds, help="Only the beginning, such as 3s."
)
@no_mark_option
@method_option
@detector_option
@weights_option
def video(
    clip: str,
    out: str | None,
    faces: tuple[str, ...],
    preview: float | None,
    unmarked: bool,
    method: str | None,
    detector: str | None,
    weights: str | None,
    **asked: Any,
) -> None:
    """Give the faces of CLIP another expression and write the result to OUT.

    OUT is CLIP's name with the expression in it (clip.happy.mp4) unless given; its suffix chooses
    the container: mp4, mov, m4v, mkv or webm. Sound is copied. Faces are numbered as they appear.
    Ctrl-C leaves what is done as clip.happy.partial.mp4.
    """
    from facepaint.video import edit_clip

    each = dict(given.each_face(faces))
    common = given.common(asked, each)
    word = given.word(common, each) + (".preview" if preview is not None else "")
    target = Path(out) if out else _beside(Path(clip), word)
    painter = given.painter(weights, method, unmarked)
    if asked["like"]:
        common["like"] = given.like(painter, asked["like"])
    edits: Edit | Mapping[int, Edit] = (
        Edit(**given.merged(common, {}))
        if not each
        else {n: Edit(**given.merged(common, own)) for n, own in each.items()}
    )
    with _stopping() as stop, Bar("frames") as bar:
        report = edit_clip(
            painter,
            Path(clip),
            target,
            edits,
            detector=given.detector(detector),
            seconds=preview,
            progress=bar,
            stop=lambda: bool(stop),
        )
    _tell(report)
    if report.broken:
        raise click.exceptions.Exit(2)
    if stop and report.stopped:
        raise click.exceptions.Exit(128 + stop[0])


def _beside(clip: Path, word: str) -> Path:
    from facepaint.video.clip import CONTAINERS, FALLBACK

    suffix = clip.suffix if clip.suffix.lower() in CONTAINERS else FALLBACK
    return clip.with_name(f"{clip.stem}.{word}{suffix}")


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Signals that ask to stop, as a list that they fill; the second one stops at once."""
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {n: signal.signal(n, ask) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(report: Report) -> None:
    for person in report.people:
        x, y, wide, high, _ = person.box
        where = f"{wide:.0f}×{high:.0f} at {x:.0f},{y:.0f}"
        click.echo(f"face {person.index}: first at {person.first:.2f} s, {where}", err=True)
    for n in report.missing:
        click.echo(f"facepaint: there is no face {n} in the clip", err=True)
    for name in report.dropped:
        click.echo(f"facepaint: a stream of kind {name} was left out", err=True)
    if report.broken:
        click.echo(f"facepaint: {report.broken}", err=True)
    part = "stopped; the first part is whole: " if report.stopped else ""
    click.echo(
        f"{part}{report.path}: {report.edited} of {report.frames} frames edited, "
        f"{report.without_face} without a face, {report.seconds:.1f} s",
        err=True,
    )
