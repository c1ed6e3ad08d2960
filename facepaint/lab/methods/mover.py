"""Mover: how landmarks move when an expression changes, solved by least squares.

Ridge regression over pairs of photos of one person. Its prior is not zero but the moves of a 3-D
face model (`facepaint.face_model`), times how far scores read from photos reach: muscles that
photos hardly show move as that model says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facepaint.editing.mover import features
from facepaint.face import (
    BLENDSHAPES,
    EXPRESSIONS,
    LANDMARKS,
    LEFT_EYE,
    FloatArray,
)
from facepaint.face_model import mean_3d, moves_3d, pose_of
from facepaint.lab.data import moves, named
from facepaint.lab.data.closeups import CloseUps
from facepaint.lab.data.named import by_set
from facepaint.lab.entry import Entry
from facepaint.lab.graph import Graph
from facepaint.lab.loop import Networks
from facepaint.lab.measure import repainting as measure
from facepaint.lab.recipe import Settings
from facepaint.mesh import mirrored_blendshapes, mirrored_landmarks
from facepaint.models import Model

Floats = npt.NDArray[np.float64]
FEATURES = 2 * len(BLENDSHAPES) + len(EXPRESSIONS) - 1
_FRONTAL, _SAME_POSE = 25.0, 8.0  # degrees: how far heads may be turned, and a pair may differ
_NOISY_NAMES = ("lfw",)  # sets whose names of expressions are not trusted
# Of a 3-D model's move, how far a score of 1 reaches in photos; fitted over pairs.
_REACH = 0.7
_REACHES = {
    "mouthPucker": 0.3,
    "mouthRollLower": 0.2,
    "mouthFrown": 0.3,
    "mouthClose": 0.3,
    "mouthUpperUp": 0.5,
    "eyeBlink": 0.5,
}
_MOUTH = ("jaw", "mouth")
_LIDS = ("eyeBlink", "eyeSquint", "eyeWide", "eyeLookDown", "eyeLookUp")


@dataclass(frozen=True)
class MoverSettings(Settings):
    """What the mover is solved from.

    Attributes:
        sources: sets to take, separated by commas, "" for all.
        ridge: how strongly its numbers are held at the prior's.
        pairs: pairs of photos of each person at most.
        pairs_noisy: the same of sets whose photos of a person differ in light and place.
        named: sets whose labels say what a named expression is, separated by commas.
    """

    sources: str = ""
    ridge: float = 4.0
    pairs: int = 60
    pairs_noisy: int = 4
    named: str = ""


class Mover(nn.Module):
    """The solved numbers as a network.

    moves [110, 956], of x and y of each landmark; gap, lids [105] (`facepaint.editing.mover`);
    targets [7, 52].
    """

    def __init__(self) -> None:
        super().__init__()
        self.moves = nn.Parameter(torch.zeros(FEATURES, LANDMARKS * 2))
        for name, shape in (("gap", 105), ("lids", 105)):
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("targets", torch.zeros(len(EXPRESSIONS), len(BLENDSHAPES)))

    def forward(self, change: Tensor) -> Tensor:
        """From features of a change, float [N, 110], to moves [N, 478, 2]."""
        moved: Tensor = change @ self.moves
        return moved.reshape(-1, LANDMARKS, 2)


class _Pairs(NamedTuple):
    change: Floats  # [P, 110]
    move: Floats  # [P, 956]


def solve(settings: MoverSettings, faces: CloseUps) -> Networks:
    """The mover of people who are not held out."""
    faces = faces.only(~faces.held_out)
    frontal, yaw, pitch = _frontal(faces)
    pairs = _pairs(settings, faces, frontal, yaw, pitch)
    prior = _prior()
    x, y = pairs.change, pairs.move - pairs.change @ prior
    solved = prior + np.linalg.solve(x.T @ x + settings.ridge * np.eye(FEATURES), x.T @ y)
    network, near = Mover(), np.abs(yaw) < _FRONTAL
    gap = frontal[near, 14, 1] - frontal[near, 13, 1]
    eye = frontal[near][:, list(LEFT_EYE)]
    height = (eye[:, :8:-1, 1] - eye[:, 1:8, 1]).mean(1)
    opening = np.log(np.clip(height / np.ptp(eye[..., 0], axis=1), 0.02, None))
    with torch.no_grad():
        network.moves.copy_(torch.from_numpy(solved.astype(np.float32)))
        network.get_buffer("gap").copy_(_regressed(faces.blendshapes[near], gap, _MOUTH))
        lids = tuple(f"{name}Left" for name in _LIDS)
        network.get_buffer("lids").copy_(_regressed(faces.blendshapes[near], opening, lids))
        network.get_buffer("targets").copy_(torch.from_numpy(_targets(settings, faces)))
    return {"mover": network}


def _frontal(faces: CloseUps) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Landmarks as seen from the front, float32 [N, 478, 2], and the heads' yaw and pitch."""
    depth = mean_3d()[:, 2:]
    out, angles = [], []
    for points in faces.landmarks:
        pose = pose_of(points)
        flat = (points - pose.shift) / pose.scale - depth * pose.rotation[:2, 2]
        out.append(flat @ np.linalg.inv(pose.rotation[:2, :2]).T)
        angles.append((pose.yaw, pose.pitch))
    yaw, pitch = np.array(angles, np.float32).T
    return np.array(out, np.float32), yaw, pitch


def _pairs(
    settings: MoverSettings,
    faces: CloseUps,
    frontal: FloatArray,
    yaw: FloatArray,
    pitch: FloatArray,
) -> _Pairs:
    """Pairs of photos of one person, seen from about the same side, and their mirror images."""
    rng, first, second = np.random.default_rng(settings.seed), [], []
    groups = {
        (str(faces.sources[i]), str(faces.subjects[i])): [i, *others.tolist()]
        for i, others in faces.others().items()
    }
    for (source, _), group in sorted(groups.items()):
        near = [
            (i, j)
            for i in group
            for j in group
            if i != j
            and abs(yaw[i]) < _FRONTAL
            and abs(yaw[i] - yaw[j]) < _SAME_POSE
            and abs(pitch[i] - pitch[j]) < _SAME_POSE
        ]
        count = settings.pairs_noisy if source in _NOISY_NAMES else settings.pairs
        for k in rng.permutation(len(near))[:count]:
            first.append(near[k][0])
            second.append(near[k][1])
    one, two = np.array(first, int), np.array(second, int)
    names = _one_hot(faces, two) - _one_hot(faces, one)
    known = (faces.expressions[one] >= 0) & (faces.expressions[two] >= 0)
    known &= ~np.isin(faces.sources[one], _NOISY_NAMES)
    names = names * known[:, None]
    changes, shifts = [], []
    order, swapped = mirrored_landmarks(), mirrored_blendshapes()
    for blend, points, sign in (
        (faces.blendshapes, frontal, 1),
        (faces.blendshapes[:, swapped], frontal[:, order], -1),
    ):
        change = features(blend[two]) - features(blend[one])
        changes.append(np.concatenate([change, names[:, 1:]], 1))
        shifts.append((points[two] - points[one]) * (sign, 1))
    move = np.concatenate(shifts).reshape(-1, LANDMARKS * 2)
    return _Pairs(np.concatenate(changes).astype(np.float64), move.astype(np.float64))


def _one_hot(faces: CloseUps, rows: npt.NDArray[np.int64]) -> Floats:
    place = faces.expressions[rows].astype(int)
    return np.where(place[:, None] >= 0, np.eye(len(EXPRESSIONS))[place.clip(0)], 0)


def _prior() -> Floats:
    """The 3-D model's moves for the blendshapes themselves, zeros for roots and names."""
    prior = np.zeros((FEATURES, LANDMARKS * 2))
    for i, name in enumerate(BLENDSHAPES):
        reach = next((r for n, r in _REACHES.items() if name.startswith(n)), _REACH)
        prior[i] = reach * moves_3d()[i, :, :2].ravel()
    return prior


def _regressed(blendshapes: FloatArray, values: FloatArray, names: tuple[str, ...]) -> Tensor:
    """A ridge regression on the features of some blendshapes and a constant, [105]."""
    chosen = [i for i, n in enumerate(BLENDSHAPES) if n.startswith(names)]
    columns = [*chosen, *(i + len(BLENDSHAPES) for i in chosen), 2 * len(BLENDSHAPES)]
    all_ = np.concatenate([features(blendshapes), np.ones((len(values), 1))], 1)
    x = all_[:, columns].astype(np.float64)
    penalty = np.eye(len(columns))
    penalty[-1, -1] = 0
    result = np.zeros(2 * len(BLENDSHAPES) + 1)
    result[columns] = np.linalg.solve(x.T @ x + penalty, x.T @ values)
    return torch.from_numpy(result.astype(np.float32))


def _targets(settings: MoverSettings, faces: CloseUps) -> FloatArray:
    """The blendshapes of each named expression, alike on both sides, float32 [7, 52]."""
    sets = [s for s in settings.named.split(",") if s]
    chosen = np.isin(faces.sources, sets) if sets else np.ones(len(faces), bool)
    targets = moves.expression_targets(faces, chosen)
    return np.asarray((targets + targets[:, mirrored_blendshapes()]) / 2, np.float32)


class MoverGraph(Graph):
    """The linear map alone; the rest is in the card."""

    inputs = ("change",)
    outputs = ("moves",)

    def __init__(self, settings: MoverSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        self.network = Mover()
        self.network.load_state_dict(averaged["mover"])

    def example(self, count: int) -> tuple[Tensor, ...]:
        """Noise in the input's shape."""
        rng = np.random.default_rng(0)
        return (torch.from_numpy(rng.uniform(-1, 1, (count, FEATURES)).astype(np.float32)),)

    def forward(self, change: Tensor) -> tuple[Tensor]:
        """See `Mover`."""
        return (self.network(change),)


def close_ups(settings: Settings, folder: str | None) -> CloseUps:
    """The faces of the settings' sources, or drawn ones."""
    assert isinstance(settings, MoverSettings)
    return named.close_ups(settings, folder, settings.sources)


def used(settings: MoverSettings, faces: CloseUps) -> dict[str, int]:
    """Photos of each set that it is solved from."""
    return by_set(faces, ~faces.held_out)


def on_card(settings: MoverSettings, faces: CloseUps) -> dict[str, Any]:
    """The numbers that the runtime reads from the card."""
    network = solve(settings, faces)["mover"]
    gap, lids, targets = (network.get_buffer(n).numpy() for n in ("gap", "lids", "targets"))
    made = {
        name: [round(float(v), 4) for v in values]
        for name, values in zip(EXPRESSIONS, targets, strict=True)
        if name == "neutral" or values.any()  # all others are told apart from neutral
    }
    return {
        "expressions": made,
        "gap": [round(float(v), 6) for v in gap],
        "lids": [round(float(v), 5) for v in lids],
        "trained_with": "moves of the ICT Face Model Light (MIT licence) as the prior",
    }


def measured(model: Model, faces: CloseUps) -> dict[str, Any]:
    """The error at landmarks of people who are held out."""
    held = faces.only(faces.held_out)
    frontal, yaw, pitch = _frontal(held)
    pairs = _pairs(MoverSettings(), held, frontal, yaw, pitch)
    moves_of = pairs.move.reshape(-1, LANDMARKS, 2).astype(np.float32)
    return measure.mover(model, pairs.change.astype(np.float32), moves_of)


ENTRY = Entry(
    MoverSettings,
    None,
    data=close_ups,
    graph=MoverGraph,
    used=used,
    extra=on_card,
    measure=measured,
    solve=solve,
    what="from a change of blendshapes, of their square roots and of an expression's name, to moves"
    " of the face's landmarks as seen from the front",
    limits="linear: it knows how people move on average, not how this person does",
)
