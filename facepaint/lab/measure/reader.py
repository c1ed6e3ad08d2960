"""The reader measured on people it was not trained on."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.face import LEFT_IRIS, RIGHT_IRIS, FloatArray
from facepaint.lab.data import augment
from facepaint.lab.data.faces import INNER, FaceSet
from facepaint.lab.data.samples import SMILING
from facepaint.models import Model
from facepaint.read import LOOKS, MIN_CONFIDENCE


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


def milliseconds(model: Model, **inputs: npt.NDArray[Any]) -> float:
    """Median time of a forward pass on one thread, of 30 after 5."""
    times = []
    for _ in range(35):
        began = time.perf_counter()
        model(**inputs)
        times.append(time.perf_counter() - began)
    return float(np.median(times[5:]) * 1000)
