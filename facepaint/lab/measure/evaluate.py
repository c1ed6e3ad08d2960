"""Evaluate: one command that says how good a method is on people it was not trained on.

Every held-out face is edited to every expression, through the runtime's own steps, and measured;
each face's numbers are kept as a line of rows.jsonl, so a run that was stopped goes on. Then come
metrics.json and report.html.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint._version import __version__
from facepaint.change import GAZE, Targets, change
from facepaint.composite import composite
from facepaint.edit import Edit
from facepaint.errors import LabError
from facepaint.face import EXPRESSIONS, Box, Face, FloatArray
from facepaint.files import whole_lines
from facepaint.lab import loop
from facepaint.lab.data.faces import INNER, WIDE_PIXELS, FaceSet
from facepaint.lab.data.samples import SMILING
from facepaint.lab.measure import identity, judge, metrics
from facepaint.methods import Method
from facepaint.models import Model
from facepaint.segment import face_mask

Pixels = npt.NDArray[np.uint8]
Row = dict[str, Any]
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Tools:
    """What measures: the method under test, the reader, a judge, an embedder or None."""

    method: Method
    reader: Model
    judge: judge.Judge
    embed: identity.Embed | None


def labels_of(faces: FaceSet) -> npt.NDArray[np.int64]:
    """Place in EXPRESSIONS of each face: its label, or happy and neutral by a sure smile score."""
    smile = faces.blendshapes[:, SMILING].mean(1)
    labels = faces.expressions.astype(np.int64)
    unknown = (labels < 0) & np.isfinite(smile)
    labels[unknown & (smile > 0.5)] = EXPRESSIONS.index("happy")
    labels[unknown & (smile < 0.08)] = EXPRESSIONS.index("neutral")
    return labels


def sources_for(faces: FaceSet, to: str, limit: int) -> npt.NDArray[np.intp]:
    """Held-out faces to make `to`: happy ones for neutral, neutral ones for all else; at most
    `limit` of each set."""
    labels = labels_of(faces)
    start = EXPRESSIONS.index("happy" if to == "neutral" else "neutral")
    rows = np.flatnonzero(faces.held_out & (labels == start))
    each = [rows[faces.sources[rows] == s][:limit] for s in sorted(set(faces.sources[rows]))]
    return np.concatenate(each) if each else rows


def measure(
    faces: FaceSet,
    tools: Tools,
    targets: Sequence[str],
    out: Path,
    limit: int = 40,
    listen: loop.Listener | None = None,
) -> dict[str, list[Row]]:
    """The rows of every target; those that `out`/rows.jsonl holds already are not made again."""
    out.mkdir(parents=True, exist_ok=True)
    plan = [(to, int(i)) for to in targets for i in sources_for(faces, to, limit)]
    if not plan:
        raise LabError("no held-out face that is happy or neutral; nothing to evaluate")
    kept = (json.loads(line) for line in whole_lines(out / "rows.jsonl"))
    known: dict[tuple[str, int], Row] = {(r["to"], r["face"]): r for r in kept}
    with (out / "rows.jsonl").open("a") as file:
        for n, (to, i) in enumerate(plan):
            if (to, i) not in known:
                known[to, i] = row = {"to": to, "face": i} | _measured(faces, i, to, tools)
                file.write(json.dumps(row) + "\n")
                file.flush()
            if listen:
                listen(n + 1, len(plan), {})
    return {to: [known[t, i] for t, i in plan if t == to] for to in targets}


def edited(method: Method, pixels: Pixels, face: Face, edit: Edit) -> tuple[Pixels, FloatArray]:
    """A wide crop after the edit, and the mask under which it may have changed [H, W]."""
    after, crop = pixels.copy(), align.crop(pixels, INNER)
    strokes = method(crop, face, edit)
    inside = align.apply(align.invert(INNER), face.landmarks)
    mask = face_mask(inside)
    if strokes is not None:
        composite(after, INNER, strokes, mask)
    return after, mask


def read_face(reader: Model, pixels: Pixels) -> Face:
    """What the reader reads in a wide crop, in its pixels."""
    out = reader(crops=align.crop(pixels, INNER)[None])
    side = float(WIDE_PIXELS)
    return Face(
        index=0,
        box=Box(0, 0, side, side, 1),
        landmarks=align.apply(INNER, out["landmarks"][0]),
        blendshapes=out["blendshapes"][0],
        confidence=float(out["confidence"][0]),
        probabilities=out["expressions"][0],
    )


def _measured(faces: FaceSet, i: int, to: str, tools: Tools) -> Row:
    before = np.array(faces.crops[i])
    face = read_face(tools.reader, before)
    made = [edited(tools.method, before, face, Edit(to, s))[0] for s in STRENGTHS]
    after, inside = made[-1], _inside(before.shape)
    again = read_face(tools.reader, after)
    back, _ = edited(tools.method, after, again, _undo(face, tools))
    named = tools.judge([align.crop(p, INNER) for p in (before, *made)])
    skin = metrics.skin_mask(face.landmarks, before.shape)
    row: Row = {
        "source": str(faces.sources[i]),
        "named_before": [round(float(v), 5) for v in named[0]],
        "named_after": [round(float(v), 5) for v in named[-1]],
        "strengths": [round(float(n[EXPRESSIONS.index(to)]), 5) for n in named],
        "smile": [float(f.blendshapes[SMILING].mean()) for f in (face, again)],
        "outside": metrics.greatest_change_outside(before, after, inside),
        "change_255": metrics.mean_l1_255([before], [after]),
        "round_trip_255": metrics.mean_l1_255([before], [back]),
        "sharpness": metrics.laplacian_energy_ratio(before, after, skin),
        "blendshape_error": _asked_error(tools.method, face, again, to),
        "tone": metrics.tone(metrics.typology_angle(before, face.landmarks)),
        "turn": metrics.head_turn(face.landmarks),
        "age": age_group(str(faces.subjects[i])),
    }
    if tools.embed:
        one, two = (tools.embed(p, face.landmarks) for p in (before, after))
        row["identity"] = float(np.linalg.norm(one - two))
    return row


def _asked_error(method: Method, face: Face, after: Face, to: str) -> float | None:
    """How far what is read after the edit is from what was asked, gaze left out; None for a method
    that is not asked for blendshapes."""
    targets = _targets(method)
    if targets is None:
        return None
    asked = face.blendshapes + change(Edit(to), face, targets)
    return metrics.blendshape_error(after.blendshapes[~GAZE], asked[~GAZE])


def age_group(subject: str) -> str:
    """The age group that a UTKFace name carries (utk-52_…); "unknown" for others."""
    match = re.match(r"utk-(\d+)_", subject)
    if not match:
        return "unknown"
    age = int(match[1])
    return "under 30" if age < 30 else "30 to 50" if age <= 50 else "over 50"


def _undo(face: Face, tools: Tools) -> Edit:
    """The edit that asks for the first face's own blendshapes, where the method takes that."""
    if _targets(tools.method) is not None:
        return Edit(like=face)
    return Edit(EXPRESSIONS[int(face.probabilities[:2].argmax())])


def _targets(method: Method) -> Targets | None:
    """The blendshapes of each expression; None for a method that knows expressions by name only."""
    named = method.card["expressions"]
    if not isinstance(named, dict):
        return None
    return {k: np.array(v, np.float32) for k, v in named.items()}


def _inside(shape: tuple[int, ...]) -> FloatArray:
    """1 where the crop lies in its wide crop: outside of it nothing may ever change."""
    mask = np.zeros(shape[:2], np.float32)
    low, high = (align.apply(INNER, np.array([[v, v]], np.float32))[0] for v in (0.0, 1.0))
    mask[int(low[1]) : int(np.ceil(high[1])), int(low[0]) : int(np.ceil(high[0]))] = 1
    return mask


# --- from rows to numbers


def summary(rows: list[Row], to: str) -> dict[str, Any]:
    """The metrics of one target over its rows."""
    wanted = EXPRESSIONS.index(to)
    other = EXPRESSIONS.index("happy" if to == "neutral" else "neutral")
    before, after = (np.array([r[k] for r in rows]) for k in ("named_before", "named_after"))
    two_way = (after[:, wanted] > after[:, other]).astype(float)
    result: dict[str, Any] = {
        "faces": len(rows),
        "rate_two_way": metrics.rate_two_way(after, wanted, other),
        "rate_two_way_interval": list(metrics.bootstrap_interval(two_way)),
        "rate_two_way_of_the_input": metrics.rate_two_way(before, wanted, other),
        "rate_named": metrics.rate_named(after, wanted),
        "gain_of_probability": metrics.gain_of_probability(before, after, wanted),
        "spearman_of_strength": metrics.spearman_of_strength(
            np.array([r["strengths"] for r in rows])
        ),
        "greatest_change_outside": max(r["outside"] for r in rows),
        "change_255": _mean(rows, "change_255"),
        "round_trip_255": _mean(rows, "round_trip_255"),
        "laplacian_energy_ratio": float(np.median([r["sharpness"] for r in rows])),
    }
    if rows[0]["blendshape_error"] is not None:
        result["blendshape_error"] = _mean(rows, "blendshape_error")
    if "identity" in rows[0]:
        distances = np.array([r["identity"] for r in rows])
        result["same_person_rate"] = metrics.same_person_rate(distances)
        result["median_identity_distance"] = float(np.median(distances))
    return result


def _mean(rows: list[Row], key: str) -> float:
    return float(np.mean([r[key] for r in rows]))


_GROUPS: dict[str, Callable[[Row], str]] = {
    "source": lambda r: str(r["source"]),
    "tone": lambda r: str(r["tone"]),
    "turn": lambda r: "turned" if abs(r["turn"]) > 0.3 else "straight",
    "age": lambda r: str(r["age"]),
}
_LEAST = 10  # faces, for a group to be counted as the worst


def by_group(rows: list[Row], to: str) -> dict[str, Any]:
    """The two-way rate of every group, and the worst group of at least ten faces."""
    result: dict[str, Any] = {}
    worst: tuple[float, str] | None = None
    for kind, of in _GROUPS.items():
        result[kind] = {}
        for name in sorted({of(r) for r in rows}):
            some = [r for r in rows if of(r) == name]
            rate = summary(some, to)["rate_two_way"]
            result[kind][name] = {"faces": len(some), "rate_two_way": rate}
            if len(some) >= _LEAST and (worst is None or rate < worst[0]):
                worst = (rate, f"{kind} {name}")
    result["worst"] = {"group": worst[1], "rate_two_way": worst[0]} if worst else None
    return result


def report(
    faces: FaceSet, rows: dict[str, list[Row]], tools: Tools, embedder: str
) -> dict[str, Any]:
    """What metrics.json holds, but for the cost."""
    card = tools.method.card
    return {
        "protocol": "held-out people of the sets, wide crops of 224 pixels, strength 1; two-way: "
        "asked against where it began (happy for neutral, neutral for all else)",
        "made_with": f"facepaint {__version__}",
        "method": card["name"],
        "judge": {"features": tools.judge.features, "right_on_real": tools.judge.accuracy},
        "identity": embedder,
        "to": {
            to: summary(some, to)
            | distribution(faces, tools, to, some)
            | {"groups": by_group(some, to)}
            for to, some in rows.items()
        },
    }


def distribution(
    faces: FaceSet, tools: Tools, to: str, rows: list[Row], features: str = "mobilenet_v2"
) -> dict[str, float]:
    """Kernel distances on `features` of the real held-out faces of `to`: to the edited ones, to the
    photos before the edit, and to each other (one half of the people against the other)."""
    real_rows = np.flatnonzero(faces.held_out & (labels_of(faces) == EXPRESSIONS.index(to)))
    # the sets in the shares in which they were edited
    counts = {s: sum(r["source"] == s for r in rows) for s in {r["source"] for r in rows}}
    chosen = [real_rows[faces.sources[real_rows] == s][: 2 * n] for s, n in counts.items()]
    real = np.concatenate(chosen)
    if min(len(real) // 2, len(rows)) < _LEAST:
        return {}
    before, after = [], []
    for row in rows:
        pixels = np.array(faces.crops[row["face"]])
        made, _ = edited(tools.method, pixels, read_face(tools.reader, pixels), Edit(to))
        before.append(align.crop(pixels, INNER))
        after.append(align.crop(made, INNER))
    extract = judge.extractor(features)
    seen = judge.features(extract, [align.crop(faces.crops[i], INNER) for i in real])
    # each is brought to unit deviation, or a few loud features would decide
    scale = seen.std(0) + 1e-6
    mean = seen.mean(0)

    def scaled(pictures: Sequence[Pixels]) -> npt.NDArray[Any]:
        return np.asarray((judge.features(extract, pictures) - mean) / scale)

    seen = (seen - mean) / scale
    name = f"kernel_distance_{features}"
    return {
        name: metrics.kernel_distance(seen, scaled(after)),
        f"{name}_of_the_input": metrics.kernel_distance(seen, scaled(before)),
        f"{name}_of_real": metrics.kernel_distance(seen[::2], seen[1::2]),
    }


_BETTER_HIGH = ("rate_two_way", "rate_named", "spearman_of_strength", "same_person_rate")
_BETTER_LOW = ("round_trip_255", "blendshape_error", "median_identity_distance")


def compare(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """What the second report is better or worse in than the first, line by line. The two-way rate
    is "no difference" where either's interval holds the other's rate; the rest is told as it is."""
    lines = []
    for to in first["to"]:
        if to not in second["to"]:
            continue
        a, b = first["to"][to], second["to"][to]
        (low, high), (low2, high2) = a["rate_two_way_interval"], b["rate_two_way_interval"]
        rates = f"{a['rate_two_way']:.3f} → {b['rate_two_way']:.3f}"
        apart = b["rate_two_way"] > high and a["rate_two_way"] < low2
        behind = b["rate_two_way"] < low and a["rate_two_way"] > high2
        verdict = "better" if apart else "worse" if behind else "no difference"
        lines.append(f"to {to}: {verdict}  ({rates}; 95 % of the first {low:.3f} to {high:.3f})")
        for name in (*_BETTER_HIGH[1:], *_BETTER_LOW):
            if name in a and name in b:
                lines.append(
                    f"  {name}: {a[name]:.3f} → {b[name]:.3f} {_word(name, a, b)}".rstrip()
                )
    return lines


def _word(name: str, a: dict[str, Any], b: dict[str, Any]) -> str:
    if abs(a[name] - b[name]) < 0.01 * max(abs(a[name]), 1e-9):
        return ""
    return "better" if (b[name] > a[name]) == (name in _BETTER_HIGH) else "worse"
