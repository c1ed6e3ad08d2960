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

from facepaint.errors import LabError
from facepaint.files import write_whole
from facepaint.lab.graph import Graph
from facepaint.lab.loop import read_checkpoint
from facepaint.lab.methods import of_run
from facepaint.onnxcard import CARD_KEY

OPSET = 17
TOLERANCE = 1e-3


def export(run: Path, target: Path, card: dict[str, Any]) -> float:
    """Write the network of `run` to `target` as ONNX with half-precision weights and its card.

    Returns the largest difference between PyTorch and ONNX Runtime. Raises LabError, and writes
    nothing, where that is more than 1e-3 (of a value of about 0 to 1).
    """
    state = read_checkpoint(run)
    settings, entry = of_run(state)
    if entry.graph is None:
        raise LabError(f"{run}: a run of {settings.method!r} cannot be exported")
    graph = entry.graph(settings, state["ema"]).eval()
    _round_to_half(graph)
    model = _halve_storage(_to_onnx(graph))
    helper.set_model_props(model, {CARD_KEY: json.dumps(card | {"steps": state["step"]})})
    difference = parity(graph, model)
    if not difference <= TOLERANCE:
        raise LabError(f"ONNX differs from PyTorch by {difference:.2g}, more than {TOLERANCE:g}")
    write_whole(target, model.SerializeToString())
    return difference


def write_card(path: Path, card: dict[str, Any]) -> None:
    """Give an exported network another card; the network stays as it is."""
    write_whole(path, with_card(path, card))


def with_card(path: Path, card: dict[str, Any]) -> bytes:
    """An exported network with another card, as a file would hold it."""
    model = onnx.load(str(path))
    del model.metadata_props[:]
    helper.set_model_props(model, {CARD_KEY: json.dumps(card)})
    data: bytes = model.SerializeToString()
    return data


def _round_to_half(network: nn.Module) -> None:
    """Round the weights as the file will hold them, so that both sides compute the same."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() >= _LARGE:
                parameter.copy_(parameter.half().float())


_LARGE = 512  # numbers; what is smaller stays in single precision


def _to_onnx(graph: Graph) -> onnx.ModelProto:
    buffer = io.BytesIO()
    names = (*graph.inputs, *graph.outputs) if graph.batched else graph.outputs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about shapes that are fixed here
        torch.onnx.export(
            graph,
            graph.example(2),
            buffer,  # type: ignore[arg-type]
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={n: {0: "N"} for n in names},
            opset_version=OPSET,
            do_constant_folding=False,  # weights keep their names, so that training can go on
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


def parity(graph: Graph, model: onnx.ModelProto) -> float:
    """The largest difference of any output between PyTorch and ONNX Runtime, on noise; of outputs
    beyond -1 to 1, such as pixels, as a share of their largest value."""
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = graph.example(3)
    with torch.no_grad():
        wanted: tuple[Tensor, ...] = graph(*inputs)
    fed: dict[str, npt.NDArray[Any]] = {
        n: x.numpy() for n, x in zip(graph.inputs, inputs, strict=True)
    }
    got = session.run(list(graph.outputs), fed)
    return max(_apart(w.numpy(), g) for w, g in zip(wanted, got, strict=True))


def _apart(wanted: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    return float(np.abs(wanted - got).max(initial=0) / max(1.0, np.abs(wanted).max(initial=0)))
