"""Neural style transfer (Gatys, Ecker & Bethge 2016): the picture itself is optimised.

Content loss ½ Σ (F − P)² at one layer, style loss Σ_l w_l E_l with E_l = Σ (G − A)² / (4 N² M²) of
Gram matrices, together α · content + β · style; begun from the content picture. The 2019 study
asked whether an expression is a style. Restricted to a face it is the pipeline that it meant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from facepaint.errors import LabError
from facepaint.face import FloatArray
from facepaint.lab.features import VGG

Pixels = npt.NDArray[np.uint8]
Progress = Callable[[int, int, dict[str, float]], None]
OPTIMIZERS = ("lbfgs", "adam")


@dataclass(frozen=True)
class StyleSettings:
    """content_layer, style_layers: of the VGG. style_weights: w_l of each style layer; alike when
    empty. alpha, beta: weights of content and style. optimizer: one of OPTIMIZERS. steps:
    evaluations of the loss for "lbfgs", updates for "adam". rate: of Adam, in pictures 0 to 1."""

    content_layer: str = "conv4_2"
    style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
    style_weights: tuple[float, ...] = field(default=())
    alpha: float = 1.0
    beta: float = 1e3
    optimizer: str = "lbfgs"
    steps: int = 300
    rate: float = 0.02

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            known = ", ".join(OPTIMIZERS)
            raise LabError(f"no optimizer {self.optimizer!r}; there are {known}")
        if self.style_weights and len(self.style_weights) != len(self.style_layers):
            raise LabError("style_weights and style_layers differ in length")

    @property
    def weights(self) -> tuple[float, ...]:
        """w_l of each style layer; they sum to 1 unless given."""
        count = len(self.style_layers)
        return self.style_weights or (1 / count,) * count


def content_loss(generated: Tensor, original: Tensor) -> Tensor:
    """½ Σ (F − P)² of two maps [1, N, H, W]."""
    return (generated - original).square().sum() / 2


def gram(maps: Tensor, mask: Tensor | None = None) -> tuple[Tensor, float]:
    """The Gram matrix [N, N] of a map [1, N, H, W], and M, its number of places.

    mask: [1, 1, h, w], 0 to 1, of any size; then a place counts as much as its mask says.
    """
    flat = maps[0].flatten(1)
    if mask is None:
        return flat @ flat.T, float(flat.shape[1])
    share = F.interpolate(mask, size=maps.shape[-2:], mode="area").flatten()
    return (flat * share) @ flat.T, float(share.sum())


def style_loss(generated: tuple[Tensor, float], style: tuple[Tensor, float]) -> Tensor:
    """E_l = Σ (G − A)² / (4 N² M²). Where the two maps have different numbers of places, each
    matrix is taken per place, which is the same where they are equal."""
    (g, places), (a, others) = generated, style
    channels = g.shape[0]
    return (g / places - a / others).square().sum() / (4 * channels**2)


class StyleTransfer:
    """The loss of one content and one style picture.

    content, style: uint8 [H, W, 3] RGB, of any two sizes of at least 16 pixels. content_mask,
    style_mask: float32 [H, W], 0 to 1; where the content's is 0 no pixel changes, and only what
    lies under the masks counts for the style.
    """

    def __init__(
        self,
        network: VGG,
        content: Pixels,
        style: Pixels,
        settings: StyleSettings,
        content_mask: FloatArray | None = None,
        style_mask: FloatArray | None = None,
    ) -> None:
        if min(*content.shape[:2], *style.shape[:2]) < 16:
            raise LabError("style transfer needs pictures of at least 16 × 16 pixels")
        self.settings, self._network = settings, network
        self.content = to_tensor(content)
        self._mask = None if content_mask is None else torch.from_numpy(content_mask)[None, None]
        other = None if style_mask is None else torch.from_numpy(style_mask)[None, None]
        self._layers = {settings.content_layer, *settings.style_layers}
        with torch.no_grad():
            original = network(self.content, self._layers)
            target = network(to_tensor(style), settings.style_layers)
        self._content_maps = original[settings.content_layer]
        self._grams = [gram(target[name], other) for name in settings.style_layers]

    def losses(self, picture: Tensor) -> dict[str, Tensor]:
        """content and style of a picture [1, 3, H, W], 0 to 1, before α and β."""
        s = self.settings
        maps = self._network(picture, self._layers)
        terms = [
            weight * style_loss(gram(maps[name], self._mask), wanted)
            for weight, name, wanted in zip(s.weights, s.style_layers, self._grams, strict=True)
        ]
        content = content_loss(maps[s.content_layer], self._content_maps)
        return {"content": content, "style": torch.stack(terms).sum()}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        return self.settings.alpha * losses["content"] + self.settings.beta * losses["style"]

    def run(self, progress: Progress | None = None) -> tuple[Pixels, list[dict[str, float]]]:
        """The optimised picture, uint8 like the content, and the losses of every evaluation."""
        s = self.settings
        picture = self.content.clone().requires_grad_(True)
        curve: list[dict[str, float]] = []

        def evaluate() -> Tensor:
            optimizer.zero_grad()
            losses = self.losses(picture)
            total = self.total(losses)
            total.backward()  # type: ignore[no-untyped-call]
            if self._mask is not None and picture.grad is not None:
                picture.grad *= self._mask
            curve.append({k: float(v.detach()) for k, v in losses.items()})
            if progress:
                progress(min(len(curve), s.steps), s.steps, curve[-1])
            return total

        optimizer: torch.optim.Optimizer
        if s.optimizer == "lbfgs":
            optimizer = torch.optim.LBFGS(
                [picture], max_iter=s.steps, max_eval=s.steps, line_search_fn="strong_wolfe"
            )
            optimizer.step(evaluate)  # type: ignore[no-untyped-call]
        else:
            optimizer = torch.optim.Adam([picture], s.rate)
            for _ in range(s.steps):
                optimizer.step(evaluate)
                with torch.no_grad():
                    picture.clamp_(0, 1)
        return to_pixels(picture.detach()), curve


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 [H, W, 3] to float [1, 3, H, W], 0 to 1."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))  # L-BFGS wants it in this order
    return torch.from_numpy(planes)[None].float() / 255


def to_pixels(picture: Tensor) -> Pixels:
    """Float [1, 3, H, W] to uint8 [H, W, 3]."""
    out = (picture[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    return out.contiguous().numpy()


def fitted(pixels: Pixels, longest: int) -> Pixels:
    """The picture, made smaller where its longest side is more than `longest` pixels."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
