"""How well the networks of move-then-repaint do what they learn, on people held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from facepaint.editing.windows import Part
from facepaint.face import (
    INNER_LIPS,
    LEFT_BROW,
    LEFT_EYE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
    FloatArray,
)
from facepaint.lab.data.closeups import CloseUps
from facepaint.lab.data.inpainting import PARTS, InpaintingSamples
from facepaint.lab.features import pyramid
from facepaint.lab.measure import metrics
from facepaint.models import Model

Pixels = npt.NDArray[np.uint8]
_OF_EACH_SET = 24  # faces of each set
_OPENINGS = {
    "closed": 0.08,
    "parted": 0.3,
    "wide": 9.0,
}  # height over width of a mouth, below which
_PARTS = {
    "lips": (*OUTER_LIPS, *INNER_LIPS),
    "brows": (*RIGHT_BROW, *LEFT_BROW),
    "lids": (*RIGHT_EYE, *LEFT_EYE),
    "jaw": (152, 148, 176, 149, 150, 136, 377, 400, 378, 379, 365),
}


class _Held(NamedTuple):
    """Settings to draw samples by, without changes of light."""

    part: str
    size: int
    hinted: float
    sharp: float = 0.0
    light: float = 0.0
    tint: float = 0.0


def windows(model: Model, faces: CloseUps, part: str) -> dict[str, Any]:
    """Paint held-out mouths or eyes back into their photos.

    Args:
        model: "mouth" or "eye".
        faces: close-ups, held-out people among them.
        part: of PARTS.

    Returns:
        With hints and without: `l1` (mean absolute difference under the mask, 0 to 1), `features`
        (distance of a frozen network's features, where its weights are there), `sharpness` (energy
        of the Laplacian under the mask over that of the true window, the median); also by set, by
        opening and by skin tone.
    """
    result: dict[str, Any] = {}
    for hinted in (1.0, 0.0):
        held = _of_held_out(faces)
        samples = InpaintingSamples(_Held(part, model.card["window"], hinted), held)
        rows = [_window(model, samples, i, PARTS[part][0]) for i in _chosen(held)]
        key = "with_hint" if hinted else "without_hint"
        result |= {f"{name}_{key}": value for name, value in _mean(rows).items()}
        for group in ("source", "opening", "tone"):
            result[f"by_{group}_{key}"] = _by(rows, group)
    return {"windows": len(_chosen(_of_held_out(faces)))} | result


def _window(model: Model, samples: InpaintingSamples, i: int, part: Part) -> dict[str, Any]:
    x = samples.sample(np.random.default_rng(i), i, part)
    fed = {"window": x["true"], "maps": x["maps"], "hint": x["hint"], "told": x["told"]}
    painted = model(**{k: v[None] for k, v in fed.items()})["painted"][0]
    made = np.clip(np.rint(painted), 0, 255).astype(np.uint8)
    mask = x["maps"][..., 0]
    difference = np.abs(made.astype(np.float32) - x["true"]).mean(-1) / 255
    inside = (mask > 0.5).astype(np.float32)
    true = metrics.laplacian_energy(x["true"], inside)
    faces, points = samples.faces, samples.faces.landmarks[i]
    gap = np.linalg.norm(points[13] - points[14]) / np.linalg.norm(points[61] - points[291])
    pixels = faces.cut_out(i)
    lying = (points * faces.frame(i)[0, 0] + faces.frame(i)[:, 2]).astype(np.float32)
    return {
        "l1": float((difference * mask).sum() / mask.sum()),
        "features": _feature_distance(made, x["true"]),
        "sharpness": metrics.laplacian_energy(made, inside) / true if true else 1.0,
        "source": str(faces.sources[i]),
        "opening": next(n for n, least in _OPENINGS.items() if gap < least),
        "tone": metrics.tone(metrics.typology_angle(pixels, lying)),
    }


def _feature_distance(a: Pixels, b: Pixels) -> float:
    global _seen
    if _seen is None:
        _seen = pyramid("mobilenet_v2")
    assert _seen is not None
    both = torch.from_numpy(np.stack([a, b])).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return float(sum((m[0] - m[1]).abs().mean() for m in _seen(both)))


_seen: Any = None


def mover(model: Model, changes: FloatArray, moves: FloatArray) -> dict[str, Any]:
    """Move landmarks of held-out people.

    Args:
        model: "mover".
        changes: float [P, 110], features of changes.
        moves: float [P, 478, 2], how landmarks really went, crop units of the mean face.

    Returns:
        By part of the face the mean distance to the true place, in crop units, and the same of
        landmarks that stay.
    """
    made = model(change=changes.astype(np.float32))["moves"]
    result: dict[str, Any] = {"pairs": len(changes)}
    for name, part in _PARTS.items():
        for key, error in (("", made - moves), ("_of_the_still", moves)):
            distance = np.linalg.norm(error[:, list(part)], axis=-1)
            result[f"error_{name}{key}"] = float(distance.mean())
    return result


def _of_held_out(faces: CloseUps) -> CloseUps:
    """The held-out faces, said not to be held out, so that samples are drawn of them."""
    held = faces.only(faces.held_out)
    held.held_out[:] = False
    return held


def _chosen(faces: CloseUps) -> list[int]:
    """Up to so many faces of each set."""
    rows: list[int] = []
    for source in sorted(set(map(str, faces.sources))):
        own = np.flatnonzero(faces.sources == source)
        rows += [int(i) for i in own[:: max(1, len(own) // _OF_EACH_SET)][:_OF_EACH_SET]]
    return rows


_MEASURES: dict[str, Callable[[Any], Any]] = {"sharpness": np.median}


def _mean(rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Means of the numbers of some rows; medians of ratios."""
    found = list(rows)
    numbers = [k for k, v in found[0].items() if isinstance(v, float)]
    return {k: float(_MEASURES.get(k, np.mean)([r[k] for r in found])) for k in numbers}


def _by(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    values = sorted({r[key] for r in rows})
    parts = {v: [r for r in rows if r[key] == v] for v in values}
    return {v: {"windows": len(p)} | _mean(p) for v, p in parts.items()}
