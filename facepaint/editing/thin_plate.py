"""Thin-plate splines: a smooth field through values at scattered points."""

from __future__ import annotations

import functools
import threading

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from facepaint.face import FloatArray

_SOLVING = threading.Lock()


def thin_plate(
    points: FloatArray, values: FloatArray, where: FloatArray, smoothing: float = 0.0
) -> FloatArray:
    """Interpolate `values` at `points` with the smoothest field, and evaluate it at `where`.

    Duchon (1977) and Bookstein (1989): a sum of kernels r² log r around the points and an affine
    part, which bends least among all fields that pass through the values.

    Args:
        points: float [N, 2], N ≥ 3, not all on one line; about 0 to 1.
        values: float [N, C], in any unit.
        where: float [M, 2].
        smoothing: how far the field may stay away from the values, in units of the squared
            distance between points; points that coincide need more than 0.

    Returns:
        float32 [M, C].
    """
    count = len(points)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(points, points)
    system[np.arange(count), np.arange(count)] += smoothing
    system[:count, count:] = _affine(points)
    system[count:, :count] = system[:count, count:].T
    wanted = np.zeros((count + 3, values.shape[1]))
    wanted[:count] = values
    # With one thread: on any number of cores the same bits, and no wait for the other threads.
    with _SOLVING, _libraries().limit(limits=1, user_api="blas"):
        solved = np.linalg.solve(system, wanted).astype(np.float32)
    field = _kernel(where, points) @ solved[:count] + _affine(where) @ solved[count:]
    return np.asarray(field, np.float32)


@functools.cache
def _libraries() -> ThreadpoolController:
    """The libraries for linear algebra that are loaded."""
    return ThreadpoolController()


def _kernel(a: FloatArray, b: FloatArray) -> FloatArray:
    """r² log r² between all pairs, [len(a), len(b)]."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    squared = (a[:, :1] - b[:, 0]) ** 2 + (a[:, 1:] - b[:, 1]) ** 2
    return np.asarray(squared * np.log(np.maximum(squared, 1e-12)), np.float32)


def _affine(points: FloatArray) -> npt.NDArray[np.float32]:
    return np.column_stack([np.ones(len(points)), points]).astype(np.float32)
