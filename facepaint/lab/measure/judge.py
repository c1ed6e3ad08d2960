"""Judge: says which expression a face shows, for measuring; it takes no part in any loss.

A linear classifier on frozen features of a network that our methods were not trained with, fitted
on real faces of people who are not held out. How good it is on real photos of the held-out people
is the ceiling of what it can say about edited ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint.errors import LabError
from facepaint.face import FloatArray
from facepaint.lab import precision
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.data.pictures import picture
from facepaint.lab.features import VGG, VGG_FEATURES, Pyramid

Extract = Callable[[Tensor], Tensor]  # pictures [N, 3, 128, 128], 0 to 1, to features [N, D]
JUDGES = ("mobilenet_v2", *VGG_FEATURES)
_SIZE = 128
_AT_ONCE = 32


def extractor(name: str) -> Extract:
    """Features of pictures by name: "mobilenet_v2", "vgg19" or "vgg16-hed"."""
    if name == "mobilenet_v2":
        pyramid = Pyramid()
        return lambda x: torch.cat([_pooled(m, 4) for m in pyramid(x)[2:]], 1)
    if name not in VGG_FEATURES:
        raise LabError(f"no judge {name!r}; there are {', '.join(JUDGES)}")
    vgg = VGG(name)
    layers = ("conv4_3", "conv5_3")

    def look(x: Tensor) -> Tensor:
        # the hair above tells nothing; smaller, it costs half
        small = F.interpolate(x[:, :, 16:], size=(112, 112), mode="bilinear")
        with precision.autocast(x.device.type):
            maps = vgg(small, layers)
        return torch.cat([_pooled(maps[k].float().sqrt(), 4) for k in layers], 1)

    return look


def _pooled(maps: Tensor, places: int) -> Tensor:
    return F.adaptive_avg_pool2d(maps, places).flatten(1)


@dataclass(frozen=True, eq=False)
class Judge:
    """features: their name. classes: what is told apart. accuracy: the share of real faces of
    held-out people, of each class, that it names rightly: its ceiling."""

    features: str
    classes: tuple[str, ...]
    accuracy: dict[str, float]
    _extract: Extract
    _mean: FloatArray
    _deviation: FloatArray
    _linear: nn.Linear

    def __call__(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> FloatArray:
        """The probability of each class, float32 [N, K], of pictures uint8 [H, W, 1 or 3]."""
        seen = (features(self._extract, pictures) - self._mean) / self._deviation
        with torch.no_grad():
            scores = self._linear(torch.from_numpy(seen))
        return torch.softmax(scores, 1).numpy()


def fit(
    name: str,
    faces: FaceSet,
    labels: npt.NDArray[Any],
    classes: tuple[str, ...],
    most: int = 700,
    decay: float = 0.5,
    seed: int = 0,
) -> Judge:
    """A judge on features `name`. labels: [N], the place in `classes` of each face, -1 for none.

    At most `most` faces of each class are taken. Raises LabError where a class has none.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for k, label in enumerate(classes):
        rows = np.flatnonzero(~faces.held_out & (labels == k))
        if not len(rows):
            raise LabError(f"no face to learn {label!r} from")
        chosen.append(rng.permutation(rows)[:most])
    rows = np.concatenate(chosen)
    extract = extractor(name)
    seen = features(extract, [picture(faces, int(i), _SIZE, True) for i in rows])
    mean, deviation = seen.mean(0), seen.std(0) + 1e-6
    linear = _logistic((seen - mean) / deviation, labels[rows], len(classes), decay)
    judge = Judge(name, classes, {}, extract, mean, deviation, linear)
    judge.accuracy.update(_ceiling(judge, faces, labels))
    return judge


def _ceiling(judge: Judge, faces: FaceSet, labels: npt.NDArray[Any]) -> dict[str, float]:
    result = {}
    for k, label in enumerate(judge.classes):
        rows = np.flatnonzero(faces.held_out & (labels == k))
        if len(rows):
            named = judge([picture(faces, int(i), _SIZE, True) for i in rows]).argmax(1)
            result[label] = float((named == k).mean())
    return result


@torch.no_grad()
def features(extract: Extract, pictures: Sequence[npt.NDArray[np.uint8]]) -> FloatArray:
    """Features [N, D] of pictures uint8 [H, W, 1 or 3] of any sizes."""
    out = []
    for first in range(0, len(pictures), _AT_ONCE):
        some = [_sized(p) for p in pictures[first : first + _AT_ONCE]]
        batch = torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).float() / 255
        out.append(extract(batch.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(out).numpy()


def _sized(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if pixels.shape[:2] != (_SIZE, _SIZE):
        pixels = np.asarray(cv2.resize(pixels, (_SIZE, _SIZE)), np.uint8)
        pixels = pixels.reshape(_SIZE, _SIZE, -1)
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels


def _logistic(x: FloatArray, labels: npt.NDArray[Any], classes: int, decay: float) -> nn.Linear:
    """Logistic regression with an L2 penalty on the weights, by L-BFGS; from zero, so exact."""
    linear = nn.Linear(x.shape[1], classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    inputs, wanted = torch.from_numpy(x), torch.from_numpy(np.asarray(labels, np.int64))
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = F.cross_entropy(linear(inputs), wanted) + decay * linear.weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return linear
