"""The refiner measured on windows of people it was not trained on."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from facepaint.lab.data.windows import Pixels, WindowSamples, WindowSet
from facepaint.lab.measure import cost, metrics
from facepaint.models import Model
from facepaint.refine import DETAIL, border

_WINDOWS = 240  # half of them mouths
_COVERED = 0.5  # cover from which on a pixel counts as painted


class _Shares:
    """Half of each set's held-out faces, the sharpest: in soft photos no detail is to be had."""

    sharpest, made = 0.5, 0.0

    def __init__(self, mouths: float) -> None:
        self.mouths = mouths


def refiner(model: Model, faces: WindowSet, seed: int = 0) -> dict[str, Any]:
    """The refiner on held-out people's true windows, worsened as paint would have it.

    Of mouths and of eyes, under the paint: l1_255, the mean difference to the true window, of 255,
    and laplacian_energy_ratio, its sharpness over the true window's; _of_paint, the same of the
    windows left as they are. The means of all windows, but the median of the ratios.
    """
    rng = np.random.default_rng(seed)
    numbers: dict[str, Any] = {"people": len({*faces.subjects[faces.held_out]})}
    for part, mouths in (("mouths", 1.0), ("eyes", 0.0)):
        samples = WindowSamples(_Shares(mouths), faces, None, held_out=True)
        rows = samples.draw(rng, _WINDOWS // 2)
        numbers[part] = {"windows": len(rows)} | _of_windows(model, rows)
    one = {k: rows[0][k][None] for k in ("painted", "before", "cover")}
    work = partial(model, **one)
    numbers["processor_ms_a_window"] = cost.median_ms(work, 30, warm=5, clock=cost.PROCESSOR)
    return numbers


def _of_windows(model: Model, rows: list[dict[str, Any]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in rows:
        given = {k: row[k][None] for k in ("painted", "before", "cover")}
        detail = DETAIL * model(**given)["residual"][0] * border()[..., None]
        refined = np.clip(row["painted"] / 255 + detail, 0, 1) * 255
        seen = {"": np.rint(refined).astype(np.uint8), "_of_paint": row["painted"]}
        for name, window in seen.items():
            for key, value in _against(window, row["true"], row["cover"]).items():
                found.setdefault(key + name, []).append(value)
    means = {k: np.median(v) if "ratio" in k else np.mean(v) for k, v in sorted(found.items())}
    return {k: float(v) for k, v in means.items()}


def _against(window: Pixels, true: Pixels, cover: Any) -> dict[str, float]:
    apart = np.abs(window.astype(np.float32) - true).mean(-1)
    ratio = metrics.laplacian_energy_ratio(true, window, cover) if _some(cover) else 1.0
    return {
        "l1_255": float((apart * cover).sum() / max(cover.sum(), 1e-6)),
        "laplacian_energy_ratio": ratio,
    }


def _some(cover: Any) -> bool:
    return bool((cover > _COVERED).sum() > 8)
