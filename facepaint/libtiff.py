"""Libtiff as Pillow brings it: of a damaged TIFF it writes lines of its own to stderr, which names
no file and stands beside the one line in which FacePaint says it. Here it is told not to."""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache
from pathlib import Path

import PIL

_PLACES = ("../pillow.libs/libtiff-*", ".dylibs/libtiff.*")  # in the wheels for Linux and macOS


@cache
def hush() -> None:
    """Once and for all; where the library lies elsewhere, it goes on talking."""
    home = Path(PIL.__file__).parent
    for path in (found for place in _PLACES for found in home.glob(place)):
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path))
            for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
                set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                set_handler(None)
