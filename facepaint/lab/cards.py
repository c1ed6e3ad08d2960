"""Cards: what travels inside a model file, so that it says what it is wherever it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facepaint._version import __version__
from facepaint.align import CROP, EYE_DISTANCE, EYE_Y
from facepaint.lab.data.split import SPLIT
from facepaint.lab.entry import Entry
from facepaint.lab.recipe import Augmented, Settings

_LICENCES = {
    "london": "CC BY 4.0 (DeBruine & Jones, Face Research Lab London Set)",
    "taiwan": "research only (Chen, Cho & Tseng 2013)",
    "celebamask": "non-commercial research (CelebAMask-HQ)",
    "utkface": "non-commercial research (UTKFace)",
    "jaffe": "non-commercial research (JAFFE)",
    "fei": "research (FEI)",
    "radiate": "research use (RADIATE stimulus set)",
    "kdef": "non-commercial research (KDEF)",
    "clips": "footage of unknown terms: research only",
    "yawn": "stated CC BY 4.0 by its packager, upstream footage mixed: research only",
    "lfw": "research (Labeled Faces in the Wild)",
    "rendered": "rendered by FacePaint from the ICT Face Model Light (MIT); free",
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
        "split": SPLIT,
        "licence": "research use: the licences of the data forbid more"
        if set(sources) - {"drawn", "london"}
        else "as free as its data",
        "limits": entry.limits + _narrow(settings, found),
        "begun_from": Path(settings.start).name or "fresh weights",
    } | entry.extra(settings, found)


def _narrow(settings: Settings, found: Any) -> str:
    """What follows from being trained on some sets alone, "" where it was on all."""
    if not isinstance(settings, Augmented) or not settings.sources:
        return ""
    people = len({*found.subjects[~found.held_out & found.is_face]})
    return (
        f"; it has seen {people} people ({settings.sources}) and no others, so other skin, ages,"
        " poses and light fare worse"
    )


_OF_EDITS = (
    "faces",
    "people",
    "rate_two_way",
    "rate_two_way_interval",
    "rate_two_way_of_the_input",
    "rate_two_way_of_real",
    "rate_named",
    "rate_named_of_real",
    "second_two_way",
    "second_two_way_of_real",
    "third_two_way",
    "third_two_way_of_real",
    "spearman_of_strength",
    "same_person_rate",
    "greatest_change_outside",
    "laplacian_energy_ratio",
)


def card_of_metrics(numbers: dict[str, Any]) -> dict[str, Any]:
    """What of a metrics.json a card shows: each expression's main numbers beside what the judge
    makes of real photos, the worst group beside them, and the cost; of a network that does not
    repaint, all but each face's and each group's."""
    if "to" not in numbers:
        return on_card(numbers["measured"])
    shown: dict[str, Any] = {
        "judge": f"{numbers['judge']['features']}, in no loss; right on real photos: "
        + ", ".join(f"{k} {v:.2f}" for k, v in numbers["judge"]["right_on_real"].items()),
        "identity": numbers["identity"],
    }
    for to, found in numbers["to"].items():
        shown[f"to_{to}"] = on_card({k: found[k] for k in (*_OF_EDITS, "groups") if k in found})
    cost = numbers["cost"]
    # metrics from before whole faces were timed hold the time of the network alone
    timed = {"ms": "ms_of_the_network"} if "ms_of_the_network" in cost else {}
    timed = timed or {"ms_a_face_of_512": "ms_a_face_of_512"}
    return shown | {"gmacs": cost["gmacs"]} | {name: cost[key] for name, key in timed.items()}


def on_card(found: dict[str, Any]) -> dict[str, Any]:
    """Numbers without those of each face; of the groups, only the worst."""
    shown = {k: v for k, v in found.items() if k not in ("each", "groups")}
    return shown | ({"worst": found["groups"]["worst"]} if "groups" in found else {})
