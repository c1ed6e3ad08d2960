"""The commands of the runtime: edit, batch, faces, card."""

from __future__ import annotations

import json
from typing import Any

import click

from facepaint.cli import options as given
from facepaint.cli.group import cli
from facepaint.cli.options import (
    PIPE,
    Bar,
    detector_option,
    edit_options,
    face_option,
    method_option,
    no_mark_option,
    sign_options,
    weights_option,
)
from facepaint.edit import Edit
from facepaint.errors import one_line


@cli.command()
@click.argument("photo")
@click.argument("out", required=False)
@edit_options
@face_option
@click.option("--overwrite", is_flag=True, help="Allow OUT to be PHOTO itself.")
@no_mark_option
@sign_options
@method_option
@detector_option
@weights_option
def edit(
    photo: str,
    out: str | None,
    faces: tuple[str, ...],
    overwrite: bool,
    unmarked: bool,
    certificate: str | None,
    key: str | None,
    method: str | None,
    detector: str | None,
    weights: str | None,
    **asked: Any,
) -> None:
    """Give the faces of PHOTO another expression and write the result to OUT.

    OUT is PHOTO's name with the expression in it (photo.happy.jpg) unless given; its suffix
    chooses the format. A dash reads or writes a pipe.
    """
    from facepaint.change import choose
    from facepaint.errors import NoFaceError
    from facepaint.painter import NO_FACE
    from facepaint.photo import Photo

    each = dict(given.each_face(faces))
    common = given.common(asked, each)
    target = out or given.default_out(photo, given.word(common, each))
    given.guard(photo, target, overwrite)
    credentials = given.credentials(certificate, key, unmarked)
    data = given.source(photo, whole=credentials is not None)
    source = Photo.read(data)
    painter = given.painter(weights, method, unmarked)
    if asked["like"]:
        common["like"] = given.like(painter, asked["like"])
    edits = {n: Edit(**given.merged(common, own)) for n, own in each.items()}
    whole = None if each else Edit(**common)
    found = painter.faces(source, given.detector(detector))
    if not found:
        raise NoFaceError(f"{given.name(photo)}: {NO_FACE}")
    chosen = choose(found, list(edits) or None)
    with Bar("faces") as bar:
        plan = [(f, whole if whole is not None else edits[f.index]) for f in chosen]
        result = painter.repaint(source, plan, bar)
    sign = None
    if credentials is not None and isinstance(data, bytes):
        sign = credentials.signer(data, source, result)
    given.write(result, target, sign)
    if target != PIPE:
        one = "1 face" if len(chosen) == 1 else f"{len(chosen)} faces"
        click.echo(f"{target}: {one} of {len(found)} edited ({given.word(common, each)})", err=True)
    for face in chosen:
        if face.turned_far:
            what = "is turned far to a side: look whether its edit is right"
            click.echo(f"facepaint: face {face.index} {what}", err=True)


@cli.command()
@click.argument("source", metavar="IN")
@click.argument("out")
@edit_options
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--resume", is_flag=True, help="Go on with the batch that OUT holds.")
@click.option("--watch", is_flag=True, help="Stay, and edit what comes into IN; Ctrl-C ends it.")
@no_mark_option
@sign_options
@click.option(
    "--engine",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="What hands the photos to the workers; with ray, IN and OUT may be URLs.",
)
@click.option("--address", metavar="HOST:PORT", help="A running Ray; else one on this machine.")
@method_option
@detector_option
@weights_option
def batch(
    source: str,
    out: str,
    workers: int,
    resume: bool,
    watch: bool,
    unmarked: bool,
    certificate: str | None,
    key: str | None,
    engine: str,
    address: str | None,
    method: str | None,
    detector: str | None,
    weights: str | None,
    **asked: Any,
) -> None:
    """Make the same edit on every photo under the folder IN; results go to OUT, by the same names.

    OUT/manifest.jsonl has a line for each photo. Stopped at any moment, --resume goes on; what is
    done is not done again. A photo that fails is told at the end and stops nothing.
    """
    from facepaint import batch as folders

    common = given.common(asked, {})
    if asked["like"]:
        common["like"] = given.like(given.painter(weights, method), asked["like"])
    job = folders.Job(
        source,
        out,
        Edit(**common),
        weights,
        method,
        given.detector(detector),
        False if unmarked else None,
        given.credentials(certificate, key, unmarked),
    )
    if engine == "ray":
        from facepaint import cluster

        if watch:
            raise click.UsageError("--watch is not for --engine ray")
        with Bar("photos") as bar:
            _tell(cluster.run(job, workers, resume, address, bar), out)
        return
    if address or "://" in source + out:
        raise click.UsageError("--address and URLs need --engine ray")
    with Bar("photos") as bar:
        if not watch:
            _tell(folders.run(job, workers, resume, bar), out)
            return
        for lines in folders.watch(job, workers, bar):
            _tell(lines, out, fatal=False)


def _tell(lines: list[dict[str, Any]], out: str, fatal: bool = True) -> None:
    """How a batch went; exit status 1 where photos failed."""
    failed = [line for line in lines if line["error"]]
    for line in failed:
        click.echo(f"facepaint: {one_line(line['photo'])}: {line['error']}", err=True)
    click.echo(f"{out}: {len(lines) - len(failed)} of {len(lines)} photos edited", err=True)
    if failed and fatal:
        raise click.exceptions.Exit(1)


@cli.command()
@click.argument("photo")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")
@detector_option
@weights_option
def faces(photo: str, as_json: bool, detector: str | None, weights: str | None) -> None:
    """List the faces of PHOTO: index, box, score, expression, strongest blendshapes."""
    from facepaint.describe import describe
    from facepaint.photo import Photo

    source = Photo.read(given.source(photo))
    found = given.painter(weights).faces(source, given.detector(detector))
    if as_json:
        height, width = source.pixels.shape[:2]
        document = {
            "photo": photo,
            "width": width,
            "height": height,
            "faces": [describe(face) for face in found],
        }
        click.echo(json.dumps(document))
        return
    for face in found:
        x, y, wide, high, score = face.box
        top = "  ".join(f"{n} {v:.2f}" for n, v in face.top_blendshapes(4).items())
        where = f"{wide:.0f}×{high:.0f} at {x:.0f},{y:.0f}"
        click.echo(f"{face.index:>3}  {where:<22} score {score:.2f}  {face.expression:<9}  {top}")
    if not found:
        click.echo("no face found", err=True)


@cli.command()
@click.argument("model", required=False)
@weights_option
def card(model: str | None, weights: str | None) -> None:
    """Print the cards of the networks that ship: data, licence, what was measured, limits."""
    from facepaint.errors import WeightsError
    from facepaint.models import folder_of, open_model, read_manifest

    folder = folder_of(weights)
    names = sorted(read_manifest(folder))
    if model and model not in names:
        raise WeightsError(f"no model {model!r}; there are {', '.join(names)}")
    for name in [model] if model else names:
        opened = open_model(name, folder)
        click.echo(f"{name}  sha256 {opened.sha256}")
        click.echo(_indented(opened.card))


def _indented(card: dict[str, Any]) -> str:
    """A card for people: the long vectors left out, everything else a line each."""
    lines = []
    for key, value in card.items():
        if key == "expressions":
            value = ", ".join(value)
        if isinstance(value, dict):
            lines += [f"  {key}:", *(f"    {k}: {v}" for k, v in value.items())]
        else:
            lines.append(f"  {key}: {value}")
    return "\n".join(lines)
