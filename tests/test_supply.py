"""What FacePaint stands on: few packages, bounded, each with its reason."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("packaging")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import supply  # noqa: E402


def test_each_dependency_is_bounded_and_has_its_row() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## Dependencies of the runtime")[1]
    rows = set(re.findall(r"^\| ([a-z0-9-]+) \|", table, re.MULTILINE)) - {"package"}
    asked = supply.direct()
    assert rows == set(asked)
    for requirement in asked.values():
        signs = {s.operator for s in requirement.specifier}
        assert {">=", "<"} <= signs, requirement


def test_the_extras_are_bounded_too() -> None:
    extras = supply.tomllib.loads(supply.PROJECT.read_text())["project"]["optional-dependencies"]
    for name in set(extras) - {"dev"}:  # what develops it may be as new as it likes
        for requirement in map(supply.Requirement, extras[name]):
            assert {">=", "<"} <= {s.operator for s in requirement.specifier}, requirement


def test_every_licence_is_one_we_know_to_be_fine() -> None:
    packages = list(supply.installed())
    assert {"numpy", "pillow"} <= {p.name.lower() for p in packages}
    for package in packages:
        assert supply.FINE.search(supply.licence(package)), package.name
    assert not supply.FINE.search("GPL-3.0-only") and not supply.FINE.search("unknown")


def test_what_an_audit_says() -> None:
    def answer(**more: object) -> str:
        return json.dumps({"dependencies": [{"name": "a", "version": "1"} | more]})

    assert supply.verdict(answer(vulns=[]), "") == (
        True,
        ["1 packages, 0 known weaknesses (pip-audit)"],
    )
    fine, lines = supply.verdict(answer(vulns=[{"id": "CVE-1"}]), "")
    assert not fine and lines[0] == "a 1: CVE-1"
    for out, errors in ((answer(skip_reason="?"), ""), ("", "ConnectionError\nno route")):
        fine, (line,) = supply.verdict(out, errors)
        assert fine and line.startswith(supply.UNCHECKED)
