"""Mover: how landmarks move when an expression changes, solved by least squares.

Ridge regression over pairs of photos of one person. Its prior is not zero but the moves of a 3-D
face model (`facepaint.face_model`), times how far scores read from photos reach: muscles that
photos hardly show move as that model says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facepaint.editing.mover import FEATURES, features
from facepaint.editing.plan import belonging
from facepaint.errors import LabError
from facepaint.face import (
    BLENDSHAPES,
    EXPRESSIONS,
    LANDMARKS,
    LEFT_EYE,
    RIGHT_EYE,
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
_FRONTAL, _SAME_POSE = 25.0, 8.0  # degrees: how far heads may be turned, and a pair may differ
# Crop units, and the number of principal components, in which expressions are told apart.
_UNIT, _PARTS = 0.01, 40
_BLINKS, _SHUT = [BLENDSHAPES.index(f"eyeBlink{side}") for side in ("Left", "Right")], 0.45
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
        typical: people who show what a named expression is.
        emphasis: how many times as far as these people each named expression goes, such as
            "happy:0.9,sad:2"; those that are not named go as far.
        named: sets whose labels say what a named expression is, separated by commas.
    """

    sources: str = ""
    ridge: float = 4.0
    pairs: int = 60
    pairs_noisy: int = 4
    typical: int = 12
    emphasis: str = ""
    named: str = ""

    @property
    def emphases(self) -> dict[str, float]:
        """`emphasis` as numbers."""
        try:
            parts = [part.split(":") for part in self.emphasis.split(",") if part]
            return {name: float(value) for name, value in parts}
        except ValueError as error:
            raise LabError(f"emphasis={self.emphasis!r} is not like happy:0.9,sad:2") from error


class Mover(nn.Module):
    """The solved numbers as a network.

    moves [110, 956], of x and y of each landmark; gap, lids [111] (`facepaint.editing.mover`);
    targets [7, 52].
    """

    def __init__(self) -> None:
        super().__init__()
        self.moves = nn.Parameter(torch.zeros(FEATURES, LANDMARKS * 2))
        for name, shape in (("gap", FEATURES + 1), ("lids", FEATURES + 1)):
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("targets", torch.zeros(len(EXPRESSIONS), len(BLENDSHAPES)))

    def forward(self, change: Tensor) -> Tensor:
        """From features of a change, float [N, 110], to moves [N, 478, 2]."""
        moved: Tensor = change @ self.moves
        return moved.reshape(-1, LANDMARKS, 2)


class _Pairs(NamedTuple):
    change: Floats  # [2 P, 110], of the pairs and of their mirror images
    move: Floats  # [2 P, 956]
    first: npt.NDArray[np.intp]  # [P], of which photos
    second: npt.NDArray[np.intp]


def solve(settings: MoverSettings, faces: CloseUps) -> Networks:
    """The mover of people who are not held out."""
    faces = faces.only(~faces.held_out)
    frontal, yaw, pitch = _frontal(faces)
    pairs = _pairs(settings, faces, frontal, yaw, pitch)
    prior = _prior()
    x, y = pairs.change, pairs.move - pairs.change @ prior
    solved = prior + np.linalg.solve(x.T @ x + settings.ridge * np.eye(FEATURES), x.T @ y)
    solved[-_NAMES:], targets = _named(settings, faces, frontal, yaw, solved)
    network, near = Mover(), np.abs(yaw) < _FRONTAL
    apart = frontal[near, 14, 1] - frontal[near, 13, 1]
    gap = _ridge(features(faces.blendshapes[near]), apart, _MOUTH, constant=True)
    lids = _lids(pairs, _openings(frontal))
    with torch.no_grad():
        network.moves.copy_(torch.from_numpy(solved.astype(np.float32)))
        network.get_buffer("targets").copy_(torch.from_numpy(targets))
        for name, fitted, opening in (("gap", gap, _gap_of), ("lids", lids, _left_lids_of)):
            added = _opened_by_name(solved, targets, fitted, opening)
            network.get_buffer(name).copy_(torch.from_numpy(np.append(fitted, added)))
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
    return _Pairs(np.concatenate(changes).astype(np.float64), move.astype(np.float64), one, two)


def _openings(frontal: FloatArray) -> FloatArray:
    """The logarithm of each eye's opening over its width, left and right, [N, 2]."""
    both = []
    for eye in (LEFT_EYE, RIGHT_EYE):
        outline = frontal[:, list(eye)]
        height = (outline[:, :8:-1, 1] - outline[:, 1:8, 1]).mean(1)
        both.append(np.log(np.clip(height / np.ptp(outline[..., 0], axis=1), 0.02, None)))
    return np.stack(both, 1)


def _gap_of(points: FloatArray) -> float:
    """The height of a mouth's opening."""
    return float(points[14, 1] - points[13, 1])


def _left_lids_of(points: FloatArray) -> float:
    """The logarithm of the left eye's opening over its width."""
    return float(_openings(points[None])[0, 0])


def _opened_by_name(
    solved: Floats, targets: FloatArray, fitted: Floats, opening: Callable[[FloatArray], float]
) -> Floats:
    """What each name adds to an opening of the mean face that its blendshapes do not, [6]."""
    known = {n: t for n, t in zip(EXPRESSIONS, targets, strict=True) if n == "neutral" or t.any()}
    points, added = np.asarray(mean_3d()[:, :2], np.float32), np.zeros(_NAMES)
    for e, name in enumerate(EXPRESSIONS[1:]):
        if name in known:
            goal = np.where(belonging(name, known), known[name], targets[0])
            change = np.append(features(goal) - features(targets[0]), np.eye(_NAMES)[e])
            moved = np.asarray(points + (change @ solved).reshape(LANDMARKS, 2), np.float32)
            told = change[: 2 * len(BLENDSHAPES)] @ fitted[:-1]
            added[e] = opening(moved) - opening(points) - told
    return added


def _lids(pairs: _Pairs, openings: FloatArray) -> Floats:
    """How blendshapes change the logarithm of the left eye's opening, [105], the last one 0.

    Of pairs of photos of one person: read of different people, scores say of which eyes are narrow.
    """
    moved = openings[pairs.second] - openings[pairs.first]
    change, wide = pairs.change[:, : 2 * len(BLENDSHAPES)], _widened()
    # a mirror image's left eye is the right one
    values = moved.T.ravel() - wide * change[:, _WIDE]
    signs = {f"{name}Left": sign for name, sign in _LIDS.items()}
    result = _ridge(change, values, signs, constant=False)
    result[_WIDE] = wide
    return result


def _named(
    settings: MoverSettings, faces: CloseUps, frontal: FloatArray, yaw: FloatArray, solved: Floats
) -> tuple[Floats, FloatArray]:
    """What each expression's name adds, [6, 956], and the targets of expressions, [7, 52].

    Of the photos that show an expression only the most typical count (`_typical`). The target is
    the mean of their blendshapes; the name adds what these do not explain, such as brows that
    scores of photos hardly tell of, so that a neutral face moves as these people did on average.
    Both are made alike on both sides, and go as many times as far as the settings say.
    """
    chosen = [s for s in settings.named.split(",") if s] or sorted(set(map(str, faces.sources)))
    order, swapped = mirrored_landmarks(), mirrored_blendshapes()
    labelled = np.isin(faces.sources, chosen) & (faces.expressions >= 0) & (np.abs(yaw) < _FRONTAL)
    labelled &= faces.blendshapes[:, _BLINKS].max(1) < _SHUT  # eyes closed by chance
    gaze = np.array([n.startswith("eyeLook") for n in BLENDSHAPES])
    # scores of photos read a stretched mouth as a smile, which is happy's alone
    smile = np.array([n.startswith("mouthSmile") for n in BLENDSHAPES])
    targets = np.zeros((len(EXPRESSIONS), len(BLENDSHAPES)), np.float32)
    targets[0] = faces.blendshapes[labelled & (faces.expressions == 0)].mean(0)
    targets[0] = (targets[0] + targets[0][swapped]) / 2
    rows, moved = _from_neutral(faces, frontal, labelled)
    typical = _typical(faces.subjects[rows], faces.expressions[rows], moved, settings.typical)
    for e, places in typical.items():
        left_out = gaze if EXPRESSIONS[e] == "happy" else gaze | smile
        blend = faces.blendshapes[rows[places]].mean(0)
        far = settings.emphases.get(EXPRESSIONS[e], 1.0)
        change = far * ((blend + blend[swapped]) / 2 - targets[0])
        targets[e] = np.clip(targets[0] + np.where(left_out, 0, change), 0, 1)
    targets[:, gaze] = 0
    known = {EXPRESSIONS[e]: targets[e] for e in (0, *typical)}
    added = np.zeros((_NAMES, LANDMARKS * 2))
    for e, places in typical.items():
        goal = np.where(belonging(EXPRESSIONS[e], known), targets[e], targets[0])
        explained = (features(goal) - features(targets[0])) @ solved[: 2 * len(BLENDSHAPES)]
        far = settings.emphases.get(EXPRESSIONS[e], 1.0)
        mean = far * moved[places].mean(0)
        alike = (mean + mean[order] * (-1, 1)) / 2
        added[e - 1] = alike.ravel() - explained
    return added, targets


def _from_neutral(
    faces: CloseUps, frontal: FloatArray, labelled: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """The photos that show an expression, and how their landmarks lie from the same person's
    neutral face, [N, 478, 2].

    Of who has no neutral photo it is guessed: the mean of that person's expressions, less what
    expressions move on average.
    """
    people: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i in np.flatnonzero(labelled):
        people[str(faces.sources[i]), str(faces.subjects[i])].append(int(i))
    rows: list[int] = []
    moved: list[FloatArray] = []
    unsure: list[list[int]] = []
    for group in people.values():
        shown = [i for i in group if faces.expressions[i] > 0]
        rest = [i for i in group if faces.expressions[i] == 0]
        if rest:
            rows += shown
            moved += [frontal[i] - frontal[rest].mean(0) for i in shown]
        elif len(set(faces.expressions[shown])) == _NAMES:
            unsure.append(shown)
    if not rows:
        return np.zeros(0, np.intp), np.zeros((0, LANDMARKS, 2), np.float32)
    expressions = faces.expressions[rows]
    means = [
        np.mean([m for m, k in zip(moved, expressions, strict=True) if k == e], 0)
        for e in sorted(set(expressions))
    ]
    for shown in unsure:
        rest_of = frontal[shown].mean(0) - np.mean(means, 0)
        rows += shown
        moved += [frontal[i] - rest_of for i in shown]
    return np.array(rows, np.intp), np.array(moved, np.float32)


def _typical(
    subjects: npt.NDArray[np.str_],
    expressions: npt.NDArray[np.int8],
    moved: FloatArray,
    count: int,
) -> dict[int, npt.NDArray[np.intp]]:
    """Of each expression the photos that are told most surely from all others, one a person.

    A linear classifier tells them by how landmarks moved, in the space of their principal
    components; all expressions count alike.

    Args:
        subjects: str [N], the people.
        expressions: int8 [N], places in EXPRESSIONS.
        moved: float [N, 478, 2].
        count: photos of each expression that are taken, of as many people.
    """
    if not len(moved):
        return {}
    flat = moved.reshape(len(moved), -1).astype(np.float64) / _UNIT
    left, sizes, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    parts = min(_PARTS, len(sizes))
    x = np.column_stack([left[:, :parts] * sizes[:parts], np.ones(len(flat))])
    names = np.eye(len(EXPRESSIONS))[expressions]
    weight = (1 / names.sum(0).clip(1))[expressions][:, None]
    system = (x * weight).T @ x + 1e-3 * np.eye(parts + 1)
    scores = x @ np.linalg.solve(system, (x * weight).T @ names)
    found = {}
    for e in sorted(set(expressions.tolist())):
        own = np.flatnonzero(expressions == e)
        sure = scores[own, e] - np.delete(scores[own], e, 1).max(1)
        surest = own[np.argsort(-sure)]
        found[int(e)] = surest[np.sort(np.unique(subjects[surest], return_index=True)[1])[:count]]
    return found


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


def _ridge(x: FloatArray | Floats, values: Any, names: Mapping[str, int], constant: bool) -> Floats:
    """A ridge regression on the features of some blendshapes, [105], the last one a constant.

    x: features, [N, 104]. names: how the blendshapes begin, and the sign that their coefficients
    must have, 0 for any. A coefficient with the wrong sign is left out.
    """
    signs = np.zeros(2 * len(BLENDSHAPES) + 1)
    columns = [2 * len(BLENDSHAPES)] if constant else []
    for i, name in enumerate(BLENDSHAPES):
        for beginning in (b for b in names if name.startswith(b)):
            columns += [i, i + len(BLENDSHAPES)]
            signs[[i, i + len(BLENDSHAPES)]] = names[beginning]
    all_ = np.concatenate([x, np.ones((len(values), 1))], 1)
    while True:
        some, penalty = all_[:, columns].astype(np.float64), np.eye(len(columns))
        penalty[0, 0] = 0 if constant else 1  # a constant is free
        solved = np.linalg.solve(some.T @ some + penalty, some.T @ values)
        wrong = solved * signs[columns] < 0
        if not wrong.any():
            break
        columns = [c for c, out in zip(columns, wrong, strict=True) if not out]
    result = np.zeros(2 * len(BLENDSHAPES) + 1)
    result[columns] = solved
    return result


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
