"""Cost: what an edit takes, in milliseconds, arithmetic, memory and time to begin."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from facepaint import align
from facepaint.composite import composite
from facepaint.edit import Edit
from facepaint.face import Box, Face
from facepaint.lab.data.topology import mean_face
from facepaint.methods import Method
from facepaint.segment import visible_face

FACES = (64, 128, 256, 512, 1000, 1500)  # pixels of the crop's side in the photo


def of_method(method: Method, repeats: int = 9) -> dict[str, Any]:
    """Median milliseconds to repaint one face, read already, by the side of its crop in pixels:
    the network, the mask and the composite; and of the network alone."""
    result: dict[str, Any] = {}
    edit, rng = Edit("happy"), np.random.default_rng(0)
    for side in FACES:
        pixels = rng.integers(0, 256, (side + 40, side + 40, 3), np.uint8)
        face = _face(side)
        frame = align.align(face.landmarks)

        def whole(pixels: Any = pixels, face: Face = face, frame: Any = frame) -> None:
            strokes = method(align.crop(pixels, frame), face, edit)
            assert strokes is not None
            composite(pixels, frame, strokes, visible_face(face, frame))

        result[f"ms_a_face_of_{side}"] = _median_ms(whole, repeats)
    crop = rng.integers(0, 256, (align.CROP, align.CROP, 3), np.uint8)
    result["ms_of_the_network"] = _median_ms(lambda: method(crop, _face(128), edit), repeats)
    return result


def _face(side: int) -> Face:
    """A mean face, neutral, 20 pixels from the corner."""
    landmarks = (mean_face() * side + 20).astype(np.float32)
    blend, named = np.zeros(52, np.float32), np.eye(7, dtype=np.float32)[0]
    return Face(0, Box(20, 20, side, side, 1.0), landmarks, blend, 1.0, named)


def _median_ms(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:]) * 1000


def cold_start() -> dict[str, float]:
    """Of a fresh process that loads the painter: seconds, and, where the system tells, its peak
    memory in megabytes."""
    code = "import facepaint; facepaint.load(); import pathlib; "
    code += "p = pathlib.Path('/proc/self/status'); print(p.read_text() if p.exists() else '')"
    times, peaks = [], []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
        peaks += re.findall(r"VmHWM:\s+(\d+) kB", done.stdout.decode())
    result = {"cold_start_s": min(times)}
    return result | ({"peak_mb_of_loading": int(peaks[-1]) / 1024} if peaks else {})


def arithmetic(path: Path) -> dict[str, float]:
    """Multiply-adds of one forward pass, in 10⁹, and parameters, in 10⁶, of an exported network."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    shapes = _shapes(onnx.shape_inference.infer_shapes(_single(model), data_prop=True))
    weights = {w.name: list(w.dims) for w in model.graph.initializer}
    for node in model.graph.node:  # half-precision weights are cast before they are used
        if node.op_type == "Cast" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    macs = 0
    for node in model.graph.node:
        out = shapes.get(node.output[0], [])
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in weights:
            kernel = weights[node.input[1]]
            where = out if node.op_type == "Conv" else shapes.get(node.input[0], [])
            macs += int(np.prod(kernel)) * int(np.prod(where[2:]))
        elif node.op_type in ("Gemm", "MatMul") and node.input[1] in weights:
            macs += int(np.prod(weights[node.input[1]])) * int(np.prod(out[1:-1]))
    count = sum(numpy_helper.to_array(w).size for w in model.graph.initializer)
    return {"gmacs": macs / 1e9, "parameters_m": count / 1e6}


def _single(model: Any) -> Any:
    """The model for one face: its free first axis set to 1."""
    for value in (*model.graph.input, *model.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_value = 1
    return model


def _shapes(model: Any) -> dict[str, list[int]]:
    known = (*model.graph.value_info, *model.graph.output, *model.graph.input)
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in known}


def machine() -> dict[str, Any]:
    """Where the numbers were taken."""
    import platform

    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads_of_a_network": 1,
        "python": platform.python_version(),
    }
