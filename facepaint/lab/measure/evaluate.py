"""Evaluate: every held-out person edited to every expression, through the runtime's own steps, and
measured. Each face's numbers are kept as a line of rows.jsonl, so a run that was stopped goes on;
`facepaint.lab.measure.summary` makes numbers of the rows.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.change import GAZE
from facepaint.edit import Edit
from facepaint.errors import LabError
from facepaint.face import EXPRESSIONS, LEFT_IRIS, RIGHT_IRIS, Box, Face, FloatArray, head_turn
from facepaint.files import whole_lines, write_whole
from facepaint.lab import loop
from facepaint.lab.data.faces import INNER, WIDE_PIXELS, FaceSet
from facepaint.lab.data.moves import still_frame
from facepaint.lab.data.topology import SMILING
from facepaint.lab.measure import identity, metrics
from facepaint.lab.measure.judge import Judge
from facepaint.methods import Method, known_to
from facepaint.models import Model
from facepaint.segment import face_mask, region_mask

Pixels = npt.NDArray[np.uint8]
Row = dict[str, Any]
OTHERS = ("second", "third")  # judges beside the own one; what they say begins with it
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
_FORMAT = 6  # of the rows; raise it when what they hold changes


@dataclass(frozen=True)
class Tools:
    """What measures: the method under test, the reader, a judge, an embedder or None; and other
    judges, by which of OTHERS they are."""

    method: Method
    reader: Model
    judge: Judge
    embed: identity.Embed | None
    others: Mapping[str, Judge] = field(default_factory=dict)


def start_of(to: str) -> str:
    """The expression of the faces that are made `to`."""
    return "happy" if to == "neutral" else "neutral"


def labels_of(faces: FaceSet) -> npt.NDArray[np.int64]:
    """Place in EXPRESSIONS of each face: its label, or happy and neutral by a sure smile score."""
    smile = faces.blendshapes[:, SMILING].mean(1)
    labels = faces.expressions.astype(np.int64)
    unknown = (labels < 0) & np.isfinite(smile)
    labels[unknown & (smile > 0.5)] = EXPRESSIONS.index("happy")
    labels[unknown & (smile < 0.08)] = EXPRESSIONS.index("neutral")
    return labels


def held_out_of(faces: FaceSet, expression: str) -> npt.NDArray[np.intp]:
    """The held-out faces that show an expression."""
    return np.flatnonzero(faces.held_out & (labels_of(faces) == EXPRESSIONS.index(expression)))


def not_measured(faces: FaceSet, to: str, unknown: Sequence[str]) -> str:
    """Why faces made `to` cannot be measured, "" where they can. unknown: what the judge is not
    fitted on."""
    lacking = [e for e in (to, start_of(to)) if e in unknown]
    if lacking:
        return f"no face to learn {lacking[0]!r} from, so no judge of it"
    if not len(held_out_of(faces, start_of(to))):
        return f"no held-out {start_of(to)} face to begin from"
    return ""


def sources_for(faces: FaceSet, to: str, limit: int) -> npt.NDArray[np.intp]:
    """Held-out faces to make `to`: happy ones for neutral, neutral ones for all else; at most
    `limit` of each set, of as many people as that allows."""
    rows = held_out_of(faces, start_of(to))
    before: dict[str, int] = {}  # how many of each person's came earlier
    turns = []
    for person in map(str, faces.subjects[rows]):
        turns.append(before.get(person, 0))
        before[person] = turns[-1] + 1
    rows = rows[np.argsort(turns, kind="stable")]
    each = [rows[faces.sources[rows] == s][:limit] for s in sorted(set(faces.sources[rows]))]
    return np.sort(np.concatenate(each)) if each else rows


def stamp_of(faces: FaceSet) -> str:
    """A short name of the faces: the same for the same people in the same order."""
    return f"{len(faces)}-{zlib.crc32(faces.subjects.tobytes() + labels_of(faces).tobytes()):08x}"


def measure(
    faces: FaceSet,
    tools: Tools,
    targets: Sequence[str],
    out: Path,
    limit: int = 40,
    listen: loop.Listener | None = None,
    asked: dict[str, str] | None = None,
) -> dict[str, list[Row]]:
    """The rows of every target; those that `out`/rows.jsonl holds already are not made again.

    asked: what the rows depend on, by name. LabError where those in `out` depend on something else.
    """
    plan = [(to, int(i)) for to in targets for i in sources_for(faces, to, limit)]
    if not plan:
        raise LabError("no held-out face that is happy or neutral; nothing to evaluate")
    _same_run(out, {"format": str(_FORMAT), "faces": stamp_of(faces)} | (asked or {}))
    kept = (json.loads(line) for line in whole_lines(out / "rows.jsonl"))
    known: dict[tuple[str, int], Row] = {(r["to"], r["face"]): r for r in kept}
    left = [key for key in plan if key not in known]
    with (out / "rows.jsonl").open("a") as file:
        for n, (to, i) in enumerate(left, len(plan) - len(left)):
            known[to, i] = row = {"to": to, "face": i} | _measured(faces, i, to, tools)
            file.write(json.dumps(row) + "\n")
            file.flush()
            if listen:
                listen(n + 1, len(plan), {})
    return {to: [known[t, i] for t, i in plan if t == to] for to in targets}


def _same_run(out: Path, asked: dict[str, str]) -> None:
    """Note in `out` what its rows depend on, or compare it with what was noted."""
    note = out / "asked.json"
    if (out / "rows.jsonl").exists():
        had = json.loads(note.read_text()) if note.exists() else {}
        other = [k for k in asked if had.get(k) != asked[k]]
        if other:
            what = ", ".join(f"{k} {had.get(k, 'unknown')}, not {asked[k]}" for k in other)
            raise LabError(f"{out} holds rows made with {what}; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(note, json.dumps(asked, indent=2))


def edited(method: Method, pixels: Pixels, face: Face, edit: Edit) -> Pixels:
    """A wide crop after the edit."""
    after = pixels.copy()
    method.paint(after, face, edit)
    return after


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


def in_crop(face: Face) -> FloatArray:
    """The landmarks of a face of a wide crop in crop units."""
    return align.apply(align.invert(INNER), face.landmarks)


def _measured(faces: FaceSet, i: int, to: str, tools: Tools) -> Row:
    before = np.array(faces.crops[i])
    face = read_face(tools.reader, before)
    made = [edited(tools.method, before, face, Edit(to, s)) for s in STRENGTHS]
    after = made[-1]
    again = read_face(tools.reader, after)
    row: Row = {
        "source": str(faces.sources[i]),
        "person": str(faces.subjects[i]),
        "tone": metrics.tone(metrics.typology_angle(before, face.landmarks)),
        "turn": head_turn(face.landmarks),
        "age": age_group(str(faces.subjects[i])),
    }
    row |= _judged(tools.judge, before, made, to, row["source"])
    for name, other in tools.others.items():
        said = _judged(other, before, made, to, row["source"])
        row |= {f"{name}_{key}": value for key, value in said.items()}
    row |= _local((face, again), before, after)
    row |= _returned(tools, face, again, (before, after), start_of(to))
    row |= _reached(faces, i, to, tools, (face, again))
    if tools.embed:
        row |= _identity(faces, i, to, tools.embed, (face, before, after))
    return row


def _judged(sees: Judge, before: Pixels, made: list[Pixels], to: str, source: str) -> Row:
    """What the judge takes the face for, before the edit, after it, and at each strength, of all
    seven and rather than as it began."""
    named = sees([align.crop(p, INNER) for p in (before, *made)], source)
    asked, began = (named[:, EXPRESSIONS.index(e)].astype(float) for e in (to, start_of(to)))
    return {
        "named_before": [round(float(v), 5) for v in named[0]],
        "named_after": [round(float(v), 5) for v in named[-1]],
        # not rounded: of one who is nearly sure ranks would be lost
        "strengths": asked.tolist(),
        "strengths_two_way": (asked / (asked + began + 1e-30)).tolist(),
    }


def _local(faces: tuple[Face, Face], before: Pixels, after: Pixels) -> Row:
    """Where pixels changed, by how much, and whether skin kept its sharpness, away from mouth and
    eyes as they were and as they are; faces: as read before and after."""
    face, shape = faces[0], before.shape
    crop = align.crop(before, INNER), align.crop(after, INNER)
    moving = region_mask(face, INNER, ("mouth", "eyes", "brows"))
    skin = np.multiply(*(metrics.skin_mask(f.landmarks, shape) for f in faces))
    return {
        "outside": metrics.greatest_change_outside(
            before, after, _inside(before.shape, align.align(face.landmarks))
        ),
        "change_255": metrics.mean_l1_255([before], [after]),
        "in_face": metrics.share_of_change_at(*crop, face_mask(in_crop(face))),
        "at_features": metrics.share_of_change_at(*crop, moving),
        "sharpness": metrics.laplacian_energy_ratio(before, after, skin),
    }


def _returned(
    tools: Tools, face: Face, again: Face, pictures: tuple[Pixels, Pixels], start: str
) -> Row:
    """How far from the photo what comes back is: by the edit that undoes the first, and by the
    expression that the photo began with, as in the study's cycle (128-pixel crops)."""
    before, after = pictures
    back = edited(tools.method, after, again, _undo(face, tools.method))
    cycle = edited(tools.method, after, again, Edit(start))
    crops = [[align.crop(p, INNER)] for p in (before, cycle)]
    return {
        "round_trip_255": metrics.mean_l1_255([before], [back]),
        "cycle_255": metrics.mean_l1_255(*crops),
    }


def _undo(face: Face, method: Method) -> Edit:
    """The edit that asks for the first face's own blendshapes, where the method takes that."""
    if asks_blendshapes(method):
        return Edit(like=face)
    known = [EXPRESSIONS.index(e) for e in known_to(method)]
    return Edit(EXPRESSIONS[known[int(face.probabilities[known].argmax())]])


def _reached(
    faces: FaceSet, i: int, to: str, tools: Tools, seen: tuple[Face, Face]
) -> dict[str, float]:
    """How far what is read before and after is from the target: from the blendshapes asked for,
    gaze left out, where the method is asked for some; and from the landmarks of a real photo in
    which the same person shows that expression, where there is one, laid over by still points."""
    row, other = {}, twin(faces, i, to)
    read = dict(zip(("_of_the_input", ""), seen, strict=True))
    if other is not None:
        laid = still_frame(faces.landmarks[i], faces.landmarks[other])
        wanted = align.apply(laid, faces.landmarks[other])
        eyes = np.linalg.norm(wanted[[RIGHT_IRIS]] - wanted[[LEFT_IRIS]], axis=1)
        for name, face in read.items():
            error = metrics.landmark_error(in_crop(face)[None], wanted[None], eyes)
            row[f"landmark_error{name}"] = error
        read["_of_real"] = read_face(tools.reader, np.array(faces.crops[other]))
        row["sharpness_of_real"] = _sharpness_of_real(faces, i, other)
    asked = tools.method.wanted(seen[0], Edit(to))
    if asked is not None:
        for name, face in read.items():
            error = metrics.blendshape_error(face.blendshapes[~GAZE], asked[~GAZE])
            row[f"blendshape_error{name}"] = error
    return row


def _sharpness_of_real(faces: FaceSet, i: int, other: int) -> float:
    """The Laplacian energy of a real photo's skin over that of another one of the same person."""
    last, first = (
        metrics.laplacian_energy(crop, metrics.skin_mask(_landmarks(faces, k), crop.shape))
        for k, crop in ((k, np.array(faces.crops[k])) for k in (other, i))
    )
    return last / first if first else 1.0


def _identity(
    faces: FaceSet,
    i: int,
    to: str,
    embed: identity.Embed,
    pictures: tuple[Face, Pixels, Pixels],
) -> Row:
    """Distances of embeddings: to the edited face; to a real photo of the same person with that
    expression, where there is one; to another person of the same set."""
    face, before, after = pictures
    own = embed(before, face.landmarks)

    def distance(k: int) -> float:
        return float(np.linalg.norm(own - embedded(faces, k, embed)))

    row = {"identity": float(np.linalg.norm(own - embed(after, face.landmarks)))}
    other, stranger = twin(faces, i, to), _stranger(faces, i)
    if other is not None:
        row["identity_of_real"] = distance(other)
    if stranger is not None:
        row["identity_of_others"] = distance(stranger)
    return row


def embedded(faces: FaceSet, i: int, embed: identity.Embed) -> npt.NDArray[np.float64]:
    """The embedding of a photo, row i of the set."""
    return embed(np.array(faces.crops[i]), _landmarks(faces, i))


def _landmarks(faces: FaceSet, i: int) -> FloatArray:
    """The labelled landmarks of a face in pixels of its wide crop."""
    return align.apply(INNER, faces.landmarks[i])


def twin(faces: FaceSet, i: int, to: str) -> int | None:
    """The first photo in which the person of row i shows `to` by its label, None where none is."""
    same = (faces.subjects == faces.subjects[i]) & (faces.expressions == EXPRESSIONS.index(to))
    return int(np.flatnonzero(same)[0]) if same.any() else None


def _stranger(faces: FaceSet, i: int) -> int | None:
    """The next held-out face of the same set that is another person's."""
    other = faces.held_out & (faces.sources == faces.sources[i])
    rows = np.flatnonzero(other & faces.is_face & (faces.subjects != faces.subjects[i]))
    return int(rows[np.searchsorted(rows, i) % len(rows)]) if len(rows) else None


def age_group(subject: str) -> str:
    """The age group that a UTKFace name carries (utk-52_…); "unknown" for others."""
    match = re.match(r"utk-(\d+)_", subject)
    if not match:
        return "unknown"
    age = int(match[1])
    return "under 30" if age < 30 else "30 to 50" if age <= 50 else "over 50"


def asks_blendshapes(method: Method) -> bool:
    """Whether a method takes blendshapes, or knows expressions by name alone."""
    return isinstance(method.card["expressions"], dict)


def _inside(shape: tuple[int, ...], frame: FloatArray) -> FloatArray:
    """1 where the crop of `frame` lies, and where it cuts a pixel: outside nothing may change."""
    corners = align.apply(frame, np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)) - 0.5
    mask = np.zeros(shape[:2], np.float32)
    cv2.fillConvexPoly(mask, np.rint(corners * 16).astype(np.int32), 1.0, shift=4)
    return np.asarray(cv2.dilate(mask, np.ones((3, 3))), np.float32)
