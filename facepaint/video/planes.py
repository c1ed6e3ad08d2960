"""Planes: a frame as upright RGB pixels, and what was edited in them back into its own samples.

A decoded frame holds brightness and colour differences (YUV), usually colour at half the size and
sometimes more than 8 bits. There and back again would change every sample, so only the difference
that an edit made is turned into YUV, and added: what was not edited keeps every bit.
"""

from __future__ import annotations

import re
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from facepaint.face import FloatArray

Pixels = npt.NDArray[np.uint8]
Orientation = tuple[bool, bool, bool]  # whether upright means: transposed, rows and columns turned
UPRIGHT: Orientation = (False, False, False)

_PLANAR = re.compile(r"yuvj?4(20|22|44)p(\d\dle)?")  # the formats that can be edited in place
_SUBSAMPLED = {"20": (2, 2), "22": (1, 2), "44": (1, 1)}  # rows, columns of pixels a colour sample
_BT709, _BT601, _SMPTE240M, _BT2020 = 1, 5, 7, 9  # as FFmpeg's scaler numbers colour spaces
_SPACES = {1: _BT709, 5: _BT601, 6: _BT601, 7: _SMPTE240M, 9: _BT2020, 10: _BT2020}  # as frames do
_LUMA = {  # what red and blue weigh in brightness
    _BT709: (0.2126, 0.0722),
    _BT601: (0.299, 0.114),
    _SMPTE240M: (0.212, 0.087),
    _BT2020: (0.2627, 0.0593),
}
_FULL = 2  # as FFmpeg numbers colour ranges
_HD = 1280  # pixels wide; from here on a clip that does not name its colour space is BT.709


def planar(frame: VideoFrame) -> VideoFrame:
    """The frame itself, or one with planes of YUV where it has none (RGB, grey, palettes)."""
    if _PLANAR.fullmatch(frame.format.name):
        return frame
    made = frame.reformat(format="yuv444p", dst_colorspace=_BT709, dst_color_range=1)
    made.colorspace, made.color_range = _BT709, 1
    return _stamped(made, frame)


def orientation(matrix: tuple[int, ...] | None) -> Orientation:
    """How a frame is turned upright, from its display matrix (9 integers of FFmpeg's), to the
    nearest quarter turn or mirroring of one."""
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = matrix[:5]
    if abs(a) >= abs(b):
        return False, d < 0, a < 0
    return True, b < 0, c < 0


def turned(pixels: Pixels, how: Orientation) -> Pixels:
    """A view of `pixels` [H, W, C] that is upright."""
    transposed, rows, columns = how
    view = pixels.swapaxes(0, 1) if transposed else pixels
    return view[:: -1 if rows else 1, :: -1 if columns else 1]


def to_rgb(frame: VideoFrame) -> Pixels:
    """The pixels as they are stored, uint8 [H, W, 3] RGB, from a planar frame."""
    space = _colour_space(frame)
    source = 1 + is_full(frame)  # FFmpeg's numbers: 1 limited, 2 full
    return np.asarray(
        frame.to_ndarray(
            format="rgb24", src_colorspace=space, src_color_range=source, dst_color_range=_FULL
        ),
        np.uint8,
    )


def with_change(frame: VideoFrame, before: Pixels, after: Pixels) -> VideoFrame:
    """A copy of a planar frame to which the difference of `after` from `before` is added.

    before, after: uint8 [H, W, 3] RGB as stored; `before` is `to_rgb(frame)`. A sample whose
    pixels are the same in both keeps its bits.
    """
    made = _copy(frame)
    rows, columns = _changed(before, after)
    if rows.stop == rows.start:
        return made
    down, across = _SUBSAMPLED[_match(frame)[1]]
    rows, columns = _aligned(rows, down), _aligned(columns, across)
    change = after[rows, columns].astype(np.float32) - before[rows, columns]
    depth = frame.format.components[0].bits
    y, cb, cr = _to_yuv(change, frame, depth)
    _add(made, 0, rows, columns, y, depth)
    rows, columns = _shrunk(rows, down), _shrunk(columns, across)
    for n, part in ((1, cb), (2, cr)):
        _add(made, n, rows, columns, _mean(part, down, across), depth)
    return made


def even(frame: VideoFrame) -> VideoFrame:
    """A planar frame whose sides are even, the last row or column twice if need be; encoders
    with colour at half the size take no other."""
    wide, high = frame.width + frame.width % 2, frame.height + frame.height % 2
    if (wide, high) == (frame.width, frame.height):
        return frame
    made = av.VideoFrame(wide, high, frame.format.name)
    for old, new in zip(_planes(frame), _planes(made), strict=True):
        below, right = new.shape[0] - old.shape[0], new.shape[1] - old.shape[1]
        new[:] = np.pad(old, ((0, below), (0, right)), "edge")
    return _like(made, frame)


def reformatted(
    frame: VideoFrame, format: str, width: int | None = None, height: int | None = None
) -> VideoFrame:
    """A planar frame in another format of samples, its colours meant the same."""
    made = frame.reformat(
        width=width,
        height=height,
        format=format,
        src_colorspace=_colour_space(frame),
        dst_colorspace=_colour_space(frame),
        src_color_range=1 + is_full(frame),
        dst_color_range=1 + is_full(frame),
    )
    return _like(made, frame)


def _match(frame: VideoFrame) -> re.Match[str]:
    found = _PLANAR.fullmatch(frame.format.name)
    assert found  # `planar` made it so
    return found


def is_full(frame: VideoFrame) -> bool:
    """Whether samples use all values, not only those of broadcasting (16 to 235 of 255)."""
    return frame.color_range == _FULL or frame.format.name.startswith("yuvj")


def _colour_space(frame: VideoFrame) -> int:
    """What the frame says; where it says nothing, what players take for its size."""
    guess = _BT709 if max(frame.width, frame.height) >= _HD else _BT601
    return _SPACES.get(int(frame.colorspace), guess)


def _to_yuv(
    change: FloatArray, frame: VideoFrame, depth: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A difference of RGB [h, w, 3], 0 to 255, as differences of Y, Cb and Cr in samples [h, w]."""
    red, blue = _LUMA[_colour_space(frame)]
    unit = 2 ** (depth - 8)
    luma, chroma = (unit, unit) if is_full(frame) else (unit * 219 / 255, unit * 224 / 255)
    r, g, b = np.moveaxis(change, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    return luma * y, chroma * (b - y) / (2 - 2 * blue), chroma * (r - y) / (2 - 2 * red)


def _changed(before: Pixels, after: Pixels) -> tuple[slice, slice]:
    """Rows and columns outside of which the two are the same."""
    differs = before != after
    rows = np.flatnonzero(differs.reshape(len(differs), -1).any(1))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    columns = np.flatnonzero(differs[part].any(0).any(-1))
    return part, slice(int(columns[0]), int(columns[-1]) + 1)


def _aligned(span: slice, step: int) -> slice:
    """A span that begins and ends with a whole colour sample, as far as the frame allows."""
    return slice(span.start // step * step, -(-span.stop // step) * step)


def _shrunk(span: slice, step: int) -> slice:
    return slice(span.start // step, -(-span.stop // step))


def _mean(part: FloatArray, down: int, across: int) -> FloatArray:
    """The mean of each colour sample's pixels; at an odd end the last pixel counts twice."""
    high, wide = -(-part.shape[0] // down), -(-part.shape[1] // across)
    below, right = high * down - part.shape[0], wide * across - part.shape[1]
    padded = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(padded, (wide, high), interpolation=cv2.INTER_AREA), np.float32)


def _add(
    frame: VideoFrame, n: int, rows: slice, columns: slice, change: FloatArray, depth: int
) -> None:
    plane = _planes(frame)[n][rows, columns]
    plane[:] = np.clip(np.rint(plane + change), 0, 2**depth - 1).astype(plane.dtype)


def _planes(frame: VideoFrame) -> list[npt.NDArray[Any]]:
    """The samples of each plane, writable views [h, w]."""
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    views = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)
        views.append(rows[:, : plane.width])
    return views


def _copy(frame: VideoFrame) -> VideoFrame:
    """A frame of its own: the decoder still predicts others from the one it gave."""
    made = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for old, new in zip(_planes(frame), _planes(made), strict=True):
        new[:] = old
    return _like(made, frame)


def _like(made: VideoFrame, frame: VideoFrame) -> VideoFrame:
    made.colorspace, made.color_range = frame.colorspace, frame.color_range
    made.color_primaries, made.color_trc = frame.color_primaries, frame.color_trc
    return _stamped(made, frame)


def _stamped(made: VideoFrame, frame: VideoFrame) -> VideoFrame:
    made.pts = frame.pts
    if frame.time_base:
        made.time_base = frame.time_base
    return made
