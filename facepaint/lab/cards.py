"""Cards: what travels inside a model file, so that it says what it is wherever it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facepaint._version import __version__
from facepaint.align import CROP, EYE_DISTANCE, EYE_Y
from facepaint.lab.entry import Entry
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


def make_card(settings: Settings, entry: Entry, found: Any) -> dict[str, Any]:
    """The card of a network, from its settings, its method and the data it was trained on."""
    sources = entry.used(settings, found)
    return {
        "name": settings.method,
        "what": entry.what,
        "made_with": f"facepaint {__version__}",
        "crop": f"{CROP} pixels, irises {EYE_DISTANCE} of the side apart at {EYE_Y} of its height",
        "data": {s: f"{n} photos; {_LICENCES.get(s, 'unknown')}" for s, n in sources.items()},
        "licence": "research use: the licences of the data forbid more"
        if set(sources) - {"drawn", "london"}
        else "as free as its data",
        "limits": entry.limits,
        "begun_from": Path(settings.start).name or "fresh weights",
    } | entry.extra(settings, found)
