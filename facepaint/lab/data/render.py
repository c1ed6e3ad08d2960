"""Render: the pictures of a batch, cut and lit by the device that trains.

The same as `facepaint.lab.data.augment` does on the host one by one, for a whole batch, in torch,
where it does not keep a fast device waiting. Nothing is rounded on the way, noise comes from
torch's own generator, which the loop seeds at each step, and a crop is not shrunk by area first.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from facepaint.align import CROP
from facepaint.lab.data.augment import PACKED
from facepaint.lab.data.faces import WIDE

_GREY = (0.299, 0.587, 0.114)
_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
# JPEG's example tables (ITU-T T.81, annex K), which libjpeg scales by quality
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)


@torch.no_grad()
def render(batch: dict[str, Tensor]) -> None:
    """Make the pictures that `sample` left to the device, in place; none where the host made them.

    NAME_wide, uint8 [N, 224, 224, 3], and NAME_frame, float [N, 2, 3] in crop units, become NAME,
    uint8 [N, 128, 128, 3], with the batch's `look`, float [N, 73], and `cover_…`, if any.
    """
    names = [k.removesuffix("_wide") for k in batch if k.endswith("_wide")]
    if not names:
        return
    crops = [cut(batch.pop(f"{n}_wide"), batch.pop(f"{n}_frame")) for n in names]
    lit = (light(torch.stack(crops), batch.pop("look")) * 255).round().byte()
    for name, pictures in zip(names, lit.permute(0, 1, 3, 4, 2), strict=True):
        batch[name] = pictures.contiguous()
        if "cover_mask" in batch:
            batch[name] = covered(
                batch[name], batch["cover_mask"], batch["cover_colour"], batch["cover_ends"]
            )


def cut(wide: Tensor, frames: Tensor) -> Tensor:
    """The crops at `frames` out of wide crops, float [N, 3, 128, 128], 0 to 1."""
    at = (torch.arange(CROP, device=wide.device) + 0.5) / CROP
    y, x = torch.meshgrid(at, at, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1) @ frames[:, None].transpose(2, 3)
    grid = (2 * points - 1) / WIDE
    pictures = wide.permute(0, 3, 1, 2).float() / 255
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def light(pictures: Tensor, looks: Tensor) -> Tensor:
    """Pictures [V, N, 3, S, S], 0 to 1, each of the N with its Look, float [N, 73]; all V alike."""
    parts = dict(zip(PACKED, torch.split(looks, list(PACKED.values()), 1), strict=True))
    p = {k: v.view(len(looks), -1, 1, 1) for k, v in parts.items()}
    x = (p["gain"] * pictures ** p["gamma"] + p["lift"]).clamp(0, 1)
    grey = (x * x.new_tensor(_GREY).view(3, 1, 1)).sum(2, keepdim=True)
    x = (grey + p["saturation"] * (x - grey)).clamp(0, 1)
    size = x.shape[-1]
    x = (x * F.interpolate(parts["shade"].view(-1, 1, 8, 8), size=size, mode="bilinear")).clamp(
        0, 1
    )
    soft = (blurring(parts["blur"], size) @ _shrink(parts["small"], size))[:, None]
    x = soft @ x @ soft.transpose(2, 3)
    x = (x + p["noise"] / 255 * torch.randn_like(x[0])).clamp(0, 1)
    return torch.where(p["quality"] > 0, jpeg(x, parts["quality"][:, 0]), x)


def _shrink(small: Tensor, size: int) -> Tensor:
    """Shrinking by area to a share `small` [N, 1] of the side and enlarging linearly, as a matrix
    [N, size, size] over rows or columns."""
    count = (small * size).round().clamp(min=1)[..., None]
    step = size / count
    near, far = (torch.arange(size, device=small.device).view(s) for s in ((-1, 1), (1, -1)))
    overlap = torch.minimum((near + 1) * step, far + 1.0) - torch.maximum(near * step, far + 0.0)
    down = overlap.clamp(min=0) / step * (near < count)
    centre = torch.minimum(((near + 0.5) / step - 0.5).clamp(min=0), count - 1)
    up = (1 - (centre - far).abs()).clamp(min=0)
    return up @ down


def blurring(sigma: Tensor, size: int) -> Tensor:
    """A Gaussian of `sigma` [N, 1] pixels as OpenCV cuts it off and mirrors it at borders, as a
    matrix [N, size, size]; the identity for 0."""
    sigma = sigma[..., None]
    reach = (torch.round(6 * sigma + 1).long() | 1) // 2

    def weight(apart: Tensor) -> Tensor:
        bell = torch.exp(-(apart**2) / (2 * sigma.clamp(min=1e-3) ** 2))
        return bell * (apart.abs() <= reach)

    i, j = (torch.arange(size, device=sigma.device).view(s) for s in ((-1, 1), (1, -1)))
    last = size - 1
    out = weight(j - i) + weight(-j - i) * (j > 0) + weight(2 * last - j - i) * (j < last)
    return out / out.sum(2, keepdim=True)


def jpeg(pictures: Tensor, quality: Tensor) -> Tensor:
    """What a JPEG of `quality` [N], 1 to 100, leaves of pictures [..., N, 3, S, S], 0 to 1, S a
    multiple of 16: as libjpeg writes it, with colour at half the size, and reads it."""
    matrix = pictures.new_tensor(_YCC)
    colours = torch.einsum("ck,...khw->...chw", matrix, pictures * 255).round()
    luma, chroma = colours[..., :1, :, :] - 128, colours[..., 1:, :, :]
    luma = _quantised(luma, _table(_LUMA, quality))
    small = F.avg_pool2d(chroma.flatten(0, -4), 2)
    small = _quantised(small.view(*chroma.shape[:-2], *small.shape[-2:]), _table(_CHROMA, quality))
    large = F.interpolate(small.flatten(0, -4), scale_factor=2, mode="bilinear")
    colours = torch.cat([luma + 128, large.view(chroma.shape)], -3)
    back = torch.einsum("kc,...chw->...khw", torch.linalg.inv(matrix), colours)
    return back.div(255).clamp(0, 1)


def _table(base: tuple[int, ...], quality: Tensor) -> Tensor:
    """The steps of each frequency, [N, 1, 1, 1, 8, 8]."""
    percent = torch.where(quality < 50, (5000 / quality.clamp(min=1)).floor(), 200 - 2 * quality)
    steps = (quality.new_tensor(base) * percent[:, None] + 50).div(100).floor().clamp(1, 255)
    return steps.view(-1, 1, 1, 1, 8, 8)


def _quantised(planes: Tensor, table: Tensor) -> Tensor:
    """Planes [..., N, C, H, W] after the rounding of their blocks' cosine transforms."""
    *rest, height, width = planes.shape
    n = torch.arange(8, device=planes.device)
    cosines = torch.cos((2 * n + 1) * n[:, None] * torch.pi / 16) / 2
    cosines[0] /= 2**0.5
    blocks = planes.reshape(*rest, height // 8, 8, width // 8, 8).transpose(-2, -3)
    waves = (cosines @ blocks @ cosines.T / table).round() * table
    return (cosines.T @ waves @ cosines).transpose(-2, -3).reshape(planes.shape)


def covered(pictures: Tensor, mask: Tensor, colour: Tensor, ends: Tensor) -> Tensor:
    """Pictures uint8 [N, S, S, 3], each behind its Cover: mask [N, S, S], colour [N, 3], ends
    [N, 4]."""
    at = torch.arange(pictures.shape[1], device=pictures.device)
    rows, columns = (at.clamp(ends[:, i : i + 1], ends[:, i + 1 : i + 2]) for i in (0, 2))
    out = pictures.gather(1, rows[:, :, None, None].expand_as(pictures))
    out = out.gather(2, columns[:, None, :, None].expand_as(pictures))
    return torch.where(mask[..., None] > 0, colour[:, None, None], out)
