"""Shade: a network that gives skin the light of another expression.

It sees a crop whose landmarks were moved already, the flow that moved it and the change that is
asked for, and answers with the logarithm of a gain. The idea of light as a gain that carries folds
while the photo's own grain stays is that of ratio images (Liu, Shan & Zhang 2001, "Expressive
expression mapping with ratio images").
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint.editing.repaint import SHADE_FLOW, SHADE_SIZE
from facepaint.face import BLENDSHAPES, EXPRESSIONS
from facepaint.lab import losses
from facepaint.lab.data import named
from facepaint.lab.data.closeups import CloseUps
from facepaint.lab.data.named import by_set
from facepaint.lab.data.shading import ShadingSamples
from facepaint.lab.entry import Entry
from facepaint.lab.features import Pyramid, pyramid
from facepaint.lab.graph import Graph
from facepaint.lab.inpainting_networks import OutlineCritic
from facepaint.lab.loop import Batch, Networks, Phases
from facepaint.lab.measure import repainting as measure
from facepaint.lab.methods.inpainting import mean_score
from facepaint.lab.networks import Block, conv, device_of, norm, to_float
from facepaint.lab.recipe import Settings

TOLD = len(BLENDSHAPES) + len(EXPRESSIONS)
_SHOWN = 8  # crops of a sample sheet
_SCALES = (2, 4, 8)


@dataclass(frozen=True)
class ShadeSettings(Settings):
    """What the network that shades is trained with.

    Attributes:
        widths: channels at each size, separated by commas.
        sources: sets to take, separated by commas, "" for all.
        light: strength of changes of light, colour, blur and noise, 0 to 1.
        features: "mobilenet_v2", by which crops are compared and the critic looks; "" for neither.
        critic_from: step from which on the critic's voice counts.
        weight_pixels, weight_edges, weight_features, weight_critic, weight_small: of the losses;
            the last keeps a gain small that nothing asks for.
    """

    widths: str = "32,64,96"
    sources: str = ""
    light: float = 0.5
    features: str = ""
    critic_from: int = 400
    weight_pixels: float = 12.0
    weight_edges: float = 12.0
    weight_features: float = 0.5
    weight_critic: float = 0.06
    weight_small: float = 0.01


class ShadeMethod:
    """The network, then, where there are features, the critic on what it just made."""

    def __init__(self, settings: ShadeSettings, faces: CloseUps) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self._pyramid = pyramid(settings.features)
        self.networks: Networks = {"shade": _network(settings)}
        self.phases: Phases = {"shade": ("shade",)}
        if self._pyramid:
            self.networks["critic"] = OutlineCritic(Pyramid.CHANNELS[:3], 64, 1)
            self.phases["critic"] = ("critic",)
        self._samples = ShadingSamples(settings, faces)
        self._show = self.sample(np.random.default_rng(settings.seed), _SHOWN, 0)

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        """`count` samples of `ShadingSamples`, stacked."""
        rows = [self._samples.draw(rng) for _ in range(count)]
        return {k: torch.from_numpy(np.stack([r[k] for r in rows])) for k in rows[0]}

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a phase and its parts."""
        if phase == "critic":
            return self._critic_loss(networks["critic"], batch)
        s = self.settings
        weight, moved = batch["weight"][:, None], to_float(batch["moved"])
        true = _exposed_as(to_float(batch["true"]), moved, weight)
        gain = _gain(networks["shade"], batch)
        made = moved * torch.exp(gain)
        parts = {
            "pixels": s.weight_pixels * _at_scales(losses.weighted_l1, made, true, weight),
            "edges": s.weight_edges * _at_scales(losses.gradient_l1, made, true, weight),
            "small": s.weight_small * gain.abs().mean(),
        }
        if self._pyramid:
            small = F.avg_pool2d(made * weight + true * (1 - weight), 2)
            cover = F.avg_pool2d(weight, 2)
            with torch.no_grad():
                target = self._pyramid(F.avg_pool2d(true, 2))
            seen = self._pyramid(small.clamp(0, 1))
            distances = [(a - b).abs().mean() for a, b in zip(seen, target, strict=True)]
            parts["features"] = s.weight_features * torch.stack(distances).sum()
            batch |= {f"made_{i}": m.detach() for i, m in enumerate(seen)}
            batch |= {f"true_{i}": m for i, m in enumerate(target)}
            if s.weight_critic and step >= s.critic_from:
                critic = networks["critic"].requires_grad_(False)
                parts["critic"] = -s.weight_critic * mean_score(critic(seen, cover), cover)
        return torch.stack(list(parts.values())).sum(), parts

    def _critic_loss(self, critic: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        critic.requires_grad_(True)
        cover = F.avg_pool2d(batch["weight"][:, None], 2)
        scales = range(len(Pyramid.CHANNELS))
        true, made = ([batch[f"{k}_{i}"] for i in scales] for k in ("true", "made"))
        on_true, on_made = critic(true, cover), critic(made, cover)
        loss = mean_score([F.relu(1 - x) for x in on_true], cover)
        loss = loss + mean_score([F.relu(1 + x) for x in on_made], cover)
        shown = {
            "critic_true": mean_score(on_true, cover),
            "critic_made": mean_score(on_made, cover),
        }
        return loss, {k: v.detach() for k, v in shown.items()}

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """Rows of crops: moved, shaded, true, and the gain around grey."""
        device = device_of(networks)
        batch = {k: v.to(device) for k, v in self._show.items()}
        gain = _gain(networks["shade"], batch)
        made = to_float(batch["moved"]) * torch.exp(gain * batch["weight"][:, None])
        grey = (gain + 0.5).clamp(0, 1)
        rows = [self._show["moved"].numpy(), _pixels(made), self._show["true"].numpy()]
        return np.vstack([np.hstack([*row]) for row in (*rows, _pixels(grey))])


def _pixels(pictures: Tensor) -> npt.NDArray[np.uint8]:
    out = (pictures.clamp(0, 1) * 255).round().permute(0, 2, 3, 1).cpu().numpy()
    return np.asarray(out, np.uint8)


def _exposed_as(true: Tensor, moved: Tensor, weight: Tensor) -> Tensor:
    """Photos [N, 3, H, W] with the mean of each channel that the moved ones have on skin: how long
    a camera exposed is no expression."""
    total = weight.sum((2, 3), keepdim=True).clamp(min=1e-6)
    means = [
        ((p * weight).sum((2, 3), keepdim=True) / total).clamp(min=0.02) for p in (moved, true)
    ]
    return true * (means[0] / means[1]).clamp(0.7, 1.4)


def _at_scales(loss: Callable[..., Tensor], made: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """The mean of a loss at a half, a quarter and an eighth of the size: folds and cheeks, and not
    where each pore lies."""
    terms = [
        loss(F.avg_pool2d(made, k), F.avg_pool2d(true, k), F.avg_pool2d(weight, k)) for k in _SCALES
    ]
    return torch.stack(terms).mean()


def _network(settings: ShadeSettings) -> Shader:
    widths = tuple(int(w) for w in settings.widths.split(","))
    return Shader(widths)


def _gain(network: nn.Module, batch: Batch) -> Tensor:
    gain: Tensor = network(
        to_float(batch["moved"]), batch["flow"].permute(0, 3, 1, 2), batch["told"]
    )
    return gain.float()


class Shader(nn.Module):
    """A U-Net on a crop laid out at a quarter of its size (Shi et al. 2016)."""

    LIMIT = 0.6  # of the gain's logarithm

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96), code: int = 64) -> None:
        """Args:
        widths: channels at 64, 32, 16 … places a side.
        code: length of the vector that the change becomes.
        """
        super().__init__()
        self.told = nn.Sequential(
            nn.Linear(TOLD, code), nn.SiLU(), nn.Linear(code, code), nn.SiLU()
        )
        self.stem = conv(16 * 3 + 2, widths[0])
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(Block(w, w, 1, code) for w in widths[:-1])
        self.shrink = nn.ModuleList(conv(a, b, 3, 2) for a, b in pairs)
        self.middle = nn.ModuleList(Block(widths[-1], widths[-1], 1, code) for _ in range(3))
        self.join = nn.ModuleList(conv(a + b, a) for a, b in pairs)
        self.up = nn.ModuleList(Block(w, w, 1, code) for w in widths[:-1])
        self.norm = norm(widths[0])
        self.head = conv(widths[0], 16 * 3)
        nn.init.normal_(self.head.weight, std=1e-3)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, moved: Tensor, flow: Tensor, told: Tensor) -> Tensor:
        """Shade crops.

        Args:
            moved: float [N, 3, 256, 256], 0 to 1.
            flow: float [N, 2, 64, 64], crop units.
            told: float [N, 59]: change of the blendshapes, -1 to 1, and of the name.

        Returns:
            float [N, 3, 256, 256]: the natural logarithm of a gain; exactly 0 where nothing is
            asked.
        """
        code = self.told(told * 2)
        x = self.stem(torch.cat([F.pixel_unshuffle(moved * 2 - 1, 4), flow * 20], 1))
        skipped = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x, code)
            skipped.append(x)
            x = shrink(x)
        for block in self.middle:
            x = block(x, code)
        for i in reversed(range(len(skipped))):
            large = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.up[i](self.join[i](torch.cat([large, skipped[i]], 1)), code)
        gain = F.pixel_shuffle(self.head(F.silu(self.norm(x))), 4).float()
        asked = (told.float().abs().amax(1) * 10).clamp(max=1)[:, None, None, None]
        return self.LIMIT * torch.tanh(gain) * asked


class ShadeGraph(Graph):
    """Bytes in, the gain's logarithm out, channels last."""

    inputs = ("moved", "flow", "told")
    outputs = ("gain",)

    def __init__(self, settings: ShadeSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        self.network = _network(settings)
        self.network.load_state_dict(averaged["shade"])

    def example(self, count: int) -> tuple[Tensor, ...]:
        """Noise in the inputs' shapes."""
        rng = np.random.default_rng(0)
        moved = rng.integers(0, 256, (count, SHADE_SIZE, SHADE_SIZE, 3), np.uint8)
        flow = rng.normal(0, 0.02, (count, SHADE_FLOW, SHADE_FLOW, 2)).astype(np.float32)
        told = rng.uniform(-1, 1, (count, TOLD)).astype(np.float32)
        return tuple(map(torch.from_numpy, (moved, flow, told)))

    def forward(self, moved: Tensor, flow: Tensor, told: Tensor) -> tuple[Tensor]:
        """See `Shader`; moved is uint8 [N, 256, 256, 3], flow float [N, 64, 64, 2]."""
        seen = moved.permute(0, 3, 1, 2).float() / 255
        return (self.network(seen, flow.permute(0, 3, 1, 2), told).permute(0, 2, 3, 1),)


def close_ups(settings: Settings, folder: str | None) -> CloseUps:
    """The faces of the settings' sources at the photo's own sharpness, or drawn ones."""
    assert isinstance(settings, ShadeSettings)
    return named.close_ups(settings, folder, settings.sources)


def used(settings: ShadeSettings, faces: CloseUps) -> dict[str, int]:
    """Photos of each set that it learns from."""
    return by_set(faces, ~faces.held_out)


def on_card(settings: ShadeSettings, faces: CloseUps) -> dict[str, Any]:
    """Whose eyes the critic looked through."""
    helpers = f"{settings.features}, trained by others on ImageNet, frozen; none of it is inside"
    return {"trained_with": helpers if settings.features else "nothing of others"}


ENTRY = Entry(
    ShadeSettings,
    ShadeMethod,
    data=close_ups,
    graph=ShadeGraph,
    used=used,
    extra=on_card,
    measure=measure.shade,
    what="from a crop whose landmarks were moved, the flow and the change that is asked for, to the"
    " logarithm of a gain of light",
    limits="has seen few people with strong expressions, most of them posed in a studio",
)
