"""Losses as pure functions: float tensors in, a scalar out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def weighted_l1(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Mean of |a − b| · weight over the weight's own mean; weight [N, 1, H, W] ≥ 0."""
    return ((a - b).abs() * weight).mean() / weight.mean().clamp(min=1e-6)


def weighted_huber(a: Tensor, b: Tensor, weight: Tensor, limit: float) -> Tensor:
    """The same of Huber's loss over `limit`: square up to a difference of `limit`, then linear."""
    loss = F.huber_loss(a, b, reduction="none", delta=limit) / limit
    return (loss * weight).mean() / weight.mean().clamp(min=1e-6)


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences to the next pixel, to the right and down."""
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def gradient_l1(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """L1 of the difference of image gradients, which blur cannot lower."""
    (ax, ay), (bx, by) = gradients(a), gradients(b)
    return weighted_l1(ax, bx, weight[..., :, 1:]) + weighted_l1(ay, by, weight[..., 1:, :])


def inner_gradient_l1(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """The same of pixels that both count, and so not across an edge of the weight."""
    both = weight[..., 1:] * weight[..., :-1], weight[..., 1:, :] * weight[..., :-1, :]
    (ax, ay), (bx, by) = gradients(a), gradients(b)
    return weighted_l1(ax, bx, both[0]) + weighted_l1(ay, by, both[1])


def smoothness(flow: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring flow vectors, in crop pixels a pixel."""
    size = flow.shape[-1]
    return sum(
        (g.abs().mean() * size for g in gradients(flow)), torch.zeros((), device=flow.device)
    )


def sample_at(field: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of `field` [N, C, H, W] at `points` [N, P, 2] in crop units: [N, P, C]."""
    grid = points[:, :, None] * 2 - 1
    values = F.grid_sample(field, grid, padding_mode="border", align_corners=False)
    return values[..., 0].transpose(1, 2)


def hinge(x: Tensor, limit: float) -> Tensor:
    """What of the mean of each sample of x lies above `limit`, averaged."""
    return (x.flatten(1).mean(1) - limit).clamp(min=0).mean()
