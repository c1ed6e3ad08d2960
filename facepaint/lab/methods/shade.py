"""Shade: a network that says how the light on moved skin changes with an expression.

It learns from two photos of one person in one light, and from such differences laid over photos of
other people (`facepaint.lab.data.shading`). Losses: Huber's (1964) of the logarithm of light on
skin, whose answer to a fold that some people have is part of a fold and not none, and the absolute
difference of its gradients at three sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from facepaint.editing.mover import FEATURES
from facepaint.editing.shade import HUES
from facepaint.errors import LabError
from facepaint.lab import losses
from facepaint.lab.data import named
from facepaint.lab.data.closeups import CloseUps
from facepaint.lab.data.named import by_set
from facepaint.lab.data.shading import SAME_LIGHT, ShadingSamples
from facepaint.lab.entry import Entry
from facepaint.lab.graph import Graph
from facepaint.lab.inpainting_networks import ShadeNet
from facepaint.lab.loop import Batch, Networks, Phases, stacked
from facepaint.lab.networks import device_of, to_float
from facepaint.lab.recipe import Settings, channels
from facepaint.models import Model

_SHOWN = 10  # samples of a sheet
_HELD = 400  # held-out pairs that are measured
_LIMIT = 0.15  # of the logarithm of light, up to which the loss is square
_SCALES = (1, 2, 4)  # of whose gradients the loss is taken


@dataclass(frozen=True)
class ShadeSettings(Settings):
    """What the network that shades skin is trained with.

    Attributes:
        size: pixels a side of a crop.
        widths: channels at each of its sizes, separated by commas.
        sources: sets to take, separated by commas, "" for all.
        carried: share of the samples whose difference is laid over another person's photo.
        light: strength of changes of light, colour, blur and noise, 0 to 1.
        weight_light, weight_edges: of the losses.
        depth: what darkening is multiplied by after training: the mean of folds that differ from
            person to person is fainter than a person's.
    """

    size: int = 128
    widths: str = "32,32,64,64"
    sources: str = ""
    carried: float = 0.4
    light: float = 0.4
    weight_light: float = 20.0
    weight_edges: float = 3.0
    depth: float = 1.5


class ShadeMethod:
    """One network, supervised; one phase."""

    def __init__(self, settings: ShadeSettings, faces: CloseUps) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.networks: Networks = {"shade": ShadeNet(FEATURES, channels(settings.widths))}
        self.phases: Phases = {"shade": ("shade",)}
        self._samples = ShadingSamples(settings, faces.only(~faces.held_out))
        try:
            shown = ShadingSamples(settings, faces.only(faces.held_out))
        except LabError:  # of those held out nobody was seen twice
            shown = self._samples
        rng = np.random.default_rng(settings.seed)
        self._show = stacked([shown.draw(rng) for _ in range(_SHOWN)])

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        """`count` samples of `ShadingSamples`, stacked."""
        return stacked([self._samples.draw(rng) for _ in range(count)])

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts."""
        s, weight = self.settings, batch["skin"][:, None]
        made, true = _made(networks, batch), batch["gain"].float()[:, None]
        edges = []
        for scale in _SCALES:
            small = [F.avg_pool2d(x, scale) for x in (made * weight, true, weight)]
            edges.append(losses.gradient_l1(*small) / scale)
        parts = {
            "light": s.weight_light * losses.weighted_huber(made, true, weight, _LIMIT),
            "edges": s.weight_edges * torch.stack(edges).sum(),
        }
        return torch.stack(list(parts.values())).sum(), parts

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """Rows of crops: moved, shaded as they should be, shaded."""
        device = device_of(networks)
        batch = {k: v.to(device) for k, v in self._show.items()}
        made = _made(networks, batch)[:, 0].cpu().numpy()
        skin, crop = self._show["skin"].numpy(), self._show["crop"].numpy()
        gains = (self._show["gain"].float().numpy(), made)
        lit = [crop * np.exp((g * skin)[..., None] * np.array(HUES)) for g in gains]
        rows = (crop, *(np.clip(np.rint(x), 0, 255).astype(np.uint8) for x in lit))
        return np.vstack([np.hstack([*row]) for row in rows])


def _made(networks: Networks, batch: Batch) -> Tensor:
    made: Tensor = networks["shade"](to_float(batch["crop"]), batch["skin"][:, None], batch["told"])
    return made.float()


class ShadeGraph(Graph):
    """Crops uint8 [N, S, S, 3], skin float [N, S, S] and told float [N, 110] to the natural
    logarithm of a gain, float [N, S, S]."""

    inputs = ("crops", "skin", "told")
    outputs = ("gain",)

    def __init__(self, settings: ShadeSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        self.network = ShadeNet(FEATURES, channels(settings.widths))
        self.network.load_state_dict(averaged["shade"])
        self._size, self._depth = settings.size, settings.depth

    def example(self, count: int) -> tuple[Tensor, ...]:
        """Noise in the inputs' shapes."""
        rng, s = np.random.default_rng(0), self._size
        crops = rng.integers(0, 256, (count, s, s, 3), np.uint8)
        skin = rng.uniform(0, 1, (count, s, s)).astype(np.float32)
        told = rng.uniform(-1, 1, (count, FEATURES)).astype(np.float32)
        return tuple(map(torch.from_numpy, (crops, skin, told)))

    def forward(self, crops: Tensor, skin: Tensor, told: Tensor) -> tuple[Tensor]:
        """See `ShadeNet`."""
        made = self.network(crops.permute(0, 3, 1, 2).float() / 255, skin[:, None], told)[:, 0]
        return (torch.where(made < 0, self._depth * made, made),)


def used(settings: ShadeSettings, faces: CloseUps) -> dict[str, int]:
    """Photos of each set that it learns from."""
    return by_set(faces, ~faces.held_out)


def on_card(settings: ShadeSettings, faces: CloseUps) -> dict[str, Any]:
    """What else the card says: how large the crops are, and whose pairs of photos it learned."""
    return {"window": settings.size, "pairs_of": [s for s in SAME_LIGHT if s in faces.sources]}


@dataclass(frozen=True)
class _Held:
    """Settings to draw samples by, without changes of light."""

    size: int
    carried: float = 0.0
    light: float = 0.0


def measured(model: Model, faces: CloseUps) -> dict[str, Any]:
    """How much of held-out people's change of light it foretells: the mean over pairs of the
    correlation on skin, and the mean absolute difference with the light and without."""
    try:
        samples = ShadingSamples(_Held(model.card["window"]), faces.only(faces.held_out))
    except LabError:
        return {"pairs": 0}
    rng, rows = np.random.default_rng(0), []
    for _ in range(_HELD):
        x = samples.draw(rng)
        weight = x["skin"] > 0.5
        fed = {"crops": x["crop"][None], "skin": x["skin"][None], "told": x["told"][None]}
        made = model(**fed)["gain"][0][weight]
        true = x["gain"].astype(np.float32)[weight]
        correlation = float(np.corrcoef(made, true)[0, 1]) if made.std() > 0 else 0.0
        rows.append((correlation, float(np.abs(made - true).mean()), float(np.abs(true).mean())))
    correlation, left, whole = np.array(rows).mean(0).tolist()
    return {
        "pairs": len(rows),
        "correlation": correlation,
        "difference": left,
        "difference_without": whole,
    }


ENTRY = Entry(
    ShadeSettings,
    ShadeMethod,
    data=named.close_ups,
    graph=ShadeGraph,
    used=used,
    extra=on_card,
    measure=measured,
    what="from a face whose landmarks were moved, where its skin is, and a change of blendshapes,"
    " of their square roots and of an expression's name, to the logarithm of a gain of its light",
    limits="people who were photographed twice in one light are few",
)
