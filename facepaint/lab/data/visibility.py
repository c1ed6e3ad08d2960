"""Samples for a network that tells where a face is visible.

Their truth is the parsing that some photos come with: skin, nose, eyes, brows, mouth and lips are
the face, and all else is not. Occluders are pasted on some (`facepaint.lab.data.occluders`); what
is under them is no longer visible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.align import CROP
from facepaint.errors import LabError
from facepaint.face import FACE_OVAL, INNER_LIPS, LEFT_IRIS, OUTER_LIPS, RIGHT_IRIS, FloatArray
from facepaint.lab.data import datasets
from facepaint.lab.data.augment import Look, random_frame
from facepaint.lab.data.datasets import Portrait
from facepaint.lab.data.faces import WIDE, WIDE_PIXELS, FaceSet, cached, cut, widen
from facepaint.lab.data.occluders import OCCLUDERS, Bank, Ground, Layer
from facepaint.lab.data.split import is_held_out
from facepaint.lab.data.topology import filled
from facepaint.mesh import mirrored_landmarks

Pixels = npt.NDArray[np.uint8]
# of the 19 classes of CelebAMask-HQ: skin, nose, eyes, brows, mouth's inside, lips
FACE_CLASSES = (1, 2, 4, 5, 6, 7, 10, 11, 12)
_GLASSES, _HAIR = 3, 13
_WITH_GLASSES = 0.01  # share of a wide crop that glasses take, from which on a face wears them
_CHEEKS = (50, 280, 205, 425)  # landmarks in the middle of cheeks
_PATCH = 18  # pixels of a wide crop, of a patch of cheek
_COARSEST = 48.0  # pixels a side; smaller pictures without a face have no texture left
_TEXTURES = 600  # pictures without a face that are kept at most
_BROWN = (70, 55, 45)  # the colour of hair where none is seen
_UPPER, _LOWER = 13, 14  # landmarks of the inner lips' middles
_BRIDGE = 6  # landmark of the nose's bridge, between the eyes
_ODDS = {"hand": 2.0, "glasses": 1.3}  # of kinds to be drawn, others 1: these are hardest to tell
_FORMAT = 1  # of the cache; raise it when what is stored changes
_MIRROR = np.array([[-1, 0, 1], [0, 1, 0]], np.float32)  # of crop units
_PARTED = 0.025  # height of a mouth's opening in crop units, from which on its inside is seen
_WIDEST = 0.28  # likewise, of the widest mouths


@dataclass(frozen=True, eq=False)
class ParsedFaces:
    """Faces of which it is known where they are visible; arrays of one length, N.

    Attributes:
        crops: uint8 [N, 224, 224, 3] RGB wide crops (`facepaint.lab.data.faces`).
        visible: uint8 [N, 224, 224], 255 where a wide crop shows the face, 0 where not.
        landmarks: float32 [N, 478, 2], crop units.
        hair: uint8 [N, 3], mean colour of each one's hair.
        glasses: bool [N], who wears glasses.
        subjects, sources: str [N]; a subject is one person. A source names the set.
        held_out: bool [N], whose photos are kept for measuring.
        textures: uint8 [M, 224, 224, 3] RGB, pictures without a face; M may be 0.
    """

    crops: Pixels
    visible: Pixels
    landmarks: FloatArray
    hair: Pixels
    glasses: npt.NDArray[np.bool_]
    subjects: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    held_out: npt.NDArray[np.bool_]
    textures: Pixels

    def __len__(self) -> int:
        return len(self.crops)

    def only(self, chosen: npt.NDArray[np.bool_]) -> ParsedFaces:
        """The chosen ones, bool [N], copied; with all textures."""
        names = (f.name for f in fields(self) if f.name != "textures")
        return ParsedFaces(
            **{n: np.asarray(getattr(self, n)[chosen]) for n in names}, textures=self.textures
        )


def load(folder: Path, cache: Path) -> ParsedFaces:
    """The faces of a folder that have a parsing, read once into `cache`.

    Args:
        folder: photos in any layout that `datasets` knows.
        cache: where to keep what was read.

    Raises:
        LabError: if no photo has a parsing.
    """
    home = cached(folder, cache, f"visibility {_FORMAT}")
    names = [f.name for f in fields(ParsedFaces)]
    if not (home / "done").exists():
        found = of_portraits(datasets.portraits(folder))
        home.mkdir(parents=True, exist_ok=True)
        for name in names:
            np.save(home / f"{name}.npy", getattr(found, name))
        (home / "done").touch()
    return ParsedFaces(**{n: np.load(home / f"{n}.npy") for n in names})


def of_portraits(portraits: Iterable[Portrait]) -> ParsedFaces:
    """Those faces of portraits that have a parsing, and textures from those that show no face.

    Raises:
        LabError: if no portrait has a parsing.
    """
    rows: list[dict[str, Any]] = []
    textures: list[Pixels] = []
    for seen in portraits:
        if seen.landmarks is not None and seen.parsing is not None:
            rows.append(_row(seen))
        elif seen.landmarks is None and align.side_of(seen.frame) > _COARSEST:
            textures.append(align.crop(seen.pixels, seen.frame, WIDE_PIXELS))
    if not rows:
        raise LabError("no photo with a parsing among them (a column `mask`)")
    stride = -(-len(textures) // _TEXTURES) or 1
    return ParsedFaces(
        **{n: np.stack([r[n] for r in rows]) for n in rows[0]},
        textures=np.stack(textures[::stride]) if textures else _none(),
    )


def _none() -> Pixels:
    return np.zeros((0, WIDE_PIXELS, WIDE_PIXELS, 3), np.uint8)


def _row(seen: Portrait) -> dict[str, Any]:
    assert seen.landmarks is not None and seen.parsing is not None
    wide, parsing = widen(seen.frame), seen.parsing
    crop = align.crop(seen.pixels, wide, WIDE_PIXELS)

    def share(*classes: int) -> Pixels:
        of_photo = np.isin(parsing, classes).astype(np.uint8) * 255
        return align.crop(of_photo, wide, WIDE_PIXELS)

    hair = crop[share(_HAIR) > 250]
    return {
        "crops": crop,
        "visible": share(*FACE_CLASSES),
        "landmarks": align.apply(align.invert(seen.frame), seen.landmarks),
        "hair": np.asarray(hair.mean(0) if len(hair) else _BROWN).astype(np.uint8),
        "glasses": np.bool_((share(_GLASSES) > 127).mean() > _WITH_GLASSES),
        "subjects": seen.subject,
        "sources": seen.source,
        "held_out": is_held_out(seen.subject) if seen.held_out is None else seen.held_out,
    }


def of_drawn(faces: FaceSet) -> ParsedFaces:
    """Drawn faces, whose oval is the face, and as textures the pictures that show none."""
    drawn = faces.only(faces.is_face)
    frame = np.array([[1, 0, (WIDE - 1) / 2], [0, 1, (WIDE - 1) / 2]], np.float32) / WIDE
    ovals = [align.apply(frame, p)[list(FACE_OVAL)] * WIDE_PIXELS for p in drawn.landmarks]
    visible = np.zeros(drawn.crops.shape[:3], np.uint8)
    for mask, oval in zip(visible, ovals, strict=True):
        cv2.fillPoly(mask, [np.round(oval).astype(np.int32)], 255, cv2.LINE_AA)
    return ParsedFaces(
        crops=drawn.crops,
        visible=visible,
        landmarks=drawn.landmarks,
        hair=np.tile(np.array(_BROWN, np.uint8), (len(drawn), 1)),
        glasses=np.zeros(len(drawn), bool),
        subjects=drawn.subjects,
        sources=drawn.sources,
        held_out=drawn.held_out,
        textures=faces.crops[~faces.is_face],
    )


class Chances(Protocol):
    """The settings that samples are drawn by (see `VisibilitySettings`)."""

    @property
    def untouched(self) -> float: ...
    @property
    def second(self) -> float: ...
    @property
    def opened(self) -> float: ...
    @property
    def shaded(self) -> float: ...
    @property
    def light(self) -> float: ...


class VisibilitySamples:
    """Draws samples from faces; what is hidden in the photos themselves is drawn more often."""

    def __init__(self, settings: Chances, faces: ParsedFaces) -> None:
        """Args:
        settings: how often what is done to a photo.
        faces: those to draw from; at least one.
        """
        self._s, self.faces = settings, faces
        self._bank = Bank(np.stack([_cheek(faces, i) for i in range(len(faces))]), faces.textures)
        hidden = [_hidden_share(faces, i) for i in range(len(faces))]
        odds = 1 + np.minimum(10 * np.array(hidden), 3)
        self._odds = odds / odds.sum()
        of_kinds = np.array([_ODDS.get(k, 1.0) for k in OCCLUDERS])
        self._kinds = of_kinds / of_kinds.sum()
        self._order = mirrored_landmarks()

    def draw(self, rng: np.random.Generator) -> dict[str, Pixels]:
        """One sample, as `sample` returns it, of a face drawn at random: turned, scaled, mirrored
        and lit at random, with or without occluders."""
        s = self._s
        i = int(rng.choice(len(self.faces), p=self._odds))
        frame = random_frame(rng, 6, 0.07, 0.025)
        flip = rng.random() < 0.5
        kinds: list[str] = []
        if rng.random() >= s.untouched:
            count = 2 if rng.random() < s.second else 1
            kinds = [str(k) for k in rng.choice(list(OCCLUDERS), count, p=self._kinds)]
        return self.sample(rng, i, kinds, frame, flip, Look.draw(rng, s.light))

    def sample(
        self,
        rng: np.random.Generator,
        i: int,
        kinds: Iterable[str] = (),
        frame: FloatArray = align.IDENTITY,
        flip: bool = False,
        look: Look | None = None,
    ) -> dict[str, Pixels]:
        """A sample of face i.

        Args:
            rng: of what is drawn over it.
            i: which face.
            kinds: names of OCCLUDERS to paste, one behind another.
            frame: float [2, 3], from crop units to crop units; as `faces.cut` takes it.
            flip: whether to mirror it.
            look: light and lens of the whole; None leaves the photo as it is, without drawn
                shadows or opened mouths.

        Returns:
            crop: uint8 [128, 128, 3] RGB. truth: uint8 [128, 128], 255 where the face is visible.
            oval: uint8 [128, 128], 1 inside the outline of the landmarks.
        """
        points = align.apply(align.invert(frame), self.faces.landmarks[i])
        if flip:
            frame = align.chain(frame, _MIRROR)
            points = (points * [-1, 1] + [1, 0])[self._order].astype(np.float32)
        crop, truth = cut(self.faces.crops[i], frame), cut(self.faces.visible[i], frame)
        if look is not None and rng.random() < self._s.opened:
            crop, truth, points = opened(rng, crop, truth, points)
        if look is not None and rng.random() < self._s.shaded:
            crop = shaded(rng, crop, points)
        skin = self._bank.skins[i].reshape(-1, 3).mean(0)
        ground = Ground(points, skin, self.faces.hair[i].astype(float), self._bank, CROP)
        for kind in kinds:
            crop, truth = paste(rng, OCCLUDERS[kind](rng, ground), crop, truth)
        return {
            "crop": crop if look is None else look(crop),
            "truth": truth,
            "oval": filled(points, FACE_OVAL).astype(np.uint8),
        }


def paste(
    rng: np.random.Generator, layer: Layer, crop: Pixels, truth: Pixels
) -> tuple[Pixels, Pixels]:
    """Put an occluder over a crop, with its shadow.

    Args:
        rng: of how soft it is and of its shadow.
        layer: the occluder; it may be softened.
        crop: uint8 [S, S, 3] RGB. truth: uint8 [S, S], 255 where the face is visible.

    Returns:
        The crop, uint8 [S, S, 3], and what is still visible, uint8 [S, S]. Shadows hide nothing.
    """
    if rng.random() < 0.5:
        layer.soften(rng.uniform(0.3, 0.8))
    if rng.random() < 0.6:
        shift = np.array([[1, 0, rng.normal(0, 3)], [0, 1, rng.uniform(-1, 5)]])
        moved = cv2.warpAffine(layer.alpha, shift, (layer.size, layer.size))
        cast = cv2.GaussianBlur(moved, (0, 0), rng.uniform(1, 5))[..., None]
        crop = np.asarray(np.clip(crop * (1 - rng.uniform(0.1, 0.6) * cast), 0, 255), np.uint8)
    return layer.over(crop), np.asarray(np.rint(truth * (1 - layer.cover)), np.uint8)


def opened(
    rng: np.random.Generator, crop: Pixels, truth: Pixels, points: FloatArray
) -> tuple[Pixels, Pixels, FloatArray]:
    """Draw a mouth wide open, of which parsings hold too few.

    Rows between the lips are stretched, rows below go down, and the inside is darkened or drawn.
    A mouth that something hides stays as it is.

    Args:
        rng: of how wide, and of the inside.
        crop: uint8 [S, S, 3]. truth: uint8 [S, S]. points: float32 [478, 2], crop units.

    Returns:
        The three of the opened face.
    """
    top, bottom = float(points[_UPPER, 1]), float(points[_LOWER, 1])
    if (truth[filled(points, OUTER_LIPS) > 0] < 128).any():
        return crop, truth, points
    more = rng.uniform(0, max(0.0, _WIDEST - (bottom - top)))
    after = points.copy()
    after[:, 1] += more * np.clip((points[:, 1] - top) / max(bottom - top, 1e-4), 0, 1)
    parted = bottom - top >= _PARTED
    bottom = max(bottom, top + 1 / len(crop))
    size = len(crop)
    rows = (np.arange(size) + 0.5) / size
    source = np.interp(rows, [0, top, bottom + more, 2], [0, top, bottom, 2 - more])
    y = np.repeat((source * size - 0.5).astype(np.float32)[:, None], size, 1)
    x = np.tile(np.arange(size, dtype=np.float32), (size, 1))

    def moved(picture: Pixels) -> Pixels:
        out = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(out, np.uint8)

    inside = cv2.GaussianBlur(filled(after, INNER_LIPS), (0, 0), rng.uniform(0.6, 1.6))[..., None]
    picture = moved(crop).astype(np.float32)
    if parted and rng.random() < 0.4:
        picture = picture * (1 - rng.uniform(0, 0.8) * inside)
    else:
        picture = picture * (1 - inside) + _mouth_inside(rng, after, picture) * inside
    return np.asarray(np.clip(picture, 0, 255), np.uint8), moved(truth), after


def _mouth_inside(rng: np.random.Generator, points: FloatArray, picture: FloatArray) -> FloatArray:
    """What an open mouth shows, as large as the picture: a dark hollow, teeth and a tongue."""
    size = len(picture)
    outline = points[list(INNER_LIPS)]
    (left, top), (right, bottom) = outline.min(0), outline.max(0)
    rows, columns = (np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size
    v = ((rows - top) / max(1e-3, bottom - top))[:, None]
    u = ((columns - (left + right) / 2) / max(1e-3, (right - left) / 2))[None]
    light = np.percentile(picture, 80) / 255  # as bright as the face is
    hollow = np.array([rng.uniform(15, 120), rng.uniform(5, 45), rng.uniform(5, 45)])
    out = hollow * (0.5 + 0.6 * np.abs(v + 0 * u))[..., None]

    def lay(colour: npt.NDArray[Any], distance: npt.NDArray[Any]) -> None:
        share = np.clip(0.5 - 8 * distance, 0, 1)[..., None]
        out[:] = out * (1 - share) + colour * share

    if rng.random() < 0.75:
        tongue = np.array([rng.uniform(130, 220), rng.uniform(60, 120), rng.uniform(60, 120)])
        lay(tongue, np.hypot(u / rng.uniform(0.5, 0.9), (v - 1) / rng.uniform(0.25, 0.7)) - 1)
    teeth = np.array([235.0, 225, 205]) * rng.uniform(0.6, 1)
    for edge, chance in ((v, 0.65), (1 - v, 0.4)):
        if rng.random() < chance:
            lay(teeth, edge + 0.25 * u**2 - rng.uniform(0.08, 0.3))
    return np.asarray(out * light, np.float32)


def shaded(rng: np.random.Generator, crop: Pixels, points: FloatArray) -> Pixels:
    """A crop with a shadow over a part of it, which hides nothing.

    Args:
        rng: of the shadow: anywhere, of a brim over the upper face, or in the eyes' hollows.
        crop: uint8 [S, S, 3] RGB.
        points: float32 [478, 2], crop units.

    Returns:
        uint8 [S, S, 3].
    """
    size, kind = len(crop), rng.random()
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    if kind < 0.4:
        coarse = rng.normal(0, 1, (4, 4)).astype(np.float32)
        field = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        edge = np.clip(field * rng.uniform(1, 12) + rng.normal(0, 1), 0, 1)
    elif kind < 0.7:
        low = points[_BRIDGE, 1] + rng.uniform(-0.1, 0.2)
        low = low + rng.normal(0, 0.2) * (x - 0.5) + rng.normal(0, 0.3) * (x - 0.5) ** 2
        edge = np.clip((low - y) * rng.uniform(4, 60), 0, 1)
    else:
        edge = np.zeros_like(x)
        for iris in (RIGHT_IRIS, LEFT_IRIS):
            middle = points[iris] + rng.normal(0, 0.015, 2)
            away = ((x - middle[0]) / rng.uniform(0.06, 0.11)) ** 2
            away = away + ((y - middle[1]) / rng.uniform(0.03, 0.08)) ** 2
            edge = np.maximum(edge, np.exp(-away))
    tone = 1 - rng.uniform(0.2, 0.75) * edge[..., None] * np.exp(rng.normal(0, 0.06, 3))
    return np.asarray(np.clip(crop * tone, 0, 255), np.uint8)


def _cheek(faces: ParsedFaces, i: int) -> Pixels:
    """The patch of a cheek that is hidden least, uint8 [P, P, 3]."""
    best, most = None, -1.0
    for place in _CHEEKS:
        middle = (faces.landmarks[i, place] + (WIDE - 1) / 2) / WIDE * WIDE_PIXELS
        left, top = np.clip(np.rint(middle - _PATCH / 2).astype(int), 0, WIDE_PIXELS - _PATCH)
        part = slice(top, top + _PATCH), slice(left, left + _PATCH)
        seen = float(faces.visible[i][part].mean())
        if seen > most:
            best, most = faces.crops[i][part], seen
    assert best is not None
    return np.asarray(best)


def _hidden_share(faces: ParsedFaces, i: int) -> float:
    """How much of the landmarks' oval does not show the face, 0 to 1."""
    oval = filled(faces.landmarks[i], FACE_OVAL) > 0
    return float((cut(faces.visible[i], align.IDENTITY)[oval] < 128).mean()) if oval.any() else 0.0
