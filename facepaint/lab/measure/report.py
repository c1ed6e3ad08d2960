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
from facepaint.lab import loop, page
from facepaint.lab.data.faces import INNER, FaceSet
from facepaint.lab.measure.evaluate import OTHERS, STRENGTHS, Row, Tools, edited, read_face
from facepaint.lab.measure.summary import LEAST, MEASURES

Pixels = npt.NDArray[np.uint8]
_EACH = 4  # faces of each kind


def write(
    out: Path,
    faces: FaceSet,
    tools: Tools,
    rows: dict[str, list[Row]],
    numbers: dict[str, Any],
    listen: loop.Listener | None = None,
) -> None:
    """Write report.html and its pictures into `out`."""
    curves = {to: np.mean([r["strengths"] for r in some], 0).tolist() for to, some in rows.items()}
    page.curves(out / "strength.png", curves, at=(0.0, *STRENGTHS), between=(0, 1))
    parts = [
        *_head(numbers),
        _overview(numbers["to"]),
        _figure("strength.png", "the judge's mean probability of what was asked, by strength"),
    ]
    for n, (to, some) in enumerate(rows.items(), 1):
        parts += _section(to, numbers["to"][to])
        for name, chosen in _chosen(some, to).items():
            file = f"{to}-{name}.png"
            picture = np.vstack([_strip(faces, tools, r, to) for r in chosen])
            cv2.imwrite(str(out / file), np.ascontiguousarray(picture[..., ::-1]))
            parts.append(_figure(file, _caption(name, chosen, to)))
        if listen:
            listen(n, len(rows), {})
    if "muscles" in numbers:
        parts += _muscles(numbers["muscles"])
    if "cost" in numbers:
        parts += _cost(numbers["cost"])
    _write(out, numbers, parts)


def write_network(out: Path, numbers: dict[str, Any]) -> None:
    """Write report.html of a network that does not repaint: its numbers, groups and cost."""
    measured = numbers["measured"]
    plain = {k: v for k, v in measured.items() if not isinstance(v, dict)}
    parts = [
        f"<h1>{escape(str(numbers['method']))}, measured</h1>",
        page.table({"people": numbers["split"], "made with": numbers["made_with"]}),
        f"<h2>Numbers</h2>{page.table(plain)}",
    ]
    for name, found in measured.items():
        if isinstance(found, dict) and name not in ("each", "groups"):
            parts.append(f"<h3>{escape(name)}</h3>{page.table(found)}")
    if "groups" in measured:
        parts += _groups(measured["groups"])
    _write(out, numbers, parts + _cost(numbers["cost"]))


def _write(out: Path, numbers: dict[str, Any], parts: list[str]) -> None:
    text = page.document(f"FacePaint: {numbers['method']} measured", "\n".join(parts))
    write_whole(out / "report.html", text)


def _head(numbers: dict[str, Any]) -> list[str]:
    """What was measured, on whom and by what."""
    judge = numbers["judge"]
    right = ", ".join(f"{k} {page.shown(v)}" for k, v in judge["right_on_real"].items())
    known = {
        "protocol": numbers["protocol"],
        "people": numbers["split"],
        "judge": f"a linear classifier on {judge['features']}, in no loss",
        "judge right on real photos": right,
        "identity": numbers["identity"],
        "made with": numbers["made_with"],
    }
    for name in OTHERS:
        if f"{name}_judge" in numbers:
            known[f"{name} judge"] = numbers[f"{name}_judge"]["fitted"]
    return [f"<h1>{escape(str(numbers['method']))}, measured</h1>", page.table(known)]


def _overview(found: dict[str, Any]) -> str:
    """A line an expression: what came out, between the photo unchanged and real ones."""
    heads = ("faces", "as asked", "95 %", "the input", "real", "worst group", "of it")
    lines = {}
    for to, one in found.items():
        worst = one["groups"]["worst"] or {}
        low, high = one["rate_two_way_interval"]
        lines[to] = [
            one["faces"],
            one["rate_two_way"],
            f"{page.shown(low)} to {page.shown(high)}",
            one["rate_two_way_of_the_input"],
            one.get("rate_two_way_of_real"),
            worst.get("group"),
            worst.get("rate_two_way"),
        ]
    said = f"<p>Share {MEASURES['rate_two_way'].says}; a group counts from {LEAST} faces.</p>"
    return said + page.columns(heads, lines)


_STRIP = "the photo; strengths " + ", ".join(f"{s:g}" for s in STRENGTHS) + "; the change × 3"
_BESIDE = {"edited": "", "the input": "_of_the_input", "real": "_of_real", "others": "_of_others"}


def _section(to: str, found: dict[str, Any]) -> list[str]:
    """The numbers of one expression: each beside that of the input and of real photos; by group."""
    names = [k for k, v in found.items() if isinstance(v, int | float)]
    beside = [k for k in names if any(f"{k}{end}" in found for end in _BESIDE.values() if end)]
    heads = (*_BESIDE, "what it is")
    rows = {k: [*(found.get(f"{k}{end}") for end in _BESIDE.values()), _says(k)] for k in beside}
    taken = {f"{k}{end}" for k in beside for end in _BESIDE.values()}
    rest = {k: [found[k], _says(k)] for k in names if k not in taken}
    return [
        f"<h2>{escape(to)}</h2>",
        page.columns(heads, rows),
        page.columns(("edited", "what it is"), rest),
        *_groups(found["groups"]),
    ]


def _says(name: str) -> str:
    measure = MEASURES.get(name)
    if measure is None:
        return ""
    return measure.says + {1: "; more is better", -1: "; less is better", 0: ""}[measure.better]


def _groups(groups: dict[str, Any]) -> list[str]:
    """Every kind of group as a table, and the worst of all."""
    parts = []
    for kind, known in groups.items():
        if kind != "worst":
            heads = tuple(dict.fromkeys(k for v in known.values() for k in v))
            cells = {name: [v.get(k) for k in heads] for name, v in known.items()}
            words = tuple(h.replace("_", " ") for h in heads)  # so that they can be broken
            parts.append(f"<h3>by {escape(kind)}</h3>{page.columns(words, cells)}")
    if groups["worst"]:
        parts.append(f"<h3>the worst group of {LEAST} or more</h3>{page.table(groups['worst'])}")
    return parts


def _muscles(found: dict[str, Any]) -> list[str]:
    """How far each slider reached, and what else moved."""
    lines = {"mean": found["mean"]} | found["each"]
    heads = tuple(found["mean"])
    cells = {name: [one.get(k) for k in heads] for name, one in lines.items()}
    words = tuple(h.replace("_", " ") for h in heads)
    said = f"<p>{found['faces']} neutral faces, each muscle raised by {found['raised_by']}.</p>"
    return ["<h2>Muscles</h2>", said, page.columns(words, cells)]


def _cost(cost: dict[str, Any]) -> list[str]:
    """Milliseconds by the side of the face's crop in one line, the rest below."""
    begins = "ms_a_face_of_"
    sides = {k.removeprefix(begins): v for k, v in cost.items() if k.startswith(begins)}
    rest = {k: v for k, v in cost.items() if not k.startswith(begins)}
    times = page.columns(tuple(f"{side} px" for side in sides), {"ms a face": [*sides.values()]})
    return ["<h2>Cost</h2>", *([times] if sides else []), page.table(rest)]


def _figure(file: str, caption: str) -> str:
    words = escape(caption)
    return f'<figure><img src="{file}" alt="{words}"><figcaption>{words}</figcaption></figure>'


def _chosen(rows: list[Row], to: str) -> dict[str, list[Row]]:
    """Best, median and worst by the judge's probability of what was asked."""
    order = sorted(rows, key=lambda r: -_probability(r, "named_after", to))
    middle = max(0, len(order) // 2 - _EACH // 2)
    return {
        "best": order[:_EACH],
        "median": order[middle : middle + _EACH],
        "worst": order[-_EACH:],
    }


def _probability(row: Row, when: str, to: str) -> float:
    return float(row[when][EXPRESSIONS.index(to)])


def _caption(name: str, rows: list[Row], to: str) -> str:
    """What a sheet shows, with what the judge says of each of its rows."""
    said = (
        f"{_probability(r, 'named_before', to):.2f} → {_probability(r, 'named_after', to):.2f}"
        for r in rows
    )
    return f"{name}: {_STRIP}. The judge's probability, row by row: {', '.join(said)}"


def _strip(faces: FaceSet, tools: Tools, row: Row, to: str) -> Pixels:
    """A face before, at every strength, and where it changed at the last."""
    before = np.array(faces.crops[row["face"]])
    face = read_face(tools.reader, before)
    made = [edited(tools.method, before, face, Edit(to, s)) for s in STRENGTHS]
    change = np.abs(made[-1].astype(int) - before).max(2)
    heat = cv2.applyColorMap(np.clip(change * 3, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    tiles = [align.crop(p, INNER, 160) for p in (before, *made, heat[..., ::-1])]
    return np.asarray(np.hstack(tiles), np.uint8)
