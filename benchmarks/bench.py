"""All speeds in one run: an edit and its parts, a CycleGAN's pass beside it, the training steps.

    make bench      # writes docs/metrics/performance.json and docs/performance.md from it

Networks run on one thread in ONNX Runtime, both ours and the CycleGAN; training steps on
all cores. What else the machine does enters the numbers: let it rest.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import torch
import train_steps

import facepaint
from facepaint import detect
from facepaint.lab.measure import cost
from facepaint.lab.methods.cyclegan import Generator
from facepaint.models import WEIGHTS, files_of
from facepaint.photo import Photo

METRICS, PAGE = Path("docs/metrics/performance.json"), Path("docs/performance.md")
LIVEPORTRAIT_GMAC = 617.0  # of an edit, as its authors' networks add up


def astronaut() -> Path:
    """The photo inside the scikit-image wheel."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("scikit-image is missing: run make lab")
    return Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png"


def stages(repeats: int) -> dict[str, float]:
    """Median milliseconds of each step on the astronaut at 512 pixels and at 12 megapixels."""
    small = Photo.read(astronaut()).pixels
    large = cv2.resize(small, (3464, 3464), interpolation=cv2.INTER_CUBIC)
    painter, result = facepaint.load(), {}
    for name, pixels in (("512", small), ("12mp", np.asarray(large, np.uint8))):
        photo = Photo(pixels)
        face = painter.faces(photo)[0]
        edits = [(face, facepaint.Edit("neutral"))]
        works: dict[str, Callable[[], object]] = {
            "detect": lambda p=pixels: detect.detect(p, None),
            "faces": lambda p=photo: painter.faces(p),
            "repaint": lambda p=photo, e=edits: painter.repaint(p, e),
            "encode_jpeg": lambda p=photo: p.encode("jpg"),
        }
        for what, work in works.items():
            result[f"{what}_{name}_ms"] = cost.median_ms(work, repeats)
    return result


def fresh_edit() -> dict[str, float]:
    """Of `facepaint edit` on a photo of 12 megapixels in a fresh process: seconds, megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        pixels = cv2.resize(cv2.imread(str(astronaut())), (3464, 3464))
        cv2.imwrite(str(photo), pixels)
        code = "import sys; from facepaint.cli import main; main(sys.argv[1:]);"
        code += "print(open('/proc/self/status').read())"
        seconds = []
        for n in range(3):
            asked = ["edit", str(photo), f"{folder}/out{n}.jpg", "--to", "neutral"]
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code, *asked], check=True, capture_output=True
            )
            seconds.append(time.perf_counter() - began)
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", done.stdout.decode())
    return {"edit_12mp_s": statistics.median(seconds), "edit_12mp_peak_mb": int(peak) / 1024}


def cyclegan_pass(repeats: int) -> dict[str, float]:
    """One generator of nine blocks and the paper's width at 256 pixels, as the painter is run."""
    network = Generator(3, 64, 9).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cyclegan.onnx"
        crop = torch.rand(1, 3, 256, 256)
        torch.onnx.export(
            network, (crop,), path, input_names=["x"], output_names=["y"], dynamo=False
        )
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {"x": crop.numpy()}
        times = cost.median_ms(lambda: session.run(["y"], feed), repeats)
        found = cost.arithmetic(path)
    return {"ms": times, "gmacs": found["gmacs"], "parameters_m": found["parameters_m"]}


def run(repeats: int, features: str) -> dict[str, Any]:
    painter = facepaint.load()
    networks = files_of(WEIGHTS, painter.method_name).values()
    of_painter = cost.of_method(painter.method, repeats) | cost.arithmetic_of(networks)
    study = cyclegan_pass(max(3, repeats // 3))
    names = ("nst", *train_steps.RECIPES)
    return {
        "machine": machine(),
        "painter": of_painter,
        "reader": cost.arithmetic(WEIGHTS / "reader.onnx"),
        "start": cost.fresh_process(painter.method_name) | fresh_edit(),
        "stages": stages(max(3, repeats // 3)),
        "cyclegan_resnet9_256": study,
        "training": {
            "threads": torch.get_num_threads(),
            "steps": {n: train_steps.compare(n, repeats, features) for n in names},
        },
    }


def machine() -> dict[str, Any]:
    """Where, on how many threads, and with which versions."""
    return cost.machine() | {"torch": torch.__version__}


def page(found: dict[str, Any]) -> str:
    """docs/performance.md, from the numbers alone."""
    where, painter, start = found["machine"], found["painter"], found["start"]
    study, stage = found["cyclegan_resnet9_256"], found["stages"]
    processor = where.get("processor", where["machine"])
    sides = [k.removeprefix("ms_a_face_of_") for k in painter if k.startswith("ms_a_face_of_")]
    lines = [
        "# Performance",
        "",
        "Written by `make bench` from [performance.json](metrics/performance.json); medians.",
        f"Machine: {where['cores']} cores, {processor}, FacePaint {where['facepaint']},"
        f" Python {where['python']}, ONNX Runtime {where['onnxruntime']}, PyTorch"
        f" {where['torch']}. Networks run on one thread.",
        "",
        "## A face",
        "",
        "Repainting a face that was read already: crop, networks, mask, composite.",
        "",
        "| side of the face's crop in the photo, pixels | " + " | ".join(sides) + " |",
        "|---" * (len(sides) + 1) + "|",
        "| ms | " + " | ".join(f"{painter[f'ms_a_face_of_{side}']:.0f}" for side in sides) + " |",
        "",
        f"The networks that repaint take {painter['gmacs']:.2f} GMAC, each run once, and have"
        f" {painter['parameters_m']:.1f} M parameters; the reader takes"
        f" {found['reader']['gmacs']:.2f} GMAC.",
        "",
        "A CycleGAN's generator (nine blocks, 64 channels) at 256 pixels, in the same run and the"
        f" same engine: {study['ms']:.0f} ms and {study['gmacs']:.1f} GMAC, that is"
        f" {study['ms'] / painter['ms_a_face_of_256']:.0f} times the time of a face of 256 pixels"
        f" and {study['gmacs'] / painter['gmacs']:.0f} times the arithmetic. A LivePortrait edit,"
        f" at {LIVEPORTRAIT_GMAC:.0f} GMAC, takes {LIVEPORTRAIT_GMAC / painter['gmacs']:.0f} times"
        " the arithmetic (not run here).",
        "",
        "## A photo",
        "",
        "| ms | 512 × 512 | 12 megapixels |",
        "|---|---|---|",
    ]
    for what, name in (
        ("detect", "find faces"),
        ("faces", "find and read them"),
        ("repaint", "repaint one"),
        ("encode_jpeg", "encode as JPEG"),
    ):
        lines.append(f"| {name} | {stage[f'{what}_512_ms']:.0f} | {stage[f'{what}_12mp_ms']:.0f} |")
    lines += [
        "",
        f"Loading takes {start['cold_start_s']:.2f} s. `facepaint edit` on 12 megapixels in a fresh"
        f" process takes {start['edit_12mp_s']:.1f} s and {start['edit_12mp_peak_mb']:.0f} MB.",
        "",
        "## Training",
        "",
        f"Images a second on {found['training']['threads']} threads, ours beside the same networks"
        " and losses written plainly (eager, single precision, a pass for every term); median ±"
        " half of what lies between the quartiles.",
        "",
        "| step | ours | plain | times | first losses agree |",
        "|---|---|---|---|---|",
    ]
    for name, step in found["training"]["steps"].items():
        ours, plain = (
            f"{v['median']:.1f} ± {v['spread']:.1f}" for v in (step["ours"], step["plain"])
        )
        lines.append(
            f"| {name} | {ours} | {plain} | {step['times_faster']:.2f} |"
            f" {'yes' if step['losses_agree'] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--features", default="vgg16-hed")
    parser.add_argument("--out", type=Path, default=METRICS)
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    found = run(asked.repeats, asked.features)
    asked.out.write_text(json.dumps(found, indent=2) + "\n")
    asked.page.write_text(page(found))
    print(f"{asked.out}, {asked.page}")


if __name__ == "__main__":
    main()
