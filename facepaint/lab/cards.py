"""Cards: what travels inside a model file, so that it says what it is wherever it goes."""

from __future__ import annotations

from typing import Any

import numpy as np

from facepaint._version import __version__
from facepaint.align import CROP, EYE_DISTANCE, EYE_Y
from facepaint.face import EXPRESSIONS
from facepaint.lab import moves
from facepaint.lab.faces import FaceSet
from facepaint.lab.recipe import Settings

_LICENCES = {
    "london": "CC BY 4.0 (DeBruine & Jones, Face Research Lab London Set)",
    "taiwan": "research only (Chen, Cho & Tseng 2013)",
    "celebamask": "non-commercial research (CelebAMask-HQ)",
    "utkface": "non-commercial research (UTKFace)",
    "jaffe": "non-commercial research (JAFFE)",
    "fei": "research (FEI)",
    "scenes": "research, or the terms of each photo's owner",
    "drawn": "drawn by FacePaint; free",
}
_WHAT = {
    "reader": "from an aligned crop to 478 landmarks, 52 blendshapes, an expression and whether"
    " it is a face at all",
    "painter": "from an aligned crop and a change of blendshapes to a flow, a mask, paint and"
    " shade",
}
_LIMITS = {
    "reader": "labels are another network's readings; adults mostly; heads turned far, or faces"
    " under 24 pixels, are read badly; not for identifying or judging people",
    "painter": "trained at 128 pixels, so new teeth are soft in large faces; few people seen with"
    " more than one expression; sad, angry, disgusted, afraid and surprised are weak",
}


def make_card(settings: Settings, faces: FaceSet) -> dict[str, Any]:
    """The card of a network, from its settings and the faces it was trained on."""
    trained = ~faces.held_out
    sources = {s: int((trained & (faces.sources == s)).sum()) for s in sorted(set(faces.sources))}
    card: dict[str, Any] = {
        "name": settings.method,
        "what": _WHAT[settings.method],
        "made_with": f"facepaint {__version__}",
        "crop": f"{CROP} pixels, irises {EYE_DISTANCE} of the side apart at {EYE_Y} of its height",
        "data": {s: f"{n} crops; {_LICENCES.get(s, 'unknown')}" for s, n in sources.items()},
        "licence": "research use: the licences of the data forbid more"
        if set(sources) - {"drawn", "london"}
        else "as free as its data",
        "limits": _LIMITS[settings.method],
    }
    if settings.method == "painter":
        card["expressions"] = _targets(faces, trained)
    return card


def _targets(faces: FaceSet, trained: Any) -> dict[str, list[float]]:
    known = trained & np.isfinite(faces.blendshapes[:, 0])
    targets = moves.expression_targets(faces, known)
    return {e: [round(float(v), 4) for v in targets[i]] for i, e in enumerate(EXPRESSIONS)}
