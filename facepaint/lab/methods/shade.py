"""Shade: how the light on skin changes with an expression, solved by least squares.

Photos of one person with two expressions are laid over the mean face, landmark on landmark. What is
left between them is light: folds that come and go, cheeks that round, a brow that wrinkles. Ridge
regression says how much of it comes with which blendshape and which name. Light as the ratio of two
photos that carries folds to other faces, whose own grain stays, is the idea of Liu, Shan & Zhang
(2001), "Expressive expression mapping with ratio images".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facepaint import align
from facepaint.editing.flow import flow_between
from facepaint.editing.mover import features
from facepaint.editing.windows import EYES, MOUTH, filled, outlines
from facepaint.face import (
    BLENDSHAPES,
    EXPRESSIONS,
    FACE_OVAL,
    LEFT_BROW,
    RIGHT_BROW,
    FloatArray,
    head_turn,
)
from facepaint.lab.data import named
from facepaint.lab.data.closeups import CloseUps
from facepaint.lab.data.named import by_set
from facepaint.lab.entry import Entry
from facepaint.lab.graph import Graph
from facepaint.lab.loop import Networks
from facepaint.lab.recipe import Settings
from facepaint.mesh import mean_face, mirrored_blendshapes
from facepaint.models import Model

Floats = npt.NDArray[np.float64]
SIZE = 112  # places a side of the mean face's crop
_NAMES = len(EXPRESSIONS) - 1
FEATURES = 2 * len(BLENDSHAPES) + _NAMES
_FRONTAL, _SAME_TURN = 0.45, 0.1  # of `head_turn`: how far at most, and how far two photos differ
_SAME_LIGHT = ("taiwan", "london", "radiate", "kdef", "clips", "rendered", "drawn")
_LEAST = 0.04  # of white: added before the logarithm, so that black does not decide
_LIMIT = 0.7  # of the logarithm of a pair's ratio: more is hair, or something in the way
_HELD_PAIRS = 400
# Landmarks of what moves against the skin beside it, whose edges are no light.
_NOSTRILS = ((48, 115, 220, 45, 4, 275, 440, 344, 278, 294, 327, 326, 2, 97, 98, 64),)


@dataclass(frozen=True)
class ShadeSettings(Settings):
    """What the light is solved from.

    Attributes:
        sources: sets to take, separated by commas, "" for all; only those whose photos of a person
            were taken in the same light count.
        ridge: how strongly the numbers are held at zero.
        pairs: pairs of photos of each person at most.
        rank: pictures that all changes are mixed of.
        depth: what the light is multiplied by: a mean of many people's folds is fainter than a
            person's.
    """

    sources: str = ""
    ridge: float = 30.0
    pairs: int = 60
    rank: int = 24
    depth: float = 1.15


class Shade(nn.Module):
    """A mixture of pictures: mix [110, R], pictures [R, 112 · 112]."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(FEATURES, rank))
        self.pictures = nn.Parameter(torch.zeros(rank, SIZE * SIZE))

    def forward(self, change: Tensor) -> Tensor:
        """From features of a change, float [N, 110], to the natural logarithm of a gain over the
        mean face's crop, [N, 112, 112]."""
        gain: Tensor = change @ self.mix @ self.pictures
        return gain.reshape(-1, SIZE, SIZE)


class _Pairs(NamedTuple):
    change: Floats  # [P, 110]
    ratio: FloatArray  # [P, 112, 112]


def solve(settings: ShadeSettings, faces: CloseUps) -> Networks:
    """The light of people who are not held out."""
    pairs = _pairs(settings, faces.only(~faces.held_out))
    weight = skin().ravel()
    x = pairs.change
    y = pairs.ratio.reshape(len(x), -1).astype(np.float64)
    solved = np.linalg.solve(x.T @ x + settings.ridge * np.eye(FEATURES), x.T @ y) * weight
    # the pictures that all changes have in common, weighed by how often each feature changes
    often = np.sqrt((x**2).mean(0) + 1e-6)
    left, sizes, right = np.linalg.svd(often[:, None] * solved, full_matrices=False)
    rank = min(settings.rank, len(sizes))
    network = Shade(settings.rank)
    with torch.no_grad():
        mix = settings.depth * left[:, :rank] * sizes[:rank] / often[:, None]
        network.mix[:, :rank] = torch.from_numpy(mix.astype(np.float32))
        network.pictures[:rank] = torch.from_numpy(right[:rank].astype(np.float32))
    return {"shade": network}


def skin() -> FloatArray:
    """The mean face without what moves against skin, float32 [112, 112], 0 to 1."""
    points = mean_face()
    oval = cv2.erode(filled(points[list(FACE_OVAL)], SIZE), np.ones((9, 9), np.uint8))
    kept = cv2.GaussianBlur(oval, (0, 0), 3.0)
    for part in (MOUTH, *EYES):
        kept = kept * (1 - outlines(points, part, 0.02, SIZE).mask)
    for outline in (*_NOSTRILS, RIGHT_BROW, LEFT_BROW):
        hull = cv2.convexHull(points[list(outline)])[:, 0]
        grown = cv2.dilate(filled(np.asarray(hull, np.float32), SIZE), np.ones((3, 3), np.uint8))
        kept = kept * (1 - cv2.GaussianBlur(grown, (0, 0), 1.2))
    return np.asarray(kept, np.float32)


def _pairs(settings: ShadeSettings, faces: CloseUps) -> _Pairs:
    """Pairs of photos of one person in one light, and their mirror images."""
    turn = np.array([head_turn(p) for p in faces.landmarks])
    faces = faces.only((np.abs(turn) < _FRONTAL) & np.isin(faces.sources, _SAME_LIGHT))
    turn = np.array([head_turn(p) for p in faces.landmarks])
    rng, pairs = np.random.default_rng(settings.seed), []
    groups = {(faces.sources[i], faces.subjects[i]): [i, *o] for i, o in faces.others().items()}
    for _, group in sorted(groups.items()):
        near = [
            (i, j) for i in group for j in group if i != j and abs(turn[i] - turn[j]) < _SAME_TURN
        ]
        pairs += [near[k] for k in rng.permutation(len(near))[: settings.pairs]]
    one, two = np.array(pairs, int).reshape(-1, 2).T
    lying = {int(i): _laid(faces, int(i)) for i in {*one, *two}}
    ratio = np.array([lying[int(j)] - lying[int(i)] for i, j in pairs], np.float32)
    weight = skin()
    # how long a camera exposed is no expression
    ratio -= (ratio * weight).sum((1, 2), keepdims=True) / weight.sum()
    ratio = np.clip(ratio, -_LIMIT, _LIMIT)
    names = _named(faces, two) - _named(faces, one)
    known = (faces.expressions[one] >= 0) & (faces.expressions[two] >= 0)
    swapped = mirrored_blendshapes()
    changes = [
        np.concatenate([features(b[two]) - features(b[one]), names * known[:, None]], 1)
        for b in (faces.blendshapes, faces.blendshapes[:, swapped])
    ]
    both = np.concatenate([ratio, ratio[:, :, ::-1]])
    return _Pairs(np.concatenate(changes).astype(np.float64), both)


def _named(faces: CloseUps, rows: npt.NDArray[Any]) -> Floats:
    place = faces.expressions[rows].astype(int)
    return np.where(place[:, None] >= 0, np.eye(len(EXPRESSIONS))[place.clip(0)], 0)[:, 1:]


def _laid(faces: CloseUps, i: int) -> FloatArray:
    """The logarithm of the light of a photo laid over the mean face, float32 [112, 112]."""
    large = 2 * SIZE
    crop = cv2.GaussianBlur(faces.window(i, align.IDENTITY, large), (0, 0), 1.0)
    flow = flow_between(faces.landmarks[i], mean_face(), 64)
    wide = cv2.resize(flow, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) * np.float32(large)
    place = (np.arange(SIZE, dtype=np.float32) + 0.5) * 2 - 0.5
    x, y = np.meshgrid(place, place) + wide.transpose(2, 0, 1)
    laid = cv2.remap(crop, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    light = np.log(np.asarray(laid, np.float32) / 255 + _LEAST).mean(-1)
    return np.asarray(light, np.float32)


class ShadeGraph(Graph):
    """The linear map."""

    inputs = ("change",)
    outputs = ("gain",)

    def __init__(self, settings: ShadeSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        self.network = Shade(settings.rank)
        self.network.load_state_dict(averaged["shade"])

    def example(self, count: int) -> tuple[Tensor, ...]:
        """Noise in the input's shape."""
        rng = np.random.default_rng(0)
        return (torch.from_numpy(rng.uniform(-1, 1, (count, FEATURES)).astype(np.float32)),)

    def forward(self, change: Tensor) -> tuple[Tensor]:
        """See `Shade`."""
        return (self.network(change),)


def used(settings: ShadeSettings, faces: CloseUps) -> dict[str, int]:
    """Photos of each set that it is solved from."""
    return by_set(faces, ~faces.held_out & np.isin(faces.sources, _SAME_LIGHT))


def measured(model: Model, faces: CloseUps) -> dict[str, Any]:
    """How much of held-out people's change of light it foretells: the mean over pairs of the
    correlation on skin, and the mean absolute difference with the light and without."""
    pairs = _pairs(ShadeSettings(pairs=12), faces.only(faces.held_out))
    chosen = np.linspace(0, len(pairs.change) - 1, min(_HELD_PAIRS, len(pairs.change))).astype(int)
    weight, rows = skin() > 0.5, []
    for n in chosen:
        made = model(change=pairs.change[n][None].astype(np.float32))["gain"][0][weight]
        true = pairs.ratio[n][weight]
        rows.append(
            (
                float(np.corrcoef(made, true)[0, 1]) if made.std() > 0 else 0.0,
                float(np.abs(made - true).mean()),
                float(np.abs(true).mean()),
            )
        )
    correlation, left, whole = np.array(rows).mean(0).tolist()
    return {
        "pairs": len(rows),
        "correlation": correlation,
        "difference": left,
        "difference_without": whole,
    }


ENTRY = Entry(
    ShadeSettings,
    None,
    data=named.close_ups,
    graph=ShadeGraph,
    used=used,
    measure=measured,
    solve=solve,
    what="from a change of blendshapes, of their square roots and of an expression's name, to the"
    " logarithm of a gain of light over the mean face",
    limits="the mean of many people's folds: it does not see the folds that a photo has",
)
