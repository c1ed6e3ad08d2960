"""The networks that repaint windows and shade skin, and the critic that judges them."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facepaint.lab.networks import Block, conv, norm

MAPS = 5  # mask, outer outline, inner outline, where the hint is known, its stretch
_CHANNELS = 3 + MAPS + 3  # the window without what is cut out, the maps, the hint


class ToldUNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) that is told numbers by FiLM (Perez et al. 2018).

    It works at half the pictures' size (pixels to channels and back, Shi et al. 2016).
    """

    def __init__(
        self,
        channels: tuple[int, int],
        told: int,
        widths: tuple[int, ...] = (32, 64, 96, 128),
        code: int = 64,
    ) -> None:
        """Args:
        channels: what it sees, and what it makes.
        told: numbers that it is told of each picture.
        widths: channels at each size; multiples of 32 are fast on a CPU.
        code: length of the vector that these numbers become.
        """
        super().__init__()
        self.told = nn.Sequential(
            nn.Linear(told, code), nn.SiLU(), nn.Linear(code, code), nn.SiLU()
        )
        self.stem = conv(4 * channels[0], widths[0])
        self.down = nn.ModuleList(Block(w, w, 1, code) for w in widths[:-1])
        self.shrink = nn.ModuleList(conv(a, b, 3, 2) for a, b in _pairs(widths))
        self.middle = nn.ModuleList(Block(widths[-1], widths[-1], 1, code) for _ in range(3))
        self.join = nn.ModuleList(conv(a + b, a) for a, b in _pairs(widths))
        self.up = nn.ModuleList(Block(w, w, 1, code) for w in widths[:-1])
        self.last = Block(widths[0], widths[0], 1, code)
        self.norm = norm(widths[0])
        self.head = conv(widths[0], 4 * channels[1])

    def made(self, seen: Tensor, told: Tensor) -> Tensor:
        """From pictures [N, C, S, S], S divisible by 16, and numbers [N, told], to pictures
        [N, D, S, S], float32."""
        code = self.told(told)
        x = self.stem(F.pixel_unshuffle(seen, 2))
        skipped = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x, code)
            skipped.append(x)
            x = shrink(x)
        for block in self.middle:
            x = block(x, code)
        for i in reversed(range(len(skipped))):
            large = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.up[i](self.join[i](torch.cat([large, skipped[i]], 1)), code)
        x = F.silu(self.norm(self.last(x, code)))
        return F.pixel_shuffle(self.head(x), 2).float()


class Inpainter(ToldUNet):
    """Paints what is cut out of a window; it is told blendshapes and a colour."""

    def __init__(self, told: int, widths: tuple[int, ...] = (32, 64, 96, 128)) -> None:
        """Args: as of `ToldUNet`."""
        super().__init__((_CHANNELS, 3), told, widths)

    def forward(self, window: Tensor, maps: Tensor, hint: Tensor, told: Tensor) -> Tensor:
        """Paint windows.

        Args:
            window: float [N, 3, S, S], 0 to 1; S divisible by 16. What the mask covers is not seen.
            maps: float [N, 5, S, S]: mask, outer and inner outline, where the hint is known (each
                0 to 1), and its stretch (-1 to 1).
            hint: float [N, 3, S, S], 0 to 1.
            told: float [N, told].

        Returns:
            float [N, 3, S, S], 0 to 1: the window with what is painted under the mask.
        """
        mask, known = maps[:, :1], maps[:, 3:4]
        seen = torch.cat([(window * 2 - 1) * (1 - mask), maps, (hint * 2 - 1) * known], 1)
        result: Tensor = window * (1 - mask) + torch.sigmoid(self.made(seen, told)) * mask
        return result


class ShadeNet(ToldUNet):
    """Says what the light of moved skin is to be multiplied by; it is told the change."""

    def __init__(self, told: int, widths: tuple[int, ...] = (32, 32, 64, 64)) -> None:
        """Args: as of `ToldUNet`."""
        super().__init__((3 + 1, 1), told, widths)
        nn.init.normal_(self.head.weight, std=1e-3)  # light begins as it is, nearly

    def forward(self, crops: Tensor, skin: Tensor, told: Tensor) -> Tensor:
        """Shade crops.

        Args:
            crops: float [N, 3, S, S], 0 to 1, faces after the move; S divisible by 16.
            skin: float [N, 1, S, S], 0 to 1, where the skin is.
            told: float [N, told], features of the change.

        Returns:
            float [N, 1, S, S], the natural logarithm of a gain.
        """
        return self.made(torch.cat([crops * 2 - 1, skin], 1), told)


def _pairs(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(widths))


class OutlineCritic(nn.Module):
    """Judges windows beside their outlines by the features of a frozen network (Sauer et al. 2021).

    maps: features at strides 4, 8, 16 and 32, of `channels` each; outlines [N, C, S, S]: for
    windows mask, outer and inner. Returns one score a place for each scale, higher is more real.
    """

    def __init__(self, channels: tuple[int, ...], width: int = 64, outlines: int = 3) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                conv(c + outlines, width),
                nn.LeakyReLU(0.2),
                conv(width, width),
                nn.LeakyReLU(0.2),
                conv(width, 1, 1),
            )
            for c in channels
        )

    def forward(self, maps: list[Tensor], outlines: Tensor) -> list[Tensor]:
        """Scores [N, 1, h, w] of each scale."""
        return [
            head(torch.cat([x, F.adaptive_avg_pool2d(outlines, (x.shape[-2], x.shape[-1]))], 1))
            for head, x in zip(self.heads, maps, strict=False)
        ]
