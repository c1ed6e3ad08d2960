"""Samples for networks that repaint mouths and eyes: windows to be painted back as they were.

A true window has its mouth or eye cut out and is told the outlines of what was there, so every
photo is a sample with an answer. The hint (`facepaint.editing.hints`) is another photo of the same
person where there is one; else the photo itself, whose expression was changed by a warp and changed
back, so that only what survives such a warp is given away; else nothing.
"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.editing.hints import Hint, hint
from facepaint.editing.windows import (
    EYES,
    MIRROR,
    MOUTH,
    ROOM,
    Part,
    in_window,
    mean_colour,
    outlines,
    widened,
    window_frame,
)
from facepaint.face import FloatArray, head_turn
from facepaint.lab.data import moves
from facepaint.lab.data.augment import Look, random_frame
from facepaint.lab.data.closeups import CloseUps
from facepaint.mesh import mirrored_blendshapes

Pixels = npt.NDArray[np.uint8]
PARTS: dict[str, tuple[Part, ...]] = {"mouth": (MOUTH,), "eye": EYES}
_SAME_TURN = 0.2  # of `head_turn`, by which two photos of a person may differ
_OPEN, _WIDE_OPEN = 0.08, 0.3  # height of a mouth's opening over its width
_BINS = 6  # of an eye's opening, which are drawn equally often
_AWAY = 0.12  # of an eye's width: an iris so far from the middle looks aside


class Chances(Protocol):
    """The settings that samples are drawn by (see `InpaintingSettings`)."""

    @property
    def part(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def hinted(self) -> float: ...
    @property
    def sharp(self) -> float: ...
    @property
    def light(self) -> float: ...
    @property
    def tint(self) -> float: ...


class InpaintingSamples:
    """Draws samples of one kind of part from close-ups of people who are not held out."""

    def __init__(self, settings: Chances, faces: CloseUps) -> None:
        self._s, self._parts = settings, PARTS[settings.part]
        self.faces = faces.only(~faces.held_out)
        self._odds = [self._chances(part) for part in self._parts]
        self._others = self.faces.others()
        self._turn = np.array([head_turn(p) for p in self.faces.landmarks])
        people = moves.people(self.faces, np.ones(len(self.faces), bool))
        self._linear = moves.fit(self.faces, people) if people else None  # type: ignore[arg-type]
        self._order = mirrored_blendshapes()

    def draw(self, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """One sample, as `sample` returns it, of a face drawn at random."""
        which = int(rng.integers(len(self._parts)))
        i = int(rng.choice(len(self.faces), p=self._odds[which]))
        return self.sample(rng, i, self._parts[which])

    def sample(self, rng: np.random.Generator, i: int, part: Part) -> dict[str, npt.NDArray[Any]]:
        """A sample of face i.

        Returns:
            true: uint8 [S, S, 3] RGB, the answer. maps: float32 [S, S, 5]: mask, outer and inner
            outline, where the hint is known, its stretch. hint: uint8 [S, S, 3]. told: float32
            [B + 3], blendshapes and the mean colour.
        """
        s, size = self._s, self._s.size
        points, blend = self.faces.landmarks[i], self.faces.blendshapes[i]
        jitter = random_frame(rng, 5, 0.08, 0.03)
        window = align.chain(window_frame(points, part), jitter)
        mirror = part.mirrored if part.disc else rng.random() < 0.5
        if mirror:
            window = align.chain(window, MIRROR)
            blend = blend[self._order]
        look = Look.draw(rng, s.light, s.tint)
        inside = in_window(points, window)
        inside = inside + rng.normal(0, 0.0025, inside.shape).astype(np.float32)
        told = outlines(inside, part, part.grow * rng.uniform(0.75, 1.6), size)
        true = look(self.faces.window(i, window, size))
        given, colour_of = self._hint(rng, i, part, window, look)
        colour = mean_colour(true.astype(np.float32) / 255, told, part)
        if colour_of is not None:
            colour = colour_of
        colour = np.asarray(np.clip(colour + rng.normal(0, 0.015, 3), 0, 1), np.float32)
        known = blend[list(part.blendshapes)]
        known = np.asarray(known + rng.normal(0, 0.03, known.shape), np.float32)
        if rng.random() < 0.1:
            known = known * 0
        maps = (told.mask, told.outer, told.inner, given.known, given.stretch)
        return {
            "true": true,
            "hint": np.rint(given.picture * 255).astype(np.uint8),
            "maps": np.stack(maps, -1).astype(np.float32),
            "told": np.concatenate([known, colour]).astype(np.float32),
        }

    def _hint(
        self, rng: np.random.Generator, i: int, part: Part, window: FloatArray, look: Look
    ) -> tuple[Hint, FloatArray | None]:
        """A hint for face i in a window, and the colour of lips or iris that its source shows."""
        size = self._s.size
        if rng.random() >= self._s.hinted:
            return Hint.none(size), None
        points = self.faces.landmarks[i]
        mates = self._others.get(i, np.zeros(0, np.intp))
        if len(mates):
            mates = mates[np.abs(self._turn[mates] - self._turn[i]) < _SAME_TURN]
        if len(mates) and rng.random() < 0.8:
            j = int(rng.choice(mates))
            had = self.faces.landmarks[j]
            pixels, frame = self._around(j, part, had)
        else:
            had = self._changed(rng, i)
            at = widened(window_frame(had, part))
            picture = hint(
                self.faces.cut_out(i),
                self.faces.frame(i),
                points,
                had,
                part,
                at,
                round(ROOM * size),
            ).picture
            pixels = np.rint(picture * 255).astype(np.uint8)
            frame = align.invert(at) * np.float32(len(pixels))
        lit = look(pixels)
        if rng.random() < 0.5:
            lit = Look.draw(rng, 0.15)(lit)
        at_crop = window_frame(had, part)
        inside = in_window(had, at_crop)
        seen = outlines(inside, part, size=size // 2)
        source = _cut(lit, align.chain(frame, at_crop), size // 2)
        colour = mean_colour(source.astype(np.float32) / 255, seen, part)
        return hint(lit, frame, had, points, part, window, size), colour

    def _around(self, j: int, part: Part, points: FloatArray) -> tuple[Pixels, FloatArray]:
        """What a photo shows around a part, and the frame from crop units to its pixels."""
        at = widened(window_frame(points, part))
        size = round(ROOM * self._s.size)
        frame: FloatArray = align.invert(at) * np.float32(size)
        return self.faces.window(j, at, size), frame

    def _changed(self, rng: np.random.Generator, i: int) -> FloatArray:
        """Landmarks of face i with the expression of another face, [478, 2]."""
        points: FloatArray = self.faces.landmarks[i]
        if self._linear is None:
            return points
        k = int(rng.integers(len(self.faces)))
        have, want = self.faces.blendshapes[i], self.faces.blendshapes[k]
        return moves.moved(points, have, want, self._linear)

    def _chances(self, part: Part) -> npt.NDArray[np.float64]:
        """How often each face is drawn: all kinds of openings, the sharper faces more."""
        faces, size = self.faces, self._s.size
        native = faces.crop_sides * part.side / size  # 1: as sharp as the window can be
        odds = np.where(native >= self._s.sharp, np.clip(native, 0.3, 1.2) ** 1.5, 0.0)
        p = faces.landmarks
        if part.disc:
            odds = odds * _even(_opening(p, part))
            odds = odds * np.where(_aside(p, part) > _AWAY, 2.0, 1.0)
        else:
            gap = np.linalg.norm(p[:, 13] - p[:, 14], axis=1)
            gap = gap / np.linalg.norm(p[:, 61] - p[:, 291], axis=1)
            kinds = (gap < _OPEN, (gap >= _OPEN) & (gap < _WIDE_OPEN), gap >= _WIDE_OPEN)
            for kind, share in zip(kinds, (0.35, 0.35, 0.3), strict=True):
                total = odds[kind].sum()
                odds[kind] *= share / total if total > 0 else 0
        if not odds.sum() > 0:
            odds = np.ones(len(faces))
        total = odds.astype(np.float64)
        return np.asarray(total / total.sum(), np.float64)


def _opening(points: FloatArray, part: Part) -> FloatArray:
    """Height over width of each eye's opening."""
    outline = points[:, list(part.outer)]
    height, width = (np.ptp(outline[..., a], axis=1) for a in (1, 0))
    return np.asarray(height / width, np.float32)


def _aside(points: FloatArray, part: Part) -> FloatArray:
    """How far the iris is from the middle of the eye, of its width."""
    outline = points[:, list(part.outer), 0]
    middle, width = (outline.max(1) + outline.min(1)) / 2, np.ptp(outline, axis=1)
    return np.asarray(np.abs(points[:, part.inner[0], 0] - middle) / width, np.float32)


def _even(values: FloatArray) -> FloatArray:
    """Odds that make bins of equal width equally likely, but for the rarest, at most 8 to 1."""
    low, high = (float(v) for v in np.percentile(values, [1, 99]))
    edges = np.linspace(low, high, _BINS + 1)
    bins = np.clip(np.digitize(values, edges) - 1, 0, _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    odds = counts.max() / np.maximum(counts[bins], 1)
    return np.asarray(np.minimum(odds, 8), np.float32)


def _cut(pixels: Pixels, frame: FloatArray, size: int) -> Pixels:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(
        pixels,
        align.centred(frame, size),
        (size, size),
        flags=flags,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(out, np.uint8)
