"""Describe: a face as plain values, for JSON."""

from __future__ import annotations

from typing import Any

from facepaint.face import Face
from facepaint.names import BLENDSHAPES, EXPRESSIONS


def describe(face: Face) -> dict[str, Any]:
    """A face as plain values, for JSON; lengths in photo pixels."""
    x, y, width, height, score = (round(float(v), 3) for v in face.box)
    return {
        "index": face.index,
        "box": {"x": x, "y": y, "width": width, "height": height},
        "score": score,
        "confidence": round(face.confidence, 4),
        "expression": face.expression,
        "expressions": {
            n: round(float(p), 4) for n, p in zip(EXPRESSIONS, face.probabilities, strict=True)
        },
        "top_blendshapes": face.top_blendshapes(),
        "blendshapes": {
            n: round(float(b), 4) for n, b in zip(BLENDSHAPES, face.blendshapes, strict=True)
        },
        "landmarks": [[round(float(v), 2) for v in point] for point in face.landmarks],
    }
