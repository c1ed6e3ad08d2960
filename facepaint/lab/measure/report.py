"""The page of `facepaint evaluate`: tables, and pictures of best, median and worst faces."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.edit import Edit
from facepaint.face import EXPRESSIONS
from facepaint.files import write_whole
from facepaint.lab import page
from facepaint.lab.data.faces import INNER, FaceSet
from facepaint.lab.measure.evaluate import STRENGTHS, Row, Tools, edited, read_face

Pixels = npt.NDArray[np.uint8]
_EACH = 4  # faces of each kind


def write(
    out: Path,
    faces: FaceSet,
    tools: Tools,
    rows: dict[str, list[Row]],
    numbers: dict[str, Any],
) -> None:
    """Write report.html and its pictures into `out`."""
    judge = numbers["judge"]
    parts = [
        f"<h1>{escape(str(numbers['method']))}, measured</h1>",
        f"<p>{escape(numbers['protocol'])}</p>",
        f"<p>Judge: a linear classifier on {escape(judge['features'])}; on real photos of the same "
        "people it is right in:</p>",
        page.table(judge["right_on_real"]),
    ]
    for to, some in rows.items():
        found = numbers["to"][to]
        groups = found["groups"]
        parts.append(f"<h2>{escape(to)}</h2>")
        parts.append(page.table({k: v for k, v in found.items() if k != "groups"}))
        for kind in ("source", "tone", "turn", "age"):
            cells = {k: f"{v['rate_two_way']:.3f} of {v['faces']}" for k, v in groups[kind].items()}
            parts.append(f"<h3>by {kind}</h3>{page.table(cells)}")
        for name, picture in _pictures(faces, tools, some, to).items():
            file = f"{to}-{name}.png"
            cv2.imwrite(str(out / file), np.ascontiguousarray(picture[..., ::-1]))
            parts.append(f'<figure><img src="{file}" alt="{name}"><figcaption>{name}')
            parts.append("</figcaption></figure>")
    if "cost" in numbers:
        parts.append(f"<h2>Cost</h2>{page.table(numbers['cost'])}")
    text = page.document(f"FacePaint: {numbers['method']} measured", "\n".join(parts))
    write_whole(out / "report.html", text)


def _pictures(faces: FaceSet, tools: Tools, rows: list[Row], to: str) -> dict[str, Pixels]:
    """Best, median and worst by the judge: before, every strength, and where it changed."""
    wanted = EXPRESSIONS.index(to)
    order = sorted(rows, key=lambda r: -r["named_after"][wanted])
    middle = max(0, len(order) // 2 - _EACH // 2)
    chosen = {
        "best": order[:_EACH],
        "median": order[middle : middle + _EACH],
        "worst": order[-_EACH:],
    }
    return {n: np.vstack([_strip(faces, tools, r, to) for r in some]) for n, some in chosen.items()}


def _strip(faces: FaceSet, tools: Tools, row: Row, to: str) -> Pixels:
    before = np.array(faces.crops[row["face"]])
    face = read_face(tools.reader, before)
    made = [edited(tools.method, before, face, Edit(to, s))[0] for s in STRENGTHS]
    change = np.abs(made[-1].astype(int) - before).max(2)
    heat = cv2.applyColorMap(np.clip(change * 3, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    tiles = [align.crop(p, INNER, 160) for p in (before, *made, heat[..., ::-1])]
    return np.asarray(np.hstack(tiles), np.uint8)
