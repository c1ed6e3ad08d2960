"""Run: a clip in, the same clip with other expressions out.

Frames wait half a second between being read and being painted: so it is known beforehand when a
face leaves, and its edit can fade until then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from facepaint.detect import DETECTORS, Detector, default_detector, detect
from facepaint.edit import Edit
from facepaint.errors import ClipError, EditError
from facepaint.face import Box, Face
from facepaint.mark import Mark, marked_person
from facepaint.painter import Painter
from facepaint.video import planes
from facepaint.video.clip import DamagedError, Packet, Source, Target, kind
from facepaint.video.track import Track, Tracker

Pixels = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]  # frames done, frames in all; 0 where the file says too few
FADE = 0.5  # seconds in which an edit comes and goes with its face
WAITING = 512 << 20  # bytes of frames that may wait for it; of more, edits fade faster
SEARCH_SIDE = 640  # pixels of the longer side at which a frame is searched for faces


@dataclass(frozen=True)
class Person:
    """Somebody in a clip: the number, when first seen (seconds), where (a box in pixels)."""

    index: int
    first: float
    box: Box


@dataclass
class Report:
    """What became of a clip.

    path: the file that was written, or None. frames, without_face, edited: counts. people: who is
    in it, by number. missing: numbers that were asked for and are not in it. dropped: kinds of
    streams that were left out. seconds: length of what was written. stopped: whether that is only
    the first part, and broken why, where that was not wanted.
    """

    path: Path | None = None
    frames: int = 0
    without_face: int = 0
    edited: int = 0
    people: list[Person] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False
    broken: str | None = None


@dataclass(frozen=True, eq=False)
class _Moment:
    """A frame that waits, and who is in it: the steadied face, and since when it is there."""

    frame: VideoFrame
    time: float
    faces: dict[Track, tuple[Face, float]]


def edit_clip(
    painter: Painter,
    source: Path,
    out: Path,
    edit: Edit | Mapping[int, Edit],
    *,
    detector: str | Detector | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Report:
    """Give the faces of a clip another expression and write it to `out`.

    edit: for every face, or by number for some; people are numbered as they appear, those of one
    frame in reading order, and keep their number when they leave and return. seconds: only so much
    of the beginning. stop: asked before every frame; once it says yes, or where the source is
    damaged, what is done so far becomes a whole clip of its own beside `out`, "NAME.partial.mp4".
    Frames without a face are no error. Raises ClipError, or EditError where edits are asked by
    number and none of these is in the clip; then nothing is written.
    """
    kind(out)
    clip = Source(source)
    try:
        if out.is_dir():
            raise ClipError(f"{out} is a folder; name a file in it")
        for path in (out, partial(out)):  # the latter is written when it is stopped
            if path.exists() and path.samefile(source):
                raise ClipError(f"{path} is the clip itself; name another OUT")
        return _Run(painter, clip, out, edit, detector, seconds, progress, stop).go()
    finally:
        clip.close()


def quick(detector: str | Detector | None) -> Detector:
    """A detector that looks at a smaller picture: four searches a second must be cheap. Faces
    narrower than about a 27th of the longer side are not found."""

    def search(pixels: Pixels) -> list[Box]:
        height, width = pixels.shape[:2]
        scale = min(1.0, SEARCH_SIDE / max(height, width))
        if scale == 1:
            return detect(pixels, detector)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        found = detect(small, detector)
        return [
            Box(b.x / scale, b.y / scale, b.width / scale, b.height / scale, b.score) for b in found
        ]

    if isinstance(detector, str | None) and (detector or default_detector()) not in DETECTORS:
        detect(np.zeros((1, 1, 3), np.uint8), detector)  # says what there is
    return search


class _Run:
    """One clip on its way."""

    def __init__(
        self,
        painter: Painter,
        clip: Source,
        out: Path,
        edit: Edit | Mapping[int, Edit],
        detector: str | Detector | None,
        seconds: float | None,
        progress: Progress | None,
        stop: Callable[[], bool],
    ) -> None:
        self._painter, self._clip, self._edit = painter, clip, edit
        self._seconds, self._progress, self._stop = seconds, progress, stop
        search = quick(detector)
        self._tracker = Tracker(lambda pixels: painter.faces(pixels, search), painter.follow)
        self._waiting: deque[_Moment] = deque()
        self._start: float | None = None
        self._out = out
        self._total = clip.frames
        if seconds is not None:
            self._total = min(self._total or 10**9, round(seconds * float(clip.rate)))
        self.report = Report(dropped=clip.dropped)

    def go(self) -> Report:
        self._target = Target(self._out, self._clip)
        try:
            self._through()
            self._name_people()
            self.report.path = self._target.keep(self._path(), self._mark())
        except BaseException:
            self._target.drop()
            raise
        return self.report

    def _through(self) -> None:
        """All frames and packets, as far as wanted and readable."""
        try:
            for item in self._items():
                if not isinstance(item, VideoFrame):
                    self._target.copy(item)
                else:
                    self._take(item)
        except DamagedError as error:
            if not self._waiting:  # nothing of it could be read
                raise
            self.report.stopped, self.report.broken = True, str(error)
        self._tracker.finish()
        while self._waiting:
            self._release()

    def _items(self) -> Iterator[VideoFrame | Packet]:
        """What the clip holds, until its end, the end of the preview, or a stop."""
        end = np.inf
        for item in self._clip:
            if self._stop():
                self.report.stopped = True
                return
            time = _time(item)
            if self._start is None and isinstance(item, VideoFrame):
                self._start = time
                end = time + self._seconds if self._seconds is not None else np.inf
            if time > end + 1:  # sound may lie a little behind the pictures in the file
                return
            if time < end:
                yield item

    def _take(self, frame: VideoFrame) -> None:
        """Find the faces of a frame, and let it wait; paint those that have waited long enough."""
        frame, time = planes.planar(frame), _time(frame)
        faces = self._tracker(self._upright(planes.to_rgb(frame)), time)
        self._waiting.append(
            _Moment(frame, time, {t: (face, t.since) for t, face in faces.items()})
        )
        while time - self._waiting[0].time > FADE or self._too_much():
            self._release()

    def _too_much(self) -> bool:
        """Whether more waits than may: stamps can lie as near to each other as a file likes."""
        held = sum(plane.buffer_size for plane in self._waiting[0].frame.planes)
        return len(self._waiting) > 1 and held * len(self._waiting) > WAITING

    def _release(self) -> None:
        """Paint and write the frame that has waited longest."""
        moment = self._waiting.popleft()
        edits = [
            (face, edit)
            for track, (face, since) in moment.faces.items()
            if (edit := self._asked(track, self._strength(track, since, moment.time))) is not None
        ]
        self._target.write(self._painted(moment.frame, edits) if edits else moment.frame)
        self.report.frames += 1
        self.report.without_face += not moment.faces
        self.report.edited += bool(edits)
        assert self._start is not None
        self.report.seconds = moment.time - self._start + float(1 / self._clip.rate)
        if self._progress:
            known = self.report.frames <= self._total
            self._progress(self.report.frames, self._total if known else 0)

    def _strength(self, track: Track, since: float, time: float) -> float:
        """How far the edit has come, or not yet gone: 0 to 1. It is whole in the clip's first and
        last frame."""
        left = next((m.time for m in self._waiting if track not in m.faces), np.inf)
        return float(np.clip(min(time - since, left - time) / FADE, 0, 1))

    def _asked(self, track: Track, fade: float) -> Edit | None:
        """What is asked of a person; None for nothing."""
        if track.index is None:  # so short a stay is a false alarm
            return None
        mine = self._of(track.index)
        if mine is None or not mine.strength * fade:
            return None
        return replace(mine, strength=mine.strength * fade)

    def _painted(self, frame: VideoFrame, edits: list[tuple[Face, Edit]]) -> VideoFrame:
        before = planes.to_rgb(frame)
        after = np.empty_like(before)
        painted, _ = self._painter.paint(self._upright(before), edits)  # the film is marked, once
        planes.turned(after, planes.orientation(self._clip.matrix))[:] = painted
        return planes.with_change(frame, before, after)

    def _upright(self, stored: Pixels) -> Pixels:
        return np.ascontiguousarray(planes.turned(stored, planes.orientation(self._clip.matrix)))

    def _name_people(self) -> None:
        """Say who is in the clip; EditError where only others were asked for."""
        start = self._start or 0.0
        self.report.people = [
            Person(n, track.first - start, track.box)
            for n, track in enumerate(self._tracker.people)
        ]
        count = len(self.report.people)
        if isinstance(self._edit, Mapping):
            self.report.missing = [n for n in self._edit if not 0 <= n < count]
            if len(self.report.missing) == len(self._edit):
                have = "1 face, 0" if count == 1 else f"{count} faces, numbered from 0"
                raise EditError(f"no face {self.report.missing[0]}: the clip has {have}")

    def _mark(self) -> Mark | None:
        """What was asked of whom; None where nothing was edited or this painter does not mark."""
        if not (self.report.edited and self._painter.mark):
            return None
        asked = ((n, self._of(n)) for n in range(len(self.report.people)))
        faces = tuple(marked_person(n, edit) for n, edit in asked if edit and edit.strength)
        return Mark(faces, tuple(sorted(self._painter.models.items())))

    def _of(self, index: int) -> Edit | None:
        """What is asked of a person by number."""
        return self._edit.get(index) if isinstance(self._edit, Mapping) else self._edit

    def _path(self) -> Path:
        if not self.report.stopped:
            return self._out
        return partial(self._out)


def partial(out: Path) -> Path:
    """What the first part of a clip is called that was stopped, or is damaged."""
    return out.with_name(f"{out.stem}.partial{out.suffix}")


def _time(item: VideoFrame | Packet) -> float:
    """Of a frame or packet, in seconds."""
    if item.pts is None or item.time_base is None:
        return -np.inf
    return float(item.pts * item.time_base)
