"""Visibility: a network that tells which pixels of a crop show the face itself.

It is taught by parsings of photos and by occluders drawn over them
(`facepaint.lab.data.visibility`). Losses: binary cross-entropy, weighted near edges and inside the
face's outline, and soft Dice (Milletari et al. 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from facepaint.align import CROP
from facepaint.lab.data import named
from facepaint.lab.data import visibility as data
from facepaint.lab.data.faces import data_folder
from facepaint.lab.data.occluders import OCCLUDERS
from facepaint.lab.data.visibility import ParsedFaces, VisibilitySamples
from facepaint.lab.entry import Entry
from facepaint.lab.graph import Graph
from facepaint.lab.loop import Batch, Networks, Phases, stacked
from facepaint.lab.measure import cost
from facepaint.lab.networks import device_of, to_float
from facepaint.lab.recipe import Settings
from facepaint.lab.visibility_network import VisibilityNet
from facepaint.models import Model

Pixels = npt.NDArray[np.uint8]
_NEAR = 5  # pixels a side, within which an edge weighs more
_SURE = 0.5  # visibility from which on a pixel counts as visible
_HIDDEN_TINT = np.array([0, 0, 160])  # of a sheet, RGB
_ONE_IN = 2  # of held-out faces, that each kind of occluder is measured on


@dataclass(frozen=True)
class VisibilitySettings(Settings):
    """What a network that tells where a face is visible is trained with.

    Attributes:
        fine: channels at a half and a quarter of the crop's size.
        coarse: channels at an eighth and a sixteenth.
        untouched: share of samples without a pasted occluder.
        second: share of the others that have two.
        opened: share of samples whose mouth is drawn wide open.
        shaded: share of samples with a drawn shadow, which hides nothing.
        light: strength of changes of light, colour, blur and noise, 0 to 1.
        weight_edges: how much more the cross-entropy of a pixel near an edge counts.
        weight_outside: how much a pixel outside the landmarks' oval counts, of one inside.
        weight_dice: of the Dice loss.
    """

    fine: int = 32
    coarse: int = 64
    untouched: float = 0.35
    second: float = 0.2
    opened: float = 0.25
    shaded: float = 0.25
    light: float = 0.8
    weight_edges: float = 1.0
    weight_outside: float = 0.4
    weight_dice: float = 0.5


class VisibilityMethod:
    """One network, supervised; one phase."""

    def __init__(self, settings: VisibilitySettings, faces: ParsedFaces) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.networks: Networks = {"visibility": VisibilityNet(settings.fine, settings.coarse)}
        self.phases: Phases = {"visibility": ("visibility",)}
        self._samples = VisibilitySamples(settings, faces.only(~faces.held_out))
        kept = faces.only(faces.held_out) if faces.held_out.any() else faces
        self._show = _shown(VisibilitySamples(settings, kept), settings.seed)

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        """`count` samples of `VisibilitySamples`, stacked."""
        return stacked([self._samples.draw(rng) for _ in range(count)])

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts."""
        s = self.settings
        truth = batch["truth"].float() / 255
        oval = batch["oval"].float()
        logits = networks["visibility"](to_float(batch["crop"])).float()
        weight = s.weight_outside + (1 - s.weight_outside) * oval
        weight = weight * (1 + s.weight_edges * _near_edges(truth))
        entropy = F.binary_cross_entropy_with_logits(logits, truth, weight) / weight.mean()
        shown = torch.sigmoid(logits)
        dice = _dice(shown, truth) + _dice((1 - shown) * oval, (1 - truth) * oval)
        total = entropy + s.weight_dice * dice
        return total, {"entropy": entropy, "dice": dice}

    @torch.no_grad()
    def sheet(self, networks: Networks) -> Pixels:
        """Rows of crops of people held out: as they are, where they are visible, and as told."""
        crops = self._show["crop"]
        logits = networks["visibility"](to_float(crops.to(device_of(networks))))
        told = torch.sigmoid(logits).float().cpu().numpy()
        truth = self._show["truth"].numpy() / 255
        photos = crops.numpy()
        rows = (photos, hidden_tinted(photos, truth), hidden_tinted(photos, told))
        half = (len(photos) + 1) // 2
        bands = [np.vstack([np.hstack([*r[k : k + half]]) for r in rows]) for k in (0, half)]
        return np.vstack([b for b in bands if b.shape == bands[0].shape])


def _shown(samples: VisibilitySamples, seed: int) -> Batch:
    """Samples for a sheet: untouched faces, then two of each kind of occluder, an even number."""
    rng = np.random.default_rng(seed)
    kinds = [*[()] * 4, *[(k,) for k in OCCLUDERS for _ in range(2)]]
    places = np.linspace(0, len(samples.faces) - 1, len(kinds)).astype(int)
    return stacked([samples.sample(rng, int(i), k) for i, k in zip(places, kinds, strict=True)])


def _near_edges(truth: Tensor) -> Tensor:
    """1 where a pixel of another visibility is near, else 0; of truth [N, S, S], 0 to 1."""
    around = truth[:, None]
    most = F.max_pool2d(around, _NEAR, 1, _NEAR // 2)
    least = -F.max_pool2d(-around, _NEAR, 1, _NEAR // 2)
    return (most - least)[:, 0]


def _dice(a: Tensor, b: Tensor) -> Tensor:
    """1 less the soft Dice coefficient of whole batches, 0 where they are alike; [N, S, S]."""
    return 1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1)


def hidden_tinted(photos: Pixels, visible: npt.NDArray[Any]) -> Pixels:
    """Crops with what is hidden tinted blue.

    Args:
        photos: uint8 [N, S, S, 3] RGB.
        visible: float [N, S, S], 0 to 1.

    Returns:
        uint8 [N, S, S, 3].
    """
    share = 0.65 * (1 - visible[..., None])
    return np.rint(photos * (1 - share) + _HIDDEN_TINT * share).astype(np.uint8)


class VisibilityGraph(Graph):
    """Crops, uint8 [N, 128, 128, 3] RGB, to visibility, float [N, 128, 128], 0 to 1."""

    inputs = ("crops",)
    outputs = ("visible",)

    def __init__(self, settings: VisibilitySettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        self.network = VisibilityNet(settings.fine, settings.coarse)
        self.network.load_state_dict(averaged["visibility"])

    def forward(self, crops: Tensor) -> tuple[Tensor]:
        """See `VisibilityNet`."""
        return (torch.sigmoid(self.network(crops.permute(0, 3, 1, 2).float() / 255)),)


def parsed_faces(settings: Settings, folder: str | None) -> ParsedFaces:
    """The faces of a folder that have a parsing, or drawn ones.

    Args:
        settings: whose `data` says which.
        folder: of photos; None for the environment's.

    Raises:
        LabError: if there are none, or `data` is unknown.
    """
    if settings.data != "photos":
        return data.of_drawn(named.faces(settings, folder))
    return data.load(data_folder(folder), named.cache_folder())


def used(settings: VisibilitySettings, faces: ParsedFaces) -> dict[str, int]:
    """Photos of each set that it learns from."""
    sources, counts = np.unique(faces.sources[~faces.held_out], return_counts=True)
    return {str(s): int(n) for s, n in zip(sources, counts, strict=True)}


def on_card(settings: VisibilitySettings, faces: ParsedFaces) -> dict[str, Any]:
    """What else the card says: what occluders took their texture from."""
    return {"textures": f"{len(faces.textures)} parts of photos that show nobody"}


def measure(model: Model, faces: ParsedFaces, seed: int = 0) -> dict[str, Any]:
    """The network on held-out people, within the oval of their landmarks.

    For photos as they are, those of them with glasses, and each kind of pasted occluder:
    iou_face and iou_hidden, intersection over union of the pixels that show the face and of those
    that do not, over all photos of the kind; wrongly_hidden, the share of visible pixels that are
    told to be hidden.
    """
    kept = faces.only(faces.held_out)
    numbers: dict[str, Any] = {"people": len({*kept.subjects})}
    if not len(kept):
        return numbers
    samples, rng = VisibilitySamples(VisibilitySettings(), kept), np.random.default_rng(seed)
    rows = np.arange(len(kept))
    groups: dict[str, list[dict[str, Pixels]]] = {
        "untouched": [samples.sample(rng, int(i)) for i in rows],
        "untouched_with_glasses": [samples.sample(rng, int(i)) for i in rows[kept.glasses]],
    }
    for n, kind in enumerate(OCCLUDERS):
        groups[kind] = [samples.sample(rng, int(i), (kind,)) for i in rows[n % _ONE_IN :: _ONE_IN]]
    for name, found in groups.items():
        if found:
            numbers[name] = {"photos": len(found)} | _agreement(model, found)
    crop = np.random.default_rng(0).integers(0, 256, (1, CROP, CROP, 3), np.uint8)
    work = partial(model, crops=crop)
    numbers["processor_ms_a_crop"] = cost.median_ms(work, 30, warm=5, clock=cost.PROCESSOR)
    return numbers


def _agreement(model: Model, rows: list[dict[str, Pixels]]) -> dict[str, float]:
    told = np.concatenate([model(crops=r["crop"][None])["visible"] for r in rows]) >= _SURE
    truth = np.stack([r["truth"] for r in rows]) >= 128
    inside = np.stack([r["oval"] for r in rows]) > 0
    told, truth = told[inside], truth[inside]
    return {
        "iou_face": _iou(told, truth),
        "iou_hidden": _iou(~told, ~truth),
        "wrongly_hidden": float((truth & ~told).sum() / max(1, truth.sum())),
    }


def _iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


ENTRY = Entry(
    VisibilitySettings,
    VisibilityMethod,
    data=parsed_faces,
    graph=VisibilityGraph,
    measure=measure,
    used=used,
    extra=on_card,
    what="from an aligned crop to how much of each pixel shows the face's own skin, eyes, brows,"
    " lips or mouth, and not what is before or beside it",
    limits="hands and most other things before a face were drawn, not photographed, while it"
    " learned; glasses count as hiding what is behind their lenses",
)
