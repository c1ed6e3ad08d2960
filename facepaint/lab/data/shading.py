"""Samples for the network that shades moved skin: what light it has, and what it is to have.

A true sample is two photos of one person in one light: the first is moved onto the landmarks of the
second, as an edit would move it; what is left between them is the answer. Such people are few, so
other samples lay this difference over the photo of somebody else who shows the second expression:
the photo less the difference is what the network sees, the difference is the answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.editing.flow import flow_between
from facepaint.editing.mover import told_change
from facepaint.editing.shade import HUES, LEAST, skin
from facepaint.editing.windows import MIRROR
from facepaint.errors import LabError
from facepaint.face import EXPRESSIONS, FloatArray, head_turn
from facepaint.lab.data import moves
from facepaint.lab.data.augment import Look, random_frame
from facepaint.lab.data.closeups import CloseUps
from facepaint.mesh import mirrored_blendshapes, mirrored_landmarks

Pixels = npt.NDArray[np.uint8]
SAME_LIGHT = ("taiwan", "london", "radiate", "kdef", "clips", "yawn", "rendered", "drawn")
_FRONTAL, _SAME_TURN = 0.6, 0.15  # of `head_turn`: how far at most, and how far two photos differ
_LIMIT = 0.7  # of the logarithm of a ratio: more is hair, or something in the way
_GRAIN = 0.005  # crop units: standard deviation of the blur that leaves grain out of the light
_LARGEST = 0.1  # mean of a ratio's absolute logarithm: more is another light
_CARRIED = ("taiwan", "london", "radiate", "kdef", "rendered", "drawn")  # sets with studio light
_TRIES = 200  # pairs that are looked at until one has the same light
_SEARCHED = 40  # faces among which one with a like expression is looked for
_NO_MAP: Any = None  # of `cv2.remap`, whose other map has both coordinates


class Chances(Protocol):
    """The settings that samples are drawn by (see `ShadeSettings`)."""

    @property
    def size(self) -> int: ...
    @property
    def carried(self) -> float: ...
    @property
    def light(self) -> float: ...


class _Seen(NamedTuple):
    """A photo of a pair, mirrored or not."""

    landmarks: FloatArray  # [478, 2], crop units of its own frame
    blendshapes: FloatArray  # [52]
    name: FloatArray  # [7], zeros where the expression is not known
    frame: FloatArray  # from these crop units to those of the close-up


class ShadingSamples:
    """Draws samples from close-ups."""

    def __init__(self, settings: Chances, faces: CloseUps) -> None:
        """Raises LabError where nobody was seen twice in the same light."""
        self._s = settings
        turn = np.array([head_turn(p) for p in faces.landmarks])
        self.faces = faces.only(np.abs(turn) < _FRONTAL)
        self._turn = turn[np.abs(turn) < _FRONTAL]
        self.pairs = self._pairs()
        if not self.pairs:
            raise LabError("nobody in the data was seen twice in the same light")
        self._people = sorted(self.pairs)
        sharp = self.faces.crop_sides >= min(0.8 * settings.size, self.faces.crop_sides.max())
        self._sharp = np.flatnonzero(sharp)

    def _pairs(self) -> dict[tuple[str, str], list[tuple[int, int]]]:
        """By set and person the pairs of photos."""
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for i, mates in self.faces.others().items():
            source = str(self.faces.sources[i])
            if source in SAME_LIGHT:
                near = mates[np.abs(self._turn[mates] - self._turn[i]) < _SAME_TURN]
                person = (source, str(self.faces.subjects[i]))
                found.setdefault(person, []).extend((i, int(j)) for j in near)
        return {person: pairs for person, pairs in found.items() if pairs}

    def draw(self, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """One sample, as `sample` returns it, of a pair drawn at random; people count alike."""
        for _ in range(_TRIES):
            pairs = self.pairs[self._people[int(rng.integers(len(self._people)))]]
            i, j = pairs[int(rng.integers(len(pairs)))]
            studio = self.faces.sources[i] in _CARRIED
            made = self.sample(rng, i, j, studio and bool(rng.random() < self._s.carried))
            weight = made["skin"].sum(dtype=np.float64)
            if np.abs(made["gain"]).sum(dtype=np.float64) < _LARGEST * weight:
                return made
        raise LabError("the photos of a person differ too much in light to learn from")

    def sample(
        self, rng: np.random.Generator, i: int, j: int, carried: bool = False
    ) -> dict[str, npt.NDArray[Any]]:
        """The sample of two photos of one person.

        Args:
            rng: of the light and the frame; and of the other face.
            i, j: the first and the second photo.
            carried: whether to lay their difference over another face.

        Returns:
            crop: uint8 [S, S, 3] RGB, the moved face. skin: float32 [S, S], 0 to 1. told: float32
            [110]. gain: float16 [S, S], the answer, the natural logarithm of a ratio of light.
        """
        mirror = bool(rng.random() < 0.5)
        one, two = (self._seen(k, mirror) for k in (i, j))
        jitter = random_frame(rng, 3, 0.05, 0.02)
        one = one._replace(
            landmarks=align.apply(align.invert(jitter), one.landmarks),
            frame=align.chain(one.frame, jitter),
        )
        # the second photo, laid over the first by points that no expression moves
        over = moves.still_frame(one.landmarks, two.landmarks)
        asked = align.apply(over, two.landmarks)
        look, size = Look.draw(rng, self._s.light), self._s.size
        first = look(self.faces.window(i, one.frame, size))
        second = look(self.faces.window(j, align.chain(two.frame, align.invert(over)), size))
        moved, where = _moved(first, one.landmarks, asked), skin(asked, size)
        gain = _difference(moved, second, where)
        if carried:
            k = self._alike(rng, two.blendshapes)
            other = self._seen(k, bool(rng.random() < 0.5))
            lit = Look.draw(rng, self._s.light)(self.faces.window(k, other.frame, size))
            where = skin(other.landmarks, size)
            gain = _moved(gain, asked, other.landmarks) * where
            moved = _without(lit, gain)
        told = told_change(one.blendshapes, two.blendshapes, _between(one.name, two.name))
        told = told + (rng.normal(0, 0.02, told.shape) * (told != 0)).astype(np.float32)
        if rng.random() < 0.3:
            told[-len(EXPRESSIONS) + 1 :] = 0
        return {"crop": moved, "skin": where, "told": told, "gain": gain.astype(np.float16)}

    def _seen(self, i: int, mirror: bool) -> _Seen:
        points, blend = self.faces.landmarks[i], self.faces.blendshapes[i]
        expression, name = int(self.faces.expressions[i]), np.zeros(len(EXPRESSIONS), np.float32)
        if expression >= 0:
            name[expression] = 1
        if not mirror:
            return _Seen(points, blend, name, align.IDENTITY)
        flipped = align.apply(MIRROR, points)[mirrored_landmarks()]
        return _Seen(flipped, blend[mirrored_blendshapes()], name, MIRROR)

    def _alike(self, rng: np.random.Generator, blendshapes: FloatArray) -> int:
        """Of some faces the one whose expression is nearest."""
        some = rng.choice(self._sharp, min(_SEARCHED, len(self._sharp)), replace=False)
        away = np.linalg.norm(self.faces.blendshapes[some] - blendshapes, axis=1)
        return int(some[np.argmin(away)])


def _between(one: FloatArray, two: FloatArray) -> FloatArray:
    """How much of each name a change adds, [7]; nothing where one is not known."""
    return (two - one) if one.any() and two.any() else np.zeros_like(one)


def _moved(picture: npt.NDArray[Any], points: FloatArray, asked: FloatArray) -> npt.NDArray[Any]:
    """A picture [S, S, ·] that follows its landmarks."""
    size = len(picture)
    flow = flow_between(points, asked, size) * np.float32(size)
    place = np.arange(size, dtype=np.float32)
    at = flow + np.stack(np.meshgrid(place, place), -1)
    at = np.asarray(at, np.float32)
    out = cv2.remap(picture, at, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out)


def _difference(one: Pixels, two: Pixels, where: FloatArray) -> FloatArray:
    """The logarithm of the ratio of two pictures' light on skin, without what exposure changes."""
    first, second = (np.log(p.astype(np.float32) / 255 + LEAST).mean(-1) for p in (one, two))
    ratio = cv2.GaussianBlur(second - first, (0, 0), _GRAIN * len(one))
    ratio = ratio - float((ratio * where).sum()) / max(float(where.sum()), 1e-6)
    return np.asarray(np.clip(ratio, -_LIMIT, _LIMIT) * where, np.float32)


def _without(pixels: Pixels, gain: FloatArray) -> Pixels:
    """A picture before a gain was laid over it."""
    hues = np.array(HUES, np.float32)
    light = (pixels.astype(np.float32) / 255 + LEAST) * np.exp(-gain[..., None] * hues) - LEAST
    return np.asarray(np.rint(np.clip(light, 0, 1) * 255), np.uint8)
