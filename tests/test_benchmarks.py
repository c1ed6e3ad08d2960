"""Benchmarks: the dry run that they share, and what they write."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import bench  # noqa: E402
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


def test_the_page_of_speeds_is_its_numbers() -> None:
    """docs/performance.md is what `make bench` writes of docs/metrics/performance.json."""
    found = json.loads((ROOT / bench.METRICS).read_text())
    text = (ROOT / bench.PAGE).read_text()
    assert text == bench.page(found)
    found["painter"]["ms_a_face_of_512"] += 10
    assert text != bench.page(found), "the test can fail"


def test_a_run_says_on_what() -> None:
    where = bench.machine()
    assert where["processor"] and where["threads_of_a_network"] == 1 and where["cores"] >= 1
    for package in ("numpy", "opencv", "onnxruntime", "torch", "facepaint", "python"):
        assert where[package][0].isdigit(), package
