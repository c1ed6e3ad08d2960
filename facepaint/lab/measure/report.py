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
    curves = {to: np.mean([r["strengths"] for r in some], 0).tolist() for to, some in rows.items()}
    page.curves(out / "strength.png", curves, at=(0.0, *STRENGTHS))
    parts = [
        f"<h1>{escape(str(numbers['method']))}, measured</h1>",
        f"<p>{escape(numbers['protocol'])}</p>",
        f"<p>Judge: a linear classifier on {escape(judge['features'])}; on real photos of the same "
        "people it is right in:</p>",
        page.table(judge["right_on_real"]),
        _figure("strength.png", "the judge's mean score of what was asked, by strength"),
    ]
    for to, some in rows.items():
        parts += _section(to, numbers["to"][to])
        for name, picture in _pictures(faces, tools, some, to).items():
            file = f"{to}-{name}.png"
            cv2.imwrite(str(out / file), np.ascontiguousarray(picture[..., ::-1]))
            parts.append(_figure(file, f"{name}: {_STRIP}"))
    if "cost" in numbers:
        parts.append(f"<h2>Cost</h2>{page.table(numbers['cost'])}")
    text = page.document(f"FacePaint: {numbers['method']} measured", "\n".join(parts))
    write_whole(out / "report.html", text)


_STRIP = "the photo; strengths " + ", ".join(f"{s:g}" for s in STRENGTHS) + "; the change × 3"
_BESIDE = {"edited": "", "the input": "_of_the_input", "real": "_of_real", "others": "_of_others"}


def _section(to: str, found: dict[str, Any]) -> list[str]:
    """The numbers of one expression: each beside that of the input and of real photos; by group."""
    names = [k for k, v in found.items() if isinstance(v, int | float)]
    beside = [k for k in names if any(f"{k}{end}" in found for end in _BESIDE.values() if end)]
    rows = {k: [found.get(f"{k}{end}") for end in _BESIDE.values()] for k in beside}
    taken = {f"{k}{end}" for k in beside for end in _BESIDE.values()}
    rest = {k: found[k] for k in names if k not in taken}
    parts = [f"<h2>{escape(to)}</h2>", page.columns(tuple(_BESIDE), rows), page.table(rest)]
    for kind in ("source", "tone", "turn", "age"):
        groups = found["groups"][kind]
        heads = tuple(dict.fromkeys(k for v in groups.values() for k in v))
        cells = {name: [v.get(k) for k in heads] for name, v in groups.items()}
        parts.append(f"<h3>by {kind}</h3>{page.columns(heads, cells)}")
    return parts


def _figure(file: str, caption: str) -> str:
    words = escape(caption)
    return f'<figure><img src="{file}" alt="{words}"><figcaption>{words}</figcaption></figure>'


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
    made = [edited(tools.method, before, face, Edit(to, s)) for s in STRENGTHS]
    change = np.abs(made[-1].astype(int) - before).max(2)
    heat = cv2.applyColorMap(np.clip(change * 3, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    tiles = [align.crop(p, INNER, 160) for p in (before, *made, heat[..., ::-1])]
    return np.asarray(np.hstack(tiles), np.uint8)
