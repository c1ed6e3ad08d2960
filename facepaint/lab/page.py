"""Page: results as one HTML file with pictures beside it, and curves as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
img{max-width:100%;image-rendering:auto}table{border-collapse:collapse;margin:1rem 0}
td,th{border-bottom:1px solid #8886;padding:.2rem .8rem;text-align:left}
@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}}"""

# What each system was in the study, for the reader of the page.
_STUDY = {
    "nst": (
        "Neural style transfer",
        "The study: the style of one face on another hardly changes it; expression is not style.",
    ),
    "maskrcnn": (
        "Mask R-CNN for faces",
        "The study trained it on WIDER FACE to find the faces of a scene.",
    ),
    "sagan": (
        "Self-attention GAN",
        "The study: Wasserstein did not converge; softmax learned something, with mode collapse.",
    ),
    "cyclegan": (
        "CycleGAN, happy and neutral",
        "The study's best system: 350 passes over 446 grey photos; held-out cycle L1 134.59.",
    ),
}


def curves(
    path: Path,
    series: Mapping[str, Sequence[float]],
    logarithmic: bool = False,
    at: Sequence[float] | None = None,
    between: tuple[float, float] | None = None,
) -> None:
    """Write the series as a line chart, PNG; each line has its own panel, four side by side. at:
    where the values stand, by default at their number. between: the ends of every panel's scale, by
    default its own."""
    from matplotlib.figure import Figure

    across = min(len(series), 4) or 1
    down = -(-len(series) // across) or 1
    figure = Figure(figsize=(3.2 * across, 2.4 * down), layout="constrained")
    for n, (name, values) in enumerate(series.items(), 1):
        axes = figure.add_subplot(down, across, n)
        axes.plot(at or range(len(values)), list(values), linewidth=1)
        if between is not None:
            axes.set_ylim(between)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        if logarithmic and min(values) > 0:
            axes.set_yscale("log")
    figure.savefig(path, dpi=110)


def study(results: dict[str, dict[str, Any]]) -> str:
    """The page of `facepaint reproduce`; pictures are named relative to its folder."""
    about = "Scale cpu is smaller than the study in pixels, width and steps; full has its sizes."
    parts = [f"<h1>The 2019 study, again</h1><p>{about} Made: how and on what.</p>"]
    for name, result in results.items():
        title, before = _STUDY[name]
        parts.append(f"<h2>{escape(title)}</h2><p>{escape(before)}</p>")
        parts += _section(result)
    return document("FacePaint: the 2019 study, again", "\n".join(parts))


def document(title: str, body: str) -> str:
    """A whole HTML document that loads nothing from elsewhere."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def _section(result: dict[str, Any]) -> Iterator[str]:
    """Numbers as a table, pictures as pictures, inner results as sections of their own."""
    numbers = {k: v for k, v in result.items() if not isinstance(v, dict) and not _is_picture(v)}
    yield table(numbers)
    for key, value in result.items():
        if _is_picture(value):
            yield f'<figure><img src="{escape(value)}" alt="{escape(key)}"></figure>'
    for key, value in result.items():
        if isinstance(value, dict) and key != "settings":
            yield f"<h3>{escape(key)}</h3>"
            yield from _section(value)
    if "settings" in result:
        yield f"<details><summary>settings</summary>{table(result['settings'])}</details>"


def _is_picture(value: Any) -> bool:
    return isinstance(value, str) and value.endswith(".png")


def table(values: Mapping[str, Any]) -> str:
    """Names and values, numbers to four places."""
    rows = (
        f"<tr><th>{escape(str(k))}</th><td>{escape(shown(v))}</td></tr>" for k, v in values.items()
    )
    return f"<table>{''.join(rows)}</table>"


def columns(heads: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> str:
    """A table with a head; None is an empty cell."""
    lines = ["<th></th>" + "".join(f"<th>{escape(h)}</th>" for h in heads)]
    for name, values in rows.items():
        cells = ("" if v is None else escape(shown(v)) for v in values)
        lines.append(f"<th>{escape(name)}</th>" + "".join(f"<td>{c}</td>" for c in cells))
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " → ".join(shown(v) for v in value)
    return str(value)
