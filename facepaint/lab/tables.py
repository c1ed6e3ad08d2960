"""Tables: the numbers of every network that ships as one page of Markdown, from metrics.json alone.

A cell "81 (8; 91)" is what was measured, in brackets the same of the photo copied unchanged and of
real photos, where there is such a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facepaint.lab.measure.evaluate import OTHERS
from facepaint.lab.measure.summary import IDENTITY_RATIO, MEASURES

_HEAD = """# What ships, measured

Written by `make cards` from each network's metrics.json, never by hand: measured by
`facepaint evaluate` on people it was not trained on.
In brackets the same of the photo copied unchanged, and of real photos.
[metrics.py](../../facepaint/lab/measure/metrics.py) says how each number is computed."""

# a number's name in metrics.json, what it is multiplied by, decimals
_EDITS = (
    ("rate_two_way", 100, 0),
    ("rate_named", 100, 0),
    ("second_two_way", 100, 0),
    ("second_named", 100, 0),
    ("third_two_way", 100, 0),
    ("third_named", 100, 0),
    ("gain_of_probability", 1, 2),
    ("spearman_of_strength", 1, 2),
    ("spearman_of_strength_two_way", 1, 2),
    ("second_spearman_of_strength", 1, 2),
    ("second_spearman_of_strength_two_way", 1, 2),
    ("third_spearman_of_strength", 1, 2),
    ("third_spearman_of_strength_two_way", 1, 2),
    ("blendshape_error", 1, 3),
    ("landmark_error", 1, 3),
    ("same_person_rate", 100, 0),
    ("identity_distance", 1, 2),
    ("share_of_change_in_the_face", 100, 0),
    ("laplacian_energy_ratio", 1, 2),
    ("round_trip_255", 1, 1),
    ("cycle_l1_255", 1, 1),
)
_COSTS = (
    ("ms_of_the_network", "ms of the network", 0),
    ("ms_a_face_of_256", "ms a face of 256 pixels", 0),
    ("ms_a_face_of_512", "of 512", 0),
    ("ms_a_face_of_1500", "of 1500", 0),
    ("gmacs", "GMAC", 2),
    ("parameters_m", "M parameters", 1),
    ("cold_start_s", "cold start, s", 2),
    ("peak_mb_of_a_face_of_512", "peak, MB", 0),
    ("threads_of_a_network", "threads", 0),
)


# where what asks for the moves of muscles is written down
_SOURCES = {"rig": "../../facepaint/rig.py", "mover": "../../facepaint/editing/mover.py"}


def page(every: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of networks by name."""
    parts = [_HEAD]
    for name, numbers in every.items():
        parts.append(f"## {name}\n\n[All of its numbers]({name}.json). {_said_of(numbers)}")
        parts += _of_edits(numbers) if "to" in numbers else [_of_network(numbers["measured"])]
        parts += _of_muscles(numbers["muscles"]) if "muscles" in numbers else []
    costs = {name: numbers["cost"] for name, numbers in every.items()}
    return "\n\n".join([*parts, "## Cost", _costs(costs)]) + "\n"


def _said_of(numbers: Mapping[str, Any]) -> str:
    if "judge" not in numbers:
        return f"Held out: {numbers['split']}."
    judge = numbers["judge"]
    said = (
        f"Held out: {numbers['split']}. Judge: {judge['features']}, right on real photos of these"
        f" people: {_right(judge)}. Identity: {numbers['identity']}."
    )
    for other in (n for n in OTHERS if f"{n}_judge" in numbers):
        judge = numbers[f"{other}_judge"]
        said += f" {other.capitalize()} judge: {judge['fitted']}; right on the same photos:"
        said += f" {_right(judge)}."
    return said


def _right(judge: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v:.0%}" for k, v in judge["right_on_real"].items())


def _of_edits(numbers: Mapping[str, Any]) -> list[str]:
    found = numbers["to"]
    rows = {
        "faces": [str(f["faces"]) for f in found.values()],
        "people": [str(f["people"]) for f in found.values()],
    }
    for key, times, places in _EDITS:
        if any(key in f for f in found.values()):
            name = MEASURES[key].says + (", %" if times == 100 else "")
            rows[name] = [_beside(f, key, times, places) for f in found.values()]
        if key == "rate_two_way":
            rows["– in 95 % of resampled people"] = [_interval(f) for f in found.values()]
            rows["– in the worst group of ten or more"] = [_worst(f) for f in found.values()]
        if key == "identity_distance" and any(IDENTITY_RATIO in f for f in found.values()):
            rows["– median, over that of two real photos of the same people"] = [
                _ratio(f, "", "faces") for f in found.values()
            ]
            rows["– median, over that of two real photos of all people of their sets"] = [
                _ratio(f, "_to_people", "people") for f in found.values()
            ]
    rows["greatest change outside"] = [str(f["greatest_change_outside"]) for f in found.values()]
    distances = {k for f in found.values() for k in f if _is_distance(k)}
    for key in sorted(distances):
        rows[key.replace("_", " ")] = [_beside(f, key, 1, 3) for f in found.values()]
    return [_table(["", *(f"to {to}" for to in found)], rows)]


def _of_muscles(found: Mapping[str, Any]) -> list[str]:
    """Every slider in a line; of one of a pair alone, both sides."""
    by = found.get("moved_by", "rig")
    heads = {
        "reached": f"reached, 1 = as far as the {by} says",
        "size": f"the {by}'s move",
        "astray": "moved elsewhere",
        "reached_alone": "one side alone: reached",
        "other_side": "its other side",
    }
    lines = {"mean": found["mean"]} | found["each"]
    rows = {n: [f"{v[k]:.2f}" if k in v else "" for k in heads] for n, v in lines.items()}
    said = (
        f"Each muscle, or pair, raised by {found['raised_by']} on {found['faces']} neutral faces:"
        f" how far landmarks went along the [{by}'s]({_SOURCES[by]}) move. Sizes in"
        " hundredths of the irises' distance, read by the free weights' reader, whose noise counts"
        " as moved elsewhere."
    )
    return [said, _table(["", *heads.values()], rows)]


def _is_distance(key: str) -> bool:
    begins = key.startswith(("kernel_distance", "fid_", "kid_"))
    return begins and not key.endswith(("_of_real", "_of_the_input"))


def _beside(found: Mapping[str, Any], key: str, times: float, places: int) -> str:
    if key not in found:
        return ""
    beside = [found.get(f"{key}_of_{what}") for what in ("the_input", "real")]
    text = f"**{found[key] * times:.{places}f}**"
    if all(v is None for v in beside):
        return text
    shown = ("–" if v is None else f"{v * times:.{places}f}" for v in beside)
    return f"{text} ({'; '.join(shown)})"


def _ratio(found: Mapping[str, Any], beside: str, what: str) -> str:
    key = IDENTITY_RATIO + beside
    return f"**{found[key]:.2f}** of {found[f'{key}_{what}']} {what}" if key in found else ""


def _interval(found: Mapping[str, Any]) -> str:
    low, high = found["rate_two_way_interval"]
    return f"{low * 100:.0f} to {high * 100:.0f}"


def _worst(found: Mapping[str, Any]) -> str:
    worst = found["groups"]["worst"]
    return "–" if worst is None else f"{worst['group']}: {worst['rate_two_way'] * 100:.0f}"


def _of_network(measured: Mapping[str, Any]) -> str:
    plain = {k: v for k, v in measured.items() if not isinstance(v, dict)}
    compared = {k: v for k, v in measured.items() if k not in ("groups", "each", *plain)}
    grouped = [k for k, v in compared.items() if all(isinstance(n, dict) for n in v.values())]
    compared = {k: v for k, v in compared.items() if k not in grouped}
    parts = []
    if grouped:
        parts.append(f"In the file too: {', '.join(map(_words, grouped))}.")
    if compared:
        keys = dict.fromkeys(k for v in compared.values() for k in v)
        rows = {_words(k): [_number(v.get(k)) for v in compared.values()] for k in keys}
        parts.append(_table(["", *compared], rows))
    worst = (measured.get("groups") or {}).get("worst")
    if worst:
        plain |= {
            f"{k} of the worst group, {worst['group']}": worst[k] for k in worst if k != "group"
        }
    rows = {_words(k): [_number(v)] for k, v in plain.items()}
    return "\n\n".join([_table(["", "measured"], rows), *parts])


def _costs(costs: Mapping[str, Mapping[str, Any]]) -> str:
    """Networks below each other; milliseconds are of the clock that the file names."""
    known = [c for c in _COSTS if any(c[0] in found for found in costs.values())]
    rows = {}
    for name, found in costs.items():
        cells = (found.get(key) for key, *_ in known)
        places = (p for *_, p in known)
        rows[name] = ["" if v is None else f"{v:.{p}f}" for v, p in zip(cells, places, strict=True)]
        rows[name].append(
            f"{found['cores']} × {found.get('processor', found['machine'])}, "
            f"load {found['load_before']}"
        )
    return _table(["", *(c[1] for c in known), "cores, load before"], rows)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _table(heads: list[str], rows: Mapping[str, list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([name, *cells] for name, cells in rows.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
