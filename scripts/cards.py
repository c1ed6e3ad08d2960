"""Write the card of every network that ships from docs/metrics/NAME.json, and its new hash into
tests/golden.json, whose edits stay.

To be run when weights or metrics change. It may be repeated, and refuses metrics that were measured
on another network.
"""

from __future__ import annotations

from pathlib import Path

import golden

from facepaint.errors import FacePaintError
from facepaint.lab import commands
from facepaint.models import WEIGHTS, read_manifest

METRICS = Path(__file__).resolve().parents[1] / "docs" / "metrics"


def main() -> None:
    for name, entry in read_manifest().items():
        model, metrics = WEIGHTS / entry["file"], METRICS / f"{name}.json"
        try:
            commands.adopt(str(model), str(WEIGHTS), str(metrics))
        except FacePaintError as error:
            raise SystemExit(f"{error}; evaluate it again") from error
        print(f"{model.name}: card from {metrics.relative_to(METRICS.parents[1])}")
    golden.note_models()


if __name__ == "__main__":
    main()
