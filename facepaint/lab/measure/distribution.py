"""Distribution: how far edited faces, as a set, are from real ones.

FID and KID are defined on the features of one network, the Inception of 2015. Where its weights
are, they are computed by torchmetrics; else a kernel distance on MobileNetV2's features stands in,
under its own name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facepaint import align
from facepaint.edit import Edit
from facepaint.errors import LabError
from facepaint.lab.data.faces import INNER, FaceSet
from facepaint.lab.measure import judge, metrics
from facepaint.lab.measure.evaluate import Row, Tools, edited, held_out_of, read_face

INCEPTION_VARIABLE = "FACEPAINT_INCEPTION"
_INCEPTION = "weights-inception-2015-12-05-6726825d.pth"  # ends in the start of its sha256
_LEAST = 10  # faces edited, and real people in each half
Pictures = Sequence[npt.NDArray[np.uint8]]
Between = Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]


@dataclass(frozen=True)
class Distance:
    """What is computed: on features by `extract`, each of `kinds` by its name."""

    extract: judge.Extract
    kinds: dict[str, Between]
    scaled: bool = False  # each feature brought to unit deviation over the real faces


def distance(weights: str | None = None) -> Distance:
    """FID and KID where Inception's weights are (see `inception`), else the kernel distance."""
    network = inception(weights)
    if network is not None:
        both: dict[str, Between] = {
            "fid_inception": metrics.frechet_distance,
            "kid_inception": metrics.kid,
        }
        return Distance(network, both)
    name = "mobilenet_v2"  # a few loud features would decide, were they not scaled
    kernel: dict[str, Between] = {f"kernel_distance_{name}": metrics.kernel_distance}
    return Distance(judge.extractor(name), kernel, scaled=True)


def inception(weights: str | None) -> judge.Extract | None:
    """torch-fidelity's Inception: pictures [N, 3, H, W], 0 to 1, to [N, 2048].

    weights: their file; by default what the variable FACEPAINT_INCEPTION names, else the file in
    torch's cache; None where there is none. LabError where a file that was named is not the one.
    """
    named = weights or os.environ.get(INCEPTION_VARIABLE)
    path = Path(named) if named else Path(torch.hub.get_dir()) / "checkpoints" / _INCEPTION
    if not named and not path.is_file():
        return None
    wanted = Path(_INCEPTION).stem.rpartition("-")[2]
    if not path.is_file() or not hashlib.sha256(path.read_bytes()).hexdigest().startswith(wanted):
        raise LabError(f"{path} is not torch-fidelity's {_INCEPTION}, on which FID is defined")
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise LabError("FID needs torch-fidelity: pip install 'facepaint[fid]'") from error
    network: Any = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    network.eval()

    def look(pictures: Tensor) -> Tensor:
        (features,) = network((pictures * 255).round().byte())
        return torch.as_tensor(features)

    return look


def between(
    faces: FaceSet, tools: Tools, to: str, rows: list[Row], chosen: Distance
) -> dict[str, Any]:
    """Each distance of the real held-out faces of `to`: to the edited ones, to the photos before
    the edit ("_of_the_input"), and of one half of the real people to the other ("_of_real").

    Of each set at most twice as many real faces are taken as were edited. Nothing where fewer than
    ten were edited, or a half has fewer than ten people.
    """
    counts = {s: sum(r["source"] == s for r in rows) for s in sorted({r["source"] for r in rows})}
    known = held_out_of(faces, to)
    real = np.concatenate([known[faces.sources[known] == s][: 2 * n] for s, n in counts.items()])
    halves = by_half(faces.subjects[real])
    people = [len(set(faces.subjects[real][halves == h])) for h in (0, 1)]
    if min(len(rows), *people) < _LEAST:
        return {}
    before, after = [], []
    for row in rows:
        pixels = np.array(faces.crops[row["face"]])
        made = edited(tools.method, pixels, read_face(tools.reader, pixels), Edit(to))
        before.append(align.crop(pixels, INNER))
        after.append(align.crop(made, INNER))
    shown = [align.crop(faces.crops[i], INNER) for i in real]
    return distances(chosen, shown, halves, before, after)


def by_half(people: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """0 or 1 for each face, alternating from person to person: nobody is in both halves."""
    _, who = np.unique(people, return_inverse=True)
    return np.asarray(who % 2, np.intp)


def distances(
    chosen: Distance, real: Pictures, halves: npt.NDArray[Any], before: Pictures, after: Pictures
) -> dict[str, float]:
    """The distances of pictures uint8 [H, W, 3], with the rows to compare them with."""
    seen, first, last = (judge.features(chosen.extract, p) for p in (real, before, after))
    if chosen.scaled:
        mean, deviation = seen.mean(0), seen.std(0) + 1e-6
        seen, first, last = ((x - mean) / deviation for x in (seen, first, last))
    result = {}
    for name, between_two in chosen.kinds.items():
        result[name] = between_two(seen, last)
        result[f"{name}_of_the_input"] = between_two(seen, first)
        result[f"{name}_of_real"] = between_two(seen[halves == 0], seen[halves == 1])
    return result
