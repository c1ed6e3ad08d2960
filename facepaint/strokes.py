"""Strokes: a repainting of a crop, as networks without a mover of their own answer it."""

from __future__ import annotations

from dataclasses import dataclass

from facepaint.face import FloatArray


@dataclass(frozen=True, eq=False)
class Strokes:
    """A repainting of one crop of S × S pixels, all float32; zeros change nothing.

    flow: [S, S, 2], where each pixel's colour comes from, relative to its place, in crop sides.
    mask: [S, S], how far the paint hides the photo, 0 to 1.
    paint: [S, S, 3], a colour residual under the mask, -1 to 1.
    shade: [S, S], the logarithm of a gain in light, of what is no finer than the crop.
    The idea of a flow that is learned small and used large is that of Dorta et al. (2020), "The GAN
    that warped".
    """

    flow: FloatArray
    mask: FloatArray
    paint: FloatArray
    shade: FloatArray
