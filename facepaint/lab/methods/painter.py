"""The painter: from a crop and a change of blendshapes to a flow, a mask, paint and a shade.

Two kinds of samples. A *pair* shows one person with two expressions; the second photo is laid over
the first and is the answer. A *single* has no answer; where its landmarks should go is predicted
by a linear map (`facepaint.lab.moves`), and the reader says whether the result shows what was
asked. A critic that sees a face beside its blendshapes judges both (projection discriminator,
Miyato & Koyama 2018; hinge loss; R1, Mescheder et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint import align
from facepaint.align import CROP, EYE_DISTANCE
from facepaint.face import (
    BLENDSHAPES,
    EXPRESSIONS,
    INNER_LIPS,
    LANDMARKS,
    LEFT_EYE,
    LEFT_IRIS,
    OUTER_LIPS,
    RIGHT_EYE,
    RIGHT_IRIS,
    FloatArray,
)
from facepaint.lab import augment, losses, moves
from facepaint.lab.faces import FaceSet
from facepaint.lab.loop import Batch, Networks, Phases, read_checkpoint
from facepaint.lab.methods.reader import cut, device_of, mirror, to_float
from facepaint.lab.networks import Critic, Painter, Reader, Strokes
from facepaint.lab.recipe import Settings
from facepaint.lab.topology import mirrored_blendshapes, mirrored_landmarks
from facepaint.segment import face_mask

_NUDGE = 0.05  # standard deviation of the finite difference, of pixels in -1 to 1
HAPPY, NEUTRAL = EXPRESSIONS.index("happy"), EXPRESSIONS.index("neutral")


@dataclass(frozen=True)
class PainterSettings(Settings):
    """width: channels at full size. pairs: share of samples that are pairs; poles: share of those
    that are happy and neutral. named: share of singles asked for a named expression, the rest for
    another person's. reader: a run or checkpoint of the reader that judges results, "" for none.
    critic_from: the step at which the critic's voice begins. r1: weight of its gradient penalty.
    region_limit: share of the mouth and eyes that paint may cover for free. weight_*: of the
    losses."""

    width: int = 16
    pairs: float = 0.5
    poles: float = 0.5
    named: float = 0.5
    reader: str = ""
    critic_from: int = 1000
    r1: float = 0.2
    region_limit: float = 0.35
    weight_pixels: float = 1.0
    weight_coarse: float = 0.5
    weight_edges: float = 1.0
    weight_flow: float = 6.0
    weight_smooth: float = 0.05
    weight_mask: float = 0.3
    weight_region: float = 1.0
    weight_opening: float = 0.3
    weight_shade: float = 0.03
    weight_blendshapes: float = 1.5
    weight_landmarks: float = 1.0
    weight_cycle: float = 0.5
    weight_critic: float = 0.3


class PainterMethod:
    """Two phases a step: the painter, then the critic on what the painter just made."""

    def __init__(self, settings: PainterSettings, faces: FaceSet) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.networks: Networks = {"painter": Painter(settings.width), "critic": Critic()}
        self.phases: Phases = {"painter": ("painter",), "critic": ("critic",)}
        self._faces = faces
        train = ~faces.held_out & faces.is_face & np.isfinite(faces.blendshapes[:, 0])
        self._pool = np.flatnonzero(train)
        self._people = moves.people(faces, train)
        self.targets = moves.expression_targets(faces, train)
        self.linear = moves.fit(faces, self._people)
        self._mirror = mirrored_landmarks(), mirrored_blendshapes()
        self._flow_weight = _flow_weight()
        self._reader = _frozen_reader(settings.reader)
        self._show = _sheet_rows(faces)

    # --- samples

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        paired = round(count * self.settings.pairs)
        rows = [self._one(rng, i < paired) for i in range(count)]
        return {k: torch.from_numpy(np.stack([r[k] for r in rows])) for k in rows[0]}

    def _one(self, rng: np.random.Generator, paired: bool) -> dict[str, Any]:
        """One sample; with the same jitter, light and mirroring for source and partner."""
        i, j = self._pick(rng, paired)
        f = self._faces
        jitter = augment.random_frame(rng, 5, 0.06, 0.02)
        look, flip = augment.Look(rng, 0.7), rng.random() < 0.5
        source = self._view(i, jitter, look, flip)
        if paired:
            still = moves.still_frame(f.landmarks[i], f.landmarks[j])
            partner = self._view(j, _chain(align.invert(still), jitter), look, flip)
            asked, points = partner[2], partner[1]
        else:
            partner = source
            asked = self._ask(rng, source[2])
            points = moves.moved(source[1], asked - source[2], self.linear)
        real = int(rng.choice(self._pool))
        real_jitter = augment.random_frame(rng, 5, 0.06, 0.02)
        seen = self._view(real, real_jitter, augment.Look(rng, 0.7), rng.random() < 0.5)
        return {
            "source": source[0],
            "points": source[1],
            "blendshapes": source[2],
            "asked": asked.astype(np.float32),
            "asked_points": points.astype(np.float32),
            "partner": partner[0],
            "paired": np.bool_(paired),
            "face": face_mask(source[1]),
            "region": region(points, source[1]),
            "opening": opening(points, source[1]),
            "real": seen[0],
            "real_blendshapes": seen[2],
        }

    def _pick(self, rng: np.random.Generator, paired: bool) -> tuple[int, int]:
        """A photo and, for a pair, one of the same person with another expression."""
        if not paired or not self._people:
            i = int(rng.choice(self._pool))
            return i, i
        # larger groups more often, but far from as often as their size
        size = np.sqrt([len(p) for p in self._people])
        group = self._people[int(rng.choice(len(size), p=size / size.sum()))]
        i = int(rng.choice(group))
        kinds = self._faces.expressions[group]
        i, others = int(rng.choice(group)), group
        poles = group[(kinds == HAPPY) | (kinds == NEUTRAL)]
        if rng.random() < self.settings.poles and len(set(self._faces.expressions[poles])) > 1:
            i, others = int(rng.choice(poles)), poles
        others = others[self._faces.expressions[others] != self._faces.expressions[i]]
        return i, int(rng.choice(others))

    def _view(
        self, i: int, frame: FloatArray, look: augment.Look, flip: bool
    ) -> tuple[npt.NDArray[np.uint8], FloatArray, FloatArray]:
        crop = cut(self._faces.crops[i], frame)
        points = align.apply(align.invert(frame), self._faces.landmarks[i])
        blend = self._faces.blendshapes[i]
        if flip:
            crop, points, blend = mirror(crop, points, blend, self._mirror)
        return np.ascontiguousarray(look(crop)), points, blend

    def _ask(self, rng: np.random.Generator, have: FloatArray) -> FloatArray:
        """Blendshapes to ask of a single: a named expression or another's, in part or all."""
        if rng.random() < self.settings.named:
            likely = np.array([0.3 if e in (HAPPY, NEUTRAL) else 0.08 for e in range(7)])
            want = self.targets[int(rng.choice(7, p=likely / likely.sum()))].copy()
        else:
            want = self._faces.blendshapes[int(rng.choice(self._pool))].copy()
        if rng.random() < 0.8:  # mostly the gaze stays
            want[moves.GAZE] = have[moves.GAZE]
        strength = 1.0 if rng.random() < 0.5 else rng.uniform(0.2, 1.3)
        return np.asarray(np.clip(have + strength * (want - have), 0, 1), np.float32)

    # --- losses

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if phase == "critic":
            return self._critic_loss(networks, batch, step)
        return self._painter_loss(networks, batch, step)

    def _painter_loss(
        self, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        s, painter = self.settings, networks["painter"]
        source = to_float(batch["source"])
        change = batch["asked"] - batch["blendshapes"]
        strokes: Strokes = painter(source, change)
        result = compose(source, strokes, batch["face"])
        batch["result"] = result.detach()
        parts = {
            "pixels": s.weight_pixels * self._pair_loss(result, batch),
            "flow": s.weight_flow * self._flow_loss(strokes, batch),
            "restraint": self._restraint(strokes, batch),
        }
        if self._reader is not None:
            # through the flow alone: given paint, it deceives the reader with coloured blots
            still = strokes._replace(
                mask=strokes.mask.detach(),
                paint=strokes.paint.detach(),
                shade=strokes.shade.detach(),
            )
            parts["reader"] = self._reader_loss(compose(source, still, batch["face"]), batch)
        if s.weight_cycle:
            parts["cycle"] = s.weight_cycle * _cycle_loss(painter, result, source, change, batch)
        if s.weight_critic and step >= s.critic_from:
            critic = networks["critic"].requires_grad_(False)
            judged = critic(result * 2 - 1, batch["asked"]).float()
            parts["critic"] = -s.weight_critic * (judged * _attention(judged)).mean()
        total = torch.stack(list(parts.values())).sum()
        return total, parts | {"mask": strokes.mask.detach().mean()}

    def _pair_loss(self, result: Tensor, batch: Batch) -> Tensor:
        """How far pairs are from their partner, most of all at mouth and eyes."""
        s, pairs = self.settings, batch["paired"]
        if not pairs.any():
            return result.sum() * 0
        made, wanted = result[pairs], to_float(batch["partner"])[pairs]
        weight = (batch["face"][pairs] * (1 + 4 * batch["region"][pairs]))[:, None]
        fine = losses.weighted_l1(made, wanted, weight)
        small = losses.weighted_l1(*(F.avg_pool2d(x, 4) for x in (made, wanted, weight)))
        edges = losses.gradient_l1(made, wanted, weight)
        return fine + s.weight_coarse * small + s.weight_edges * edges

    def _flow_loss(self, strokes: Strokes, batch: Batch) -> Tensor:
        """At a landmark's new place the flow must point to its old one; in crop sides, ×10."""
        flow = strokes.flow * batch["face"][:, None]
        got = losses.sample_at(flow, batch["asked_points"])
        wanted = batch["points"] - batch["asked_points"]
        inside = losses.sample_at(batch["face"][:, None], batch["asked_points"])
        error = (got - wanted).abs() * inside * self._flow_weight.to(flow.device)[:, None]
        return error.mean() * 10

    def _restraint(self, strokes: Strokes, batch: Batch) -> Tensor:
        """Smooth flow; paint only where the flow cannot reach; little shade."""
        s = self.settings
        face, region_ = batch["face"][:, None], batch["region"][:, None]
        outside = (strokes.mask * face * (1 - region_)).mean()
        inside = losses.hinge(strokes.mask * region_, s.region_limit * float(region_.mean()))
        shade = strokes.shade * face
        # told where to paint, or mask and paint wait for each other near zero
        opened = batch["opening"][:, None]
        bare = ((1 - strokes.mask) * opened).sum() / opened.sum().clamp(min=1)
        return (
            s.weight_smooth * losses.smoothness(strokes.flow)
            + s.weight_mask * outside
            + s.weight_region * inside
            + s.weight_opening * bare
            + s.weight_shade * (shade.abs().mean() + losses.smoothness(shade) / CROP * 10)
        )

    def _reader_loss(self, result: Tensor, batch: Batch) -> Tensor:
        """What the frozen reader sees in the result against what was asked."""
        s = self.settings
        assert self._reader is not None
        reader = self._reader.to(result.device)
        with torch.autocast(result.device.type, torch.bfloat16):
            read = reader(result)
        error = (read.blendshapes.float() - batch["asked"])[:, ~torch.from_numpy(moves.GAZE)].abs()
        moved = (read.landmarks.float() - batch["asked_points"]).abs()
        moved = (moved * self._flow_weight.to(result.device)[:, None]).mean() / EYE_DISTANCE
        # squares as well: the few blendshapes that were asked for outweigh the many that were not
        asked = (error + 3 * error.square()).mean()
        total: Tensor = s.weight_blendshapes * asked + s.weight_landmarks * moved
        return total

    def _critic_loss(
        self, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        s, critic = self.settings, networks["critic"].requires_grad_(True)
        real = to_float(batch["real"]) * 2 - 1
        on_real = critic(real, batch["real_blendshapes"]).float()
        on_made = critic(batch["result"] * 2 - 1, batch["asked"]).float()
        # a real face beside another's blendshapes is wrong too: the critic must read them
        shuffled = critic(real, batch["real_blendshapes"].roll(1, 0)).float()
        weight = _attention(on_real)
        loss = (weight * (F.relu(1 - on_real) + F.relu(1 + on_made))).mean()
        loss = loss + 0.5 * (weight * F.relu(1 + shuffled)).mean()
        # R1 along one random direction, by a finite difference: its mean over directions is the
        # squared norm of the gradient, without differentiating twice
        nudged = critic(real + _NUDGE * torch.randn_like(real), batch["real_blendshapes"]).float()
        loss = loss + s.r1 / 2 * ((nudged - on_real) / _NUDGE).square().mean()
        shown = {"critic_real": on_real, "critic_made": on_made, "critic_other": shuffled}
        return loss, {k: (weight * v).mean() for k, v in shown.items()}

    # --- pictures

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """People never trained on: source, result, mask; neutral made happy, happy neutral."""
        tiles = []
        for i, target in self._show:
            crop = cut(self._faces.crops[i], align.IDENTITY)
            blend = self._faces.blendshapes[i]
            want = np.where(moves.GAZE, blend, self.targets[target])
            change = torch.from_numpy((want - blend).astype(np.float32))[None]
            source = to_float(torch.from_numpy(crop)[None])
            device = device_of(networks)
            strokes = networks["painter"](source.to(device), change.to(device))
            face = torch.from_numpy(face_mask(self._faces.landmarks[i]))[None].to(device)
            result = compose(source.to(device), strokes, face)[0].permute(1, 2, 0).cpu().numpy()
            made = (result * 255).round().astype(np.uint8)
            mask = (strokes.mask[0, 0].cpu().numpy() * 255).astype(np.uint8)
            tiles.append(np.vstack([crop, made, cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)]))
        half = (len(tiles) + 1) // 2
        rows = [np.hstack(tiles[:half]), np.hstack(tiles[half:])]
        picture = np.vstack([r for r in rows if r.shape == rows[0].shape])
        return np.asarray(cv2.resize(picture, None, fx=1.25, fy=1.25), np.uint8)


def compose(source: Tensor, strokes: Strokes, face: Tensor) -> Tensor:
    """The result at crop size, [N, 3, H, W]: what the runtime does at the photo's own size.

    source [N, 3, H, W]; face [N, H, W] fades every stroke out towards the face's border.
    """
    fade = face[:, None]
    size = source.shape[-1]
    centres = (torch.arange(size, device=source.device) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    grid = (torch.stack([x, y], -1) + (strokes.flow * fade).permute(0, 2, 3, 1)) * 2 - 1
    warped = F.grid_sample(
        source, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    lit = warped * torch.exp(strokes.shade * fade)
    return (lit + strokes.mask * fade * strokes.paint).clamp(0, 1)


def region(points: FloatArray, before: FloatArray) -> FloatArray:
    """Where paint may be needed: the mouth and the eyes, as asked for; float32 [128, 128] 0 or 1.

    The mouth reaches to the outer lips (teeth may show anywhere within) of the face after the
    change; lips that close leave the old opening behind, so that counts too.
    """
    out = np.zeros((CROP, CROP), np.float32)
    for where in (OUTER_LIPS, RIGHT_EYE, LEFT_EYE):
        _fill(out, points[list(where)])
    _fill(out, before[list(INNER_LIPS)])
    return np.asarray(cv2.dilate(out, np.ones((5, 5), np.uint8)), np.float32)


def opening(points: FloatArray, before: FloatArray) -> FloatArray:
    """Between the lips of a mouth that opens or closes, float32 [128, 128] 0 or 1.

    What opens has no teeth yet for the flow to move; what closes would keep a line of them. Empty
    where the mouth is about as open as before.
    """
    after, old = (np.zeros((CROP, CROP), np.float32) for _ in range(2))
    _fill(after, points[list(INNER_LIPS)])
    _fill(old, before[list(INNER_LIPS)])
    # a polygon's outline counts as filled, so that a closed mouth has an area too
    outline = len(INNER_LIPS)
    area, was = (max(0.0, float(x.sum()) - outline) for x in (after, old))
    if area > 2 * was:
        return after
    if was > 2 * area and was > outline:
        return np.asarray(cv2.dilate(after, np.ones((3, 1), np.uint8)), np.float32)
    return np.zeros_like(after)


def _fill(picture: FloatArray, polygon: FloatArray) -> None:
    corners = np.round((polygon * CROP - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(picture, [corners], 1.0, shift=4)


def _cycle_loss(
    painter: nn.Module, result: Tensor, source: Tensor, change: Tensor, batch: Batch
) -> Tensor:
    """The edit undone must give the photo back; on singles, a third of them, for its cost."""
    single = (~batch["paired"]).nonzero()[:, 0]
    single = single[: max(1, len(single) // 3)]
    if not len(single):
        return result.sum() * 0
    strokes: Strokes = painter(result[single], -change[single])
    back = compose(result[single], strokes, batch["face"][single])
    return (back - source[single]).abs().mean() * 4


def _chain(outer: FloatArray, inner: FloatArray) -> FloatArray:
    """The similarity that does `inner` first, then `outer`."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]]).astype(np.float32)


def _attention(scores: Tensor) -> Tensor:
    """Where the critic looks, of its 8 × 8 places: at the face, most at the mouth; mean 1."""
    places = torch.zeros(8, 8, device=scores.device)
    places[2:7, 1:7] = 1
    places[4:7, 2:6] = 4
    return (places / places.mean()).flatten()


def _flow_weight() -> Tensor:
    weight = torch.ones(LANDMARKS)
    weight[list({*OUTER_LIPS, *INNER_LIPS})] = 5.0
    weight[list({*RIGHT_EYE, *LEFT_EYE})] = 3.0
    for iris in (RIGHT_IRIS, LEFT_IRIS):
        weight[iris : iris + 5] = 0.5
    return weight / weight.mean()


def _frozen_reader(checkpoint: str) -> Reader | None:
    if not checkpoint:
        return None
    state = read_checkpoint(Path(checkpoint))
    reader = Reader(state["settings"]["width"])
    reader.load_state_dict(state["ema"]["reader"])
    reader = reader.to(memory_format=torch.channels_last)
    return reader.eval().requires_grad_(False)


def _sheet_rows(faces: FaceSet) -> list[tuple[int, int]]:
    """(photo, expression to make): held-out people, first made happy, then made neutral."""
    smile = faces.blendshapes[:, [BLENDSHAPES.index("mouthSmileLeft")]].mean(1)
    rows = []
    for target, chosen in ((HAPPY, smile < 0.1), (NEUTRAL, smile > 0.5)):
        for source, count in (("london", 2), ("taiwan", 2), ("celebamask", 3), ("utkface", 3)):
            found = np.flatnonzero(faces.held_out & chosen & (faces.sources == source))
            rows += [(int(i), target) for i in found[:: max(1, len(found) // count)][:count]]
    if not rows:  # another data set: whoever there is
        rows = [(int(i), HAPPY) for i in np.flatnonzero(faces.is_face)[:8]]
    return rows
