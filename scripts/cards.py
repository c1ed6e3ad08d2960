"""Write the card of every network that ships from docs/metrics/NAME.json, its new hash into
tests/golden.json, whose edits stay, and docs/metrics/README.md, the page of all numbers.

To be run when weights or metrics change. It may be repeated, and refuses metrics that were measured
on another network.
"""

from __future__ import annotations

from pathlib import Path

import golden

from facepaint.errors import FacePaintError
from facepaint.lab import commands, tables
from facepaint.models import WEIGHTS, read_manifest

METRICS = Path(__file__).resolve().parents[1] / "docs" / "metrics"


def main() -> None:
    every = {}
    for name, entry in read_manifest().items():
        model, metrics = WEIGHTS / entry["file"], METRICS / f"{name}.json"
        try:
            commands.adopt(str(model), str(WEIGHTS), str(metrics))
        except FacePaintError as error:
            raise SystemExit(f"{error}; evaluate it again") from error
        every[name] = commands.read_metrics(str(metrics))
        print(f"{model.name}: card from {metrics.relative_to(METRICS.parents[1])}")
    (METRICS / "README.md").write_text(tables.page(every))
    golden.note_models()


if __name__ == "__main__":
    main()
