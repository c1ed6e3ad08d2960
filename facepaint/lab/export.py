"""Export: a run's averaged networks as ONNX, with a card, checked against PyTorch."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from facepaint.align import CROP
from facepaint.errors import LabError
from facepaint.face import BLENDSHAPES
from facepaint.lab.loop import read_checkpoint
from facepaint.lab.networks import Painter, Reader
from facepaint.models import CARD_KEY

OPSET = 17
TOLERANCE = 1e-3


class _ReaderGraph(nn.Module):
    """The reader as the runtime calls it: bytes in, probabilities out."""

    inputs = ("crops",)
    outputs = ("landmarks", "blendshapes", "confidence", "expressions")

    def __init__(self, network: Reader) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        read = self.network(crops.permute(0, 3, 1, 2).float() / 255)
        named = torch.softmax(read.expressions, 1)
        return read.landmarks, read.blendshapes, torch.sigmoid(read.face), named


class _PainterGraph(nn.Module):
    """The painter as the runtime calls it: bytes in, channels last out."""

    inputs = ("crops", "change")
    outputs = ("flow", "mask", "paint", "shade")

    def __init__(self, network: Painter) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor, change: Tensor) -> tuple[Tensor, ...]:
        strokes = self.network(crops.permute(0, 3, 1, 2).float() / 255, change)
        flow, paint = (x.permute(0, 2, 3, 1) for x in (strokes.flow, strokes.paint))
        return flow, strokes.mask[:, 0], paint, strokes.shade[:, 0]


GRAPHS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "reader": (Reader, _ReaderGraph),
    "painter": (Painter, _PainterGraph),
}


def export(run: Path, target: Path, card: dict[str, Any]) -> float:
    """Write the network of `run` to `target` as ONNX with half-precision weights and its card.

    Returns the largest difference between PyTorch and ONNX Runtime. Raises LabError, and writes
    nothing, where that is more than 1e-3 (of a value of about 0 to 1).
    """
    state = read_checkpoint(run)
    name = state["settings"]["method"]
    if name not in GRAPHS:
        raise LabError(f"{run}: a run of {name!r} cannot be exported")
    network_type, graph_type = GRAPHS[name]
    network = network_type(state["settings"]["width"])
    network.load_state_dict(state["ema"][name])
    _round_to_half(network)
    graph = graph_type(network).eval()
    model = _halve_storage(_to_onnx(graph))
    helper.set_model_props(model, {CARD_KEY: json.dumps(card | {"steps": state["step"]})})
    difference = parity(graph, model)
    if not difference <= TOLERANCE:
        raise LabError(f"ONNX differs from PyTorch by {difference:.2g}, more than {TOLERANCE:g}")
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.write_bytes(model.SerializeToString())
    temporary.replace(target)
    return difference


def _round_to_half(network: nn.Module) -> None:
    """Round the weights as the file will hold them, so that both sides compute the same."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() >= _LARGE:
                parameter.copy_(parameter.half().float())


_LARGE = 512  # numbers; what is smaller stays in single precision


def _example(graph: nn.Module, count: int) -> tuple[Tensor, ...]:
    rng = np.random.default_rng(0)
    crops = torch.from_numpy(rng.integers(0, 256, (count, CROP, CROP, 3), np.uint8))
    change = rng.uniform(-0.5, 0.5, (count, len(BLENDSHAPES))).astype(np.float32)
    return (crops, torch.from_numpy(change))[: len(graph.inputs)]  # type: ignore[arg-type]


def _to_onnx(graph: Any) -> onnx.ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about shapes that are fixed here
        torch.onnx.export(
            graph,
            _example(graph, 2),
            buffer,  # type: ignore[arg-type]
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={n: {0: "N"} for n in (*graph.inputs, *graph.outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load_model_from_string(buffer.getvalue())


def _halve_storage(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large weights in half precision; a Cast, folded at load, makes them single again."""
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < _LARGE:
            continue
        half = numpy_helper.to_array(weight).astype(np.float16)
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def parity(graph: Any, model: onnx.ModelProto) -> float:
    """The largest difference of any output between PyTorch and ONNX Runtime, on noise."""
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = _example(graph, 3)
    with torch.no_grad():
        wanted: tuple[Tensor, ...] = graph(*inputs)
    fed: dict[str, npt.NDArray[Any]] = {
        n: x.numpy() for n, x in zip(graph.inputs, inputs, strict=True)
    }
    got = session.run(list(graph.outputs), fed)
    return max(float(np.abs(w.numpy() - g).max()) for w, g in zip(wanted, got, strict=True))
