"""Graph: a network in the form in which it is exported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facepaint.align import CROP
from facepaint.errors import LabError
from facepaint.onnxcard import CARD_KEY


def read_weights(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The name of an exported network, from its card, and its weights by the names they had in
    training; to go on from what ships where the run itself is gone. LabError where it is none."""
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(str(path))
        (card,) = (p.value for p in model.metadata_props if p.key == CARD_KEY)
        name = str(json.loads(card)["name"])
    except Exception as error:
        raise LabError(f"{path}: not an exported network") from error
    weights = {}
    for tensor in model.graph.initializer:
        key = tensor.name.removesuffix(".half").removeprefix("network.")
        # a copy: what the file holds may not be written to
        weights[key] = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
    return name, weights


def network_hash(path: Path) -> str:
    """The sha256 of an exported network without its card: the same before and after the card was
    written again."""
    import onnx

    model = onnx.load(str(path))
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def networks_hash(paths: Sequence[Path]) -> str:
    """Hash all networks of a method together, without their cards.

    Args:
        paths: of exported networks, in the method's order.

    Returns:
        `network_hash` of a single network; of several, the sha256 of all their hashes.
    """
    hashes = [network_hash(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


class Graph(nn.Module):
    """A network as the runtime calls it. A method's `graph` returns one.

    inputs, outputs: their names. batched: whether the first axis of all is the number of faces.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    batched = True

    def example(self, count: int) -> tuple[Tensor, ...]:
        """Inputs to trace and to compare with: by default crops of noise."""
        rng = np.random.default_rng(0)
        return (torch.from_numpy(rng.integers(0, 256, (count, CROP, CROP, 3), np.uint8)),)
