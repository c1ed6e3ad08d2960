"""Summary: from the rows of `evaluate` to the numbers of metrics.json, and from two of those to
what is better in which.

A number's name is followed by "_of_the_input" for the same measure of the photo copied unchanged,
and by "_of_real" for that of real photos: what stands between them is what an edit does.
"""

from __future__ import annotations

import functools
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
from facepaint.lab import loop
from facepaint.lab.data.faces import FaceSet
from facepaint.lab.data.split import SPLIT
from facepaint.lab.measure import metrics
from facepaint.lab.measure.distribution import Distance
from facepaint.lab.measure.distribution import between as between_sets
from facepaint.lab.measure.evaluate import (
    OTHERS,
    Row,
    Tools,
    embedded,
    held_out_of,
    stamp_of,
    start_of,
    twin,
)
from facepaint.lab.measure.judge import Judge

IDENTITY_RATIO = "identity_distance_ratio"
_DRAWS = 1000  # resampled sets of people, for an interval
LEAST = 10  # faces, for a group to be counted as the worst
_TURNED = 0.3  # about the sine of the angle from which a head is turned


@dataclass(frozen=True)
class Measure:
    """One number a face. says: what it is, in a few words. of: from its row and the places of the
    asked and the first expression to the number, None where it has none. better: 1 where more is
    better, -1 where less, else 0. by: which part of metrics.json names what measured it, where that
    can differ. copied: what the photo copied unchanged has by definition."""

    says: str
    of: Callable[[Row, int, int], float | None]
    better: int = 0
    by: str = ""
    copied: float | None = None


def _named(key: str, how: Callable[[Any, int, int], float]) -> Callable[[Row, int, int], float]:
    return lambda row, wanted, other: how(np.array([row[key]]), wanted, other)


def _likeliest(probabilities: Any, wanted: int, _: int) -> float:
    return metrics.rate_named(probabilities, wanted)


def _same_person(key: str) -> Callable[[Row, int, int], float | None]:
    return lambda row, *_: (
        metrics.same_person_rate(np.array([row[key]])) if row.get(key) is not None else None
    )


def _plain(key: str) -> Callable[[Row, int, int], float | None]:
    return lambda row, *_: row.get(key)


def _gain(row: Row, wanted: int, _: int) -> float:
    before, after = (np.array([row[k]]) for k in ("named_before", "named_after"))
    return metrics.gain_of_probability(before, after, wanted)


def _spearman(key: str) -> Callable[[Row, int, int], float | None]:
    return lambda row, *_: (
        metrics.spearman_of_strength(np.array([row[key]])) if key in row else None
    )


_ASKED = "read as asked rather than as it began"
_LIKELIEST = "read as asked, of all seven"
_ERROR = "of the blendshapes, from what was asked"
_POINTS = "of the landmarks, from the same person's real photo, of the irises' distance"
_RISES = "rank correlation of strength and probability"
_SAME = "taken for the same person"
_APART = "distance of the person's embedding"


def _of_other(name: str) -> dict[str, Measure]:
    """The measures of what another judge says, where it was asked; name: one of OTHERS."""
    by, judge = f", by the {name} judge", f"{name}_judge"

    def named(how: Callable[[Any, int, int], float], when: str) -> Any:
        key = f"{name}_named_{when}"
        return lambda row, *asked: how(np.array([row[key]]), *asked) if key in row else None

    return {
        f"{name}_two_way": Measure(_ASKED + by, named(metrics.rate_two_way, "after"), 1, judge),
        f"{name}_two_way_of_the_input": Measure(_ASKED + by, named(metrics.rate_two_way, "before")),
        f"{name}_named": Measure(_LIKELIEST + by, named(_likeliest, "after"), 1, judge),
        f"{name}_named_of_the_input": Measure(_LIKELIEST + by, named(_likeliest, "before")),
        f"{name}_spearman_of_strength": Measure(
            _RISES + by, _spearman(f"{name}_strengths"), 1, judge, 0
        ),
        f"{name}_spearman_of_strength_two_way": Measure(
            f"{_RISES} rather than as it began{by}",
            _spearman(f"{name}_strengths_two_way"),
            1,
            judge,
            0,
        ),
    }


MEASURES: dict[str, Measure] = {
    "rate_two_way": Measure(_ASKED, _named("named_after", metrics.rate_two_way), 1, "judge"),
    "rate_two_way_of_the_input": Measure(_ASKED, _named("named_before", metrics.rate_two_way)),
    "rate_named": Measure(_LIKELIEST, _named("named_after", _likeliest), 1, "judge"),
    "rate_named_of_the_input": Measure(_LIKELIEST, _named("named_before", _likeliest)),
    "gain_of_probability": Measure("rise of the asked one's probability", _gain, 1, "judge", 0),
    "spearman_of_strength": Measure(_RISES, _spearman("strengths"), 1, "judge", 0),
    "spearman_of_strength_two_way": Measure(
        f"{_RISES} rather than as it began", _spearman("strengths_two_way"), 1, "judge", 0
    ),
    **_of_other("second"),
    **_of_other("third"),
    "blendshape_error": Measure(_ERROR, _plain("blendshape_error"), -1),
    "blendshape_error_of_the_input": Measure(_ERROR, _plain("blendshape_error_of_the_input")),
    "blendshape_error_of_real": Measure(_ERROR, _plain("blendshape_error_of_real")),
    "landmark_error": Measure(_POINTS, _plain("landmark_error"), -1),
    "landmark_error_of_the_input": Measure(_POINTS, _plain("landmark_error_of_the_input")),
    "same_person_rate": Measure(_SAME, _same_person("identity"), 1, "identity", 1),
    "same_person_rate_of_real": Measure(_SAME, _same_person("identity_of_real")),
    "same_person_rate_of_others": Measure(_SAME, _same_person("identity_of_others")),
    "identity_distance": Measure(_APART, _plain("identity"), -1, "identity", 0),
    "identity_distance_of_real": Measure(_APART, _plain("identity_of_real")),
    "identity_distance_of_others": Measure(_APART, _plain("identity_of_others")),
    "change_255": Measure("mean change, of 255", _plain("change_255"), copied=0),
    "share_of_change_in_the_face": Measure("share of the change in the face", _plain("in_face"), 1),
    "share_of_change_at_mouth_eyes_brows": Measure(
        "share of the change at mouth, eyes and brows", _plain("at_features")
    ),
    "laplacian_energy_ratio": Measure(
        "sharpness of the skin, after over before", _plain("sharpness"), copied=1
    ),
    "laplacian_energy_ratio_of_real": Measure(
        "sharpness of the skin in another real photo", _plain("sharpness_of_real")
    ),
    "round_trip_255": Measure(
        "there and back, mean change, of 255", _plain("round_trip_255"), -1, copied=0
    ),
    "cycle_l1_255": Measure(
        "the study's cycle, mean change, of 255", _plain("cycle_255"), -1, copied=0
    ),
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
    for name, some in values.items():
        result[name] = mean(some)
        if MEASURES[name].copied is not None:
            result[f"{name}_of_the_input"] = MEASURES[name].copied
    rate = np.array(values["rate_two_way"], np.float64)
    result["rate_two_way_interval"] = list(metrics.bootstrap_interval(rate, np.array(people)))
    result["greatest_change_outside"] = max(r["outside"] for r in rows)
    result |= metrics.cycle_l1(result["cycle_l1_255"], CROP * CROP * 3)
    result |= _identity_ratio(rows)
    chosen = {n: v for n, v in values.items() if MEASURES[n].better}
    return result | {"each": {"face": [r["face"] for r in rows], "person": people} | chosen}


def _identity_ratio(rows: list[Row]) -> dict[str, Any]:
    """How many times as far the edit moves the embedding as a real photo of the same person with
    that expression is away: the ratio of the medians, over those who have such a photo; and the
    interval that holds 95 % of it over resampled people."""
    some = [r for r in rows if "identity_of_real" in r]
    if not some:
        return {}
    both = np.array([(r["identity"], r["identity_of_real"]) for r in some])
    people = np.array(_places([r["person"] for r in some]))
    each = [np.flatnonzero(people == p) for p in range(max(people) + 1)]
    drawn = np.random.default_rng(0).integers(len(each), size=(_DRAWS, len(each)))
    again = (np.median(both[np.concatenate([each[p] for p in d])], 0) for d in drawn)
    edited, real = np.median(both, 0)
    return {
        IDENTITY_RATIO: float(edited / real),
        f"{IDENTITY_RATIO}_interval": list(metrics.middle(np.array([e / r for e, r in again]))),
        f"{IDENTITY_RATIO}_faces": len(some),
    }


def _ratio_to_people(
    faces: FaceSet,
    embedding: Callable[[int], npt.NDArray[np.float64]],
    to: str,
    edited: list[Row],
) -> dict[str, Any]:
    """The same beside everyone in the sets of those who have such a photo, trained on or not, since
    no real photo came of training: so that the real distance does not hang on a handful of people.
    Of each person the first photo that shows how the edit begins and the first that shows `to`.

    embedding: of a photo, by its row.
    """
    some = [r for r in edited if "identity_of_real" in r]
    begin = np.isin(faces.sources, [r["source"] for r in some])
    begin &= faces.expressions == EXPRESSIONS.index(start_of(to))
    rows = np.flatnonzero(begin)
    _, first = np.unique(faces.subjects[rows], return_index=True)
    twins = [(int(i), twin(faces, int(i), to)) for i in rows[first]]
    pairs = [(embedding(i), embedding(k)) for i, k in twins if k is not None]
    apart = [float(np.linalg.norm(one - other)) for one, other in pairs]
    if not apart:
        return {}
    real = float(np.median(apart))
    return {
        f"{IDENTITY_RATIO}_to_people": float(np.median([r["identity"] for r in some])) / real,
        f"{IDENTITY_RATIO}_to_people_people": len(apart),
    }


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
    """Whether a head is turned by more than about 17 degrees; `turn` as `face.head_turn`."""
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
    """The two-way rate, that before the edit, and that of the same person, of every group."""
    values = values_of(rows, to)
    wanted = ("rate_two_way", "rate_two_way_of_the_input", "same_person_rate")
    names = [n for n in wanted if n in values]
    kinds = {kind: [of(r) for r in rows] for kind, of in _GROUPS.items()}
    shown: dict[str, npt.NDArray[Any]] = {n: np.array(values[n], np.float64) for n in names}
    return groups_of(kinds, shown, "rate_two_way", 1)


def report(
    faces: FaceSet,
    rows: dict[str, list[Row]],
    tools: Tools,
    embedder: str,
    distance: Distance,
    listen: loop.Listener | None = None,
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
        "judge": _of_judge(tools.judge),
        "identity": embedder,
        "to": {},
    }
    result |= {f"{name}_judge": _of_judge(judge) for name, judge in tools.others.items()}
    embed, embedding = tools.embed, None
    if embed:  # once each: the photos that edits begin with are the same for most expressions
        embedding = functools.cache(lambda i: embedded(faces, i, embed))
    for n, (to, some) in enumerate(rows.items(), 1):
        found = summary(some, to) | _real(faces, tools, to, some)
        if embedding:
            found |= _ratio_to_people(faces, embedding, to, some)
        found |= between_sets(faces, tools, to, some, distance)
        groups = by_group(some, to)
        for source, group in groups["source"].items():
            group |= _real(faces, tools, to, some, source)
        result["to"][to] = found | {"groups": groups, "each": found.pop("each")}
        if listen:
            listen(n, len(rows), {})
    return result


def _of_judge(judge: Judge) -> dict[str, Any]:
    return {
        "features": judge.features,
        "fitted": judge.fitted,
        "right_on_real": judge.accuracy,
    }


def _real(
    faces: FaceSet, tools: Tools, to: str, edited: list[Row], source: str | None = None
) -> dict[str, Any]:
    """What the judge makes of held-out real photos that show `to`: the ceiling of its numbers."""
    wanted, other = EXPRESSIONS.index(to), EXPRESSIONS.index(start_of(to))
    rows = held_out_of(faces, to)
    if source is not None:
        rows = rows[faces.sources[rows] == source]
    if not len(rows):
        return {"real_faces": 0}
    named = np.stack([tools.judge.of_real[int(i)] for i in rows])
    rates = {
        "real_faces": len(rows),
        "rate_two_way_of_real": metrics.rate_two_way(named, wanted, other),
        "rate_named_of_real": metrics.rate_named(named, wanted),
    }
    for name, judge in tools.others.items():
        said = np.stack([judge.of_real[int(i)] for i in rows])
        rates[f"{name}_two_way_of_real"] = metrics.rate_two_way(said, wanted, other)
        rates[f"{name}_named_of_real"] = metrics.rate_named(said, wanted)
    if source is None:
        before = np.mean([r["named_before"][wanted] for r in edited])
        rates["gain_of_probability_of_real"] = float(named[:, wanted].mean() - before)
    return rates


# --- two of them compared


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """What the second metrics.json is better or worse in than the first, line by line.

    Each difference comes with the interval that holds 95 % of it over resampled people (pairs of
    the same faces where both measured the same ones): "no difference" where that holds 0. What
    different judges or identities say is not compared. What an edit costs was measured once and has
    no interval.
    """
    others = [k for k in (f"{name}_judge" for name in OTHERS) if k in first and k in second]
    apart = [
        k
        for k in ("judge", *others, "identity")
        if _measured_by(first, k) != _measured_by(second, k)
    ]
    lines = [f"another {k.replace('_', ' ')} in each: what it says is not compared" for k in apart]
    for name, a in parts(first).items():
        b = parts(second).get(name)
        if b is None:
            continue
        paired = _same_faces(first, second, a, b)
        how = "the same faces" if paired else "other faces"
        lines.append(f"{name}: {len(a['each']['face'])} and {len(b['each']['face'])}, {how}")
        for key, better in _better(a, b, apart).items():
            lines.append(_line(key, better, a["each"], b["each"], paired))
    return lines + _costs(first.get("cost", {}), second.get("cost", {}))


def in_common(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether there is a number in both, of the same expression or network."""
    both = parts(second)
    return any(_better(a, both[name], []) for name, a in parts(first).items() if name in both)


def _measured_by(numbers: dict[str, Any], what: str) -> Any:
    """What a judge was made of, or the name of an identity; how good a judge is follows from it."""
    named = numbers.get(what)
    if isinstance(named, dict):
        return {k: v for k, v in named.items() if k != "right_on_real"}
    return named


def _costs(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """What each costs, side by side: milliseconds only from one machine and clock."""
    known = [k for k in first if k in second and re.match(_COSTS, k)]
    if any(first.get(k) != second.get(k) for k in _PLACE):
        known = [k for k in known if k in ("gmacs", "parameters_m")]
    lines = [f"  {k:<28} {first[k]:.3f} → {second[k]:.3f}" for k in known]
    return ["cost: measured once, so without an interval", *lines] if lines else []


_COSTS = r"ms_|gmacs$|parameters_m$|peak_mb_|cold_start_s$"
_PLACE = ("machine", "processor", "cores", "threads_of_a_network", "clock")


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


def _better(a: dict[str, Any], b: dict[str, Any], apart: list[str]) -> dict[str, int]:
    known = {n: m.better for n, m in MEASURES.items() if m.better}
    left = {n for n, m in MEASURES.items() if m.by in apart} | {"face", "person"}
    each = [k for k in a["each"] if k in b["each"] and k not in left]
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
