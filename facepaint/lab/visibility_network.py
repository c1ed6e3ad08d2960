"""The network that tells where a face is visible."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from facepaint.lab.networks import Block, conv, norm


class VisibilityNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) from crops to the visibility of each pixel.

    Its finest layers work at half the crop's size (pixels to channels and back, Shi et al. 2016),
    so that thin rims and fingers keep their edges.
    """

    def __init__(self, fine: int = 32, coarse: int = 64) -> None:
        """Args:
        fine: channels at a half and a quarter of the crop's size; a multiple of 8. Multiples of
            32 are fast on a CPU.
        coarse: channels at an eighth and a sixteenth; likewise.
        """
        super().__init__()
        widths = (fine, fine, coarse, coarse)
        self.stem = conv(4 * 3, fine)
        self.shrink = nn.ModuleList(conv(a, b, 3, 2) for a, b in pairwise(widths))
        self.down = nn.ModuleList((Block(fine, fine), Block(coarse, coarse)))
        self.middle = Block(coarse, coarse)
        self.join = nn.ModuleList((conv(coarse, coarse, 1), conv(coarse, fine, 1)))
        self.up = nn.ModuleList((Block(coarse, coarse), Block(fine, fine)))
        self.norm = norm(fine)
        self.last = conv(fine, fine)
        self.head = conv(fine, 4)

    def forward(self, crops: Tensor) -> Tensor:
        """Tell where faces are visible.

        Args:
            crops: float [N, 3, S, S], 0 to 1; S divisible by 16.

        Returns:
            float [N, S, S], logits: sigmoid gives 1 for the face's own surface, 0 for the rest.
        """
        fine = self.stem(F.pixel_unshuffle((crops - 0.5) / 0.25, 2))
        quarter = self.down[0](self.shrink[0](fine))
        eighth = self.down[1](self.shrink[1](quarter))
        x = self.middle(self.shrink[2](eighth))
        x = self.up[0](_double(self.join[0](x)) + eighth)
        x = self.up[1](_double(self.join[1](x)) + quarter)
        x = F.silu(_double(self.norm(x)) + fine)
        logits: Tensor = F.pixel_shuffle(self.head(F.silu(self.last(x))), 2)
        return logits[:, 0]


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
