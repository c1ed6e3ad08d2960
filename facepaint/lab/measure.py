"""Measure: how good an exported network is on people it was not trained on."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.change import change
from facepaint.composite import composite
from facepaint.edit import Edit
from facepaint.face import BLENDSHAPES, EXPRESSIONS, LEFT_IRIS, RIGHT_IRIS, Box, Face, FloatArray
from facepaint.lab import augment
from facepaint.lab.faces import WIDE, WIDE_PIXELS, FaceSet
from facepaint.lab.samples import SMILING
from facepaint.methods import Strokes
from facepaint.models import Model, open_model
from facepaint.read import LOOKS, MIN_CONFIDENCE
from facepaint.segment import face_mask

# the frame of the crop within its wide crop, in the wide crop's pixels
_INNER = np.array([[1, 0, (WIDE - 1) / 2], [0, 1, (WIDE - 1) / 2]]) * (WIDE_PIXELS / WIDE)


def reader(model: Model, faces: FaceSet, seed: int = 0) -> dict[str, Any]:
    """The reader on held-out people, started from frames as wrong as a detector's box.

    landmark_error: mean distance of landmarks over the distance between the irises.
    smile_correlation: of the mean of both smiles with its label. blendshape_mae: mean absolute
    error. expression_accuracy: on the labelled sets, seven classes. faces_kept, others_dropped:
    shares of faces and of what is none on the right side of MIN_CONFIDENCE.
    """
    rows = np.flatnonzero(faces.held_out)
    rng = np.random.default_rng(seed)
    seen = [_look(model, faces.crops[i], augment.random_frame(rng, 8, 0.1, 0.04)) for i in rows]
    points = np.stack([s[0] for s in seen])
    blend, confidence, named = (np.stack([s[n] for s in seen]) for n in (1, 2, 3))
    truth, labels = faces.landmarks[rows], faces.blendshapes[rows]
    face, known = faces.is_face[rows], np.isfinite(labels[:, 0])
    error = np.linalg.norm(points - truth, axis=2).mean(1)
    error /= np.linalg.norm(truth[:, RIGHT_IRIS] - truth[:, LEFT_IRIS], axis=1)
    smile = blend[known][:, SMILING].mean(1), labels[known][:, SMILING].mean(1)
    expressed = faces.expressions[rows] >= 0
    return {
        "people": len({*faces.subjects[rows]}),
        "faces": int(known.sum()),
        "landmark_error": float(error[known].mean()),
        "landmark_error_scenes": float(error[face & ~known].mean())
        if (face & ~known).any()
        else None,
        "smile_correlation": float(np.corrcoef(*smile)[0, 1]),
        "blendshape_mae": float(np.abs(blend[known] - labels[known]).mean()),
        "expression_accuracy": float((named.argmax(1) == faces.expressions[rows])[expressed].mean())
        if expressed.any()
        else None,
        "faces_kept": float((confidence[face] >= MIN_CONFIDENCE).mean()),
        "others_dropped": float((confidence[~face] < MIN_CONFIDENCE).mean())
        if (~face).any()
        else None,
        "ms_a_forward": milliseconds(model, crops=_noise_crop()),
    }


def painter(model: Model, faces: FaceSet, limit: int = 60) -> dict[str, Any]:
    """The painter on held-out people, made happy and made neutral, at most `limit` of each set.

    The reader reads the results; it also took part in training, so it flatters. read_as: share
    whose expression it takes for the asked one rather than the other; smile_*: mean smile score
    before, asked for, and after; change: mean absolute change within the crop, 0 to 255.
    """
    reader = open_model("reader")
    targets = {n: np.array(v, np.float32) for n, v in model.card["expressions"].items()}
    smile = faces.blendshapes[:, SMILING].mean(1)
    result: dict[str, Any] = {"judge": "the reader, which took part in training"}
    for to, chosen in (("happy", smile < 0.1), ("neutral", smile > 0.5)):
        rows = np.flatnonzero(faces.held_out & chosen)
        rows = np.concatenate([rows[faces.sources[rows] == s][:limit] for s in {*faces.sources}])
        if len(rows):
            seen = [_edited(model, reader, faces, int(i), to, targets) for i in rows]
            other = "neutral" if to == "happy" else "happy"
            result[f"to_{to}"] = {"people": len(rows)} | _summary(seen, to, other)
    noise = _noise_crop(), np.full((1, len(BLENDSHAPES)), 0.3, np.float32)
    return result | {"ms_a_forward": milliseconds(model, crops=noise[0], change=noise[1])}


def _summary(seen: list[dict[str, Any]], to: str, other: str) -> dict[str, float]:
    a, b = EXPRESSIONS.index(to), EXPRESSIONS.index(other)

    def share(when: str) -> float:
        return float(np.mean([s[when][a] > s[when][b] for s in seen]))

    means = {
        f"smile_{n}": float(np.mean([s[n] for s in seen])) for n in ("before", "asked", "after")
    }
    shares = {"read_as_before": share("named_before"), "read_as_after": share("named_after")}
    return shares | means | {"change": float(np.mean([s["change"] for s in seen]))}


def _edited(
    model: Model, reader: Model, faces: FaceSet, i: int, to: str, targets: dict[str, FloatArray]
) -> dict[str, Any]:
    """One face before and after, edited as the runtime edits, at the wide crop's size."""
    frame, before = _INNER.astype(np.float32), np.array(faces.crops[i])
    first = _face(reader, align.crop(before, frame))
    difference = change(Edit(to), first, targets)
    out = model(crops=align.crop(before, frame)[None], change=difference[None])
    after = before.copy()
    strokes = Strokes(**{n: v[0] for n, v in out.items()})
    composite(after, frame, strokes, face_mask(first.landmarks))
    second = _face(reader, align.crop(after, frame))
    return {
        "named_before": first.probabilities,
        "named_after": second.probabilities,
        "before": first.blendshapes[SMILING].mean(),
        "asked": (first.blendshapes + difference)[SMILING].mean(),
        "after": second.blendshapes[SMILING].mean(),
        "change": np.abs(after.astype(float) - before).mean(),
    }


def _face(reader: Model, crop: npt.NDArray[np.uint8]) -> Face:
    """What the reader reads in a crop, in crop units."""
    out = reader(crops=crop[None])
    return Face(
        index=0,
        box=Box(0, 0, 1, 1, 1),
        landmarks=out["landmarks"][0],
        blendshapes=out["blendshapes"][0],
        confidence=float(out["confidence"][0]),
        probabilities=out["expressions"][0],
    )


def _look(model: Model, wide: npt.NDArray[np.uint8], start: FloatArray) -> list[FloatArray]:
    """What the runtime's looks see in a wide crop; landmarks in crop units."""
    inner = _INNER.astype(np.float32)
    frame = align.chain(inner, start)
    for _ in range(LOOKS):
        out = model(crops=align.crop(wide, frame)[None])
        points = align.apply(frame, out["landmarks"][0])
        frame = align.align(points)
    inside = align.apply(align.invert(inner), points)
    return [inside, *(out[n][0] for n in ("blendshapes", "confidence", "expressions"))]


def _noise_crop() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (1, align.CROP, align.CROP, 3), np.uint8)


def milliseconds(model: Model, **inputs: npt.NDArray[Any]) -> float:
    """Median time of a forward pass on one thread, of 30 after 5."""
    times = []
    for _ in range(35):
        began = time.perf_counter()
        model(**inputs)
        times.append(time.perf_counter() - began)
    return float(np.median(times[5:]) * 1000)
