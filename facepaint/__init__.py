"""FacePaint: change the expression of a face in a photo, at the photo's own resolution.

painter = facepaint.load()
result = painter.edit("photo.jpg", to="happy", strength=0.8)
result.save("photo.happy.jpg")
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from facepaint._version import __version__

if TYPE_CHECKING:
    from facepaint.edit import Edit
    from facepaint.errors import (
        ClipError,
        EditError,
        FacePaintError,
        NoFaceError,
        PhotoError,
        WeightsError,
    )
    from facepaint.face import BLENDSHAPES, EXPRESSIONS, Box, Face
    from facepaint.painter import Painter
    from facepaint.photo import Photo

_HOMES = {
    "BLENDSHAPES": "face",
    "EXPRESSIONS": "face",
    "Box": "face",
    "ClipError": "errors",
    "Edit": "edit",
    "EditError": "errors",
    "Face": "face",
    "FacePaintError": "errors",
    "NoFaceError": "errors",
    "Painter": "painter",
    "Photo": "photo",
    "PhotoError": "errors",
    "WeightsError": "errors",
}

__all__ = [
    "BLENDSHAPES",
    "EXPRESSIONS",
    "Box",
    "ClipError",
    "Edit",
    "EditError",
    "Face",
    "FacePaintError",
    "NoFaceError",
    "Painter",
    "Photo",
    "PhotoError",
    "WeightsError",
    "__version__",
    "load",
]


def load(weights: str | os.PathLike[str] | None = None) -> Painter:
    """A painter with the weights inside the package; with "open", with those of them whose data is
    free; or with the weights of a folder.

    Raises WeightsError where a file is not the one that its folder's manifest names.
    """
    from facepaint.painter import Painter

    return Painter(weights)


def __getattr__(name: str) -> Any:
    # names are looked up where they live at their first use, so importing loads nothing heavy
    if name in _HOMES:
        return getattr(import_module(f"facepaint.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'facepaint' has no attribute {name!r}")
