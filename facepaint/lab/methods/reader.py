"""The reader: from a crop to landmarks, blendshapes, expression and whether it is a face at all."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from facepaint import align
from facepaint.align import CROP, EYE_DISTANCE
from facepaint.face import (
    INNER_LIPS,
    LANDMARKS,
    LEFT_EYE,
    LEFT_IRIS,
    OUTER_LIPS,
    RIGHT_EYE,
    RIGHT_IRIS,
)
from facepaint.lab.data import augment
from facepaint.lab.data.faces import FaceSet, cut, mirror
from facepaint.lab.data.named import faces_of_sources
from facepaint.lab.data.render import render
from facepaint.lab.entry import Entry
from facepaint.lab.graph import Graph
from facepaint.lab.loop import Batch, Networks, Phases, stacked
from facepaint.lab.measure import reader as measure
from facepaint.lab.networks import Reader, Reading, device_of, to_float
from facepaint.lab.recipe import Augmented
from facepaint.mesh import mirrored_blendshapes, mirrored_landmarks


@dataclass(frozen=True)
class ReaderSettings(Augmented):
    """width: channels of the first stage. rough: share of samples cropped as roughly as a box
    allows, the rest as finely as a second look does. no_face: share of samples that are none.
    occluded: share of samples with something before the face. weight_*: of the losses."""

    width: int = 16
    rough: float = 0.4
    no_face: float = 0.06
    occluded: float = 0.15
    labelled: float = 0.25
    weight_landmarks: float = 10.0
    weight_blendshapes: float = 4.0
    weight_face: float = 0.2
    weight_expression: float = 0.1


class ReaderMethod:
    """Supervised by the labels of the sets; one phase."""

    def __init__(self, settings: ReaderSettings, faces: FaceSet) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.networks: Networks = {"reader": Reader(settings.width)}
        self.phases: Phases = {"reader": ("reader",)}
        self._faces = faces
        train = ~faces.held_out
        self._groups = {
            "face": np.flatnonzero(train & faces.is_face),
            "labelled": np.flatnonzero(train & (faces.expressions >= 0)),
            "none": np.flatnonzero(train & ~faces.is_face),
        }
        kept = np.flatnonzero(faces.held_out & faces.is_face)
        self._show = kept if len(kept) else self._groups["face"]
        self._mirror = mirrored_landmarks(), mirrored_blendshapes()
        self._weight = _landmark_weight()

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        rows = [self._one(rng) for _ in range(count)]
        return stacked(rows)

    def _one(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.generic]]:
        s, draw = self.settings, rng.random()
        group = "none" if draw < s.no_face else "labelled" if draw < s.labelled else "face"
        if not len(self._groups[group]):
            group = "face"
        i = int(rng.choice(self._groups[group]))
        rough = rng.random() < s.rough
        frame = augment.random_frame(rng, *((18, 0.14, 0.06) if rough else (4, 0.05, 0.015)))
        points = align.apply(align.invert(frame), self._faces.landmarks[i])
        blend = self._faces.blendshapes[i]
        if rng.random() < 0.5:
            frame, points, blend = mirror(frame, points, blend, self._mirror)
        look = augment.Look.draw(rng)
        seen = augment.view("crop", self._faces.crops[i], frame, look, s.on_device)
        cover = augment.Cover.draw(rng) if rng.random() < s.occluded else augment.Cover.none()
        if s.on_device:
            seen |= {f"cover_{f.name}": getattr(cover, f.name) for f in fields(cover)}
        else:
            seen["crop"] = cover(seen["crop"])
        return seen | {
            "landmarks": points,
            "blendshapes": blend,
            "expression": np.int64(self._faces.expressions[i]),
        }

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        s = self.settings
        render(batch)
        read: Reading = networks["reader"](to_float(batch["crop"]))
        real = torch.isfinite(batch["landmarks"][:, 0, 0])
        landmarks = self._landmark_loss(read.landmarks, batch["landmarks"], real)
        blend = _blendshape_loss(read.blendshapes, batch["blendshapes"])
        face = F.binary_cross_entropy_with_logits(read.face.float(), real.float())
        named = F.cross_entropy(read.expressions.float(), batch["expression"], ignore_index=-1)
        named = torch.nan_to_num(named)  # a batch may hold no named one
        total = s.weight_landmarks * landmarks + s.weight_blendshapes * blend
        total = total + s.weight_face * face + s.weight_expression * named
        return total, {"landmarks": landmarks, "blendshapes": blend, "face": face, "named": named}

    def _landmark_loss(self, got: Tensor, wanted: Tensor, real: Tensor) -> Tensor:
        """Mean distance in eye distances, each landmark by its weight; a square near zero."""
        error = (got.float() - torch.nan_to_num(wanted)).norm(dim=2) / EYE_DISTANCE
        error = torch.where(error < 0.02, error**2 / 0.04 + 0.01, error)
        error = error.clamp(max=1.0) * self._weight.to(error.device) * real[:, None]
        return error.mean() / real.float().mean().clamp(min=1e-6)

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """People never trained on, or where there are none those trained on, with the landmarks
        that the reader sees."""
        pick = self._show[np.linspace(0, len(self._show) - 1, 24).astype(int)]
        crops = np.stack([cut(self._faces.crops[i], align.IDENTITY) for i in pick])
        read = networks["reader"](to_float(torch.from_numpy(crops).to(device_of(networks))))
        tiles = [
            _draw(c, p) for c, p in zip(crops, read.landmarks.float().cpu().numpy(), strict=True)
        ]
        return np.vstack([np.hstack(tiles[r : r + 8]) for r in range(0, 24, 8)])


def _landmark_weight() -> Tensor:
    weight = torch.ones(LANDMARKS)
    weight[list({*OUTER_LIPS, *INNER_LIPS, *RIGHT_EYE, *LEFT_EYE})] = 2.0
    weight[[RIGHT_IRIS, LEFT_IRIS]] = 4.0
    return weight / weight.mean()


def _blendshape_loss(got: Tensor, wanted: Tensor) -> Tensor:
    known = torch.isfinite(wanted)
    error = F.smooth_l1_loss(got.float(), torch.nan_to_num(wanted), beta=0.05, reduction="none")
    return (error * known).sum() / known.sum().clamp(min=1)


def _draw(crop: npt.NDArray[np.uint8], points: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    big = cv2.resize(crop, (2 * CROP, 2 * CROP), interpolation=cv2.INTER_LINEAR)
    for x, y in points * 2 * CROP:
        cv2.circle(big, (int(x), int(y)), 1, (0, 255, 0), -1)
    return np.asarray(big, np.uint8)


class ReaderGraph(Graph):
    """Bytes in, probabilities out."""

    inputs = ("crops",)
    outputs = ("landmarks", "blendshapes", "confidence", "expressions")

    def __init__(self, settings: ReaderSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        self.network = Reader(settings.width)
        self.network.load_state_dict(averaged["reader"])

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        read = self.network(crops.permute(0, 3, 1, 2).float() / 255)
        named = torch.softmax(read.expressions, 1)
        return read.landmarks, read.blendshapes, torch.sigmoid(read.face), named


ENTRY = Entry(
    ReaderSettings,
    ReaderMethod,
    data=faces_of_sources,
    graph=ReaderGraph,
    measure=measure.reader,
    what="from an aligned crop to 478 landmarks, 52 blendshapes, an expression and whether it is a"
    " face at all",
    limits="labels are another network's readings; adults mostly; heads turned far, or faces under"
    " 24 pixels, are read badly; not for identifying or judging people",
)
