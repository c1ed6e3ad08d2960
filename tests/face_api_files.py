"""What tests of the third judge share: the files of its network, holding any weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

MANIFEST = "face_expression_model-weights_manifest.json"
DATA = "face_expression_model.bin"
SCALE, LEAST = 0.5, -1.0  # of what is written in 8 bits


def zeros() -> dict[str, Any]:
    """The weights by name, float32, all zero."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k, (before, width) in enumerate(((32, 32), (32, 64), (64, 128), (128, 256))):
        for n, channels in enumerate((before, width, width, width)):
            shapes[f"dense{k}/conv{n}/depthwise_filter"] = (3, 3, channels, 1)
            shapes[f"dense{k}/conv{n}/pointwise_filter"] = (1, 1, channels, width)
            shapes[f"dense{k}/conv{n}/bias"] = (width,)
    del shapes["dense0/conv0/depthwise_filter"], shapes["dense0/conv0/pointwise_filter"]
    shapes |= {"dense0/conv0/filters": (3, 3, 3, 32), "fc/weights": (256, 7), "fc/bias": (7,)}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def noise(seed: int) -> dict[str, Any]:
    """Weights drawn by chance, of such sizes that what comes out differs from face to face."""
    rng = np.random.default_rng(seed)
    weights = zeros()
    for name, w in weights.items():
        inputs = 9 if "depthwise" in name else w[..., 0].size
        w[...] = rng.normal(0, inputs**-0.5, w.shape) if w.ndim > 1 else 0
    return weights


def write(folder: Path, weights: dict[str, Any], quantised: bool = False) -> Path:
    """The two files in a folder, which is returned. quantised: filters in 8 bits, as they come."""
    entries, data = [], b""
    for name, w in weights.items():
        entry = {"name": name, "shape": list(w.shape), "dtype": "float32"}
        if quantised and w.ndim > 1:
            entry["quantization"] = {"dtype": "uint8", "scale": SCALE, "min": LEAST}
            w = ((w - LEAST) / SCALE).round().astype(np.uint8)
        entries.append(entry)
        data += w.tobytes()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps([{"weights": entries, "paths": [DATA]}]))
    (folder / DATA).write_bytes(data)
    return folder
