"""The networks: a reader of faces, a painter of changes, a critic. Pictures are float
[N, 3, H, W], 0 to 1.

GroupNorm throughout: its result does not depend on the batch or on the number of processes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint.align import CROP
from facepaint.face import BLENDSHAPES, EXPRESSIONS, LANDMARKS
from facepaint.mesh import mean_face


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2)


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


class Block(nn.Module):
    """Pre-activation residual block (He et al. 2016), with FiLM (Perez et al. 2018) if conditioned.

    FiLM starts as the identity, and so does the block: its last convolution starts at zero.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, condition: int = 0) -> None:
        super().__init__()
        self.norm1 = norm(inputs)
        self.norm2 = norm(outputs) if condition else nn.Identity()
        self.conv1, self.conv2 = conv(inputs, outputs, stride=stride), conv(outputs, outputs)
        self.skip = conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.stride = stride
        self.film = nn.Linear(condition, 2 * outputs) if condition else None
        nn.init.zeros_(self.conv2.weight)
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        skipped: Tensor = self.skip(F.avg_pool2d(x, self.stride) if self.stride > 1 else x)
        out: Tensor = skipped + self.conv2(F.silu(h))
        return out


class Reading(NamedTuple):
    """landmarks [N, 478, 2] crop units; blendshapes [N, 52] 0 to 1; face [N] and expressions
    [N, 7] as logits."""

    landmarks: Tensor
    blendshapes: Tensor
    face: Tensor
    expressions: Tensor


class Reader(nn.Module):
    """From a crop [N, 3, 128, 128] to a Reading.

    The positions survive to the end (flattened, not pooled), because landmarks are positions; the
    blendshapes also see the landmarks, because that is what a blendshape describes.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        w = width
        self.stem = conv(3, w, stride=2)
        self.body = nn.Sequential(
            Block(w, w),
            Block(w, 2 * w, 2),
            Block(2 * w, 2 * w),
            Block(2 * w, 5 * w, 2),
            Block(5 * w, 5 * w),
            Block(5 * w, 10 * w, 2),
            Block(10 * w, 10 * w),
            norm(10 * w),
            nn.SiLU(),
            conv(10 * w, 64, 1),
        )
        self.neck = nn.Sequential(nn.Linear(64 * (CROP // 16) ** 2, 384), nn.SiLU())
        self.to_landmarks = nn.Linear(384, LANDMARKS * 2)
        self.to_shape = nn.Sequential(nn.Linear(LANDMARKS * 2 + 384, 192), nn.SiLU())
        self.to_blendshapes = nn.Linear(192, len(BLENDSHAPES))
        self.to_expressions = nn.Linear(192, len(EXPRESSIONS))
        self.to_face = nn.Linear(384, 1)
        nn.init.normal_(self.to_landmarks.weight, std=1e-3)
        with torch.no_grad():
            self.to_landmarks.bias.copy_(torch.from_numpy(mean_face()).flatten())
            self.to_blendshapes.bias.fill_(-2)
        self.mean_face: Tensor
        self.register_buffer("mean_face", torch.from_numpy(mean_face()).flatten())

    def forward(self, crops: Tensor) -> Reading:
        h = self.neck(self.body(self.stem((crops - 0.5) / 0.25)).flatten(1))
        landmarks = self.to_landmarks(h)
        # the shape alone: where the crop was put says nothing about the expression
        offsets = (landmarks - self.mean_face).unflatten(1, (LANDMARKS, 2))
        shape = ((offsets - offsets.mean(1, keepdim=True)) * 10).flatten(1)
        s = self.to_shape(torch.cat([shape, h], 1))
        return Reading(
            landmarks.unflatten(1, (LANDMARKS, 2)),
            torch.sigmoid(self.to_blendshapes(s)),
            self.to_face(h)[:, 0],
            self.to_expressions(s),
        )


class Strokes(NamedTuple):
    """What the painter asks for; all [N, ·, 128, 128] and zero where nothing changes.

    flow (2): where a pixel's colour comes from, relative to its place, in crop sides.
    mask (1): how far the paint hides the photo, 0 to 1.
    paint (3): a colour residual, added under the mask, -1 to 1.
    shade (1): the logarithm of a gain on the warped photo, for folds and cheeks, -.25 to .25.
    """

    flow: Tensor
    mask: Tensor
    paint: Tensor
    shade: Tensor


ASKED = (len(BLENDSHAPES), len(EXPRESSIONS))  # what a painter is told: a change, a name


class Painter(nn.Module):
    """A U-Net (Ronneberger et al. 2015) from a crop and what is asked of it to Strokes.

    crops [N, 3, 128, 128]; change [N, 52 + 7]: of the blendshapes, -1 to 1, then the name of the
    expression that is asked for, one-hot times strength, zeros for none. No change and no name
    give Strokes of exact zeros.
    """

    def __init__(self, width: int = 16, condition: int = 128) -> None:
        super().__init__()
        w = width
        self.embed = nn.Sequential(
            nn.Linear(len(BLENDSHAPES), condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.name = nn.Linear(len(EXPRESSIONS), condition, bias=False)
        nn.init.zeros_(self.name.weight)  # weights from before there were names stay as good
        # narrow where the picture is large, wide where it is small: most of the work is at 16²
        self.stem = conv(3, w)
        self.down1 = Block(w, 2 * w, 2)
        self.down2 = Block(2 * w, 5 * w, 2, condition)
        self.down3 = Block(5 * w, 10 * w, 2, condition)
        self.middle = nn.ModuleList([Block(10 * w, 10 * w, 1, condition) for _ in range(3)])
        self.up3 = Block(15 * w, 5 * w, 1, condition)
        self.up2 = Block(7 * w, 2 * w, 1, condition)
        self.up1 = conv(3 * w, w)
        last = conv(w, 7)
        nn.init.normal_(last.weight, std=1e-3)
        last.bias = nn.Parameter(torch.tensor([0.0, 0, -2, 0, 0, 0, 0]))
        self.head = nn.Sequential(norm(w), nn.SiLU(), last)
        binomial = torch.tensor([1.0, 4, 6, 4, 1]) / 16
        self.blur: Tensor
        self.register_buffer("blur", torch.outer(binomial, binomial)[None, None], persistent=False)

    def forward(self, crops: Tensor, change: Tensor) -> Strokes:
        blend, name = change[:, : ASKED[0]], change[:, ASKED[0] :]
        named = self.name(name * 4)
        c = F.silu(self.embed(blend * 4) + named)
        x0 = self.stem((crops - 0.5) / 0.25)
        x1 = self.down1(x0)
        x2 = self.down2(x1, c)
        h = self.down3(x2, c)
        for block in self.middle:
            h = block(h, c)
        h = self.up3(torch.cat([_double(h), x2], 1), c)
        h = self.up2(torch.cat([_double(h), x1], 1), c)
        h = self.up1(torch.cat([_double(h), x0], 1))
        flow, mask, paint, shade = self.head(h).float().split([2, 1, 3, 1], 1)
        # min(1, largest change / .1): a small change fades to nothing, none is nothing. A name
        # counts by what it changes in the embedding, or names not yet learned would open it too
        largest = torch.cat([blend.float(), named.float()], 1).abs().amax(1)
        gate = (largest * 10).clamp(max=1)[:, None, None, None]
        # all but the paint without fine detail: else it is used to sharpen skin and edges
        rough = torch.cat([torch.tanh(torch.cat([flow, shade], 1)), torch.sigmoid(mask)], 1)
        smooth = F.conv2d(_padded(rough), self.blur.expand(4, -1, -1, -1), groups=4)
        return Strokes(
            gate * 0.3 * smooth[:, :2],
            gate * smooth[:, 3:],
            torch.tanh(paint),
            gate * 0.25 * smooth[:, 2:3],
        )


def _padded(x: Tensor) -> Tensor:
    """Two more pixels all around, copies of the border's."""
    for dim in (2, 3):
        first, last = x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)
        x = torch.cat([first, first, x, last, last], dim)
    return x


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Judgement(NamedTuple):
    """scores [N, P] of a crop's places: higher is more real; expressions [N, 7] as logits, None
    from a critic that names none."""

    scores: Tensor
    expressions: Tensor | None


class Critic(nn.Module):
    """Judges a face beside the blendshapes it should show.

    crop [N, 3, 128, 128] in -1 to 1, blendshapes [N, 52]; 8 · 8 scores, no expressions. The
    label enters by projection (Miyato & Koyama 2018), so it cannot be passed over.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        self.body = nn.Sequential(
            nn.Conv2d(3, w, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(w, 2 * w, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * w, 4 * w, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * w, 4 * w, 4, 2, 1),
            nn.LeakyReLU(0.2),
        )
        # one embedding a place: what a smile does differs between mouth and eye
        self.label = nn.Linear(len(BLENDSHAPES), 4 * w * 8 * 8)
        self.score = conv(4 * w, 1, 1)

    def forward(self, crops: Tensor, blendshapes: Tensor) -> Judgement:
        h = self.body(crops)
        label = self.label(blendshapes * 2 - 0.2).view_as(h)
        scores: Tensor = self.score(h)[:, 0] + (h * label).sum(1) / h.shape[1] ** 0.5
        return Judgement(scores.flatten(1), None)


class ProjectedCritic(nn.Module):
    """A critic that looks through a frozen network's eyes (Sauer et al. 2021): it learns in
    hundreds of steps what a critic on pixels learns in thousands.

    maps: features of a crop at strides 4 to 32, `channels` of each; blendshapes [N, 52]. 4 · 8 · 8
    scores: each scale's 8 × 8 places. A fixed random mixture of the channels keeps it from resting
    on a few of them. The expression is told from the mean of each scale, without the blendshapes
    (an auxiliary classifier, Odena et al. 2017).
    """

    def __init__(self, channels: tuple[int, ...], width: int = 64) -> None:
        super().__init__()
        w = width
        self.heads = nn.ModuleList()
        for i, c in enumerate(channels):
            self.register_buffer(f"mix{i}", torch.randn(w, c, 1, 1) / c**0.5)
            halvings = max(0, 2 - i)  # to 8 × 8 places
            layers: list[nn.Module] = []
            for stride in (2,) * halvings or (1,):
                layers += [conv(w, w, 3, stride), norm(w), nn.LeakyReLU(0.2)]
            self.heads.append(nn.Sequential(*layers))
        places = [min(8, 32 // 2**i) for i in range(len(channels))]
        self.labels = nn.ModuleList(nn.Linear(len(BLENDSHAPES), w * p * p) for p in places)
        self.scores = nn.ModuleList(conv(w, 1, 1) for _ in channels)
        self.expressions = nn.Linear(w * len(channels), len(EXPRESSIONS))

    def forward(self, maps: list[Tensor], blendshapes: Tensor) -> Judgement:
        out, means = [], []
        for i, x in enumerate(maps):
            h = self.heads[i](F.conv2d(x, self.get_buffer(f"mix{i}")))
            label = self.labels[i](blendshapes * 2 - 0.2).view_as(h)
            score = self.scores[i](h)[:, 0] + (h * label).sum(1) / h.shape[1] ** 0.5
            out.append(F.interpolate(score[:, None], size=(8, 8), mode="nearest"))
            means.append(h.mean((2, 3)))
        expressions: Tensor = self.expressions(torch.cat(means, 1))
        return Judgement(torch.cat(out, 1).flatten(1), expressions)


class Halving(nn.Conv2d):
    """A convolution that is always taken in single precision and channels last, there and back. On
    a CPU a depthwise one of stride 2 goes back up to thirty times more slowly otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            out = super().forward(x.float().contiguous(memory_format=torch.channels_last))
        back: Tensor = _BackChannelsLast.apply(out)
        return back


class _BackChannelsLast(torch.autograd.Function):
    """Nothing on the way there; on the way back it lays the gradient channels last, which compiled
    code elsewhere does not keep to."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=torch.channels_last)


def halve_precisely(blocks: nn.Module) -> None:
    """Makes every depthwise convolution of stride 2 a Halving."""
    for module in blocks.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.stride == (2, 2):
            module.__class__ = Halving


def to_float(crops: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] to float [N, 3, H, W], 0 to 1, channels last in memory."""
    return crops.permute(0, 3, 1, 2).float().div(255)


def device_of(networks: dict[str, nn.Module]) -> torch.device:
    return next(next(iter(networks.values())).parameters()).device
