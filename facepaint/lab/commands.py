"""What the commands of the lab do, free of any command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from facepaint import align
from facepaint.errors import LabError, NoFaceError, WeightsError
from facepaint.face import EXPRESSIONS
from facepaint.files import write_whole
from facepaint.lab import loop, recipe
from facepaint.lab.cards import make_card
from facepaint.lab.data.named import faces as any_faces
from facepaint.lab.export import export as export_run
from facepaint.lab.export import write_card
from facepaint.lab.features import VGG
from facepaint.lab.graph import network_hash
from facepaint.lab.methods import lookup, of_run
from facepaint.lab.recipe import Settings, as_table
from facepaint.lab.style import StyleSettings, StyleTransfer, fitted
from facepaint.mark import Mark, packet
from facepaint.methods import lookup as lookup_method
from facepaint.models import WEIGHTS, open_file, open_model, write_entry
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
    loop.train(entry.build(settings, entry.data(settings, data)), home, resume, listen)
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
        write_card(target, made.card | {"measured": rounded(entry.measure(made, found))})
    return difference


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers to three places, as a card shows them."""
    return {
        k: rounded(v) if isinstance(v, dict) else round(v, 4) if isinstance(v, float) else v
        for k, v in values.items()
    }


def adopt(model: str, weights: str, metrics: str | None = None) -> None:
    """Take an exported model into a folder of weights, under the name that its card gives.

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
        card = card | {"measured": card_of_metrics(numbers)}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.onnx"
    if not (target.exists() and target.samefile(model)):
        shutil.copyfile(model, target)
    if card != opened.card:
        write_card(target, card)
    write_entry(folder, name, f"{name}.onnx")


_ON_CARD = (
    "faces",
    "rate_two_way",
    "rate_two_way_of_the_input",
    "spearman_of_strength",
    "same_person_rate",
    "greatest_change_outside",
    "laplacian_energy_ratio",
)


def card_of_metrics(numbers: dict[str, Any]) -> dict[str, Any]:
    """What of a metrics.json a card shows: each expression's main numbers, the worst group beside
    them, the judge and what it is right in, and the cost."""
    shown: dict[str, Any] = {
        "judge": f"{numbers['judge']['features']}, in no loss; right on real photos: "
        + ", ".join(f"{k} {v:.2f}" for k, v in numbers["judge"]["right_on_real"].items()),
        "identity": numbers["identity"],
    }
    for to, found in numbers["to"].items():
        shown[f"to_{to}"] = {k: found[k] for k in _ON_CARD if k in found} | {
            "worst": found["groups"]["worst"]
        }
    return shown | {"gmacs": numbers["cost"]["gmacs"], "ms": numbers["cost"]["ms_of_the_network"]}


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


def evaluate(
    out: str,
    method: str,
    weights: str | None,
    targets: tuple[str, ...],
    data: str | None,
    features: str,
    embedder: str,
    limit: int,
    listen: loop.Listener | None = None,
) -> dict[str, Any]:
    """Measure a method on held-out people; writes rows.jsonl, metrics.json and report.html into
    `out` and returns the metrics."""
    from facepaint.lab.measure import cost, identity, judge, report
    from facepaint.lab.measure import evaluate as measured  # imports what only it needs

    unknown = set(targets) - set(EXPRESSIONS)
    if unknown:
        raise LabError(f"no expression {min(unknown)!r}; there are {', '.join(EXPRESSIONS)}")
    painted, embed = lookup_method(method)(Path(weights or WEIGHTS)), identity.embedder(embedder)
    faces = any_faces(Settings(), data)
    fitted_judge = judge.fit(features, faces, measured.labels_of(faces), EXPRESSIONS)
    tools = measured.Tools(painted, open_model("reader"), fitted_judge, embed)
    home = Path(out)
    rows = measured.measure(faces, tools, targets, home, limit, listen)
    numbers = measured.report(faces, rows, tools, embedder)
    network = Path(weights or WEIGHTS) / f"{method}.onnx"
    numbers["network"] = network_hash(network)
    numbers["cost"] = (
        cost.machine() | cost.of_method(painted) | cost.arithmetic(network) | cost.cold_start()
    )
    numbers = rounded(numbers)
    write_whole(home / "metrics.json", json.dumps(numbers, indent=2))
    report.write(home, faces, tools, rows, numbers)
    return numbers


def compare(first: str, second: str) -> list[str]:
    """What the second metrics.json is better or worse in than the first."""
    from facepaint.lab.measure import evaluate as measured

    return measured.compare(read_metrics(first), read_metrics(second))


def read_metrics(path: str) -> dict[str, Any]:
    """A metrics.json; LabError for anything else."""
    try:
        numbers: dict[str, Any] = json.loads(Path(path).read_text())
        numbers["to"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{path}: not a metrics.json of `facepaint evaluate`") from error
    return numbers
