"""What the commands of the lab do, free of any command line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from facepaint import align
from facepaint._version import __version__
from facepaint.errors import EditError, LabError, NoFaceError, WeightsError
from facepaint.face import EXPRESSIONS
from facepaint.files import write_whole
from facepaint.lab import loop, recipe
from facepaint.lab.cards import card_of_metrics, make_card, on_card
from facepaint.lab.data.faces import FaceSet, data_folder
from facepaint.lab.data.named import cache_folder
from facepaint.lab.data.named import faces as any_faces
from facepaint.lab.data.split import SPLIT
from facepaint.lab.export import export as export_run
from facepaint.lab.export import with_card, write_card
from facepaint.lab.features import VGG
from facepaint.lab.graph import network_hash, networks_hash
from facepaint.lab.measure.summary import as_text, parts
from facepaint.lab.methods import METHODS as TRAINED
from facepaint.lab.methods import lookup, of_run
from facepaint.lab.recipe import Settings, as_table
from facepaint.lab.style import StyleSettings, StyleTransfer, fitted
from facepaint.mark import Mark, packet
from facepaint.methods import METHODS, known_to
from facepaint.methods import lookup as lookup_method
from facepaint.models import (
    SETS,
    default_method,
    files_of,
    folder_of,
    home_of_reader,
    open_file,
    open_model,
    read_manifest,
    taking_part,
    write_entry,
)
from facepaint.painter import NO_FACE, Painter
from facepaint.photo import Metadata, Photo
from facepaint.segment import face_mask


def train(
    name: str,
    changes: tuple[str, ...],
    run: str | None,
    resume: bool,
    data: str | None,
    listen: loop.Listener | None = None,
) -> Path:
    """Train a recipe; returns the folder of the run."""
    table = recipe.read(name, changes)
    entry = lookup(str(table.get("method", "")))
    settings = recipe.settings(entry.settings, table)
    home = Path(run or f"runs/{Path(name).stem}")
    found = entry.data(settings, data)
    if entry.solve is not None:
        networks = entry.solve(settings, found)
        home.mkdir(parents=True, exist_ok=True)
        loop.save(home / loop.CHECKPOINT, settings.steps, settings, networks, networks, {})
    else:
        assert entry.build is not None
        loop.train(entry.build(settings, found), home, resume, listen)
    return home


def export(run: str, model: str, data: str | None) -> float:
    """Export a run with its card; returns the largest difference to PyTorch."""
    target = Path(model)
    if target.suffix != ".onnx" or not target.parent.is_dir():
        raise LabError(f"{model}: give a name that ends in .onnx, in a folder that exists")
    settings, entry = of_run(loop.read_checkpoint(Path(run)))
    found = entry.data(settings, data)
    card = make_card(settings, entry, found)
    difference = export_run(Path(run), target, card)
    if entry.measure is not None:
        made = open_file(target)
        measured = on_card(rounded(entry.measure(made, found)))
        write_card(target, made.card | {"measured": measured})
    return difference


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers to four places."""

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return rounded(value)
        if isinstance(value, list):
            return [of(v) for v in value]
        return round(value, 4) if isinstance(value, float) else value

    return {k: of(v) for k, v in values.items()}


def adopt(model: str, weights: str, metrics: str | None = None) -> str:
    """Take an exported model into a folder of weights, under the name that its card gives, which is
    returned.

    metrics: a metrics.json whose numbers go into the card; LabError where it was measured on
    another network.
    """
    opened, folder = open_file(Path(model)), Path(weights)
    name = str(opened.card.get("name"))
    if not name.isidentifier():  # it becomes the name of a file
        raise WeightsError(f"{model}: its card calls it {name!r}, which is no name of a method")
    card = opened.card
    if metrics is not None:
        numbers = read_metrics(metrics)
        if numbers.get("network") != network_hash(Path(model)):
            raise LabError(f"{metrics} was measured on another network than {model}")
        card = card | {"split": SPLIT, "measured": card_of_metrics(numbers)}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.onnx"
    data = Path(model).read_bytes() if card == opened.card else with_card(Path(model), card)
    write_whole(target, data)
    write_entry(folder, name, f"{name}.onnx")
    return name


def show(name: str) -> str:
    """A recipe with all its settings as JSON."""
    table: dict[str, Any] = recipe.read(name)
    entry = lookup(str(table.get("method", "")))
    return json.dumps(as_table(recipe.settings(entry.settings, table)), indent=2)


def style(
    content: str,
    style: str,
    out: str,
    features: str,
    size: int,
    face: bool,
    asked: dict[str, Any],
    listen: loop.Listener | None = None,
) -> None:
    """Transfer a style between two photos and write the result; `face`: within the face only.

    asked: values of StyleSettings, None for the default.
    """
    settings = StyleSettings(**{k: v for k, v in asked.items() if v is not None})
    pictures = [Photo.read(p) for p in (content, style)]
    pixels = [fitted(p.pixels, size) for p in pictures]
    names = (content, style)
    masks = [_face_of(p, n) if face else None for p, n in zip(pixels, names, strict=True)]
    transfer = StyleTransfer(VGG(features), pixels[0], pixels[1], settings, masks[0], masks[1])
    made, _ = transfer.run(listen)
    marked = Metadata(xmp=packet(Mark((), ())))  # no face of its own; the whole picture
    replace(Photo.read(made), metadata=marked).save(out, overwrite=True)


def _face_of(pixels: Any, name: str) -> Any:
    """The mask of the largest face over the whole picture, float32 [H, W]."""
    found = Painter().faces(pixels)
    if not found:
        raise NoFaceError(f"{name}: {NO_FACE}")
    face = max(found, key=lambda f: f.box.width * f.box.height)
    frame = align.align(face.landmarks)
    mask = face_mask(align.apply(align.invert(frame), face.landmarks))
    matrix = align.centred(frame, mask.shape[0])
    return cv2.warpAffine(mask, matrix, pixels.shape[1::-1])


def reproduce(
    out: str,
    only: tuple[str, ...],
    steps: int | None,
    scale: str,
    features: str,
    data: str | None,
    listen: loop.Listener | None = None,
) -> None:
    """Run the study's systems; see `facepaint.lab.reproduce`."""
    from facepaint.lab import reproduce as study  # imports what only it needs

    if scale not in ("cpu", "full"):
        raise LabError(f"no scale {scale!r}; there are cpu and full")
    study.reproduce(study.Job(Path(out), data, steps, scale, features, listen), only)


JUDGE, EMBEDDER = "vgg16-hed", "dlib"


@dataclass(frozen=True)
class Evaluation:
    """What to measure, and by what.

    Attributes:
        model: An exported network; None for the `method` of the folder `weights`.
        method: Name of the method or network; None for the method that the weights are for.
        weights: Folder of weights; None for those that ship.
        targets: Expressions; () for all that the method knows and the data can judge.
        data: Folder of photos; None for the environment's.
        features: Of the judge; None for JUDGE.
        embedder: Of the identity, "none" for none; None for EMBEDDER.
        inception: File of Inception's weights.
        third: Folder of the third judge's weights; None to ask none.
        limit: Faces of each set.
        changes: Settings by which the data of a network is read, as `key=value`.
    """

    model: str | None = None
    method: str | None = None
    weights: str | None = None
    targets: tuple[str, ...] = ()
    data: str | None = None
    features: str | None = None
    embedder: str | None = None
    inception: str | None = None
    third: str | None = None
    limit: int = 40
    changes: tuple[str, ...] = ()


def _adopted(asked: Evaluation | Blind, folder: str) -> tuple[str, Path]:
    """The method that is asked for and its folder of weights; an exported model goes into
    `folder`."""
    if asked.model is not None:
        return adopt(asked.model, folder), Path(folder)
    weights = folder_of(asked.weights)
    return asked.method or default_method(weights), weights


def evaluate(
    asked: Evaluation, out: str | None = None, listen: loop.Listener | None = None
) -> tuple[Path, dict[str, Any]]:
    """Measure a network on held-out people: one that repaints by its edits, another by what its
    entry measures. Writes metrics.json and report.html, and of edits rows.jsonl too, into `out`
    (runs/measured-NAME by default); returns that folder and the numbers."""
    with TemporaryDirectory() as folder:
        name, weights = _adopted(asked, folder)
        home = Path(out or f"runs/measured-{name}")
        if name in METHODS or name not in TRAINED:
            numbers = _of_edits(asked, name, weights, home, listen)
        else:
            numbers = _of_network(asked, name, weights, home)
    write_whole(home / "metrics.json", as_text(numbers))
    return home, numbers


@dataclass(frozen=True)
class Blind:
    """What blind sheets to make.

    Attributes:
        model: An exported network; None for the `method` of the folder `weights`.
        method: Name of the method that edits; None for the one that the weights are for.
        weights: Folder of weights; None for those that ship.
        to: The expression, one of EXPRESSIONS.
        data: Folder of photos; None for the environment's.
        count: Portraits in all, an even number.
        size: Side of a portrait in pixels.
        seed: Decides who is drawn, and the order.
    """

    model: str | None = None
    method: str | None = None
    weights: str | None = None
    to: str = "happy"
    data: str | None = None
    count: int = 48
    size: int = 420
    seed: int = 0


def blind(asked: Blind, out: str, listen: loop.Listener | None = None) -> dict[str, Any]:
    """Write sheets of numbered portraits, half of them edited, their key and a form for answers.

    Args:
        asked: What to make.
        out: Folder of the sheets.
        listen: Told how many photos were looked at, then how many portraits are made.

    Returns:
        The key; its `portraits` are fewer than `asked.count` where there are too few people.

    Raises:
        LabError: The folder holds sheets already, the count is odd, or no two people are there.
        EditError: The weights cannot make that expression.
    """
    from facepaint.lab.measure import blind as sheets  # imports what only it needs

    home = Path(out)
    sheets.check_new(home)
    if asked.count < 2 or asked.count % 2:
        raise LabError(f"{asked.count} portraits have no two halves; give an even count")
    with TemporaryDirectory() as folder:
        name, weights = _adopted(asked, folder)
        painter = Painter(weights, name)
        if asked.to not in painter.expressions:
            known = ", ".join(painter.expressions)
            raise EditError(f"{name} cannot make a face {asked.to!r}; choose from {known}")
        networks = _hashes(weights, name)
        found = sheets.candidates(data_folder(asked.data), asked.to, listen)
        rng = np.random.default_rng(asked.seed)
        drawn = sheets.draw(found, painter, asked.to, asked.count, asked.size, rng, listen)
    about = {"seed": asked.seed, "count": asked.count, "size": asked.size, "networks": networks}
    return sheets.write(home, drawn, asked.to, about)


def _hashes(weights: Path, name: str) -> dict[str, str]:
    """By name the hash of each network that takes part in an edit, without its card."""
    homes = dict.fromkeys(taking_part(weights, name), weights)
    homes["reader"] = home_of_reader(weights)
    return {n: network_hash(home / read_manifest(home)[n]["file"]) for n, home in homes.items()}


def blind_score(key: str, answers: str) -> list[str]:
    """Compare a judge's answers with the key of blind sheets.

    Args:
        key: Path of a key.json.
        answers: Path of a CSV or JSON file.

    Returns:
        Lines of text: share of right calls with its interval, edited ones found, untouched ones
        taken for edited.

    Raises:
        LabError: A file cannot be read, or the answers do not fit the key.
    """
    from facepaint.lab.measure import blind as sheets

    return sheets.score(key, answers).lines()


def _of_edits(
    asked: Evaluation, name: str, weights: Path, home: Path, listen: loop.Listener | None
) -> dict[str, Any]:
    from facepaint.lab.measure import (  # imports what only it needs
        cost,
        distribution,
        face_api,
        identity,
        judge,
        muscles,
        report,
        summary,
    )
    from facepaint.lab.measure import evaluate as measured

    features, embedder = asked.features or JUDGE, asked.embedder or EMBEDDER
    method, embed = lookup_method(name)(weights), identity.embedder(embedder)
    known, targets = known_to(method), tuple(dict.fromkeys(asked.targets))
    unknown = [t for t in targets if t not in known]
    if unknown:
        raise LabError(f"{name} cannot make a face {unknown[0]}; it knows {', '.join(known)}")
    distance = distribution.distance(asked.inception)
    third = face_api.FaceApi(Path(asked.third)) if asked.third is not None else None
    faces = any_faces(Settings(), asked.data)
    labels = measured.labels_of(faces)
    untold = judge.unknown_to(features, faces, labels, EXPRESSIONS)
    chosen = _targets(faces, targets, known, untold)
    fitted = judge.fit(features, faces, labels, EXPRESSIONS, listen=listen, cache=cache_folder())
    reader = open_model("reader", home_of_reader(weights))
    others = judge.others(features, faces, labels, third)
    tools = measured.Tools(method, reader, fitted, embed, others)
    files = list(files_of(weights, name).values())
    depends = {"network": networks_hash(files), "judge": features, "identity": embedder}
    for other in measured.OTHERS:
        depends[f"{other}_judge"] = others[other].features if other in others else "none"
    rows = measured.measure(faces, tools, chosen, home, asked.limit, listen, depends)
    numbers = summary.report(faces, rows, tools, embedder, distance, listen)
    numbers |= {"network": depends["network"], "limit": asked.limit}
    if measured.asks_blendshapes(method):
        measuring = open_model("reader", folder_of(SETS[0]))  # in no loss of what ships
        numbers["muscles"] = muscles.measure(faces, method, (reader, measuring), listen)
    times = {"clock": "processor"} | cost.of_method(method, clock=cost.PROCESSOR)
    numbers["cost"] = cost.machine() | times | cost.arithmetic_of(files)
    numbers["cost"] |= cost.fresh_process(name, weights)
    numbers = rounded(numbers)
    report.write(home, faces, tools, rows, numbers, listen)
    return numbers


def _targets(
    faces: FaceSet, asked: tuple[str, ...], known: tuple[str, ...], unknown: Sequence[str]
) -> tuple[str, ...]:
    """What is measured: what was asked, each of which must be possible with these faces, else all
    that is known and possible. unknown: what no judge can be fitted on."""
    from facepaint.lab.measure import evaluate as measured  # imports what only it needs

    reasons = {to: measured.not_measured(faces, to, unknown) for to in known}
    possible = tuple(to for to in known if not reasons[to])
    left = [to for to in asked or known if reasons[to]]
    if left and (asked or not possible):
        can = ", ".join(possible) or "none"
        raise LabError(f"cannot measure {left[0]}: {reasons[left[0]]}; these data can: {can}")
    if left:
        why = f"the first for {reasons[left[0]]}"
        warnings.warn(f"not measured: {', '.join(left)}; {why}", stacklevel=2)
    return asked or possible


def _of_network(asked: Evaluation, name: str, weights: Path, home: Path) -> dict[str, Any]:
    from facepaint.lab.measure import cost, report  # imports what only it needs

    entry = lookup(name)
    if entry.measure is None:
        raise LabError(f"nothing measures a {name} on held-out people")
    given = {"--to": asked.targets, "--judge": asked.features, "--identity": asked.embedder}
    given |= {"--third": asked.third}
    idle = [option for option, value in given.items() if value]
    if idle:
        raise LabError(f"{name} does not repaint, so {idle[0]} does not apply; leave it out")
    model, network = open_model(name, weights), weights / read_manifest(weights)[name]["file"]
    table = recipe.changed({"method": name}, asked.changes)
    found = entry.data(recipe.settings(entry.settings, table), asked.data)
    numbers = rounded(
        {
            "made_with": f"facepaint {__version__}",
            "method": name,
            "split": SPLIT,
            "network": network_hash(network),
            "measured": entry.measure(model, found),
            "cost": cost.machine() | cost.arithmetic(network),
        }
    )
    home.mkdir(parents=True, exist_ok=True)
    report.write_network(home, numbers)
    return numbers


def compare(first: str, second: str) -> list[str]:
    """What the second metrics.json is better or worse in than the first."""
    from facepaint.lab.measure import summary

    both = [read_metrics(path) for path in (first, second)]
    for path, numbers in zip((first, second), both, strict=True):
        if not all("each" in part for part in parts(numbers).values()):
            raise LabError(f"{path} does not hold the numbers of each face; evaluate it again")
    if not summary.in_common(*both):
        held = (
            f"{p} has {', '.join(parts(n))}" for p, n in zip((first, second), both, strict=True)
        )
        raise LabError(f"nothing in common to compare: {'; '.join(held)}")
    return summary.compare(*both)


def read_metrics(path: str) -> dict[str, Any]:
    """A metrics.json; LabError for anything else."""
    try:
        numbers: dict[str, Any] = json.loads(Path(path).read_text())
        parts(numbers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{path}: not a metrics.json of `facepaint evaluate`") from error
    return numbers
