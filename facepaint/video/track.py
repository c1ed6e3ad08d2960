"""Track: which face of a frame is which of those before.

A face is followed by its landmarks: the reader looks where they should be now. From time to time,
and whenever a face is lost, the whole frame is searched; what is found there and is not followed
yet is somebody who was here before, by appearance, or somebody new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.face import Box, Face, FloatArray
from facepaint.video.appearance import describe, similarity
from facepaint.video.smooth import SteadyFace

Pixels = npt.NDArray[np.uint8]
Find = Callable[[Pixels], list[Face]]
Follow = Callable[[Pixels, list[FloatArray]], list[Face]]

SEARCH_EVERY = 0.25  # seconds between searches of the whole frame
CONFIRM = 0.25  # seconds that a face must stay to count: a false alarm of the search does not

_KEEP = 0.3  # confidence; below it a face that was followed is lost
_SAME = 0.85  # similarity from which two crops show the same person
_STEADY = 0.92  # similarity of neighbouring frames; below it there may have been a cut
_LIKE_BEFORE = 0.95  # similarity above which a crop adds nothing to the gallery
_STRANGE = 0.72  # similarity below which nobody who is followed can have become in small steps
_LEARN_EVERY = 0.5  # seconds between crops for the gallery, which so takes in no cross-fade
_GALLERY = 8  # crops by which a person is known
# Lengths in sides of the crop, which is about 1.6 times as wide as the face.
_ONE = 0.3  # centres nearer than this are one face
_COVERED = 0.6  # of a face nearer than this to another one, part may be hidden
_NEAR = 1.0  # two faces nearer than this may be taken for each other
_LEAP = 0.5  # a face that is further from where it should be is another one
_GROWTH = 1.5  # nor does it become so much larger or smaller from frame to frame
_SWAPPED = 0.05  # similarity by which two people must fit better the other way round


@dataclass(eq=False)
class Track:
    """One person of a clip.

    index: number in order of appearance; None until the person has stayed for CONFIRM.
    first, box: seconds and place, where the person was first seen.
    since: seconds, from when on the person is seen without a gap; minus infinity if from the
    clip's beginning.
    """

    first: float
    since: float
    box: Box
    gallery: list[FloatArray]
    index: int | None = None
    frame: FloatArray = field(default_factory=lambda: align.IDENTITY)
    speed: FloatArray = field(default_factory=lambda: np.zeros((2, 3), np.float32))
    last: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    time: float = 0.0
    learnt: float = -np.inf
    steady: SteadyFace = field(default_factory=SteadyFace)

    def place(self, face: Face, time: float, seen: FloatArray) -> None:
        """Note where the person is now and how it looks."""
        frame, passed = align.align(face.landmarks), time - self.time
        self.speed = (frame - self.frame) / passed if passed > 0 else np.zeros_like(frame)
        self.frame, self.time, self.last = frame, time, seen

    def expected(self, time: float) -> FloatArray:
        """The frame of the crop if the person moves on as before."""
        return np.asarray(self.frame + self.speed * (time - self.time), np.float32)

    def become(self, known: Track) -> None:
        """Be the same person as another track."""
        self.index, self.first, self.box = known.index, known.first, known.box
        self.gallery = known.gallery

    def likeness(self, seen: FloatArray) -> float:
        return max(similarity(seen, known) for known in self.gallery)

    def remember(self, seen: FloatArray) -> None:
        """Take a crop into the gallery that shows the person in a new way."""
        due = self.time >= self.learnt + _LEARN_EVERY
        if due and _SAME < self.likeness(seen) < _LIKE_BEFORE:
            self.learnt = self.time
            self.gallery.append(seen)
            if len(self.gallery) > _GALLERY:
                del self.gallery[1]  # the first, whole and sharp, stays


@dataclass(frozen=True, eq=False)
class _Sight:
    """What a frame shows at one place: a face, its descriptor, and the frame of its crop."""

    face: Face
    seen: FloatArray
    frame: FloatArray


class Tracker:
    """Follows the faces of a clip; call it with each frame in turn.

    find: faces of a picture, in reading order. follow: what the crops of some frames show.
    """

    def __init__(self, find: Find, follow: Follow) -> None:
        self._find, self._follow = find, follow
        self._here: list[Track] = []
        self._gone: list[Track] = []
        self._searched = -np.inf
        self._started = False
        self.people: list[Track] = []  # those that count, by index

    def __call__(self, pixels: Pixels, time: float) -> dict[Track, Face]:
        """The people in the frame at `time`, seconds, and the steadied face of each.

        pixels: uint8 [H, W, 3] RGB, upright.
        """
        sights = self._followed(pixels, time)
        lost = len(sights) < len(self._here)
        self._gone += [track for track in self._here if track not in sights]
        if lost or time >= self._searched + SEARCH_EVERY:
            self._searched = time
            self._search(pixels, time, sights)
        for track, sight in sights.items():
            track.place(sight.face, time, sight.seen)
            if not any(_apart(sight, s) < _NEAR for t, s in sights.items() if t is not track):
                track.remember(sight.seen)
        self._here, self._started = list(sights), True
        self._gone = [track for track in self._gone if track.index is not None]
        self._confirm(time)
        return {track: track.steady(sight.face, time) for track, sight in sights.items()}

    def finish(self) -> None:
        """The clip ends: who is in its last frame counts however short the stay was."""
        self._confirm(np.inf)

    def _confirm(self, time: float) -> None:
        """Give numbers to those who have stayed; who came in from the edge is known now."""
        for track in self._here:
            if track.index is not None or time - track.first < CONFIRM:
                continue
            known = self._known(track.last)
            if known is not None:
                self._gone.remove(known)
                track.become(known)
                self.people[known.index or 0] = track
            else:
                track.index = len(self.people)
                self.people.append(track)

    def _followed(self, pixels: Pixels, time: float) -> dict[Track, _Sight]:
        """Those of the last frame who are still where they should be."""
        frames = [track.expected(time) for track in self._here]
        faces = self._follow(pixels, frames) if frames else []
        sights = [_sight(pixels, face) for face in faces]
        pairs = zip(self._here, frames, sights, strict=True)
        found = {t: s for t, frame, s in pairs if _is_there(t, frame, s, pixels.shape)}
        return _told_apart(found)

    def _search(self, pixels: Pixels, time: float, sights: dict[Track, _Sight]) -> None:
        """Add to `sights` who is in the frame and not followed: people who return, and new ones."""
        for face in self._find(pixels):
            new = _sight(pixels, face)
            if any(_apart(new, other) < _ONE for other in sights.values()):
                continue
            track = self._known(new.seen)
            if track is None and any(_apart(new, other) < _COVERED for other in sights.values()):
                continue  # who it is will be seen when nobody is before it
            if track is None:
                track = Track(time, time if self._started else -np.inf, face.box, [new.seen])
            else:
                self._gone.remove(track)
                if track not in self._here:  # a gap
                    track.since = time
                if track.since == time or _distance(track.frame, new.frame) > _LEAP:
                    track.steady = SteadyFace()
            track.frame, track.time = new.frame, time
            sights[track] = new

    def _known(self, seen: FloatArray) -> Track | None:
        """Who of those that have gone looks so."""
        likeness = [(track.likeness(seen), n) for n, track in enumerate(self._gone)]
        best, n = max(likeness, default=(0.0, 0))
        return self._gone[n] if best >= _SAME else None


def _sight(pixels: Pixels, face: Face) -> _Sight:
    frame = align.align(face.landmarks)
    return _Sight(face, describe(align.crop(pixels, frame)), frame)


def _is_there(track: Track, frame: FloatArray, sight: _Sight, shape: tuple[int, ...]) -> bool:
    """Whether a face where one should be is that one."""
    growth = align.side_of(sight.frame) / align.side_of(track.frame)
    x, y = _centre(sight.frame)
    return (
        sight.face.confidence >= _KEEP
        and 1 / _GROWTH < growth < _GROWTH
        and 0 <= x < shape[1]
        and 0 <= y < shape[0]
        and _distance(sight.frame, frame) < _LEAP
        and _looks_like(track, sight.seen)
    )


def _looks_like(track: Track, seen: FloatArray) -> bool:
    """Whether a person can look so now: as known, or little changed since the last frame."""
    likeness = track.likeness(seen)
    if similarity(seen, track.last) >= _STEADY:
        return likeness >= _STRANGE
    return likeness >= _SAME


def _told_apart(sights: dict[Track, _Sight]) -> dict[Track, _Sight]:
    """Of two who are in one place only the one whose face it is; two who passed each other each
    with the own face."""
    for (one, here), (other, there) in combinations(list(sights.items()), 2):
        if one not in sights or other not in sights or _apart(here, there) >= _NEAR:
            continue
        own = one.likeness(here.seen), other.likeness(there.seen)
        if _apart(here, there) < _ONE:
            del sights[other if own[0] >= own[1] else one]
        elif one.likeness(there.seen) + other.likeness(here.seen) > sum(own) + _SWAPPED:
            sights[one], sights[other] = there, here
    return sights


def _centre(frame: FloatArray) -> FloatArray:
    return np.asarray(align.apply(frame, np.array([[0.5, 0.5]], np.float32))[0], np.float32)


def _distance(one: FloatArray, other: FloatArray) -> float:
    """Between the centres of two crops, in sides of the smaller one."""
    side = min(align.side_of(one), align.side_of(other))
    return float(np.linalg.norm(_centre(one) - _centre(other))) / side


def _apart(one: _Sight, other: _Sight) -> float:
    return _distance(one.frame, other.frame)
