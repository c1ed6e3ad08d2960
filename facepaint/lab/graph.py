"""Graph: a network in the form in which it is exported."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from facepaint.align import CROP
from facepaint.face import BLENDSHAPES


class Graph(nn.Module):
    """A network as the runtime calls it. A method's `graph` returns one.

    inputs, outputs: their names. batched: whether the first axis of all is the number of faces.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    batched = True

    def example(self, count: int) -> tuple[Tensor, ...]:
        """Inputs to trace and to compare with: by default crops and changes of noise."""
        rng = np.random.default_rng(0)
        crops = torch.from_numpy(rng.integers(0, 256, (count, CROP, CROP, 3), np.uint8))
        change = rng.uniform(-0.5, 0.5, (count, len(BLENDSHAPES))).astype(np.float32)
        return (crops, torch.from_numpy(change))[: len(self.inputs)]
