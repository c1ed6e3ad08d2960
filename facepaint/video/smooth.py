"""Smooth: what is read from a face frame by frame, without the reader's trembling.

Everything passes a One-Euro filter (Casiez, Roussel and Vogel 2012): a low-pass whose cutoff rises
with the speed of the signal, so that what stands still is still and what moves does not lag.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from facepaint import align
from facepaint.face import Face, FloatArray

_SPEED_CUTOFF = 1.0  # Hz, of the speed that moves the cutoff; the paper's value


class OneEuro:
    """A One-Euro filter of an array of signals.

    min_cutoff: Hz, at rest. beta: by how many Hz a speed of one unit a second raises it.
    """

    def __init__(self, min_cutoff: float, beta: float) -> None:
        self._min_cutoff, self._beta = min_cutoff, beta
        self._time: float | None = None

    def __call__(self, value: FloatArray, time: float) -> FloatArray:
        """The filtered value at `time`, seconds, later than the last one; the first as it is."""
        if self._time is None or time <= self._time:
            if self._time is None:
                self._value, self._speed = value, np.zeros_like(value)
                self._time = time
            return self._value
        passed = time - self._time
        speed = (value - self._value) / passed
        self._speed = self._speed + _share(_SPEED_CUTOFF, passed) * (speed - self._speed)
        cutoff = np.asarray(self._min_cutoff + self._beta * np.abs(self._speed), np.float32)
        self._value = self._value + _share(cutoff, passed) * (value - self._value)
        self._time = time
        return self._value


def _share(cutoff: FloatArray | float, passed: float) -> FloatArray:
    """What share of a new value a low-pass of `cutoff` Hz takes after `passed` seconds, 0 to 1."""
    turned = 2 * np.pi * passed * np.asarray(cutoff, np.float32)
    return np.asarray(turned / (turned + 1), np.float32)


class SteadyFace:
    """The same face from frame to frame: place, scale and angle of its crop, the landmarks in it,
    and its blendshapes, each filtered in units of its own."""

    def __init__(self) -> None:
        self._pose = OneEuro(min_cutoff=1.0, beta=10.0)  # crop sides, and radians
        self._landmarks = OneEuro(min_cutoff=1.5, beta=20.0)  # crop units
        # slow: speech then stays on top of the edit, instead of moving what is asked
        self._blendshapes = OneEuro(min_cutoff=0.7, beta=0.5)
        self._side = self._turn = 0.0

    def __call__(self, face: Face, time: float) -> Face:
        """The face of the frame at `time`, seconds, steadied by those before."""
        frame = align.align(face.landmarks)
        shape = self._landmarks(align.apply(align.invert(frame), face.landmarks), time)
        # by all landmarks: those few by which faces are aligned tremble more
        pose = self._pose_of(align.fit_similarity(shape, face.landmarks))
        return replace(
            face,
            landmarks=align.apply(self._frame_of(self._pose(pose, time)), shape),
            blendshapes=np.asarray(self._blendshapes(face.blendshapes, time), np.float32),
        )

    def _pose_of(self, frame: FloatArray) -> FloatArray:
        """Centre and logarithm of the side of a crop, in sides of the first one, and its angle."""
        side, turn = align.side_of(frame), float(np.arctan2(frame[1, 0], frame[0, 0]))
        self._side = self._side or side
        self._turn += float((turn - self._turn + np.pi) % (2 * np.pi) - np.pi)  # without jumps
        x, y = align.apply(frame, np.array([[0.5, 0.5]], np.float32))[0] / self._side
        return np.array([x, y, np.log(side / self._side), self._turn], np.float32)

    def _frame_of(self, pose: FloatArray) -> FloatArray:
        x, y, size, turn = pose.astype(np.float64)
        side = self._side * np.exp(size)
        cos, sin = side * np.cos(turn), side * np.sin(turn)
        linear = np.array([[cos, -sin], [sin, cos]])
        shift = self._side * np.array([x, y]) - linear @ [0.5, 0.5]
        return np.column_stack([linear, shift]).astype(np.float32)
