"""Write what ships with its numbers: cards, hashes and the page of all numbers.

The card of every network comes from docs/metrics/NAME.json, of the free ones from open/NAME.json.
METHOD.json has the edits of several networks and is on no card. The new hashes of those that are
not free go into tests/golden.json, whose edits stay; the page is docs/metrics/README.md.

To be run when weights or metrics change. It may be repeated, and refuses metrics that were measured
on another network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden

from facepaint.errors import FacePaintError
from facepaint.lab import commands, tables
from facepaint.lab.graph import networks_hash
from facepaint.models import NETWORKS, SETS, WEIGHTS, files_of, folder_of, read_manifest

METRICS = Path(__file__).resolve().parents[1] / "docs" / "metrics"


def main() -> None:
    every = {}
    for name in sorted(NETWORKS):  # their networks have a card each; their edits are on the page
        if (METRICS / f"{name}.json").exists():
            every[name] = edits_of(name)
    shipped = [(n, folder_of(s), e) for s in (None, *SETS) for n, e in named(s).items()]
    for name, folder, entry in shipped:
        model, metrics = folder / entry["file"], METRICS / f"{name}.json"
        try:
            commands.adopt(str(model), str(folder), str(metrics))
        except FacePaintError as error:
            raise SystemExit(f"{error}; evaluate it again") from error
        every[name] = commands.read_metrics(str(metrics))
        print(f"{name}: card from {metrics.relative_to(METRICS.parents[1])}")
    (METRICS / "README.md").write_text(tables.page(every))
    golden.note_models()


def edits_of(method: str) -> dict[str, Any]:
    """The metrics of a method of several networks; refused where they are of other networks."""
    numbers = commands.read_metrics(str(METRICS / f"{method}.json"))
    if numbers.get("network") != networks_hash([*files_of(WEIGHTS, method).values()]):
        again = f"run facepaint evaluate --method {method}"
        raise SystemExit(f"{method}.json was measured on other networks; {again}")
    return numbers


def named(weights: str | None) -> dict[str, dict[str, str]]:
    """The entries of what ships by its place in docs/metrics, as in "open/painter"."""
    before = f"{weights}/" if weights else ""
    return {before + name: entry for name, entry in read_manifest(folder_of(weights)).items()}


if __name__ == "__main__":
    main()
