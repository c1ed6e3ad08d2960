"""CycleGAN between happy and neutral (Zhu et al. 2017), as the 2019 study trained it.

Two generators, `to_happy` and `to_neutral`, each with a critic that sees 70 × 70 patches. The
generators want to pass for real (log loss), to be undone by each other (cycle, L1) and, as an
option, to leave alone what is already as asked (identity, L1). No pairs, no landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint.align import CROP
from facepaint.errors import LabError
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.data.named import by_set, of_sets
from facepaint.lab.data.pictures import picture, to_pixels, to_signed
from facepaint.lab.data.samples import HAPPY, NEUTRAL
from facepaint.lab.data.topology import SMILING
from facepaint.lab.entry import Entry
from facepaint.lab.graph import Graph
from facepaint.lab.loop import Batch, Networks, Phases
from facepaint.lab.measure.metrics import cycle_l1
from facepaint.lab.recipe import Settings
from facepaint.models import Model

DOMAINS = ("happy", "neutral")
_FEW = 8  # photos; with fewer in a domain there is nothing to learn
_ENTERS, _LEAVES = 0.5, 0.08  # smile scores above and below which an unlabelled face counts


@dataclass(frozen=True)
class CycleGANSettings(Settings):
    """size: side of the crops, pixels. width: channels of the first layer (the paper's 64).
    blocks: residual blocks (the paper's 6 at 128 pixels, 9 at 256). colour: three channels, else
    grey. sources: sets to take, separated by commas. unlabelled: take their unlabelled faces too,
    by their smile score. adversarial: "log" as in the study, or "squares" (Mao et al. 2017).
    pool: results kept for the critics (Shrivastava et al. 2017), 0 for none. weight_*: of the
    losses."""

    size: int = 128
    width: int = 64
    blocks: int = 6
    colour: bool = False
    sources: str = "jaffe,fei,london,taiwan"
    unlabelled: bool = False
    adversarial: str = "log"
    pool: int = 50
    weight_cycle: float = 10.0
    weight_identity: float = 0.0


class CycleGANMethod:
    """Two phases a step: both generators, then both critics on what those just made."""

    def __init__(self, settings: CycleGANSettings, faces: FaceSet) -> None:
        torch.manual_seed(settings.seed)
        if settings.adversarial not in _ADVERSARIAL:
            known = " and ".join(_ADVERSARIAL)
            raise LabError(f"no adversarial loss {settings.adversarial!r}; there are {known}")
        self.settings = s = settings
        channels = 3 if s.colour else 1
        self.networks: Networks = {}
        for d in DOMAINS:
            self.networks[f"to_{d}"] = Generator(channels, s.width, s.blocks)
            self.networks[f"critic_{d}"] = PatchCritic(channels, s.width, s.size, s.pool)
        self.phases: Phases = {
            "generators": ("to_happy", "to_neutral"),
            "critics": ("critic_happy", "critic_neutral"),
        }
        self._faces = faces
        self.rows = {d: domain(faces, s, d, held_out=False) for d in DOMAINS}
        self._loss = _ADVERSARIAL[s.adversarial]
        kept = {d: domain(faces, s, d, held_out=True) for d in DOMAINS}
        shown = kept if any(map(len, kept.values())) else self.rows
        self._show = {d: rows[:8] for d, rows in shown.items()}

    @property
    def steps_a_pass(self) -> int:
        """Steps in which every photo of the larger domain is seen once."""
        return max(1, max(len(r) for r in self.rows.values()) // self.settings.batch)

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        """Photos without replacement, pass by pass; mirrored half of the time."""
        s, out = self.settings, {}
        for d in DOMAINS:
            chosen = (self._nth(d, step * s.batch + i) for i in range(count))
            crops = [picture(self._faces, i, s.size, s.colour, rng.random() < 0.5) for i in chosen]
            out[d] = torch.from_numpy(np.stack(crops))
        return out

    def _nth(self, name: str, n: int) -> int:
        """The n-th photo of an endless series of shuffled passes."""
        rows = self.rows[name]
        turn = np.random.default_rng([self.settings.seed, n // len(rows)])
        return int(rows[turn.permutation(len(rows))[n % len(rows)]])

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if phase == "generators":
            return self._generator_loss(networks, batch)
        return self._critic_loss(networks, batch)

    def _generator_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        s = self.settings
        total, shown = torch.zeros((), device=batch["happy"].device), {}
        for here, there in (DOMAINS, DOMAINS[::-1]):
            source = to_signed(batch[here])
            result = networks[f"to_{there}"](source).float()
            back = networks[f"to_{here}"](result).float()
            critic = networks[f"critic_{there}"].requires_grad_(False)
            cycle = (back - source).abs().mean()
            total = total + self._loss(critic(result).float(), True) + s.weight_cycle * cycle
            if s.weight_identity:
                same = networks[f"to_{here}"](source).float()
                identity = (same - source).abs().mean()
                total = total + s.weight_cycle * s.weight_identity * identity
            batch[f"made_{there}"] = result.detach()
            # of pictures from 0 to 1
            change = (result.detach() - source).abs().mean((0, 1)) / 2
            shown[f"cycle_{here}"] = cycle.detach() / 2
            shown[f"change_{here}"] = change.mean()
            shown[f"mouth_{here}"] = share_at_mouth(change)
        return total, shown

    def _critic_loss(self, networks: Networks, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        total, shown = torch.zeros((), device=batch["happy"].device), {}
        for d in DOMAINS:
            raw: Any = self.networks[f"critic_{d}"]
            critic = networks[f"critic_{d}"].requires_grad_(True)
            made = raw.remember(batch[f"made_{d}"])
            # one pass over both: InstanceNorm keeps them apart
            seen = critic(torch.cat([to_signed(batch[d]), made])).float()
            on_real, on_made = seen.chunk(2)
            total = total + (self._loss(on_real, True) + self._loss(on_made, False)) / 2
            shown[f"critic_{d}"] = (on_real.mean() - on_made.mean()).detach()
        return total, shown

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """Held-out people, or those trained on where none are: source, result, what changed (× 3),
        and the way back."""
        s, rows = self.settings, []
        for here, there in (DOMAINS, DOMAINS[::-1]):
            device = next(networks["to_happy"].parameters()).device
            crops = [picture(self._faces, int(i), s.size, s.colour) for i in self._show[here]]
            if not crops:
                continue
            source = to_signed(torch.from_numpy(np.stack(crops)).to(device))
            result = networks[f"to_{there}"](source)
            back = networks[f"to_{here}"](result)
            change = (result - source).abs() * 3 - 1
            for pictures in (source, result, change, back):
                rows.append(np.hstack([*to_pixels(pictures)]))
        width = min((r.shape[1] for r in rows), default=0)
        return np.vstack([r[:, :width] for r in rows])


def share_at_mouth(change: Tensor) -> Tensor:
    """The share of a map [S, S] that lies in the mouth's rectangle, a twelfth of the crop."""
    size = change.shape[0]
    mouth = change[int(0.62 * size) : int(0.86 * size), int(0.32 * size) : int(0.68 * size)]
    return mouth.sum() / change.sum().clamp(min=1e-9)


def domain(
    faces: FaceSet, settings: CycleGANSettings, name: str, held_out: bool
) -> npt.NDArray[np.intp]:
    """The faces of a domain, of people held out or not; LabError where there are too few."""
    known = of_sets(faces, settings.sources)
    wanted = faces.expressions == (HAPPY if name == "happy" else NEUTRAL)
    if settings.unlabelled:
        smile = faces.blendshapes[:, SMILING].mean(1)
        by_smile = smile > _ENTERS if name == "happy" else smile < _LEAVES
        wanted |= (faces.expressions < 0) & by_smile & faces.is_face
    rows = np.flatnonzero(known & wanted & (faces.held_out == held_out))
    if len(rows) < _FEW and not held_out:
        where = settings.sources or "the data"
        raise LabError(f"{len(rows)} {name} faces in {where}; at least {_FEW} are needed")
    return rows


def _log(scores: Tensor, real: bool) -> Tensor:
    """−log D for what should pass as real, −log(1 − D) for what should not."""
    return F.softplus(-scores if real else scores).mean()


def _squares(scores: Tensor, real: bool) -> Tensor:
    return (scores - float(real)).square().mean()


_ADVERSARIAL: dict[str, Callable[[Tensor, bool], Tensor]] = {"log": _log, "squares": _squares}


def instance_norm(channels: int) -> nn.GroupNorm:
    """InstanceNorm without parameters, as a GroupNorm: that one knows channels-last."""
    return nn.GroupNorm(channels, channels, affine=False)


class ResnetBlock(nn.Module):
    """Two reflection-padded convolutions around a skip (Johnson et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for last in (False, True):
            layers += [
                nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
                instance_norm(channels),
            ]
            layers += [] if last else [nn.ReLU()]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class Generator(nn.Module):
    """c7s1, two halvings, `blocks` residual blocks, two doublings, c7s1; -1 to 1 in and out."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        w = width

        def step(layer: nn.Module, outputs: int) -> list[nn.Module]:
            return [layer, instance_norm(outputs), nn.ReLU()]

        def double(inputs: int, outputs: int) -> nn.Module:
            return nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)

        self.body = nn.Sequential(
            *step(nn.Conv2d(channels, w, 7, padding=3, padding_mode="reflect"), w),
            *step(nn.Conv2d(w, 2 * w, 3, 2, 1), 2 * w),
            *step(nn.Conv2d(2 * w, 4 * w, 3, 2, 1), 4 * w),
            *(ResnetBlock(4 * w) for _ in range(blocks)),
            *step(double(4 * w, 2 * w), 2 * w),
            *step(double(2 * w, w), w),
            nn.Conv2d(w, channels, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )
        self.apply(_paper_weights)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


class PatchCritic(nn.Module):
    """C64-C128-C256-C512 (Isola et al. 2017): each score sees 70 × 70 pixels. Keeps a pool of
    results as a buffer, so that it is saved with everything else."""

    def __init__(self, channels: int, width: int, size: int, pool: int) -> None:
        super().__init__()
        w = width
        layers: list[nn.Module] = [nn.Conv2d(channels, w, 4, 2, 1), nn.LeakyReLU(0.2)]
        for inputs, outputs, stride in ((w, 2 * w, 2), (2 * w, 4 * w, 2), (4 * w, 8 * w, 1)):
            layers += [
                nn.Conv2d(inputs, outputs, 4, stride, 1),
                instance_norm(outputs),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*layers, nn.Conv2d(8 * w, 1, 4, 1, 1))
        self.apply(_paper_weights)
        self.pool: Tensor
        self.held: Tensor
        self.register_buffer("pool", torch.zeros(pool, channels, size, size))
        self.register_buffer("held", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out

    @torch.no_grad()
    def remember(self, made: Tensor) -> Tensor:
        """For each result itself or, half of the time once the pool is full, an older one, whose
        place it takes."""
        out = made.clone()
        for i, one in enumerate(made if len(self.pool) else ()):
            if self.held < len(self.pool):
                self.pool[self.held] = one
                self.held += 1
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(len(self.pool), ()))
                out[i] = self.pool[place]
                self.pool[place] = one
        return out


def _paper_weights(module: nn.Module) -> None:
    """Normal with a deviation of .02, as the paper begins."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class CycleGANGraph(Graph):
    """Crops in; for each domain what its generator would add to them, -1 to 1, channels last."""

    inputs = ("crops",)
    outputs = DOMAINS

    def __init__(self, settings: CycleGANSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        channels = 3 if settings.colour else 1
        self.colour, self.size = settings.colour, settings.size
        self.generators = nn.ModuleList()
        for d in DOMAINS:
            generator = Generator(channels, settings.width, settings.blocks)
            generator.load_state_dict(averaged[f"to_{d}"])
            self.generators.append(generator)

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        x = crops.permute(0, 3, 1, 2).float() / 127.5 - 1
        if not self.colour:  # as OpenCV greys
            weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
            x = (x * weights).sum(1, keepdim=True)
        if self.size != CROP:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=False)
        return tuple(self._added(g, x) for g in self.generators)

    def _added(self, generator: nn.Module, x: Tensor) -> Tensor:
        added: Tensor = (generator(x) - x) / 2
        if self.size != CROP:
            added = F.interpolate(added, size=(CROP, CROP), mode="bilinear")
        return added.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)


def held_out(model: Model, faces: FaceSet, limit: int = 200) -> dict[str, Any]:
    """Held-out labelled people: the cycle's L1 in the study's three readings, and how much each
    generator changes; grey levels 0 to 255 of 128-pixel crops unless said otherwise."""
    result: dict[str, Any] = {}
    for here, there in (DOMAINS, DOMAINS[::-1]):
        wanted = HAPPY if here == "happy" else NEUTRAL
        rows = np.flatnonzero(faces.held_out & (faces.expressions == wanted))[:limit]
        if not len(rows):
            continue
        cycles, changes = [], []
        for i in rows:
            source = picture(faces, int(i), CROP, True)
            changed = _apply(model, source, there)
            back = _apply(model, changed, here)
            cycles.append(np.abs(back.astype(float) - source).mean())
            changes.append(np.abs(changed.astype(float) - source).mean())
        result[f"from_{here}"] = {
            "people": len(rows),
            **cycle_l1(float(np.mean(cycles)), CROP**2),
            "change_l1_255": float(np.mean(changes)),
        }
    return result


def _apply(model: Model, crop: npt.NDArray[np.uint8], to: str) -> npt.NDArray[np.uint8]:
    added = model(crops=crop[None])[to][0] * 255
    return np.asarray(np.clip(np.rint(crop + added), 0, 255), np.uint8)


def used(settings: CycleGANSettings, faces: FaceSet) -> dict[str, int]:
    """Photos of each set that it learns from."""
    rows = np.concatenate([domain(faces, settings, d, held_out=False) for d in DOMAINS])
    return by_set(faces, rows)


ENTRY = Entry(
    CycleGANSettings,
    CycleGANMethod,
    graph=CycleGANGraph,
    measure=held_out,
    used=used,
    extra=lambda settings, faces: {"expressions": list(DOMAINS)},
    what="from an aligned crop to what two generators would add to it: happy, neutral; the 2019"
    " study's best system, kept for comparison",
    limits="draws the whole crop anew at its own small size, so detail is lost; happy and neutral"
    " only; no control but strength",
)
