"""WindowSet: faces at the refiner's resolution, and samples of its windows.

A sample's answer is a true window. What is to be refined is that window as the painter would leave
it: under a soft cover it went down to the painter's grid and up again, a little moved, blurred and
tinted. Results of a painter itself have no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.align import CROP
from facepaint.change import change
from facepaint.composite import composite, enlarge, hidden
from facepaint.edit import Edit
from facepaint.errors import LabError
from facepaint.face import (
    EXPRESSIONS,
    LEFT_EYE,
    OUTER_LIPS,
    RIGHT_EYE,
    Box,
    Face,
    FloatArray,
)
from facepaint.lab.data import augment, datasets, moves
from facepaint.lab.data.datasets import Portrait
from facepaint.lab.data.faces import cached, mirror
from facepaint.lab.data.split import is_held_out
from facepaint.lab.data.topology import filled, mirrored_blendshapes
from facepaint.mesh import mirrored_landmarks
from facepaint.methods import Method
from facepaint.refine import FRAME, SIZE, windows
from facepaint.segment import face_mask

Pixels = npt.NDArray[np.uint8]
_NATIVE = 0.8 * SIZE  # pixels of the crop's side in the photo; a smaller face is soft at SIZE
_LABELLED = 0.35  # share of the faces that are drawn evenly from the labelled expressions
_FORMAT = 1  # of the cache; raise it when what is stored changes
# How often another edit is tried until a window hides at least so much of the photo, where it can.
_TRIES, _TO_REFINE = 8, 0.1
_PARTS = ((OUTER_LIPS, 0.05), (RIGHT_EYE, 0.045), (LEFT_EYE, 0.045))  # as `windows`; how far around


@dataclass(frozen=True, eq=False)
class WindowSet:
    """Large faces; arrays of one length, N, as those of a FaceSet but for two.

    crops: uint8 [N, 256, 256, 3] RGB, not wide. sharpness: float32 [N], the mean variance of the
    Laplacian of a face's windows, levels².
    """

    crops: Pixels
    landmarks: FloatArray
    blendshapes: FloatArray
    expressions: npt.NDArray[np.int8]
    subjects: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    held_out: npt.NDArray[np.bool_]
    sharpness: FloatArray

    def __len__(self) -> int:
        return len(self.crops)


_SMALL = ("landmarks", "blendshapes", "expressions", "subjects", "sources", "held_out", "sharpness")


def load(folder: Path, cache: Path, sources: str) -> WindowSet:
    """The large faces of a folder's `sources` (separated by commas, "" for all), read once into
    `cache`; LabError where there is none."""
    home = cached(folder, cache, f"windows {_FORMAT} {sources}")
    if not (home / "done").exists():
        _build(folder, home, [s for s in sources.split(",") if s])
    arrays = {n: np.load(home / f"{n}.npy") for n in _SMALL}
    return WindowSet(crops=np.load(home / "crops.npy", mmap_mode="r"), **arrays)


def _build(folder: Path, home: Path, sources: list[str]) -> None:
    seen = (s for s in datasets.portraits(folder) if not sources or s.source in sources)
    rows = [row(s) for s in seen if _is_large(s)]
    if not rows:
        asked = f" of {', '.join(sources)}" if sources else ""
        hint = "; sources= takes other sets, and an empty one all" if sources else ""
        least = f"with a crop of {_NATIVE:.0f} pixels or more"
        raise LabError(f"{folder}: no face{asked} {least}{hint}")
    home.mkdir(parents=True, exist_ok=True)
    for name in ("crops", *_SMALL):
        np.save(home / f"{name}.npy", np.stack([r[name] for r in rows]))
    (home / "done").touch()


def _is_large(seen: Portrait) -> bool:
    known = seen.landmarks is not None and seen.blendshapes is not None
    return known and align.side_of(seen.frame) >= _NATIVE


def row(seen: Portrait) -> dict[str, Any]:
    """A large face as a row of a WindowSet."""
    assert seen.landmarks is not None
    points = align.apply(align.invert(seen.frame), seen.landmarks)
    crop = align.crop(seen.pixels, seen.frame, SIZE)
    return {
        "crops": crop,
        "landmarks": points,
        "blendshapes": seen.blendshapes,
        "expressions": np.int8(seen.expression),
        "subjects": seen.subject,
        "sources": seen.source,
        "held_out": is_held_out(seen.subject) if seen.held_out is None else seen.held_out,
        "sharpness": np.float32(sharpness(crop, points)),
    }


def sharpness(crop: Pixels, landmarks: FloatArray) -> float:
    """The mean variance of the Laplacian over the windows of a crop of SIZE pixels, levels²."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    found = (cv2.Laplacian(grey[place], cv2.CV_32F).var() for place in windows(landmarks))
    return float(np.mean(list(found)))


# --- samples


class Shares(Protocol):
    """What of the refiner's settings says which samples are drawn."""

    @property
    def sharpest(self) -> float: ...
    @property
    def mouths(self) -> float: ...
    @property
    def made(self) -> float: ...


class _Pose(NamedTuple):
    """How a face is seen: a frame over the crop, a light, mirrored or not."""

    jitter: FloatArray
    look: augment.Look
    flip: bool


def _pose(rng: np.random.Generator) -> _Pose:
    jitter = augment.random_frame(rng, 4, 0.04, 0.015)
    return _Pose(jitter, augment.Look.draw(rng, 0.3), bool(rng.random() < 0.5))


class WindowSamples:
    """Draws samples from the sharpest faces of each set, of people that are not held out.

    method: a painter, whose results a share of the samples are; None for none. held_out: to draw
    from those that are, for measuring.
    """

    def __init__(
        self, shares: Shares, faces: WindowSet, method: Method | None, held_out: bool = False
    ) -> None:
        self._shares, self._faces, self._method = shares, faces, method
        self._pool = sharpest(faces, shares.sharpest, held_out)
        if not len(self._pool):
            whose = "is" if held_out else "is not"
            raise LabError(f"no large face of a person that {whose} held out")
        groups = moves.people(faces, np.isin(np.arange(len(faces)), self._pool))
        self._others = {int(i): group[group != i] for group in groups for i in group}
        self._mirror = mirrored_landmarks(), mirrored_blendshapes()
        kinds = faces.expressions[self._pool]
        self._kinds = [self._pool[kinds == e] for e in sorted({*kinds} - {-1})] or [self._pool]
        known = method.card["expressions"] if method else {}
        self._targets = {n: np.array(v, np.float32) for n, v in known.items()}

    def draw(self, rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
        """`count` samples, those with an answer first."""
        made = round(count * self._shares.made) if self._method else 0
        return [self._made(rng) if n >= count - made else self._paired(rng) for n in range(count)]

    def _paired(self, rng: np.random.Generator) -> dict[str, Any]:
        """A true window as the answer, and that window as a painter would leave it."""
        i, part, pose = self._pick(rng)
        crop, points = self._view(i, pose)
        cover = soft_cover(rng, points, part)
        painted = worsened(rng, crop, cover)
        before = self._before(rng, i, pose, crop, cover)
        shown = self._faces.blendshapes[i]
        return self._sample(rng, part, points, (painted, before, crop), cover, True, shown)

    def _made(self, rng: np.random.Generator) -> dict[str, Any]:
        """A painter's own result, which has no answer, with what it was made from."""
        assert self._method is not None
        i, part, pose = self._pick(rng)
        crop, points = self._view(i, pose)
        blend = self._faces.blendshapes[i][self._mirror[1] if pose.flip else slice(None)]
        strokes, face = None, _face(points * SIZE, blend)
        place, whole, left = windows(points)[part], slice(0, SIZE), _TRIES
        cover = np.zeros((SIZE, SIZE), np.float32)
        frame = align.align(face.landmarks)
        mask = face_mask(align.apply(align.invert(frame), face.landmarks))
        # no strokes where the face is as asked already; of little paint there is nothing to refine
        while strokes is None or (left > 0 and cover[place].max() < _TO_REFINE):
            edit = Edit(str(rng.choice(list(self._targets))))
            strokes = self._method(align.crop(crop, frame), face, edit)
            left -= 1
            if strokes is not None:
                over = enlarge(hidden(strokes, mask), frame, whole, whole)
                cover = np.clip(over[..., 0], 0, 1)
        shown = blend + change(edit, face, self._targets)
        painted = crop.copy()
        composite(painted, frame, strokes, mask)
        return self._sample(rng, part, points, (painted, crop, crop), cover, False, shown)

    def _sample(
        self,
        rng: np.random.Generator,
        part: int,
        points: FloatArray,
        crops: tuple[Pixels, Pixels, Pixels],
        cover: FloatArray,
        answered: bool,
        shown: FloatArray,
    ) -> dict[str, Any]:
        place = windows(points)[part]
        painted, before, true = (np.ascontiguousarray(c[place]) for c in crops)
        other, its = self._view(self._like(rng, shown), _pose(rng))
        return {
            "painted": painted,
            "before": before,
            "cover": np.ascontiguousarray(cover[place]),
            "true": true,
            "answered": np.bool_(answered),
            "real": np.ascontiguousarray(other[windows(its)[part]]),  # another's, for the critic
        }

    def _pick(self, rng: np.random.Generator) -> tuple[int, int, _Pose]:
        """A face, which of its windows, and how it is seen."""
        part = 0 if rng.random() < self._shares.mouths else int(rng.integers(1, len(_PARTS)))
        pool = self._pool
        if rng.random() < _LABELLED:
            pool = self._kinds[int(rng.integers(len(self._kinds)))]
        return int(rng.choice(pool)), part, _pose(rng)

    def _like(self, rng: np.random.Generator, shown: FloatArray) -> int:
        """Another's face that shows about those blendshapes [52], so that a critic does not take an
        open mouth for a wrong one."""
        some = rng.choice(self._pool, 96)
        return int(some[np.abs(self._faces.blendshapes[some] - shown).sum(1).argmin()])

    def _view(
        self, i: int, pose: _Pose, still: FloatArray = align.IDENTITY
    ) -> tuple[Pixels, FloatArray]:
        """A crop of SIZE and its landmarks; still: to be laid over another photo's still points."""
        frame = align.chain(align.invert(still), pose.jitter)
        points = align.apply(align.invert(frame), self._faces.landmarks[i])
        if pose.flip:
            frame, points, _ = mirror(frame, points, self._faces.blendshapes[i], self._mirror)
        crop = align.crop(self._faces.crops[i], align.chain(FRAME, frame), SIZE)
        return pose.look(crop), points

    def _before(
        self, rng: np.random.Generator, i: int, pose: _Pose, crop: Pixels, cover: FloatArray
    ) -> Pixels:
        """What the photo may have shown before the edit: the same person with another expression,
        laid over by the still points; where there is no such photo, the same one with its parts
        moved and, half of the time, without any detail below the paint, as where teeth are new."""
        others = self._others.get(i)
        if others is not None:
            j = int(rng.choice(others))
            still = moves.still_frame(self._faces.landmarks[i], self._faces.landmarks[j])
            return self._view(j, pose, still)[0]
        before = moved_about(rng, crop, 6.0)
        if rng.random() < 0.5:
            blurred = cv2.GaussianBlur(before, (0, 0), 6.0).astype(np.float32)
            before = _mixed(before.astype(np.float32), blurred, cover)
        return before


def sharpest(faces: WindowSet, share: float, held_out: bool = False) -> npt.NDArray[np.intp]:
    """The rows of that share of each set with the highest sharpness, of people that are not held
    out, or of those that are."""
    rows = []
    for source in sorted(set(faces.sources)):
        own = np.flatnonzero((faces.sources == source) & (faces.held_out == held_out))
        order = own[np.argsort(-faces.sharpness[own], kind="stable")]
        rows.append(order[: int(np.ceil(share * len(own)))])
    return np.sort(np.concatenate(rows)) if rows else np.zeros(0, np.intp)


def soft_cover(rng: np.random.Generator, points: FloatArray, part: int) -> FloatArray:
    """How far paint hides a crop, float32 [256, 256], 0 to 1: about the outline of the lips or of
    an eye, drawn at the painter's own resolution. points: [478, 2] in crop units."""
    outline, around = _PARTS[part]
    grow = round(float(rng.uniform(0, 2 * around)) * CROP)
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1,) * 2)
    blurred = cv2.GaussianBlur(
        cv2.dilate(filled(points, outline), shape), (0, 0), float(rng.uniform(0.8, 4))
    )
    most = 1.0 if rng.random() < 0.6 else rng.uniform(0.4, 1.0)
    cover = cv2.resize(blurred * most, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(cover, 0, 1), np.float32)


def worsened(rng: np.random.Generator, crop: Pixels, cover: FloatArray) -> Pixels:
    """A crop of SIZE as the painter would leave it: under the cover at its own resolution, a
    little moved, blurred and tinted; elsewhere as it is."""
    soft = moved_about(rng, crop, 0.5)
    small = cv2.resize(soft, (CROP, CROP), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.85:
        small = cv2.GaussianBlur(small, (0, 0), float(rng.uniform(0.3, 2.0)))
    paint = cv2.resize(small.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    paint = paint * np.exp(rng.normal(0, 0.01)) + rng.normal(0, 1, 3)
    return _mixed(crop.astype(np.float32), paint.astype(np.float32), cover)


def moved_about(rng: np.random.Generator, crop: Pixels, pixels: float) -> Pixels:
    """A crop whose parts are moved by a smooth flow, of so many pixels (standard deviation)."""
    flow = rng.normal(0, pixels, (6, 6, 2)).astype(np.float32)
    wide = cv2.resize(flow, crop.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[: crop.shape[0], : crop.shape[1]].astype(np.float32)
    out = cv2.remap(
        crop, x + wide[..., 0], y + wide[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(out, np.uint8)


def _mixed(below: FloatArray, above: FloatArray, cover: FloatArray) -> Pixels:
    out = below + cover[..., None] * (above - below)
    return np.asarray(np.rint(np.clip(out, 0, 255)), np.uint8)


def _face(landmarks: FloatArray, blendshapes: FloatArray) -> Face:
    """A face of which only landmarks [478, 2], in pixels, and blendshapes [52] are known."""
    low = landmarks.min(0)
    (left, top), (wide, high) = low.tolist(), (landmarks.max(0) - low).tolist()
    box = Box(left, top, wide, high, 1.0)
    return Face(0, box, landmarks, blendshapes, 1.0, np.zeros(len(EXPRESSIONS), np.float32))
