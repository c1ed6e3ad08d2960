"""Mover: how landmarks move when an expression changes, solved by least squares.

Ridge regression over pairs of photos of one person. Its prior is not zero but the moves of a 3-D
face model (`facepaint.face_model`), times how far scores read from photos reach: muscles that
photos hardly show move as that model says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facepaint.editing.mover import features
from facepaint.editing.plan import belonging
from facepaint.face import (
    BLENDSHAPES,
    EXPRESSIONS,
    LANDMARKS,
    LEFT_EYE,
    FloatArray,
)
from facepaint.face_model import mean_3d, moves_3d, pose_of
from facepaint.lab.data import named
from facepaint.lab.data.closeups import CloseUps
from facepaint.lab.entry import Entry
from facepaint.lab.graph import Graph
from facepaint.lab.loop import Networks
from facepaint.lab.measure import repainting as measure
from facepaint.lab.recipe import Settings
from facepaint.mesh import mirrored_blendshapes, mirrored_landmarks
from facepaint.models import Model

Floats = npt.NDArray[np.float64]
_NAMES = len(EXPRESSIONS) - 1  # neutral adds nothing
FEATURES = 2 * len(BLENDSHAPES) + _NAMES
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
# Blendshapes that a mouth's or an eye's opening is fitted on, and the sign of what each may add, 0
# for any.
_MOUTH = {"jaw": 0, "mouth": 0}
_LIDS = {"eyeBlink": -1, "eyeSquint": -1, "eyeLookDown": -1, "eyeLookUp": 1}
_WIDE = BLENDSHAPES.index("eyeWideLeft")  # its lids are the 3-D model's


@dataclass(frozen=True)
class MoverSettings(Settings):
    """What the mover is solved from.

    Attributes:
        sources: sets to take, separated by commas, "" for all.
        ridge: how strongly its numbers are held at the prior's.
        pairs: pairs of photos of each person at most.
        pairs_noisy: the same of sets whose photos of a person differ in light and place.
        strongest: share of the photos of a named expression that say how far it goes.
        emphasis: how many times as far all named expressions but happy go.
        named: sets whose labels say what a named expression is, separated by commas.
    """

    sources: str = ""
    ridge: float = 4.0
    pairs: int = 60
    pairs_noisy: int = 4
    strongest: float = 0.33
    emphasis: float = 1.0
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
    solved[-_NAMES:], targets = _named(settings, faces, frontal, solved)
    network, near = Mover(), np.abs(yaw) < _FRONTAL
    gap = frontal[near, 14, 1] - frontal[near, 13, 1]
    eye = frontal[near][:, list(LEFT_EYE)]
    height = (eye[:, :8:-1, 1] - eye[:, 1:8, 1]).mean(1)
    opening = np.log(np.clip(height / np.ptp(eye[..., 0], axis=1), 0.02, None))
    with torch.no_grad():
        network.moves.copy_(torch.from_numpy(solved.astype(np.float32)))
        network.get_buffer("gap").copy_(_regressed(faces.blendshapes[near], gap, _MOUTH))
        lids = {f"{name}Left": sign for name, sign in _LIDS.items()}
        blend, wide = faces.blendshapes[near], _widened()
        network.get_buffer("lids").copy_(_regressed(blend, opening - wide * blend[:, _WIDE], lids))
        network.get_buffer("lids")[_WIDE] = wide
        network.get_buffer("targets").copy_(torch.from_numpy(targets))
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
    changes, shifts = [], []
    order, swapped = mirrored_landmarks(), mirrored_blendshapes()
    for blend, points, sign in (
        (faces.blendshapes, frontal, 1),
        (faces.blendshapes[:, swapped], frontal[:, order], -1),
    ):
        change = features(blend[two]) - features(blend[one])
        changes.append(np.concatenate([change, np.zeros((len(change), _NAMES))], 1))
        shifts.append((points[two] - points[one]) * (sign, 1))
    move = np.concatenate(shifts).reshape(-1, LANDMARKS * 2)
    return _Pairs(np.concatenate(changes).astype(np.float64), move.astype(np.float64))


def _named(
    settings: MoverSettings, faces: CloseUps, frontal: FloatArray, solved: Floats
) -> tuple[Floats, FloatArray]:
    """What each expression's name adds, [6, 956], and the targets of expressions, [7, 52].

    Of the photos that show an expression only the strongest count: those whose blendshapes went
    farthest from neutral along the mean of all. The target is the mean of their blendshapes; the
    name adds what these do not explain, such as brows that scores of photos hardly tell of. Both
    are made alike on both sides. Posed expressions are fainter than people expect of their names,
    so all but happy go `emphasis` times as far.
    """
    chosen = [s for s in settings.named.split(",") if s] or sorted(set(map(str, faces.sources)))
    order, swapped = mirrored_landmarks(), mirrored_blendshapes()
    labelled = np.isin(faces.sources, chosen) & (faces.expressions >= 0)
    neutral = labelled & (faces.expressions == 0)
    gaze = np.array([n.startswith("eyeLook") for n in BLENDSHAPES])
    # scores of photos read a stretched mouth as a smile, which is happy's alone
    smile = np.array([n.startswith("mouthSmile") for n in BLENDSHAPES])
    targets = np.zeros((len(EXPRESSIONS), len(BLENDSHAPES)), np.float32)
    targets[0] = faces.blendshapes[neutral].mean(0)
    added = np.zeros((_NAMES, LANDMARKS * 2))
    shown: dict[int, npt.NDArray[np.intp]] = {}
    for e in range(1, len(EXPRESSIONS)):
        rows = np.flatnonzero(labelled & (faces.expressions == e))
        if len(rows):
            left_out = gaze if EXPRESSIONS[e] == "happy" else gaze | smile
            change = np.where(left_out, 0, faces.blendshapes[rows] - targets[0])
            along = change @ change.mean(0)
            shown[e] = rows[along >= np.quantile(along, 1 - settings.strongest)]
            blend = faces.blendshapes[shown[e]].mean(0)
            targets[e] = np.where(left_out, targets[0], (blend + blend[swapped]) / 2)
    targets[0] = (targets[0] + targets[0][swapped]) / 2
    targets[:, gaze] = 0
    known = {EXPRESSIONS[e]: targets[e] for e in (0, *shown)}
    for e, rows in shown.items():
        own, moves = belonging(EXPRESSIONS[e], known), []
        for i in rows:
            rest = neutral & (faces.subjects == faces.subjects[i])
            if rest.any():
                base = faces.blendshapes[rest].mean(0)
                change = features(np.where(own, faces.blendshapes[i], base)) - features(base)
                whole = (frontal[i] - frontal[rest].mean(0)).ravel()
                moves.append(whole - change @ solved[: 2 * len(BLENDSHAPES)])
        if moves:
            mean = np.mean(moves, 0).reshape(LANDMARKS, 2)
            added[e - 1] = ((mean + mean[order] * (-1, 1)) / 2).ravel()
        if EXPRESSIONS[e] != "happy":
            far = targets[0] + settings.emphasis * (targets[e] - targets[0])
            targets[e] = np.clip(far, 0, 1)
            added[e - 1] *= settings.emphasis
    return added, targets


def _prior() -> Floats:
    """The 3-D model's moves for the blendshapes themselves, zeros for roots and names."""
    prior = np.zeros((FEATURES, LANDMARKS * 2))
    for i, name in enumerate(BLENDSHAPES):
        reach = next((r for n, r in _REACHES.items() if name.startswith(n)), _REACH)
        prior[i] = reach * moves_3d()[i, :, :2].ravel()
    return prior


def _widened() -> float:
    """How much a wide eye adds to the logarithm of its opening, by the 3-D model.

    Scores of photos do not tell: read of different people, they say of which eyes are narrow.
    """
    eye = mean_3d()[list(LEFT_EYE)]
    wide = eye + _REACH * moves_3d()[_WIDE, list(LEFT_EYE)]
    before, after = (e[:8:-1, 1].mean() - e[1:8, 1].mean() for e in (eye, wide))
    return float(np.log(after / before))


def _regressed(blendshapes: FloatArray, values: FloatArray, names: Mapping[str, int]) -> Tensor:
    """A ridge regression on the features of some blendshapes and a constant, [105].

    names: how the blendshapes begin, and the sign that their coefficients must have, 0 for any. A
    coefficient with the wrong sign is left out.
    """
    signs = np.zeros(2 * len(BLENDSHAPES) + 1)
    columns = [2 * len(BLENDSHAPES)]
    for i, name in enumerate(BLENDSHAPES):
        for beginning in (b for b in names if name.startswith(b)):
            columns += [i, i + len(BLENDSHAPES)]
            signs[[i, i + len(BLENDSHAPES)]] = names[beginning]
    all_ = np.concatenate([features(blendshapes), np.ones((len(values), 1))], 1)
    while True:
        x, penalty = all_[:, columns].astype(np.float64), np.eye(len(columns))
        penalty[0, 0] = 0  # the constant is free
        solved = np.linalg.solve(x.T @ x + penalty, x.T @ values)
        wrong = solved * signs[columns] < 0
        if not wrong.any():
            break
        columns = [c for c, out in zip(columns, wrong, strict=True) if not out]
    result = np.zeros(2 * len(BLENDSHAPES) + 1)
    result[columns] = solved
    return torch.from_numpy(result.astype(np.float32))


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
    data=named.close_ups,
    graph=MoverGraph,
    extra=on_card,
    measure=measured,
    solve=solve,
    what="from a change of blendshapes, of their square roots and of an expression's name, to moves"
    " of the face's landmarks as seen from the front",
    limits="linear: it knows how people move on average, not how this person does",
)
