"""Write tests/golden.json anew: what edits of the astronaut give, for tests/test_same.py.

To be run when weights or the way of editing change on purpose, and the change looked at.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path

import numpy as np
import numpy.typing as npt

import facepaint

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden.json"
EDITS = {
    "neutral": facepaint.Edit("neutral"),
    "surprised at half": facepaint.Edit("surprised", 0.5),
    "jaw and brows": facepaint.Edit(set={"jawOpen": 0.6, "browInnerUp": 0.7}),
    "mouth alone": facepaint.Edit("sad", 1.5, regions=("mouth",)),
}


def machine() -> dict[str, str]:
    """What decides about the last bit: the version of ONNX Runtime, and the processor; its
    instructions too, since virtual machines give different processors one name."""
    import onnxruntime

    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    told = {k.strip(): v.strip() for k, _, v in (x.partition(":") for x in reversed(lines))}
    wide = {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"} & {
        *told.get("flags", "").split()
    }
    name = told.get("model name") or platform.processor()
    return {
        "onnxruntime": onnxruntime.__version__,
        "processor": " ".join([name, *sorted(wide)]),
    }


def pooled(pixels: npt.NDArray[np.uint8], cells: int = 16) -> npt.NDArray[np.float64]:
    """Means over a grid of cells, [cells, cells, 3], 0 to 255."""
    size = pixels.shape[0] // cells
    square = pixels[: size * cells, : size * cells].astype(np.float64)
    return square.reshape(cells, size, cells, size, 3).mean((1, 3))


def results(portrait: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.uint8]]:
    """The pixels of each edit of the head, uint8 [256, 256, 3]."""
    painter = facepaint.load()
    (face,) = painter.faces(portrait)
    photo = facepaint.Photo.read(portrait)
    return {n: painter.repaint(photo, [(face, e)]).pixels for n, e in EDITS.items()}


def note_models() -> None:
    """Take the hashes of what ships now; the edits stay as they are. For other cards alone."""
    kept = json.loads(GOLDEN.read_text())
    GOLDEN.write_text(json.dumps(kept | {"models": facepaint.load().models}) + "\n")


def main() -> None:
    from figures import astronaut

    portrait = np.ascontiguousarray(facepaint.Photo.read(astronaut()).pixels[:256, 96:352])
    edits = {
        name: {
            "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
            "means": [round(float(v), 2) for v in pooled(pixels).ravel()],
        }
        for name, pixels in results(portrait).items()
    }
    models = facepaint.load().models
    text = json.dumps({"machine": machine(), "models": models, "edits": edits})
    GOLDEN.write_text(text + "\n")


if __name__ == "__main__":
    main()
