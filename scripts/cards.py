"""Write the card of every network that ships from docs/metrics/NAME.json (open/NAME.json of the
free ones), the new hashes of those that are not free into tests/golden.json, whose edits stay, and
docs/metrics/README.md, the page of all numbers.

To be run when weights or metrics change. It may be repeated, and refuses metrics that were measured
on another network.
"""

from __future__ import annotations

from pathlib import Path

import golden

from facepaint.errors import FacePaintError
from facepaint.lab import commands, tables
from facepaint.models import SETS, folder_of, read_manifest

METRICS = Path(__file__).resolve().parents[1] / "docs" / "metrics"


def main() -> None:
    every = {}
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


def named(weights: str | None) -> dict[str, dict[str, str]]:
    """The entries of what ships by its place in docs/metrics, as in "open/painter"."""
    before = f"{weights}/" if weights else ""
    return {before + name: entry for name, entry in read_manifest(folder_of(weights)).items()}


if __name__ == "__main__":
    main()
