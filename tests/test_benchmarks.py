"""Benchmarks: the dry run that they share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import dry_run  # noqa: E402

from facepaint.lab import recipe  # noqa: E402


def test_a_dry_run_is_a_step_of_every_network_on_drawn_faces() -> None:
    small = {"size": 32, "width": 8, "blocks": 1, "batch": 2, "compile": False}
    method, batch = dry_run.method_of(recipe.read("cyclegan-full") | small)
    assert method.settings.data == "drawn" and method.settings.sources == ""
    trained: list[str] = []
    for loss, names in dry_run.losses(method, batch):
        assert torch.isfinite(loss)
        loss.backward()
        trained += names
    assert set(trained) == set(method.networks)
    assert all(p.grad is not None for n in method.networks.values() for p in n.parameters())
    again = dry_run.method_of(recipe.read("cyclegan-full") | small)[1]
    assert all(torch.equal(batch[k], again[k]) for k in batch)
