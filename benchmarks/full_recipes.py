"""What the full recipes cost, from a dry run of a few steps of each.

A step is timed here and its arithmetic counted (convolutions and products, forward and back), so
that a faster machine's time can be told from its sustained arithmetic.

    .venv/bin/python benchmarks/full_recipes.py [--only cyclegan-full,…] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from dry_run import losses, method_of
from torch.utils.flop_counter import FlopCounterMode

from facepaint.lab import recipe
from facepaint.lab.measure.cost import median_ms

RECIPES = ("maskrcnn-full", "sagan-full", "cyclegan-full")
SUSTAINED = 10e12  # of a large GPU on networks this small: an assumption, not measured


def dry_run(name: str, repeats: int) -> dict[str, Any]:
    method, batch = method_of(recipe.read(name) | {"accelerator": "cpu"})
    settings = method.settings
    for network in method.networks.values():
        network.to(memory_format=torch.channels_last)

    def step() -> None:
        for loss, names in losses(method, batch):
            for each in names:
                method.networks[each].zero_grad(set_to_none=True)
            loss.backward()

    with FlopCounterMode(display=False) as counter:
        step()
    operations, each = counter.get_total_flops(), median_ms(step, repeats, warm=0) / 1000
    return {
        "steps": settings.steps,
        "batch": settings.batch,
        "parameters": sum(p.numel() for n in method.networks.values() for p in n.parameters()),
        "gflop_a_step": operations / 1e9,
        "seconds_a_step_here": each,
        "days_here": each * settings.steps / 86400,
        "hours_at_sustained": operations * settings.steps / SUSTAINED / 3600,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(RECIPES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out")
    asked = parser.parse_args()
    results: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "sustained_flop_a_second": SUSTAINED,
    }
    for name in asked.only.split(","):
        results[name] = found = dry_run(name, asked.repeats)
        print(
            f"{name:<14} {found['gflop_a_step']:6.0f} GFLOP and"
            f" {found['seconds_a_step_here']:6.2f} s a step   {found['days_here']:5.1f} days here"
            f"   {found['hours_at_sustained']:6.1f} hours at {SUSTAINED / 1e12:.0f} TFLOP/s"
        )
    if asked.out:
        Path(asked.out).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
