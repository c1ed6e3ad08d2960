"""A z-buffer rasteriser in numpy, for meshes of many small triangles.

Screen points are x to the right and y down, in pixels, with pixel centres at + .5. Depth grows
towards the viewer and has to be linear on the screen: with perspective, 1 / distance is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.face import FloatArray

Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Reals = npt.NDArray[np.floating[Any]]  # of either precision

_TRIANGLE_BITS = 20  # of a key of depth and triangle: room for a million triangles
_DEPTH_STEPS = 2.0**40  # between the farthest and the nearest point


@dataclass(frozen=True, eq=False)
class Raster:
    """Which triangle each pixel of a picture shows.

    Attributes:
        pixels: int [N], the pixels that show one, counted along rows, ascending.
        triangles: int [N], which.
        corners: int [N, 3], the vertices of that triangle.
        weights: float32 [N, 3], barycentric weights of the pixel's centre.
        size: pixels a side of the picture.
    """

    pixels: Ints
    triangles: Ints
    corners: Ints
    weights: FloatArray
    size: int

    def of(self, values: Reals) -> FloatArray:
        """Interpolates values of the vertices.

        Args:
            values: float [V] or [V, K].

        Returns:
            float32 [N] or [N, K].
        """
        values = np.asarray(values, np.float32)
        w = self.weights if values.ndim == 1 else self.weights[..., None]
        found = values[self.corners[:, 0]] * w[:, 0]
        found += values[self.corners[:, 1]] * w[:, 1]
        found += values[self.corners[:, 2]] * w[:, 2]
        return found

    def picture(self, values: Reals, empty: float = 0.0) -> FloatArray:
        """Puts values of the pixels into a picture.

        Args:
            values: float [N] or [N, K].
            empty: what pixels get that show no triangle.

        Returns:
            float32 [size, size] or [size, size, K].
        """
        out = np.full((self.size * self.size, *values.shape[1:]), empty, np.float32)
        out[self.pixels] = values
        return out.reshape(self.size, self.size, *values.shape[1:])

    def at(self, picture: Reals) -> FloatArray:
        """Takes the values of the pixels out of a picture; float32 [N] or [N, K].

        Args:
            picture: float [size, size] or [size, size, K].
        """
        flat = np.asarray(picture, np.float32).reshape(self.size * self.size, *picture.shape[2:])
        return flat[self.pixels]


def rasterise(screen: FloatArray, triangles: Ints, size: int) -> Raster:
    """Finds the nearest triangle at each pixel. Triangles seen from behind are left out.

    Args:
        screen: float [V, 3], x and y in pixels, and depth.
        triangles: int [T, 3], counter-clockwise as seen from in front (with y up).
        size: pixels a side.
    """
    facing = triangles[_doubled_areas(screen, triangles) < 0]
    pixel, owner, depth = _scan(screen, facing, size)
    low, high = float(screen[:, 2].min()), float(screen[:, 2].max())
    steps = ((depth - low) * (_DEPTH_STEPS / max(high - low, 1e-9))).astype(np.int64)
    keys = np.full(size * size, -1, np.int64)
    np.maximum.at(keys, pixel, (steps << _TRIANGLE_BITS) | owner)
    pixels = np.flatnonzero(keys >= 0)
    found = (keys[pixels] & ((1 << _TRIANGLE_BITS) - 1)).astype(np.intp)
    corners = facing[found]
    return Raster(pixels, found, corners, _weights(screen, corners, pixels, size), size)


def depth_map(screen: FloatArray, triangles: Ints, size: int) -> FloatArray:
    """The depth of what is nearest, of triangles seen from either side.

    Args:
        screen: float [V, 3], x and y in pixels, and depth.
        triangles: int [T, 3].
        size: pixels a side.

    Returns:
        float32 [size, size], −inf where there is nothing.
    """
    pixel, _, depth = _scan(screen, triangles, size)
    out = np.full(size * size, -np.inf, np.float32)
    np.maximum.at(out, pixel, depth.astype(np.float32))
    return out.reshape(size, size)


def normals(points: Reals, triangles: Ints) -> FloatArray:
    """Unit normals of the vertices, the mean over their triangles by area.

    Args:
        points: float [V, 3].
        triangles: int [T, 3].

    Returns:
        float32 [V, 3]; zero where a vertex has no triangle.
    """
    a, b, c = (points[triangles[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    count = len(points)
    flat = triangles.T.ravel()
    total = np.stack([np.bincount(flat, np.tile(faces[:, k], 3), count) for k in range(3)], axis=1)
    return unit(total.astype(np.float64))


def unit(vectors: Reals) -> FloatArray:
    """Vectors [..., 3] at length 1, float32; zero stays zero."""
    length = np.sqrt(np.einsum("...k,...k->...", vectors, vectors))[..., None]
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float32)


def sample(texture: FloatArray, uv: Reals) -> FloatArray:
    """Values of a texture that repeats, between its pixels by bilinear interpolation.

    Args:
        texture: float32 [S, S] or [S, S, K].
        uv: float [N, 2], in sides of the texture.

    Returns:
        float32 [N] or [N, K].
    """
    # one pixel more on each side: remap's own wrapping leaves a line where the texture ends
    padded = np.asarray(cv2.copyMakeBorder(texture, 1, 1, 1, 1, cv2.BORDER_WRAP), np.float32)
    return remapped(padded, np.asarray(np.mod(uv, 1.0) * len(texture) + 0.5, np.float32))


def remapped(picture: FloatArray, at: Reals) -> FloatArray:
    """Values of a picture between its pixels by bilinear interpolation.

    Args:
        picture: float32 [H, W] or [H, W, K] with K at most 4.
        at: float32 [N, 2], columns and rows, 0 at the middle of the first pixel.

    Returns:
        float32 [N] or [N, K].
    """
    width = 4096  # remap takes at most 32,767 columns
    rows = -(-len(at) // width)
    grid = np.zeros((2, rows * width), np.float32)
    grid[:, : len(at)] = at.T
    x, y = grid.reshape(2, rows, width)
    found = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(rows * width, *picture.shape[2:])[: len(at)], np.float32)


def _doubled_areas(screen: FloatArray, triangles: Ints) -> FloatArray:
    a, b, c = (screen[triangles[:, k], :2] for k in range(3))
    u, v = b - a, c - a
    areas: FloatArray = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return areas


def _scan(screen: FloatArray, triangles: Ints, size: int) -> tuple[Ints, Ints, Reals]:
    """All pixels that triangles cover: pixel, triangle and depth, each [M]."""
    p = screen.astype(np.float64)[triangles]
    p = np.take_along_axis(p, np.argsort(p[:, :, 1], axis=1)[..., None], axis=1)
    first = np.clip(np.ceil(p[:, 0, 1] - 0.5), 0, size).astype(np.intp)
    last = np.clip(np.ceil(p[:, 2, 1] - 0.5), 0, size).astype(np.intp)
    owner, row = _ranges(first, last)
    (x0, y0), (x1, y1), (x2, y2) = (p[owner, k, :2].T for k in range(3))
    y = row + 0.5
    along = x0 + (x2 - x0) * _share(y - y0, y2 - y0)
    upper = x0 + (x1 - x0) * _share(y - y0, y1 - y0)
    lower = x1 + (x2 - x1) * _share(y - y1, y2 - y1)
    across = np.where(y < y1, upper, lower)
    left = np.clip(np.ceil(np.minimum(along, across) - 0.5), 0, size).astype(np.intp)
    right = np.clip(np.ceil(np.maximum(along, across) - 0.5), 0, size).astype(np.intp)
    span, column = _ranges(left, right)
    slope_x, slope_y = _slopes(p)
    tri = owner[span]
    start = p[:, 0, 2] + slope_x * (0.5 - p[:, 0, 0]) + slope_y * (0.5 - p[:, 0, 1])
    in_row = start[owner] + slope_y[owner] * row
    depth = in_row[span] + slope_x[tri] * column
    return row[span] * size + column, tri, depth


def _ranges(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Counts from first to last (left out) for each row: which row, and the number."""
    counts = np.maximum(last - first, 0)
    owner = np.repeat(np.arange(len(first)), counts)
    ends = np.cumsum(counts)
    number = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
    return owner, number + first[owner]


def _share(part: Reals, whole: Reals) -> Reals:
    found: Reals = part / np.where(np.abs(whole) < 1e-9, 1e-9, whole)
    return found


def _slopes(p: npt.NDArray[np.float64]) -> tuple[Reals, Reals]:
    """How depth changes by pixel to the right and down, of triangles [T, 3, 3]."""
    u, v = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    area = np.where(np.abs(area) < 1e-9, np.inf, area)
    slope_x = (u[:, 2] * v[:, 1] - v[:, 2] * u[:, 1]) / area
    slope_y = (u[:, 0] * v[:, 2] - v[:, 0] * u[:, 2]) / area
    return slope_x, slope_y


def _weights(screen: FloatArray, corners: Ints, pixels: Ints, size: int) -> FloatArray:
    a, b, c = (screen[corners[:, k], :2] for k in range(3))
    at = np.stack([pixels % size, pixels // size], axis=1) + np.float32(0.5)
    u, v, w = b - a, c - a, at - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    second = (w[:, 0] * v[:, 1] - w[:, 1] * v[:, 0]) / area
    third = (u[:, 0] * w[:, 1] - u[:, 1] * w[:, 0]) / area
    return np.asarray(np.stack([1 - second - third, second, third], axis=1), np.float32)
