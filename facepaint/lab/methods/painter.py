"""The painter: from a crop, a change of blendshapes and an expression's name to a flow, a mask,
paint and a shade.

Four kinds of samples. A *pair* shows one person with two expressions; the second photo is laid
over the first and is the answer. A *single* has no answer; where its landmarks should go is
predicted by a linear map (`facepaint.lab.data.moves`), and the reader says whether the result shows
what was asked. A *relay* is a single that is asked for a named expression and answered by what a
painter trained before, the teacher, makes of it in two steps (distillation, Hinton et al. 2015): of
a smile that shall be another expression neutral first; where happy or neutral is asked for, what is
asked and then a part of the same again; and of a closed mouth that shall bare its teeth a smile,
whose corners the rig takes down then. A *return* is a photo that the teacher first makes
something else: from that the painter shall come back to the photo (back-translation, Sennrich et
al. 2016), so that mouths which hardly anyone is photographed with twice have a true answer. A
critic that sees a face beside its blendshapes judges all (projection discriminator, Miyato & Koyama
2018; hinge loss; R1, Mescheder et al. 2018). Where it looks through features it also names
expressions: that is learned on labelled faces, and asked of results with a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint import align
from facepaint.align import CROP, EYE_DISTANCE
from facepaint.change import GAZE
from facepaint.errors import LabError
from facepaint.face import (
    EXPRESSIONS,
    INNER_LIPS,
    LANDMARKS,
    LEFT_EYE,
    LEFT_IRIS,
    OUTER_LIPS,
    RIGHT_EYE,
    RIGHT_IRIS,
)
from facepaint.lab import losses, precision
from facepaint.lab.data import mouths, moves
from facepaint.lab.data.faces import FaceSet, cut
from facepaint.lab.data.named import by_set, faces_of_sources
from facepaint.lab.data.render import blurring, render
from facepaint.lab.data.samples import HAPPY, NEUTRAL, OTHERS, Samples, one_hot
from facepaint.lab.data.topology import SMILING
from facepaint.lab.entry import Entry
from facepaint.lab.features import Pyramid, pyramid
from facepaint.lab.graph import Graph, read_weights
from facepaint.lab.loop import Batch, Networks, Phases, read_checkpoint, stacked
from facepaint.lab.networks import (
    ASKED,
    Critic,
    Judgement,
    Painter,
    ProjectedCritic,
    Reader,
    Strokes,
    device_of,
    to_float,
)
from facepaint.lab.recipe import Augmented
from facepaint.segment import face_mask

N = TypeVar("N", Reader, Painter)
_COLUMNS = 10  # of a sample sheet
_NUDGE = 0.05  # standard deviation of the finite difference, of pixels in -1 to 1


@dataclass(frozen=True)
class PainterSettings(Augmented):
    """width: channels at full size. pairs, relays, returns: share of samples that are these; poles:
    share of pairs that are happy and neutral; relayed: what relays are asked for beside these,
    names separated by commas, "" for all of the five; clear: share of relays that are asked for
    happy and neutral, and overshoot: what part of their change they make again. turned: share of
    singles that begin from a turned head; opened: share of them asked to open the mouth, whose
    inside is told (facepaint.lab.data.mouths); bared: share of relays asked to bare the teeth
    without a smile. teacher: a run, a checkpoint or an exported .onnx of the painter that answers
    relays and makes what returns begin from, "" for none. named: share of singles asked for a named
    expression, the rest for another person's; others: share of those named that are neither happy
    nor neutral; marked: how far these move landmarks, the root of the mean square of their
    coordinates in crop pixels; folds: how many times as deep as people's mean the folds of these
    are. labelled: labelled faces beside each batch, at most as many as it has samples, from which
    the critic learns to name expressions. reader: a run, a checkpoint or an exported .onnx of the
    reader that judges results, "" for none. features: the critic looks through "mobilenet_v2", and
    pairs are compared there too; "" for a critic on pixels. critic_from: the step at which the
    critic's voice begins. soft_skin: how far skin is blurred before the critic sees it, and pairs
    are compared in features, the standard deviation in pixels; mouth and eyes are not. Without it
    the critic has skin sharpened. r1: weight of its gradient penalty, on pixels. region_limit:
    share of the mouth and eyes that paint may cover for free. weight_*: of the losses;
    weight_class, of the expression that the critic names in results, is for one that looks through
    features: a critic on pixels names none."""

    width: int = 16
    pairs: float = 0.5
    relays: float = 0.0
    returns: float = 0.0
    opened: float = 0.0
    bared: float = 0.0
    poles: float = 0.7
    relayed: str = ""
    clear: float = 0.0
    overshoot: float = 0.25
    turned: float = 0.0
    named: float = 0.65
    others: float = 0.5
    marked: float = 1.9
    folds: float = 2.0
    labelled: int = 6
    reader: str = ""
    teacher: str = ""
    features: str = ""
    critic_from: int = 1000
    soft_skin: float = 0.0
    r1: float = 0.2
    region_limit: float = 0.35
    weight_pixels: float = 1.0
    weight_coarse: float = 0.5
    weight_edges: float = 1.0
    weight_features: float = 0.3
    weight_flow: float = 6.0
    weight_smooth: float = 0.05
    weight_mask: float = 0.3
    weight_region: float = 1.0
    weight_opening: float = 0.3
    weight_colour: float = 1.0
    weight_grain: float = 0.0
    weight_shade: float = 0.01
    weight_folds: float = 2.0
    weight_inside: float = 1.0
    weight_blendshapes: float = 1.5
    weight_landmarks: float = 1.0
    weight_cycle: float = 0.5
    weight_critic: float = 0.3
    weight_class: float = 0.15


class PainterMethod:
    """Two phases a step: the painter, then the critic on what the painter just made."""

    def __init__(self, settings: PainterSettings, faces: FaceSet) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self._pyramid = pyramid(settings.features)
        critic = ProjectedCritic(Pyramid.CHANNELS) if self._pyramid else Critic()
        self.networks: Networks = {"painter": Painter(settings.width), "critic": critic}
        self.phases: Phases = {"painter": ("painter",), "critic": ("critic",)}
        self._faces = faces
        self._samples = Samples(settings, faces)
        self.targets = self._samples.targets
        self._flow_weight = _flow_weight()
        self._reader = _frozen(Reader, settings.reader)
        self._teacher = _frozen(Painter, settings.teacher)
        if settings.relays and self._teacher is None:
            raise LabError("relays need a teacher: teacher=PATH of a painter trained before")
        if settings.returns and (self._teacher is None or self._reader is None):
            raise LabError("returns need a teacher and a reader: teacher=PATH reader=PATH")
        self._show = _sheet_rows(faces)

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        s, rows = self.settings, self._samples.draw(rng, count)
        if self._pyramid and s.weight_class and s.labelled:
            some = max(1, round(min(1.0, s.labelled / s.batch) * count))
            labelled = self._samples.labelled(rng, count, some)
            rows = [r | more for r, more in zip(rows, labelled, strict=True)]
        return stacked(rows)

    # --- losses

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        render(batch)
        if phase == "critic":
            return self._critic_loss(networks, batch, step)
        return self._painter_loss(networks, batch, step)

    def _painter_loss(
        self, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        s, painter = self.settings, networks["painter"]
        if self._teacher is not None and batch["relay"].any():
            self._answer(self._teacher, batch)
        if self._teacher is not None and batch["return"].any():
            self._send_away(self._teacher, batch)
        source = to_float(batch["source"])
        change = batch["asked"] - batch["blendshapes"]
        strokes: Strokes = painter(source, torch.cat([change, batch["name"]], 1))
        result = compose(source, strokes, batch["face"])
        batch["result"] = result.detach()
        seen = self._as_seen(result, batch["parts"])
        maps = self._pyramid(seen) if self._pyramid else []
        batch |= {f"result_{i}": m.detach() for i, m in enumerate(maps)}
        parts = {
            "pixels": s.weight_pixels * self._pair_loss(result, batch),
            "flow": s.weight_flow * self._flow_loss(strokes, batch),
            "restraint": self._restraint(strokes, batch),
        }
        if batch["told"].any():
            parts["folds"] = s.weight_folds * _fold_loss(strokes, batch)
        hollow = batch["hollow"] * ~batch["paired"][:, None, None]
        if hollow.any():
            parts["inside"] = s.weight_inside * _inside_loss(result, source, hollow, batch)
        if self._pyramid and batch["paired"].any():
            parts["features"] = s.weight_features * self._feature_loss(maps, batch)
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
        if step >= s.critic_from:
            parts |= self._judged(networks["critic"], maps or seen * 2 - 1, batch)
        total = torch.stack(list(parts.values())).sum()
        return total, parts | {"mask": strokes.mask.detach().mean()}

    def _as_seen(self, pictures: Tensor, parts: Tensor) -> Tensor:
        """Pictures [N, 3, S, S] with soft skin: all but the parts [N, S, S] that move most."""
        if not self.settings.soft_skin:
            return pictures
        sigma = torch.full((1, 1), self.settings.soft_skin, device=pictures.device)
        blur = blurring(sigma, pictures.shape[-1])
        sharp, soft = F.avg_pool2d(parts[:, None], 5, 1, 2), blur @ pictures @ blur.transpose(1, 2)
        return soft + sharp * (pictures - soft)

    @torch.no_grad()
    def _answer(self, teacher: Painter, batch: Batch) -> None:
        """Makes pairs of the relays: their partner is what the teacher makes in two steps."""
        relays = batch["relay"]
        source, face = to_float(batch["source"][relays]), batch["face"][relays]
        have, asked, name = (batch[k][relays] for k in ("blendshapes", "asked", "name"))
        strength, teacher = name.amax(1, keepdim=True), teacher.to(source.device)
        poles = torch.isin(name.argmax(1), torch.tensor([HAPPY, NEUTRAL]).to(name.device))[:, None]
        neutral = torch.from_numpy(self.targets[NEUTRAL]).to(have)
        still = (have + strength * (neutral - have)).clamp(0, 1)
        still = torch.where(torch.from_numpy(GAZE).to(have.device), asked, still)
        neutrally = torch.from_numpy(one_hot(NEUTRAL)).to(have) * strength
        change = torch.where(poles, asked, still) - have
        again = torch.where(poles, self.settings.overshoot * (asked - have), asked - still)
        neutrally = torch.where(poles, name, neutrally)
        # lips that bare teeth: a smile, and then the rig's move
        bared, smile = batch["bared"][relays], batch["smile"][relays]
        change = torch.where(bared[:, None], smile - have, change)
        neutrally = torch.where(bared[:, None], name, neutrally)
        with precision.autocast(source.device.type):
            first: Strokes = teacher(source, torch.cat([change, neutrally], 1))
            between = compose(source, first, face)
            then: Strokes = teacher(between, torch.cat([again, name], 1))
        then = Strokes(*(torch.where(bared[:, None, None, None], 0, x) for x in then))
        moved = batch["after"][relays].permute(0, 3, 1, 2)
        then = then._replace(flow=then.flow + moved)
        answer = compose_two(source, first, then, face)
        if self._samples.teeth is not None:
            between, around = (batch[k][relays] for k in ("opening", "region"))
            answer = mouths.held_back(
                answer, between, _colour(source, face * (1 - around)), self._samples.teeth
            )
        batch["partner"][relays] = (answer.permute(0, 2, 3, 1) * 255).round().byte()
        batch["paired"] = batch["paired"] | relays
        batch["told"] = batch["told"] & ~relays  # the answer has its folds

    @torch.no_grad()
    def _send_away(self, teacher: Painter, batch: Batch) -> None:
        """Makes pairs of the returns: the photo is their partner, and their source what the teacher
        makes of it, as the reader sees that."""
        assert self._reader is not None
        returns = batch["return"]
        photo, change, face = (batch[k][returns] for k in ("source", "away", "away_face"))
        device = photo.device.type
        with precision.autocast(device):
            strokes: Strokes = teacher.to(photo.device)(to_float(photo), change)
            # not blurred: or the way back would be to sharpen skin
            made = compose(to_float(photo), strokes, face, "bicubic")
            read = self._reader.to(photo.device)(made)
        batch["source"][returns] = (made.permute(0, 2, 3, 1) * 255).round().byte()
        batch["points"][returns] = read.landmarks.to(batch["points"])
        batch["blendshapes"][returns] = read.blendshapes.to(batch["blendshapes"])
        batch["paired"] = batch["paired"] | returns

    def _judged(
        self, critic: nn.Module, seen: Tensor | list[Tensor], batch: Batch
    ) -> dict[str, Tensor]:
        """What the critic says of the results: whether they are real, and what they express."""
        s, parts = self.settings, {}
        judged: Judgement = critic.requires_grad_(False)(seen, batch["asked"])
        if s.weight_critic:
            scores = judged.scores.float()
            weight = _attention(scores) * batch["judged"][:, None]
            parts["critic"] = -s.weight_critic * (scores * weight).mean()
        if s.weight_class and judged.expressions is not None:
            parts["class"] = s.weight_class * class_loss(judged.expressions, batch["name"])
        return parts

    def _pair_loss(self, result: Tensor, batch: Batch) -> Tensor:
        """How far pairs are from their partner, most of all at mouth and eyes."""
        s, pairs = self.settings, batch["paired"]
        if not pairs.any():
            return result.sum() * 0
        made, wanted = result[pairs], to_float(batch["partner"])[pairs]
        weight = (batch["face"][pairs] * (2 + 3 * batch["region"][pairs]))[:, None]
        fine = losses.weighted_l1(made, wanted, weight)
        small = losses.weighted_l1(*(F.avg_pool2d(x, 4) for x in (made, wanted, weight)))
        edges = losses.gradient_l1(made, wanted, weight)
        return fine + s.weight_coarse * small + s.weight_edges * edges

    def _feature_loss(self, maps: list[Tensor], batch: Batch) -> Tensor:
        """How far pairs are from their partner in features, which forgive a pixel's shift."""
        assert self._pyramid is not None
        pairs = batch["paired"]
        with torch.no_grad():
            partner = to_float(batch["partner"][pairs])
            wanted = self._pyramid(self._as_seen(partner, batch["parts"][pairs]))
        weight = (batch["face"][pairs] * (1 + batch["region"][pairs]))[:, None]
        terms = [
            losses.weighted_l1(m[pairs], w, F.interpolate(weight, size=m.shape[-2:], mode="area"))
            for m, w in zip(maps, wanted, strict=True)
        ]
        return torch.stack(terms).mean()

    def _flow_loss(self, strokes: Strokes, batch: Batch) -> Tensor:
        """At a landmark's new place the flow must point to its old one; in crop sides, ×10."""
        flow = strokes.flow * batch["face"][:, None]
        got = losses.sample_at(flow, batch["asked_points"])
        wanted = batch["points"] - batch["asked_points"]
        inside = losses.sample_at(batch["face"][:, None], batch["asked_points"])
        error = (got - wanted).abs() * inside * self._flow_weight.to(flow.device)[:, None]
        return error.mean() * 10

    def _restraint(self, strokes: Strokes, batch: Batch) -> Tensor:
        """Smooth flow; paint only where the flow cannot reach, of little hue; little shade."""
        s = self.settings
        face, region_ = batch["face"][:, None], batch["region"][:, None]
        dear = 1 + 5 * batch["nose"][:, None]  # the critic likes nostrils black
        outside = (strokes.mask * face * (1 - region_) * dear).mean()
        inside = losses.hinge(strokes.mask * region_, s.region_limit * float(region_.mean()))
        shade = strokes.shade * face
        grey = strokes.paint.mean(1, keepdim=True)
        # detail of the paint on skin, with which it sharpens
        grain = (strokes.paint - F.avg_pool2d(strokes.paint, 5, 1, 2)).abs()
        # and on lips around an inside that is told, of which nothing else says how they look
        told, plain = batch["hollow"][:, None], ~batch["paired"][:, None, None, None]
        lips = region_ * (1 - told) * (told.amax((2, 3), keepdim=True) * plain)
        # told where to paint, or mask and paint wait for each other near zero
        opened = batch["opening"][:, None]
        bare = ((1 - strokes.mask) * opened).sum() / opened.sum().clamp(min=1)
        return (
            s.weight_smooth * losses.smoothness(strokes.flow)
            + s.weight_mask * outside
            + s.weight_region * inside
            + s.weight_opening * bare
            + s.weight_colour * ((strokes.paint - grey).abs() * strokes.mask * face).mean()
            + s.weight_grain * (grain * strokes.mask * face * (1 - region_)).mean()
            + s.weight_grain * (grain * strokes.mask * lips).sum() / lips.sum().clamp(min=1)
            + s.weight_shade * (shade.abs().mean() + losses.smoothness(shade) / CROP * 10)
        )

    def _reader_loss(self, result: Tensor, batch: Batch) -> Tensor:
        """What the frozen reader sees in the result against what was asked."""
        s = self.settings
        assert self._reader is not None
        reader = self._reader.to(result.device)
        with precision.autocast(result.device.type):
            read = reader(result)
        error = (read.blendshapes.float() - batch["asked"])[:, ~torch.from_numpy(GAZE)].abs()
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
        real = self._as_seen(to_float(batch["real"]), batch["real_parts"])
        seen: Tensor | list[Tensor]
        made: Tensor | list[Tensor]
        if self._pyramid:
            with torch.no_grad():
                seen = self._pyramid(real)
            made = [batch[f"result_{i}"] for i in range(len(seen))]
        else:
            seen, made = real * 2 - 1, self._as_seen(batch["result"], batch["parts"]) * 2 - 1
        on_real = critic(seen, batch["real_blendshapes"]).scores.float()
        on_made = critic(made, batch["asked"]).scores.float()
        # a real face beside another's blendshapes is wrong too: the critic must read them
        shuffled = critic(seen, batch["real_blendshapes"].roll(1, 0)).scores.float()
        weight = _attention(on_real) * batch["judged"][:, None]
        loss = (weight * (F.relu(1 - on_real) + F.relu(1 + on_made))).mean()
        loss = loss + 0.5 * (weight * F.relu(1 + shuffled)).mean()
        if isinstance(seen, Tensor):
            # R1 along one random direction, by a finite difference: its mean over directions is
            # the squared norm of the gradient, without differentiating twice
            nudged = critic(seen + _NUDGE * torch.randn_like(seen), batch["real_blendshapes"])
            nudge = (nudged.scores.float() - on_real) / _NUDGE
            loss = loss + s.r1 / 2 * nudge.square().mean()
        shown = {"critic_real": on_real, "critic_made": on_made, "critic_other": shuffled}
        values = {k: (weight * v).mean() for k, v in shown.items()}
        if "label" in batch and (batch["label"] >= 0).any():
            named, values["class_right"] = self._naming_loss(critic, batch)
            loss = loss + named
        return loss, values

    def _naming_loss(self, critic: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross entropy of what the critic names in labelled faces, and the share that is right."""
        assert self._pyramid is not None
        known = batch["label"] >= 0
        with torch.no_grad():
            maps = self._pyramid(to_float(batch["labelled"][known]))
        told = critic(maps, batch["labelled_blendshapes"][known]).expressions.float()
        wanted = batch["label"][known]
        return F.cross_entropy(told, wanted), (told.argmax(1) == wanted).float().mean()

    # --- pictures

    @torch.no_grad()
    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """People never trained on: source, result, mask; neutral made happy, happy neutral, and
        neutral made each of the others."""
        tiles = []
        for i, target in self._show:
            crop = cut(self._faces.crops[i], align.IDENTITY)
            blend = self._faces.blendshapes[i]
            want = np.where(GAZE, blend, self.targets[target])
            asked = np.concatenate([want - blend, one_hot(target)]).astype(np.float32)
            change = torch.from_numpy(asked)[None]
            source = to_float(torch.from_numpy(crop)[None])
            device = device_of(networks)
            strokes = networks["painter"](source.to(device), change.to(device))
            face = torch.from_numpy(face_mask(self._faces.landmarks[i]))[None].to(device)
            result = compose(source.to(device), strokes, face)[0].permute(1, 2, 0).cpu().numpy()
            made = (result * 255).round().astype(np.uint8)
            mask = (strokes.mask[0, 0].cpu().numpy() * 255).astype(np.uint8)
            tiles.append(np.vstack([crop, made, cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)]))
        wide = min(len(tiles), _COLUMNS)
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % wide)
        picture = np.vstack([np.hstack(tiles[i : i + wide]) for i in range(0, len(tiles), wide)])
        return np.asarray(cv2.resize(picture, None, fx=1.25, fy=1.25), np.uint8)


def compose(source: Tensor, strokes: Strokes, face: Tensor, sampling: str = "bilinear") -> Tensor:
    """The result at crop size, [N, 3, H, W]: what the runtime does at the photo's own size, but for
    what `facepaint.methods` corrects in strokes first.

    source [N, 3, H, W]; face [N, H, W] fades every stroke out towards the face's border.
    """
    fade = face[:, None]
    lit = warp(source, strokes.flow * fade, sampling) * torch.exp(strokes.shade * fade)
    return (lit + strokes.mask * fade * strokes.paint).clamp(0, 1)


def warp(source: Tensor, flow: Tensor, sampling: str = "bilinear") -> Tensor:
    """source [N, C, H, W] where the flow [N, 2, H, W] says that each pixel comes from; sampling:
    "bilinear", or "bicubic", which blurs less."""
    size = source.shape[-1]
    centres = (torch.arange(size, device=source.device) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    grid = (torch.stack([x, y], -1) + flow.permute(0, 2, 3, 1)) * 2 - 1
    taken: Tensor = F.grid_sample(
        source, grid, mode=sampling, padding_mode="border", align_corners=False
    )
    return taken


def compose_two(source: Tensor, first: Strokes, then: Strokes, face: Tensor) -> Tensor:
    """The result of strokes on the result of others, as `compose` makes it, but with the photo
    sampled once, since sampling twice would blur it twice."""
    fade = face[:, None]
    paint, after = (s.mask * fade * s.paint for s in (first, then))
    before = torch.cat([first.flow * fade, first.shade * fade, paint], 1)
    flow, shade, paint = torch.split(warp(before, then.flow * fade), [2, 1, 3], 1)
    gain = then.shade * fade
    lit = warp(source, flow + then.flow * fade) * torch.exp(shade + gain)
    result: Tensor = lit + paint * torch.exp(gain) + after
    return result.clamp(0, 1)


def _colour(pictures: Tensor, where: Tensor) -> Tensor:
    """The mean colour [N, 3] of pictures [N, 3, H, W] where [N, H, W] says."""
    weight = where[:, None]
    mean: Tensor = (pictures * weight).sum((2, 3)) / weight.sum((2, 3)).clamp(min=1)
    return mean


def _inside_loss(result: Tensor, source: Tensor, hollow: Tensor, batch: Batch) -> Tensor:
    """How far the inside of mouths that open [N, H, W] is from what was told, beside skin."""
    skin = _colour(source, batch["face"] * (1 - batch["region"]))[..., None, None]
    told, weight = skin * batch["inside"].permute(0, 3, 1, 2).exp(), hollow[:, None]
    # the lips' edge shall be one, so nothing is said across it
    inner = losses.inner_gradient_l1(result, told, weight)
    return losses.weighted_l1(result, told, weight) + inner


def _fold_loss(strokes: Strokes, batch: Batch) -> Tensor:
    """How far the shade is from the folds that were told, where there is no paint."""
    told = batch["told"]
    weight = (batch["face"] * (1 - batch["region"]))[told][:, None]
    return losses.weighted_l1(strokes.shade[told], batch["folds"][told][:, None], weight)


def _cycle_loss(
    painter: nn.Module, result: Tensor, source: Tensor, change: Tensor, batch: Batch
) -> Tensor:
    """The edit undone must give the photo back; on singles, a third of them, for its cost."""
    single = (~batch["paired"]).nonzero()[:, 0]
    single = single[: max(1, len(single) // 3)]
    if not len(single):
        return result.sum() * 0
    # the way back has no name: few photos have a label that would be one
    strokes: Strokes = painter(result[single], F.pad(-change[single], (0, len(EXPRESSIONS))))
    back = compose(result[single], strokes, batch["face"][single])
    return (back - source[single]).abs().mean() * 4


def class_loss(expressions: Tensor, name: Tensor) -> Tensor:
    """Cross entropy of logits [N, 7] against the names [N, 7] that were asked, each times its
    strength where that is less than 1: the mean over those that were asked by name."""
    strength, wanted = name.max(1)
    wrong = F.cross_entropy(expressions.float(), wanted, reduction="none")
    return (wrong * strength.clamp(max=1)).sum() / (strength > 0).sum().clamp(min=1)


def _attention(scores: Tensor) -> Tensor:
    """Where the critic looks, of each scale's 8 × 8 places: the face, most the mouth; mean 1."""
    places = torch.zeros(8, 8, device=scores.device)
    places[2:7, 1:7] = 2
    places[4:7, 2:6] = 4
    return (places / places.mean()).flatten().repeat(scores.shape[1] // 64)


def _flow_weight() -> Tensor:
    weight = torch.ones(LANDMARKS)
    weight[list({*OUTER_LIPS, *INNER_LIPS})] = 5.0
    weight[list({*RIGHT_EYE, *LEFT_EYE})] = 3.0
    for iris in (RIGHT_IRIS, LEFT_IRIS):
        weight[iris : iris + 5] = 0.5
    return weight / weight.mean()


def _frozen(network: type[N], source: str) -> N | None:
    """The reader or the painter of a run, of a checkpoint, or of an exported .onnx, not to be
    trained; None for "". LabError where the source holds another network."""
    if not source:
        return None
    name = network.__name__.lower()
    if source.endswith(".onnx"):
        found, weights = read_weights(Path(source))
        if found != name:
            raise LabError(f"{source} is a {found}, not a {name}")
    else:
        averaged = read_checkpoint(Path(source))["ema"]
        if name not in averaged:
            raise LabError(f"{source} holds {', '.join(averaged)}, no {name}")
        weights = averaged[name]
    frozen = network(weights["stem.weight"].shape[0])
    frozen.load_state_dict(weights)
    return frozen.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _sheet_rows(faces: FaceSet) -> list[tuple[int, int]]:
    """(photo, expression to make): held-out people, first made happy, then made neutral, then
    each of the others."""
    smile = faces.blendshapes[:, SMILING].mean(1)
    many = (("london", 2), ("taiwan", 2), ("celebamask", 3), ("utkface", 3))
    rows = []
    for target in (HAPPY, NEUTRAL, *OTHERS):
        chosen = smile > 0.5 if target == NEUTRAL else smile < 0.1
        for source, count in many if target not in OTHERS else (("london", 1), ("celebamask", 1)):
            found = np.flatnonzero(faces.held_out & chosen & (faces.sources == source))
            rows += [(int(i), target) for i in found[:: max(1, len(found) // count)][:count]]
    if not rows:  # another data set: whoever there is
        rows = [(int(i), HAPPY) for i in np.flatnonzero(faces.is_face)[:8]]
    return rows


class PainterGraph(Graph):
    """Bytes in, channels last out."""

    inputs = ("crops", "change")
    outputs = ("flow", "mask", "paint", "shade")

    def example(self, count: int) -> tuple[Tensor, ...]:
        asked = np.random.default_rng(1).uniform(-0.5, 0.5, (count, sum(ASKED))).astype(np.float32)
        return (*super().example(count), torch.from_numpy(asked))

    def __init__(self, settings: PainterSettings, averaged: dict[str, Any]) -> None:
        super().__init__()
        self.network = Painter(settings.width)
        self.network.load_state_dict(averaged["painter"])

    def forward(self, crops: Tensor, change: Tensor) -> tuple[Tensor, ...]:
        strokes = self.network(crops.permute(0, 3, 1, 2).float() / 255, change)
        flow, paint = (x.permute(0, 2, 3, 1) for x in (strokes.flow, strokes.paint))
        return flow, strokes.mask[:, 0], paint, strokes.shade[:, 0]


def used(settings: PainterSettings, faces: FaceSet) -> dict[str, int]:
    """Photos of each set that it learns from: faces with blendshapes, of people not held out."""
    pool = ~faces.held_out & faces.is_face & np.isfinite(faces.blendshapes[:, 0])
    return by_set(faces, pool)


def on_card(settings: PainterSettings, faces: FaceSet) -> dict[str, Any]:
    """The blendshapes of each named expression, which the runtime reads off the card, and whose
    eyes the critic looked through."""
    known = ~faces.held_out & np.isfinite(faces.blendshapes[:, 0])
    targets = moves.expression_targets(faces, known)
    seen = [e for i, e in enumerate(EXPRESSIONS) if (faces.expressions[known] == i).any()]
    targets_of = {e: [round(float(v), 4) for v in targets[EXPRESSIONS.index(e)]] for e in seen}
    helpers = f"{settings.features}, trained by others on ImageNet, frozen; none of it is inside"
    return {"trained_with": helpers if settings.features else "nothing of others"} | {
        "expressions": targets_of
    }


ENTRY = Entry(
    PainterSettings,
    PainterMethod,
    data=faces_of_sources,
    graph=PainterGraph,
    used=used,
    extra=on_card,
    what="from an aligned crop, a change of blendshapes and the name of an expression to a flow, a"
    " mask, paint and shade",
    limits="trained at 128 pixels, so new teeth are soft in large faces; few people seen with more"
    " than one expression; a broad smile that is made something else keeps some of it",
)
