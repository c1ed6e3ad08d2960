"""Summary: from the rows of `evaluate` to the numbers of metrics.json, and from two of those to
what is better in which.

A number's name is followed by "_of_the_input" for the same measure of the photo copied unchanged,
and by "_of_real" for that of real photos: what stands between them is what an edit does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint._version import __version__
from facepaint.align import CROP
from facepaint.face import EXPRESSIONS
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.data.pictures import picture
from facepaint.lab.data.split import SPLIT
from facepaint.lab.measure import metrics
from facepaint.lab.measure.distribution import Distance
from facepaint.lab.measure.distribution import between as between_sets
from facepaint.lab.measure.evaluate import Row, Tools, held_out_of, stamp_of, start_of

LEAST = 10  # faces, for a group to be counted as the worst
_TURNED = 0.3  # about the sine of the angle from which a head is turned


@dataclass(frozen=True)
class Measure:
    """One number a face. of: from its row and the places of the asked and the first expression to
    the number, None where it has none. better: 1 where more is better, -1 where less, else 0."""

    of: Callable[[Row, int, int], float | None]
    better: int = 0


def _named(key: str, how: Callable[[Any, int, int], float]) -> Callable[[Row, int, int], float]:
    return lambda row, wanted, other: how(np.array([row[key]]), wanted, other)


def _same_person(key: str) -> Callable[[Row, int, int], float | None]:
    return lambda row, *_: (
        metrics.same_person_rate(np.array([row[key]])) if row.get(key) is not None else None
    )


def _plain(key: str) -> Callable[[Row, int, int], float | None]:
    return lambda row, *_: row.get(key)


def _gain(row: Row, wanted: int, _: int) -> float:
    before, after = (np.array([row[k]]) for k in ("named_before", "named_after"))
    return metrics.gain_of_probability(before, after, wanted)


def _spearman(row: Row, *_: int) -> float:
    return metrics.spearman_of_strength(np.array([row["strengths"]]))


MEASURES: dict[str, Measure] = {
    "rate_two_way": Measure(_named("named_after", metrics.rate_two_way), 1),
    "rate_two_way_of_the_input": Measure(_named("named_before", metrics.rate_two_way)),
    "rate_named": Measure(_named("named_after", lambda p, w, _: metrics.rate_named(p, w)), 1),
    "rate_named_of_the_input": Measure(
        _named("named_before", lambda p, w, _: metrics.rate_named(p, w))
    ),
    "gain_of_probability": Measure(_gain, 1),
    "spearman_of_strength": Measure(_spearman, 1),
    "blendshape_error": Measure(_plain("blendshape_error"), -1),
    "blendshape_error_of_the_input": Measure(_plain("blendshape_error_of_the_input")),
    "landmark_error": Measure(_plain("landmark_error"), -1),
    "landmark_error_of_the_input": Measure(_plain("landmark_error_of_the_input")),
    "same_person_rate": Measure(_same_person("identity"), 1),
    "same_person_rate_of_real": Measure(_same_person("identity_of_real")),
    "same_person_rate_of_others": Measure(_same_person("identity_of_others")),
    "identity_distance": Measure(_plain("identity"), -1),
    "identity_distance_of_real": Measure(_plain("identity_of_real")),
    "identity_distance_of_others": Measure(_plain("identity_of_others")),
    "change_255": Measure(_plain("change_255")),
    "share_of_change_in_the_face": Measure(_plain("in_face"), 1),
    "share_of_change_at_mouth_eyes_brows": Measure(_plain("at_features")),
    "laplacian_energy_ratio": Measure(_plain("sharpness")),
    "round_trip_255": Measure(_plain("round_trip_255"), -1),
    "cycle_l1_255": Measure(_plain("cycle_255"), -1),
}


def values_of(rows: list[Row], to: str) -> dict[str, list[float | None]]:
    """Every measure of every face; a measure that no face has is left out."""
    wanted, other = EXPRESSIONS.index(to), EXPRESSIONS.index(start_of(to))
    every = {n: [m.of(r, wanted, other) for r in rows] for n, m in MEASURES.items()}
    return {n: v for n, v in every.items() if any(x is not None for x in v)}


def mean(values: Sequence[float | None]) -> float:
    """The mean over the faces that have the number."""
    return float(np.mean([v for v in values if v is not None]))


def summary(rows: list[Row], to: str) -> dict[str, Any]:
    """The metrics of one target over its rows; `each` holds every face's, for `compare`."""
    values = values_of(rows, to)
    people = _places([r["person"] for r in rows])
    result: dict[str, Any] = {"faces": len(rows), "people": len(set(people))}
    result |= {name: mean(v) for name, v in values.items()}
    rate = np.array(values["rate_two_way"], np.float64)
    result["rate_two_way_interval"] = list(metrics.bootstrap_interval(rate, np.array(people)))
    result["greatest_change_outside"] = max(r["outside"] for r in rows)
    result |= metrics.cycle_l1(result["cycle_l1_255"], CROP * CROP * 3)
    chosen = {n: v for n, v in values.items() if MEASURES[n].better}
    return result | {"each": {"face": [r["face"] for r in rows], "person": people} | chosen}


def _places(names: Sequence[str]) -> list[int]:
    """Each name as its place among the different ones, so that no name is told."""
    first: dict[str, int] = {}
    return [first.setdefault(n, len(first)) for n in names]


_GROUPS: dict[str, Callable[[Row], str]] = {
    "source": lambda r: str(r["source"]),
    "tone": lambda r: str(r["tone"]),
    "turn": lambda r: turn_group(r["turn"]),
    "age": lambda r: str(r["age"]),
}


def turn_group(turn: float) -> str:
    """Whether a head is turned by more than about 17 degrees; `turn` as `metrics.head_turn`."""
    return "turned" if abs(turn) > _TURNED else "straight"


def groups_of(
    kinds: Mapping[str, Sequence[str]],
    values: Mapping[str, npt.NDArray[Any]],
    worst: str,
    sign: int,
) -> dict[str, Any]:
    """The means of `values` [N] in every group, and the worst group of at least LEAST faces.

    kinds: for each kind of group, each face's group. worst: the value by which one is the worst;
    sign: 1 where less of it is worse, -1 where more is.
    """
    result: dict[str, Any] = {}
    last: tuple[float, str] | None = None
    for kind, names in kinds.items():
        result[kind] = {}
        for name in sorted(set(names)):
            inside = np.array(names) == name
            found = {k: float(np.mean(v[inside])) for k, v in values.items()}
            result[kind][name] = {"faces": int(inside.sum())} | found
            if inside.sum() >= LEAST and (last is None or sign * found[worst] < sign * last[0]):
                last = (found[worst], f"{kind} {name}")
    return result | {"worst": {"group": last[1], worst: last[0]} if last else None}


def by_group(rows: list[Row], to: str) -> dict[str, Any]:
    """The two-way rate, and that of the same person, of every group."""
    values = values_of(rows, to)
    names = [n for n in ("rate_two_way", "same_person_rate") if n in values]
    kinds = {kind: [of(r) for r in rows] for kind, of in _GROUPS.items()}
    shown: dict[str, npt.NDArray[Any]] = {n: np.array(values[n], np.float64) for n in names}
    return groups_of(kinds, shown, "rate_two_way", 1)


def report(
    faces: FaceSet, rows: dict[str, list[Row]], tools: Tools, embedder: str, distance: Distance
) -> dict[str, Any]:
    """What metrics.json holds, but for the network and its cost."""
    result: dict[str, Any] = {
        "protocol": "held-out people of the sets, wide crops of 224 pixels, strength 1; two-way: "
        "asked against where it began (happy for neutral, neutral for all else); intervals of 95 % "
        "of 2,000 sets of resampled people",
        "made_with": f"facepaint {__version__}",
        "method": tools.method.card["name"],
        "split": SPLIT,
        "faces": stamp_of(faces),
        "judge": {"features": tools.judge.features, "right_on_real": tools.judge.accuracy},
        "identity": embedder,
        "to": {},
    }
    for to, some in rows.items():
        found = summary(some, to) | _real(faces, tools, to)
        found |= between_sets(faces, tools, to, some, distance)
        groups = by_group(some, to)
        for source, group in groups["source"].items():
            group |= _real(faces, tools, to, source)
        result["to"][to] = found | {"groups": groups, "each": found.pop("each")}
    return result


def _real(faces: FaceSet, tools: Tools, to: str, source: str | None = None) -> dict[str, Any]:
    """How often the judge reads held-out real photos as what they show: its rates' ceiling."""
    rows = held_out_of(faces, to)
    if source is not None:
        rows = rows[faces.sources[rows] == source]
    if not len(rows):
        return {"real_faces": 0}
    named = tools.judge([picture(faces, int(i), CROP, True) for i in rows])
    wanted, other = EXPRESSIONS.index(to), EXPRESSIONS.index(start_of(to))
    return {
        "real_faces": len(rows),
        "rate_two_way_of_real": metrics.rate_two_way(named, wanted, other),
        "rate_named_of_real": metrics.rate_named(named, wanted),
    }


# --- two of them compared


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """What the second metrics.json is better or worse in than the first, line by line.

    Each difference comes with the interval that holds 95 % of it over resampled people (pairs of
    the same faces where both measured the same ones): "no difference" where that holds 0.
    """
    lines = []
    for name, a in parts(first).items():
        b = parts(second).get(name)
        if b is None:
            continue
        paired = _same_faces(first, second, a, b)
        how = "the same faces" if paired else "other faces"
        lines.append(f"{name}: {len(a['each']['face'])} and {len(b['each']['face'])}, {how}")
        for key, better in _better(a, b).items():
            lines.append(_line(key, better, a["each"], b["each"], paired))
    return lines


def parts(numbers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What of a metrics.json is compared with its like: each expression, or the whole."""
    if "to" in numbers:
        return {f"to {to}": found for to, found in numbers["to"].items()}
    return {str(numbers["method"]): numbers["measured"]}


def _same_faces(
    first: dict[str, Any], second: dict[str, Any], a: dict[str, Any], b: dict[str, Any]
) -> bool:
    same_set = first.get("faces") == second.get("faces")
    return same_set and bool(a["each"]["face"] == b["each"]["face"])


def _better(a: dict[str, Any], b: dict[str, Any]) -> dict[str, int]:
    known = {n: m.better for n, m in MEASURES.items() if m.better}
    each = [k for k in a["each"] if k in b["each"] and k not in ("face", "person")]
    return {k: known.get(k, -1) for k in each}  # what else a network is measured by is an error


def _line(
    key: str, better: int, a: dict[str, list[Any]], b: dict[str, list[Any]], paired: bool
) -> str:
    means = mean(a[key]), mean(b[key])
    low, high = difference(a, b, key, paired)
    word = "no difference"
    if low > 0 or high < 0:
        word = "better" if (low > 0) == (better > 0) else "worse"
    change = f"{means[1] - means[0]:+.3f}, 95 % {low:+.3f} to {high:+.3f}"
    return f"  {key:<28} {means[0]:.3f} → {means[1]:.3f}  {word:<13}  ({change})"


def difference(
    a: dict[str, list[Any]], b: dict[str, list[Any]], key: str, paired: bool
) -> tuple[float, float]:
    """The interval of the mean of b[key] minus that of a[key] over resampled people."""
    if paired:
        both = [
            (y - x, p)
            for x, y, p in zip(a[key], b[key], a["person"], strict=True)
            if x is not None and y is not None
        ]
        changes, people = (np.array(v) for v in zip(*both, strict=True))
        return metrics.bootstrap_interval(changes, people)
    means = []
    for seed, side in enumerate((a, b)):
        known = [(v, p) for v, p in zip(side[key], side["person"], strict=True) if v is not None]
        values, people = (np.array(v) for v in zip(*known, strict=True))
        means.append(metrics.bootstrap_means(values, people, seed=seed))
    return metrics.middle(means[1] - means[0])


# --- as a file


def as_text(numbers: dict[str, Any]) -> str:
    """metrics.json: indented, with a list of numbers in one line."""
    text = json.dumps(numbers, indent=2)
    numbers_alone = re.compile(r"\[([^\[\]{}\"]*)\]")
    return numbers_alone.sub(lambda m: f"[{' '.join(m[1].split())}]", text) + "\n"
