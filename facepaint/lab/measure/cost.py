"""Cost: what an edit takes, in milliseconds, arithmetic, memory and time to begin."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from facepaint._version import __version__
from facepaint.edit import Edit
from facepaint.face import Box, Face
from facepaint.mesh import mean_face
from facepaint.methods import Method
from facepaint.models import WEIGHTS

FACES = (64, 128, 256, 512, 1000, 1500)  # pixels of the crop's side in the photo


Clock = Callable[[], float]  # seconds
WALL: Clock = time.perf_counter
PROCESSOR: Clock = time.process_time  # of all threads; hardly moved by what else the machine does


def of_method(method: Method, repeats: int = 9, clock: Clock = WALL) -> dict[str, Any]:
    """Median milliseconds to repaint one face, read already, by the side of its crop in pixels."""
    times = {
        f"ms_a_face_of_{side}": median_ms(repainting(method, side), repeats, clock=clock)
        for side in FACES
    }
    return times


def repainting(method: Method, side: int) -> Callable[[], None]:
    """The repainting of one face whose crop has that side, in a photo of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (side + 40, side + 40, 3), np.uint8)
    face = drawn_face(side)

    def work() -> None:
        assert method.paint(pixels, face, Edit("happy"))

    return work


def drawn_face(side: int) -> Face:
    """A mean face, neutral, 20 pixels from the corner."""
    landmarks = (mean_face() * side + 20).astype(np.float32)
    blend, named = np.zeros(52, np.float32), np.eye(7, dtype=np.float32)[0]
    return Face(0, Box(20, 20, side, side, 1.0), landmarks, blend, 1.0, named)


def median_ms(
    work: Callable[[], object], repeats: int, warm: int = 2, clock: Clock = WALL
) -> float:
    """Median milliseconds of `repeats` calls, after `warm` that do not count."""
    times = []
    for _ in range(warm + repeats):
        began = clock()
        work()
        times.append(clock() - began)
    return statistics.median(times[warm:]) * 1000


_FRESH = """
import pathlib, sys
import facepaint.painter
from facepaint.methods import lookup
from facepaint.models import open_model
method = lookup(sys.argv[1])(pathlib.Path(sys.argv[2]))
reader = open_model("reader")
if sys.argv[3] == "repaint":
    from facepaint.lab.measure.cost import repainting
    repainting(method, 512)()
status = pathlib.Path("/proc/self/status")
print(status.read_text() if status.exists() else "")
"""


def fresh_process(method: str, weights: Path = WEIGHTS) -> dict[str, float]:
    """Of a fresh process: the seconds in which it loads the reader and the method; and, where the
    system tells, its peak memory in megabytes by then, and after it repainted a face of 512."""

    def peak(what: str) -> list[float]:
        command = [sys.executable, "-c", _FRESH, method, str(weights), what]
        done = subprocess.run(command, check=True, capture_output=True)
        return [int(kb) / 1024 for kb in re.findall(r"VmHWM:\s+(\d+) kB", done.stdout.decode())]

    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        loaded = peak("load")
        seconds.append(time.perf_counter() - began)
    memory = zip(
        ("peak_mb_of_loading", "peak_mb_of_a_face_of_512"), loaded + peak("repaint"), strict=False
    )
    return {"cold_start_s": min(seconds)} | dict(memory)


def arithmetic(path: Path) -> dict[str, float]:
    """Multiply-adds of one forward pass, in 10⁹, and parameters, in 10⁶, of an exported network:
    those of its convolutions and matrix products with weights, by the shapes of a pass that is
    run."""
    import onnx

    model = onnx.load(str(path))
    weights = {w.name: list(w.dims) for w in model.graph.initializer}
    for node in model.graph.node:  # half-precision weights are cast before they are used
        if node.op_type == "Cast" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    counted = [n for n in model.graph.node if n.op_type in _COUNTED and n.input[1] in weights]
    # a kernel is applied at each place of a convolution's output, of a transposed one's input
    places = [n.input[0] if n.op_type == "ConvTranspose" else n.output[0] for n in counted]
    shapes = _shapes(model, set(places))
    macs = 0
    for node, name in zip(counted, places, strict=True):
        shape, products = shapes[name], "Conv" not in node.op_type
        where = shape[:-1] if products else (shape[0], *shape[2:])
        macs += int(np.prod(weights[node.input[1]])) * int(np.prod(where))
    count = sum(int(np.prod(w.dims)) for w in model.graph.initializer)
    return {"gmacs": macs / 1e9, "parameters_m": count / 1e6}


def arithmetic_of(paths: Iterable[Path]) -> dict[str, float]:
    """Add up what `arithmetic` finds in several exported networks, each run once."""
    each = [arithmetic(path) for path in paths]
    return {key: sum(found[key] for found in each) for key in ("gmacs", "parameters_m")}


_COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def _shapes(model: Any, names: set[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of inner values in a pass over one face of zeros."""
    from onnx import TensorProto, helper

    have = {v.name for v in model.graph.output}
    inner = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names - have]
    model.graph.output.extend(inner)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    fed = {}
    for value in model.graph.input:
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        sizes = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
        fed[value.name] = np.zeros(sizes, kind)
    chosen = sorted(names)
    return dict(zip(chosen, (v.shape for v in session.run(chosen, fed)), strict=True))


def machine() -> dict[str, Any]:
    """Where the numbers were taken, and with which versions; load_before: how many processes ran in
    the minute before."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads_of_a_network": 1,
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "facepaint": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "onnxruntime": ort.__version__,
    }


def _processor() -> str:
    """The processor's name where the system tells it, else its kind."""
    told = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", told.read_text()) if told.exists() else []
    return names[0].strip() if names else platform.processor()
