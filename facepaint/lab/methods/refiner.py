"""The refiner: detail for windows of mouth and eyes that the painter's paint left soft.

Most samples have an answer: a true window, worsened as paint would have it (degradation models of
blind super-resolution, Zhang et al. 2021). A painter's own results have none. A critic that looks
through a frozen network's eyes (Sauer et al. 2021; hinge loss) judges both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint.lab import losses
from facepaint.lab.data import named
from facepaint.lab.data.named import by_set
from facepaint.lab.data.windows import WindowSamples, WindowSet, sharpest
from facepaint.lab.entry import Entry
from facepaint.lab.features import Pyramid, pyramid
from facepaint.lab.graph import Graph
from facepaint.lab.loop import Batch, Networks, Phases
from facepaint.lab.measure import refiner as measure
from facepaint.lab.networks import Block, conv, device_of, norm, to_float
from facepaint.lab.recipe import Settings
from facepaint.methods import Method, PainterNetwork
from facepaint.refine import WINDOW, border

_COARSE = 9  # pixels of a window: means over so many are left as they are
_SHOWN = 6  # windows of a sample sheet


@dataclass(frozen=True)
class RefinerSettings(Settings):
    """width: channels at half size. sources: sets to take, separated by commas, "" for all.
    sharpest: share of each set's faces that is learned from, the sharpest. mouths: share of the
    windows that show a mouth, the rest an eye. painter: a folder of weights whose painter's
    results are refined too, "" for none; made: their share. features: the critic looks through
    "mobilenet_v2", and windows are compared there too; "" for neither. critic_from: the step at
    which the critic's voice begins. weight_*: of the losses."""

    width: int = 24
    sources: str = "london,celebamask,taiwan"
    sharpest: float = 0.7
    mouths: float = 0.6
    painter: str = ""
    made: float = 0.25
    features: str = ""
    critic_from: int = 500
    weight_pixels: float = 1.0
    weight_edges: float = 1.0
    weight_features: float = 0.3
    weight_critic: float = 0.1


class RefinerMethod:
    """The refiner, then, where there are features, the critic on what it just made."""

    def __init__(self, settings: RefinerSettings, faces: WindowSet) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self._pyramid = pyramid(settings.features)
        self.networks: Networks = {"refiner": Refiner(settings.width)}
        self.phases: Phases = {"refiner": ("refiner",)}
        if self._pyramid:
            self.networks["critic"] = WindowCritic(Pyramid.CHANNELS)
            self.phases["critic"] = ("critic",)
        self._samples = WindowSamples(settings, faces, _painter(settings.painter))
        self._fade = torch.from_numpy(border())
        self._show = self.sample(np.random.default_rng(settings.seed), _SHOWN, 0)

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        rows = self._samples.draw(rng, count)
        return {k: torch.from_numpy(np.stack([r[k] for r in rows])) for k in rows[0]}

    # --- losses

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if phase == "critic":
            return self._critic_loss(networks["critic"], batch)
        s = self.settings
        result = self._refined(networks["refiner"], batch)
        parts = self._pair_losses(result, batch)
        if self._pyramid:
            maps = self._pyramid(result)
            batch |= {f"result_{i}": m.detach() for i, m in enumerate(maps)}
            parts["features"] = s.weight_features * self._feature_loss(maps, batch)
            if s.weight_critic and step >= s.critic_from:
                critic = networks["critic"].requires_grad_(False)
                scores = critic(maps).float()
                parts["critic"] = -s.weight_critic * _mean(scores, batch["cover"])
        total = torch.stack(list(parts.values())).sum()
        return total, parts | {"soft": self._soft(batch)}

    def _refined(self, refiner: nn.Module, batch: Batch) -> Tensor:
        """The painted windows with their detail, [N, 3, 96, 128], 0 to 1: what the runtime adds
        under the cover and the window's border."""
        painted = to_float(batch["painted"])
        detail = refiner(painted, to_float(batch["before"]), batch["cover"][:, None]).float()
        result: Tensor = (painted + detail * self._fade.to(detail.device)).clamp(0, 1)
        return result

    def _pair_losses(self, result: Tensor, batch: Batch) -> dict[str, Tensor]:
        """How far windows that have an answer are from it, below the paint."""
        s, known = self.settings, batch["answered"]
        if not known.any():
            return {"pixels": result.sum() * 0}
        made, wanted = result[known], to_float(batch["true"])[known]
        weight = batch["cover"][known][:, None]
        return {
            "pixels": s.weight_pixels * losses.weighted_l1(made, wanted, weight),
            "edges": s.weight_edges * losses.gradient_l1(made, wanted, weight),
        }

    def _feature_loss(self, maps: list[Tensor], batch: Batch) -> Tensor:
        """The same in features, which forgive a pixel's shift."""
        assert self._pyramid is not None
        known = batch["answered"]
        if not known.any():
            return maps[0].sum() * 0
        with torch.no_grad():
            wanted = self._pyramid(to_float(batch["true"][known]))
        weight = batch["cover"][known][:, None]
        terms = [
            losses.weighted_l1(m[known], w, F.interpolate(weight, size=m.shape[-2:], mode="area"))
            for m, w in zip(maps, wanted, strict=True)
        ]
        return torch.stack(terms).mean()

    def _soft(self, batch: Batch) -> Tensor:
        """The pixels' loss of windows left as they are: what there is to win against."""
        return self._pair_losses(to_float(batch["painted"]), batch)["pixels"].detach()

    def _critic_loss(self, critic: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert self._pyramid is not None
        critic.requires_grad_(True)
        with torch.no_grad():
            seen = self._pyramid(to_float(batch["real"]))
        made = [batch[f"result_{i}"] for i in range(len(seen))]
        on_real, on_made = critic(seen).float(), critic(made).float()
        cover = batch["cover"]
        loss = _mean(F.relu(1 - on_real), cover) + _mean(F.relu(1 + on_made), cover)
        shown = {"critic_real": _mean(on_real, cover), "critic_made": _mean(on_made, cover)}
        return loss, {k: v.detach() for k, v in shown.items()}

    # --- pictures

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """Windows: painted, refined, true and cover."""
        device = device_of(networks)
        batch = {k: v.to(device) for k, v in self._show.items()}
        made = self._refined(networks["refiner"], batch).permute(0, 2, 3, 1).cpu().numpy()
        refined = (made * 255).round().astype(np.uint8)
        cover = (self._show["cover"].numpy() * 255).astype(np.uint8)[..., None].repeat(3, -1)
        rows = (self._show["painted"].numpy(), refined, self._show["true"].numpy(), cover)
        return np.vstack([np.hstack([*row]) for row in rows])


def _mean(scores: Tensor, cover: Tensor) -> Tensor:
    """The mean of scores [N, 4, h, w], the more of a place the more paint covers it [N, H, W]."""
    weight = F.interpolate(cover[:, None], size=scores.shape[-2:], mode="area")
    return (scores * weight).sum() / (weight.sum() * scores.shape[1]).clamp(min=1e-6)


def _painter(folder: str) -> Method | None:
    return PainterNetwork(Path(folder)) if folder else None


class Refiner(nn.Module):
    """A U-Net (Ronneberger et al. 2015) on windows laid out at half their size (pixels to channels
    and back, Shi et al. 2016). Its last layer also sees what is fine in the painted window: most of
    sharpening is linear in that.

    painted, before [N, 3, H, W], 0 to 1; cover [N, 1, H, W]; sides divisible by 8. Returns a
    residual [N, 3, H, W], -1 to 1, with nothing coarse in it, exactly zero where the cover is.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        w = width
        self.stem = conv(4 * 10, w)
        self.down1 = Block(w, 2 * w, 2)
        self.down2 = Block(2 * w, 4 * w, 2)
        self.middle = Block(4 * w, 4 * w)
        self.up2 = Block(6 * w, 2 * w)
        self.up1 = Block(3 * w, w)
        self.norm = norm(w)
        self.head = conv(w + 4 * 3, 4 * 3)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, painted: Tensor, before: Tensor, cover: Tensor) -> Tensor:
        fine = painted - F.avg_pool2d(painted, 5, 1, 2, count_include_pad=False)
        fine = F.pixel_unshuffle(fine / 0.05, 2)
        seen = torch.cat([(painted - 0.5) / 0.25, (before - painted) / 0.25, cover], 1)
        x0 = self.stem(torch.cat([F.pixel_unshuffle(seen, 2), fine], 1))
        x1 = self.down1(x0)
        h = self.middle(self.down2(x1))
        h = self.up2(torch.cat([F.interpolate(h, scale_factor=2.0), x1], 1))
        h = self.up1(torch.cat([F.interpolate(h, scale_factor=2.0), x0], 1))
        detail = F.pixel_shuffle(self.head(torch.cat([F.silu(self.norm(h)), fine], 1)).float(), 2)
        # detail is faint: without the divisor the first steps of the last layer would drown it
        detail = 0.5 * torch.tanh(detail / 20)
        # what is coarse is the painter's to say: else a dark open mouth is given lips
        coarse = F.avg_pool2d(detail, _COARSE, 1, _COARSE // 2, count_include_pad=False)
        return (detail - coarse) * cover


class WindowCritic(nn.Module):
    """Judges windows by the features of a frozen network at four scales, of `channels` each.

    Returns scores [N, 4, 12, 16], higher is more real. A fixed random mixture of the channels
    keeps it from resting on a few of them.
    """

    PLACES = (WINDOW[0] // 8, WINDOW[1] // 8)

    def __init__(self, channels: tuple[int, ...], width: int = 64) -> None:
        super().__init__()
        w = width
        self.heads = nn.ModuleList()
        for i, c in enumerate(channels):
            self.register_buffer(f"mix{i}", torch.randn(w, c, 1, 1) / c**0.5)
            layers = [conv(w, w), norm(w), nn.LeakyReLU(0.2), conv(w, 1, 1)]
            self.heads.append(nn.Sequential(*layers))

    def forward(self, maps: list[Tensor]) -> Tensor:
        scores = [
            head(F.conv2d(x, self.get_buffer(f"mix{i}")))
            for i, (head, x) in enumerate(zip(self.heads, maps, strict=True))
        ]
        return torch.cat([F.interpolate(s, size=self.PLACES, mode="area") for s in scores], 1)


class RefinerGraph(Graph):
    """Bytes in, channels last out."""

    inputs = ("painted", "before", "cover")
    outputs = ("residual",)

    def __init__(self, settings: RefinerSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        self.network = Refiner(settings.width)
        self.network.load_state_dict(averaged["refiner"])

    def example(self, count: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng(0)
        two = (rng.integers(0, 256, (count, *WINDOW, 3), np.uint8) for _ in range(2))
        cover = rng.uniform(0, 1, (count, *WINDOW)).astype(np.float32)
        return (*map(torch.from_numpy, two), torch.from_numpy(cover))

    def forward(self, painted: Tensor, before: Tensor, cover: Tensor) -> tuple[Tensor, ...]:
        seen = (x.permute(0, 3, 1, 2).float() / 255 for x in (painted, before))
        return (self.network(*seen, cover[:, None]).permute(0, 2, 3, 1),)


def windows(settings: Settings, folder: str | None) -> WindowSet:
    """The large faces of the settings' sources, or drawn ones."""
    assert isinstance(settings, RefinerSettings)
    return named.windows(settings, folder, settings.sources)


def used(settings: RefinerSettings, faces: WindowSet) -> dict[str, int]:
    """Photos of each set that it learns from."""
    return by_set(faces, sharpest(faces, settings.sharpest))


def on_card(settings: RefinerSettings, faces: WindowSet) -> dict[str, Any]:
    """Whose eyes the critic looked through."""
    helpers = f"{settings.features}, trained by others on ImageNet, frozen; none of it is inside"
    return {"trained_with": helpers if settings.features else "nothing of others"}


ENTRY = Entry(
    RefinerSettings,
    RefinerMethod,
    data=windows,
    graph=RefinerGraph,
    used=used,
    measure=measure.refiner,
    extra=on_card,
    what="from windows of mouth and eyes, as painted and as they were, and how far paint covers"
    " them, to a residual of detail under the paint",
    limits="adds detail to what the painter painted and cannot mend what that got wrong; sees 256"
    " pixels of a crop's side",
)
