"""The reader measured on people it was not trained on."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.face import LEFT_IRIS, RIGHT_IRIS, FloatArray, head_turn
from facepaint.lab.data import augment
from facepaint.lab.data.faces import INNER, FaceSet
from facepaint.lab.data.topology import SMILING
from facepaint.lab.measure import cost, evaluate, metrics, summary
from facepaint.models import Model
from facepaint.read import LOOKS, MIN_CONFIDENCE


def reader(model: Model, faces: FaceSet, seed: int = 0) -> dict[str, Any]:
    """The reader on held-out people, started from frames as wrong as a detector's box.

    landmark_error: mean distance of landmarks over the distance between the irises.
    smile_correlation: of the mean of both smiles with its label. blendshape_error: mean absolute
    error. expression_accuracy: on the labelled sets, seven classes. faces_kept, others_dropped:
    shares of faces and of what is none on the right side of MIN_CONFIDENCE. _of_scenes: on everyday
    scenes, whose faces have no labels but landmarks; all other errors are of the portraits.
    """
    rows = np.flatnonzero(faces.held_out)
    rng = np.random.default_rng(seed)
    seen = [_look(model, faces.crops[i], augment.random_frame(rng, 8, 0.1, 0.04)) for i in rows]
    points = np.stack([s[0] for s in seen])
    blend, confidence, named = (np.stack([s[n] for s in seen]) for n in (1, 2, 3))
    face, known = faces.is_face[rows], np.isfinite(faces.blendshapes[rows, 0])
    kept = confidence >= MIN_CONFIDENCE
    error = _landmark_errors(points, faces.landmarks[rows])
    labels = faces.blendshapes[rows][known]
    smile = blend[known][:, SMILING].mean(1), labels[:, SMILING].mean(1)
    expressed = faces.expressions[rows] >= 0
    result: dict[str, Any] = {
        "people": len({*faces.subjects[rows[known]]}),
        "faces": int(known.sum()),
        "landmark_error": float(error[known].mean()),
        "blendshape_error": float(np.abs(blend[known] - labels).mean()),
        "smile_correlation": float(np.corrcoef(*smile)[0, 1]),
        "faces_kept": float(kept[known].mean()),
    }
    if expressed.any():
        right = (named.argmax(1) == faces.expressions[rows])[expressed]
        result |= {"expressed": int(expressed.sum()), "expression_accuracy": float(right.mean())}
    if (face & ~known).any():
        scenes = face & ~known
        result |= {
            "faces_of_scenes": int(scenes.sum()),
            "landmark_error_of_scenes": float(error[scenes].mean()),
            "faces_kept_of_scenes": float(kept[scenes].mean()),
        }
    if (~face).any():
        result |= {"others": int((~face).sum()), "others_dropped": float((~kept[~face]).mean())}
    work = partial(model, crops=_noise_crop())
    result["processor_ms_a_forward"] = cost.median_ms(work, 30, warm=5, clock=cost.PROCESSOR)
    values = {
        "landmark_error": error[known],
        "blendshape_error": np.abs(blend[known] - labels).mean(1),
    }
    return result | _each(faces, rows[known], values)


def _landmark_errors(found: FloatArray, wanted: FloatArray) -> FloatArray:
    """Of each face; NaN where there are no landmarks."""
    eyes = np.linalg.norm(wanted[:, RIGHT_IRIS] - wanted[:, LEFT_IRIS], axis=1)
    each = zip(found, wanted, eyes, strict=True)
    return np.array([metrics.landmark_error(f[None], w[None], e[None]) for f, w, e in each])


def _each(
    faces: FaceSet, rows: npt.NDArray[np.intp], values: dict[str, FloatArray]
) -> dict[str, Any]:
    """The numbers of every face, for `compare`, and those of groups, the worst by landmarks."""
    points = [align.apply(INNER, faces.landmarks[i]) for i in rows]
    tones = (metrics.typology_angle(faces.crops[i], p) for i, p in zip(rows, points, strict=True))
    kinds = {
        "source": [str(faces.sources[i]) for i in rows],
        "tone": [metrics.tone(t) for t in tones],
        "turn": [summary.turn_group(head_turn(p)) for p in points],
        "age": [evaluate.age_group(str(faces.subjects[i])) for i in rows],
    }
    _, people = np.unique(faces.subjects[rows], return_inverse=True)
    each = {"face": rows.tolist(), "person": people.tolist()}
    return {
        "groups": summary.groups_of(kinds, values, "landmark_error", -1),
        "each": each | {k: v.tolist() for k, v in values.items()},
    }


def _look(model: Model, wide: npt.NDArray[np.uint8], start: FloatArray) -> list[FloatArray]:
    """What the runtime's looks see in a wide crop; landmarks in crop units."""
    frame = align.chain(INNER, start)
    for _ in range(LOOKS):
        out = model(crops=align.crop(wide, frame)[None])
        points = align.apply(frame, out["landmarks"][0])
        frame = align.align(points)
    inside = align.apply(align.invert(INNER), points)
    return [inside, *(out[n][0] for n in ("blendshapes", "confidence", "expressions"))]


def _noise_crop() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (1, align.CROP, align.CROP, 3), np.uint8)
