"""A class-conditional self-attention GAN (Zhang et al. 2019) of faces, as the 2019 study tried it.

The generator draws a face of an asked expression from noise. Two objectives:

`wasserstein`: the critic sees the label as planes beside the picture and gives one score, held to
    slope 1 by a gradient penalty (Gulrajani et al. 2017) and therefore without spectral norm.
`softmax`: the critic names the expression, one of K. The study prints its two cross entropies with
    signs that contradict each other. The reading taken here: the critic names real pictures rightly
    and generated ones wrongly (its loss on those is −log(1 − p(asked)), which stays bounded below),
    and the generator wants its pictures named as asked. `softmax_extra` gives generated pictures a
    class of their own, K + 1 (Salimans et al. 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from facepaint.errors import LabError
from facepaint.face import EXPRESSIONS
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.data.named import by_set, of_sets
from facepaint.lab.data.pictures import picture, to_pixels, to_signed
from facepaint.lab.entry import Entry
from facepaint.lab.loop import Batch, Networks, Phases
from facepaint.lab.recipe import Settings

OBJECTIVES = ("wasserstein", "softmax", "softmax_extra")
NOISE = 96  # numbers that a picture is drawn from
_SMALLEST = 4  # pixels of the first map
CLASSES = len(EXPRESSIONS)


@dataclass(frozen=True)
class SAGANSettings(Settings):
    """size: side of the pictures, pixels, a power of two from 32. width: channels at full size.
    objective: one of OBJECTIVES. colour: three channels, else grey. sources: sets to take,
    separated by commas. critic_steps: critic phases a step. attention: side of the map that
    attends to itself. weight_penalty: of the gradient penalty."""

    size: int = 64
    width: int = 32
    objective: str = "softmax"
    colour: bool = False
    sources: str = "jaffe"
    critic_steps: int = 1
    attention: int = 16
    weight_penalty: float = 10.0


class SAGANMethod:
    """The critic's phases first, then the generator's."""

    def __init__(self, settings: SAGANSettings, faces: FaceSet) -> None:
        torch.manual_seed(settings.seed)
        self.settings = s = settings
        if s.objective not in OBJECTIVES:
            raise LabError(f"no objective {s.objective!r}; there are {', '.join(OBJECTIVES)}")
        if s.size < 32 or s.size & (s.size - 1):
            raise LabError(f"size={s.size} should be a power of two, 32 or more")
        self._faces = faces
        self.rows = labelled(faces, s.sources)
        bounded = s.objective != "wasserstein"
        channels = 3 if s.colour else 1
        self.networks: Networks = {
            "generator": Generator(channels, s.width, s.size, s.attention, bounded),
            "critic": Critic(channels, s.width, s.size, s.attention, s.objective),
        }
        self.phases: Phases = {f"critic_{i}": ("critic",) for i in range(s.critic_steps)}
        self.phases["generator"] = ("generator",)

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        """Real faces, classes alike; noise and asked classes for each phase."""
        s = self.settings
        labels = self._faces.expressions[self.rows]
        present = np.unique(labels)
        batch: Batch = {}
        for phase in self.phases:
            asked = rng.choice(present, count)
            batch[f"{phase}_asked"] = torch.from_numpy(asked.astype(np.int64))
            noise = rng.normal(size=(count, NOISE)).astype(np.float32)
            batch[f"{phase}_noise"] = torch.from_numpy(noise)
            if phase != "generator":
                kinds = rng.choice(present, count)
                rows = [int(rng.choice(self.rows[labels == k])) for k in kinds]
                crops = [
                    picture(self._faces, i, s.size, s.colour, rng.random() < 0.5) for i in rows
                ]
                batch[f"{phase}_real"] = torch.from_numpy(np.stack(crops))
                batch[f"{phase}_labels"] = torch.from_numpy(kinds.astype(np.int64))
        return batch

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        asked, noise = batch[f"{phase}_asked"], batch[f"{phase}_noise"]
        if phase == "generator":
            critic = networks["critic"].requires_grad_(False)
            made = networks["generator"](noise, asked)
            scores = critic(made.float(), asked).float()
            return self._wish(scores, asked), {"deviation": made.detach().float().std(0).mean()}
        critic = networks["critic"].requires_grad_(True)
        with torch.no_grad():
            made = networks["generator"](noise, asked).float()
        real, labels = to_signed(batch[f"{phase}_real"]), batch[f"{phase}_labels"]
        # one pass over both
        scores = critic(torch.cat([real, made]), torch.cat([labels, asked])).float()
        on_real, on_made = scores.chunk(2)
        if self.settings.objective == "wasserstein":
            apart = on_real.mean() - on_made.mean()
            penalty = self._penalty(real, made, asked)
            total = self.settings.weight_penalty * penalty - apart
            return total, {"distance": apart, "penalty": penalty}
        named = F.cross_entropy(on_real, labels)
        right = (on_real[:, :CLASSES].argmax(1) == labels).float().mean()
        total = named + self._refusal(on_made, asked)
        return total, {"named": named, "named_right": right}

    def _wish(self, scores: Tensor, asked: Tensor) -> Tensor:
        """What the generator minimises."""
        if self.settings.objective == "wasserstein":
            return -scores.mean()
        return F.cross_entropy(scores, asked)

    def _refusal(self, scores: Tensor, asked: Tensor) -> Tensor:
        """What the critic minimises on generated pictures."""
        if self.settings.objective == "softmax_extra":
            return F.cross_entropy(scores, torch.full_like(asked, CLASSES))
        own = scores.gather(1, asked[:, None])[:, 0]
        rest = scores.scatter(1, asked[:, None], -torch.inf).logsumexp(1)
        return F.softplus(own - rest).mean()  # −log(1 − p(asked))

    def _penalty(self, real: Tensor, made: Tensor, asked: Tensor) -> Tensor:
        """(‖∇D‖ − 1)² between real and made pictures. The network itself is called, not Fabric's
        wrapper, which allows no gradient but its own."""
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (share * real + (1 - share) * made).requires_grad_(True)
        scores = self.networks["critic"](between, asked)
        (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return penalty

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """A row for each expression, eight pictures from eight noises, alike in every row."""
        device = next(networks["generator"].parameters()).device
        noise = torch.randn(8, NOISE, generator=torch.Generator().manual_seed(0)).to(device)
        rows = []
        for k in np.unique(self._faces.expressions[self.rows]):
            asked = torch.full((8,), int(k), device=device)
            rows.append(np.hstack([*to_pixels(networks["generator"](noise, asked).float())]))
        return np.vstack(rows)


def labelled(faces: FaceSet, sources: str) -> npt.NDArray[np.intp]:
    """Faces of known expression that are not held out, of `sources` or of all for ""."""
    known = of_sets(faces, sources)
    rows = np.flatnonzero(known & (faces.expressions >= 0) & ~faces.held_out)
    if len(set(faces.expressions[rows])) < 2:
        where = sources or "the data"
        raise LabError(f"{where}: {len(rows)} labelled faces; two expressions at least are needed")
    return rows


def planes(labels: Tensor, like: Tensor) -> Tensor:
    """`like` [N, C, H, W] with the label's one-hot planes behind its channels."""
    hot = F.one_hot(labels, CLASSES).to(like.dtype)[:, :, None, None]
    return torch.cat([like, hot.expand(-1, -1, *like.shape[-2:])], 1)


class SelfAttention(nn.Module):
    """Every place looks at every other: 1 × 1 convolutions for query, key (C/8) and value (C/2),
    and a gate that starts at 0, so that a network is first learned without it."""

    def __init__(self, channels: int, bounded: bool) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query = layer(nn.Conv2d(channels, inner, 1), bounded)
        self.key = layer(nn.Conv2d(channels, inner, 1), bounded)
        self.value = layer(nn.Conv2d(channels, channels // 2, 1), bounded)
        self.out = layer(nn.Conv2d(channels // 2, channels, 1), bounded)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (f(x).flatten(2).mT for f in (self.query, self.key, self.value))
        # the paper does not divide by the root of the width
        weights = torch.softmax((query @ key.mT).float(), -1).to(value.dtype)
        seen = (weights @ value).mT.unflatten(2, x.shape[-2:])
        out: Tensor = x + self.gate * self.out(seen)
        return out


def layer(module: nn.Module, bounded: bool) -> nn.Module:
    """The layer, of spectral norm 1 if asked (Miyato et al. 2018)."""
    return spectral_norm(module) if bounded else module


def _channels(width: int, size: int, side: int) -> int:
    """Channels of a map of `side`: double at each halving, at most eightfold."""
    return width * min(8, size // side)


class Generator(nn.Module):
    """noise [N, 96] and labels [N] to pictures [N, C, size, size], -1 to 1."""

    def __init__(self, channels: int, width: int, size: int, attention: int, bounded: bool) -> None:
        super().__init__()
        first = _channels(width, size, _SMALLEST)
        self.first = layer(nn.Linear(NOISE + CLASSES, first * _SMALLEST**2), bounded)
        blocks: list[nn.Module] = []
        side, inputs = _SMALLEST, first
        while side < size:
            side *= 2
            outputs = _channels(width, size, side)
            blocks.append(_Up(inputs, outputs, bounded))
            if side == attention:
                blocks.append(SelfAttention(outputs, bounded))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        last = layer(nn.Conv2d(inputs, channels, 3, padding=1), bounded)
        self.head = nn.Sequential(nn.GroupNorm(8, inputs), nn.ReLU(), last, nn.Tanh())

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        seed = torch.cat([noise, F.one_hot(labels, CLASSES).to(noise.dtype)], 1)
        x = self.first(seed).unflatten(1, (-1, _SMALLEST, _SMALLEST))
        out: Tensor = self.head(self.blocks(x))
        return out


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int, bounded: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, inputs), nn.GroupNorm(8, outputs)
        self.conv1 = layer(nn.Conv2d(inputs, outputs, 3, padding=1), bounded)
        self.conv2 = layer(nn.Conv2d(outputs, outputs, 3, padding=1), bounded)
        self.skip = layer(nn.Conv2d(inputs, outputs, 1), bounded)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.interpolate(F.relu(self.norm1(x)), scale_factor=2.0))
        h = self.conv2(F.relu(self.norm2(h)))
        out: Tensor = h + F.interpolate(self.skip(x), scale_factor=2.0)
        return out


class Critic(nn.Module):
    """pictures [N, C, size, size] and labels [N] to scores: [N, 1] for `wasserstein`, whose input
    carries the label's planes; else [N, K] or [N, K + 1], and the label is not looked at."""

    def __init__(
        self, channels: int, width: int, size: int, attention: int, objective: str
    ) -> None:
        super().__init__()
        bounded = self.bounded = objective != "wasserstein"
        outputs = {"wasserstein": 1, "softmax": CLASSES, "softmax_extra": CLASSES + 1}[objective]
        inputs = channels if bounded else channels + CLASSES
        self.stem = layer(nn.Conv2d(inputs, width, 3, padding=1), bounded)
        blocks: list[nn.Module] = []
        side, inputs = size, width
        while side > _SMALLEST:
            side //= 2
            after = _channels(width, size, side)
            blocks.append(_Down(inputs, after, bounded))
            if side == attention:
                blocks.append(SelfAttention(after, bounded))
            inputs = after
        self.blocks = nn.Sequential(*blocks)
        self.head = layer(nn.Linear(inputs, outputs), bounded)

    def forward(self, pictures: Tensor, labels: Tensor) -> Tensor:
        x = self.stem(pictures if self.bounded else planes(labels, pictures))
        out: Tensor = self.head(F.relu(self.blocks(x)).sum((2, 3)))
        return out


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int, bounded: bool) -> None:
        super().__init__()
        self.conv1 = layer(nn.Conv2d(inputs, outputs, 3, padding=1), bounded)
        self.conv2 = layer(nn.Conv2d(outputs, outputs, 3, padding=1), bounded)
        self.skip = layer(nn.Conv2d(inputs, outputs, 1), bounded)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(F.relu(x))))
        out: Tensor = F.avg_pool2d(h, 2) + self.skip(F.avg_pool2d(x, 2))
        return out


def used(settings: SAGANSettings, faces: FaceSet) -> dict[str, int]:
    """Photos of each set that it learns from."""
    return by_set(faces, labelled(faces, settings.sources))


# It draws faces from noise, so there is nothing that a photo could be given to.
ENTRY = Entry(SAGANSettings, SAGANMethod, used=used)
