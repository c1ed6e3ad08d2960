"""Inpainting: networks that paint mouths and eyes into photos, by outlines that they are told.

They learn from single photos: a window's mouth or eye is cut out and painted back
(`facepaint.lab.data.inpainting`). Context encoders (Pathak et al. 2016) learn so, and outlines as
what tells them are those of label-to-photo translation (Isola et al. 2017). Losses are taken
where the network paints: pixels, their gradients, features of a frozen network, and a critic on
these features (hinge loss).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint.editing.windows import WINDOW
from facepaint.errors import LabError
from facepaint.lab import losses
from facepaint.lab.data import named
from facepaint.lab.data.closeups import CloseUps
from facepaint.lab.data.inpainting import PARTS, InpaintingSamples
from facepaint.lab.entry import Entry
from facepaint.lab.features import Pyramid, pyramid
from facepaint.lab.graph import Graph
from facepaint.lab.inpainting_networks import MAPS, Inpainter, OutlineCritic
from facepaint.lab.loop import Batch, Networks, Phases, stacked
from facepaint.lab.measure import repainting as measure
from facepaint.lab.networks import device_of, to_float
from facepaint.lab.recipe import Settings, channels

_SHOWN = 12  # windows of a sample sheet


@dataclass(frozen=True)
class InpaintingSettings(Settings):
    """What a network that repaints windows is trained with.

    Attributes:
        part: "mouth" or "eye".
        size: pixels a side of a window.
        widths: channels at each of its sizes, separated by commas.
        sources: sets to take, separated by commas, "" for all.
        hinted: share of the samples that come with a hint.
        sharp: how sharp a face must be at least, its own pixels a window over `size`.
        light: strength of changes of light, colour, blur and noise, 0 to 1.
        tint: how far that colours the light: teeth and the white of eyes are to have its colour.
        features: "mobilenet_v2", by which windows are compared and the critic looks; "" for
            neither.
        critic_from: step from which on the critic's voice counts.
        weight_pixels, weight_edges, weight_features, weight_critic: of the losses.
    """

    part: str = "mouth"
    size: int = WINDOW
    widths: str = "32,64,96,128"
    sources: str = ""
    hinted: float = 0.85
    sharp: float = 0.5
    light: float = 0.5
    tint: float = 0.07
    features: str = ""
    critic_from: int = 300
    weight_pixels: float = 4.0
    weight_edges: float = 3.0
    weight_features: float = 1.0
    weight_critic: float = 0.12

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise LabError(f"part={self.part!r} is not a part; choose from {', '.join(PARTS)}")


class InpaintingMethod:
    """The network, then, where there are features, the critic on what it just made."""

    def __init__(self, settings: InpaintingSettings, faces: CloseUps) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self._pyramid = pyramid(settings.features)
        self.networks: Networks = {settings.part: _network(settings)}
        self.phases: Phases = {settings.part: (settings.part,)}
        if self._pyramid:
            self.networks["critic"] = OutlineCritic(Pyramid.CHANNELS[:3])
            self.phases["critic"] = ("critic",)
        self._samples = InpaintingSamples(settings, faces)
        self._show = self.sample(np.random.default_rng(settings.seed), _SHOWN, 0)

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        """`count` samples of `InpaintingSamples`, stacked."""
        rows = [self._samples.draw(rng) for _ in range(count)]
        return stacked(rows)

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a phase and its parts."""
        if phase == "critic":
            return self._critic_loss(networks["critic"], batch)
        s = self.settings
        true, maps = to_float(batch["true"]), _first(batch["maps"])
        made = _painted(networks[s.part], batch)
        mask = maps[:, :1]
        parts = {
            "pixels": s.weight_pixels * losses.weighted_l1(made, true, mask),
            "edges": s.weight_edges * losses.gradient_l1(made, true, mask),
        }
        if self._pyramid:
            with torch.no_grad():
                wanted = self._pyramid(true)
            seen = self._pyramid(made)
            distances = [(a - b).abs().mean() for a, b in zip(seen, wanted, strict=True)]
            parts["features"] = s.weight_features * torch.stack(distances).sum()
            batch |= {f"made_{i}": m.detach() for i, m in enumerate(seen)}
            batch |= {f"true_{i}": m for i, m in enumerate(wanted)}
            if s.weight_critic and step >= s.critic_from:
                critic = networks["critic"].requires_grad_(False)
                scores = critic(seen, maps[:, :3])
                parts["critic"] = -s.weight_critic * mean_score(scores, mask)
        return torch.stack(list(parts.values())).sum(), parts

    def _critic_loss(self, critic: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        critic.requires_grad_(True)
        maps = _first(batch["maps"])
        scales = range(len(Pyramid.CHANNELS))
        true, made = ([batch[f"{k}_{i}"] for i in scales] for k in ("true", "made"))
        on_true, on_made = critic(true, maps[:, :3]), critic(made, maps[:, :3])
        mask = maps[:, :1]
        loss = mean_score([F.relu(1 - x) for x in on_true], mask)
        loss = loss + mean_score([F.relu(1 + x) for x in on_made], mask)
        shown = {"critic_true": mean_score(on_true, mask), "critic_made": mean_score(on_made, mask)}
        return loss, {k: v.detach() for k, v in shown.items()}

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """Rows of windows: true, cut out, hint, painted."""
        device = device_of(networks)
        batch = {k: v.to(device) for k, v in self._show.items()}
        made = _painted(networks[self.settings.part], batch).permute(0, 2, 3, 1).cpu().numpy()
        painted = (made * 255).round().clip(0, 255).astype(np.uint8)
        true = self._show["true"].numpy()
        cut = (true * (1 - self._show["maps"].numpy()[..., :1])).astype(np.uint8)
        rows = (true, cut, self._show["hint"].numpy(), painted)
        return np.vstack([np.hstack([*row]) for row in rows])


def _network(settings: InpaintingSettings) -> Inpainter:
    parts = PARTS[settings.part]
    return Inpainter(len(parts[0].blendshapes) + 3, channels(settings.widths))


def _first(maps: Tensor) -> Tensor:
    """Channels to the front: [N, S, S, 5] to [N, 5, S, S]."""
    return maps.permute(0, 3, 1, 2)


def _painted(network: nn.Module, batch: Batch) -> Tensor:
    made: Tensor = network(
        to_float(batch["true"]), _first(batch["maps"]), to_float(batch["hint"]), batch["told"]
    )
    return made.float()


def mean_score(scores: list[Tensor], mask: Tensor) -> Tensor:
    """The sum over scales of the mean score where the mask is."""
    terms = []
    for x in scores:
        weight = F.adaptive_avg_pool2d(mask, (x.shape[-2], x.shape[-1]))
        terms.append((x.float() * weight).sum() / weight.sum().clamp(min=1e-6))
    return torch.stack(terms).sum()


class InpaintingGraph(Graph):
    """Bytes in, bytes' range out: pixels as float, 0 to 255."""

    inputs = ("window", "maps", "hint", "told")
    outputs = ("painted",)

    def __init__(self, settings: InpaintingSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        self.network = _network(settings)
        self.network.load_state_dict(averaged[settings.part])
        self._size = settings.size
        self._told = len(PARTS[settings.part][0].blendshapes) + 3

    def example(self, count: int) -> tuple[Tensor, ...]:
        """Noise in the inputs' shapes."""
        rng, s = np.random.default_rng(0), self._size
        pictures = [rng.integers(0, 256, (count, s, s, 3), np.uint8) for _ in range(2)]
        maps = rng.uniform(0, 1, (count, s, s, MAPS)).astype(np.float32)
        told = rng.uniform(0, 1, (count, self._told)).astype(np.float32)
        return tuple(map(torch.from_numpy, (pictures[0], maps, pictures[1], told)))

    def forward(self, window: Tensor, maps: Tensor, hint: Tensor, told: Tensor) -> tuple[Tensor]:
        """See `Inpainter`; pictures are uint8 [N, S, S, 3], maps float [N, S, S, 5]."""
        made = self.network(
            window.permute(0, 3, 1, 2).float() / 255,
            maps.permute(0, 3, 1, 2),
            hint.permute(0, 3, 1, 2).float() / 255,
            told,
        )
        return (made.permute(0, 2, 3, 1) * 255,)


def on_card(settings: InpaintingSettings, faces: CloseUps) -> dict[str, Any]:
    """What else the card says: how the runtime shows it windows, and whose eyes the critic used."""
    helpers = f"{settings.features}, trained by others on ImageNet, frozen; none of it is inside"
    return {
        "window": settings.size,
        "trained_with": helpers if settings.features else "nothing of others",
    }


def _measured(part: str) -> Any:
    return lambda model, faces: measure.windows(model, faces, part)


def _entry(part: str, what: str) -> Entry:
    return Entry(
        InpaintingSettings,
        InpaintingMethod,
        data=named.close_ups,
        graph=InpaintingGraph,
        extra=on_card,
        measure=_measured(part),
        what=f"from a window around {what} with it cut out, its outlines as asked, a hint and"
        " blendshapes, to the window painted",
        limits="paints any outline that it is given: a wrong outline shows as a wrong picture",
    )


MOUTH = _entry("mouth", "a mouth")
EYE = _entry("eye", "an eye")
