"""Methods: what can repaint a face. A method goes from a crop, its face and an edit to strokes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.change import change, depth_of_shade, named, parts
from facepaint.composite import composite, is_grey
from facepaint.edit import Edit, unknown
from facepaint.errors import EditError
from facepaint.face import OUTER_LIPS, Face, FloatArray
from facepaint.models import Model, open_model
from facepaint.motion import Motion, motion, warped
from facepaint.names import BLENDSHAPES, EXPRESSIONS
from facepaint.segment import region_mask, smoothstep, visible_face
from facepaint.strokes import Strokes

Pixels = npt.NDArray[np.uint8]
_CLIPS = 16  # the power of a pixel's brightest channel, as far as which it may be overexposed
_FEATHERED = 2.0  # pixels: that has no edge
_FAINT, _FULL = 0.25, 0.75  # cover up to which paint on skin does not darken, and from which whole
_EDGE = 6  # pixels of the crop, over which that begins beside a mouth


class Method(Protocol):
    """What repaints a face."""

    @property
    def turns_eyes(self) -> bool:
        """Whether `look` can be asked of it."""

    @property
    def networks(self) -> dict[str, Model]:
        """The networks that take part, by name."""

    @property
    def card(self) -> dict[str, Any]:
        """What the network is, its data and licence, what was measured, its limits."""

    def paint(self, pixels: Pixels, face: Face, edit: Edit) -> bool:
        """Give a face of a photo what an edit asks for, in place.

        Args:
            pixels: uint8 [H, W, 3] RGB; only the face changes.
            face: as it was read from this photo.
            edit: what is asked of it.

        Returns:
            Whether the edit asks for any change; if not, no bit of the photo is touched.

        Raises:
            EditError: if the method cannot do what is asked.
        """

    def wanted(self, face: Face, edit: Edit) -> FloatArray | None:
        """Say which blendshapes an edit asks for.

        Args:
            face: as it was read.
            edit: what is asked of it.

        Returns:
            float32 [52], 0 to 1; None of a method that knows expressions by name alone.

        Raises:
            EditError: if the method cannot do what is asked.
        """


class StrokesMethod:
    """A method that answers a crop with strokes, which are composited onto the photo."""

    turns_eyes = False

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._model = name, open_model(name, folder)

    @property
    def networks(self) -> dict[str, Model]:
        """The one network, by its name."""
        return {self._name: self._model}

    @property
    def card(self) -> dict[str, Any]:
        """The card of the network."""
        return self._model.card

    def __call__(self, crop: Pixels, face: Face, edit: Edit) -> Strokes | None:
        """The strokes for a crop uint8 [128, 128, 3] RGB of the face, as `align.align` lays it,
        None where the edit asks for no change. Raises EditError for what the method cannot do."""
        raise NotImplementedError

    def wanted(self, face: Face, edit: Edit) -> FloatArray | None:
        """As of `Method`; None unless a method says otherwise."""
        return None

    def paint(self, pixels: Pixels, face: Face, edit: Edit) -> bool:
        """As of `Method`."""
        self._refuse_look(edit)
        frame = align.align(face.landmarks)
        crop = align.crop(pixels, frame)
        strokes = self(crop, face, edit)
        if strokes is None:
            return False
        mask = visible_face(face, frame)
        if edit.regions:
            mask = mask * region_mask(face, frame, edit.regions)
        composite(pixels, frame, strokes, mask, crop=crop)
        return True

    def _refuse_look(self, edit: Edit) -> None:
        if edit.look is not None:
            raise EditError(
                f"{self._name} cannot turn the eyes; the method repaint can, with what ships"
            )


def known_to(method: Method) -> tuple[str, ...]:
    """The expressions that a method can make, in the order of EXPRESSIONS."""
    return tuple(e for e in EXPRESSIONS if e in method.card["expressions"])


class PainterNetwork(StrokesMethod):
    """The painter (`facepaint train painter`): any change of blendshapes, at any strength. The crop
    is first moved by the rig, then repainted by the network, as if it had been photographed so.

    Its network takes a change [N, 52 + 7] with the name of the expression behind the blendshapes;
    one from before there were names takes [N, 52]. Of named expressions it makes those of its card.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("painter", folder)
        self._takes_names = self._model.shape("change")[1] > len(BLENDSHAPES)
        expressions = self.card["expressions"]
        self._targets = {n: np.array(v, np.float32) for n, v in expressions.items()}

    def __call__(self, crop: npt.NDArray[np.uint8], face: Face, edit: Edit) -> Strokes | None:
        self._check(edit)
        have, by_network, by_rig = parts(edit, face, self._targets)
        first, frame = None, align.align(face.landmarks)
        points = align.apply(align.invert(frame), face.landmarks)
        if (by_rig != by_network).any():
            first = _moved(crop, motion(points, by_network, by_rig, len(crop)))
            crop = _composed(crop, first)
        asked = by_network - have
        if self._takes_names:
            asked = np.concatenate([asked, named(edit)])
        if not asked.any():
            return first
        dark = np.maximum(region_mask(face, frame, ("eyes",)), _between_corners(points, len(crop)))
        then = self._painted(crop, asked.astype(np.float32), dark, depth_of_shade(edit))
        return then if first is None else _both(first, then)

    def wanted(self, face: Face, edit: Edit) -> FloatArray | None:
        """As of `Method`."""
        self._check(edit)
        return face.blendshapes + change(edit, face, self._targets)

    def _check(self, edit: Edit) -> None:
        self._refuse_look(edit)
        if edit.to is not None and edit.to not in self._targets:
            raise EditError(
                f"these weights make a face {' or '.join(known_to(self))}, not {edit.to}"
            )

    def _painted(self, crop: Pixels, asked: FloatArray, dark: FloatArray, depth: float) -> Strokes:
        """What the network makes of a crop. dark [S, S]: where faint paint may darken; depth: how
        many times as dark the shade is."""
        out = self._model(crops=crop[None], change=asked[None])
        strokes = {name: np.asarray(value[0], np.float32) for name, value in out.items()}
        if is_grey(crop):  # what is painted into a grey photo is grey
            strokes["paint"] = np.repeat(strokes["paint"].mean(-1, keepdims=True), 3, -1)
        strokes["paint"] = _without_smudges(strokes, dark)
        strokes["shade"] = _lit(crop, strokes, depth)
        return Strokes(**strokes)


def _between_corners(points: FloatArray, size: int) -> FloatArray:
    """The nose, the mouth and the chin: what lies between the columns of a mouth's corners, [S, S],
    0 to 1. points: landmarks [478, 2] in crop units."""
    low, high = sorted(float(x) * size for x in points[[OUTER_LIPS[0], OUTER_LIPS[10]], 0])
    columns = np.arange(size, dtype=np.float32) + 0.5
    inside = np.clip(np.minimum(columns - low, high - columns) / _EDGE + 0.5, 0, 1)
    return np.asarray(np.broadcast_to(inside, (size, size)), np.float32)


def _without_smudges(strokes: Mapping[str, FloatArray], dark: FloatArray) -> FloatArray:
    """Paint [S, S, 3] that darkens nothing which it covers faintly, but where `dark` [S, S] allows
    it: on cheeks it is meant as a dimple and looks like a smudge."""
    kept = np.maximum(smoothstep(strokes["mask"], _FAINT, _FULL), dark)[..., None]
    paint = strokes["paint"]
    darkens = paint.mean(-1, keepdims=True) < 0
    return np.asarray(np.where(darkens, kept * paint, paint), np.float32)


def _lit(crop: Pixels, strokes: Mapping[str, FloatArray], depth: float) -> FloatArray:
    """The shade [S, S], where it darkens so many times as dark. Less of it where a crop is bright:
    made brighter, it would lose its drawing to white; and what was white before is not made grey,
    since how much brighter than white it was is not known."""
    light = warped(crop, strokes["flow"]).astype(np.float32) / 255
    grey, most = cv2.cvtColor(light, cv2.COLOR_RGB2GRAY), reduce(cv2.max, cv2.split(light))
    headroom, known = 1 - cv2.pow(grey, 4), 1 - cv2.pow(most, _CLIPS)
    known = cv2.GaussianBlur(known, (0, 0), _FEATHERED)
    shade = strokes["shade"]
    return np.asarray(shade * np.where(shade > 0, headroom, depth * known), np.float32)


def _moved(crop: Pixels, by: Motion) -> Strokes:
    """Strokes that move a crop: a flow, and paint where lids meet."""
    paint = np.zeros((*by.seam.shape, 3), np.float32)
    if by.seam.any():
        shown, edge = (warped(crop, f).astype(np.float32) for f in (by.flow, by.edge))
        paint += (edge - shown) / 255
    return Strokes(by.flow, by.seam, paint, np.zeros_like(by.seam))


def _composed(crop: Pixels, strokes: Strokes) -> Pixels:
    """A crop after strokes that have no shade."""
    moved = warped(crop, strokes.flow)
    if not strokes.mask.any():
        return moved
    painted = 255 * strokes.mask[..., None] * strokes.paint
    return np.asarray(np.clip(np.rint(moved + painted), 0, 255), np.uint8)


def _both(first: Strokes, then: Strokes) -> Strokes:
    """Strokes, and others on what they make, as one."""
    flow = then.flow + warped(first.flow, then.flow)
    if not first.mask.any():
        return Strokes(flow, then.mask, then.paint, then.shade)
    before = warped(first.mask[..., None] * first.paint, then.flow)
    paint = before + then.mask[..., None] * then.paint
    mask = np.maximum(warped(first.mask, then.flow), then.mask)
    return Strokes(flow, mask, paint / np.maximum(mask, 1e-3)[..., None], then.shade)


class CycleGANNetwork(StrokesMethod):
    """The study's CycleGAN (`facepaint train cyclegan`): happy and neutral, for comparison. It has
    no flow; what it draws anew is laid over the face where it differs from it."""

    def __init__(self, folder: Path) -> None:
        super().__init__("cyclegan", folder)

    def __call__(self, crop: npt.NDArray[np.uint8], face: Face, edit: Edit) -> Strokes | None:
        known = self.card["expressions"]
        if edit.to is None or edit.to not in known:
            asked = f"make a face {edit.to}" if edit.to else "set muscles or copy a face"
            raise EditError(f"cyclegan cannot {asked}, only make one {' or '.join(known)}")
        if not edit.strength:
            return None
        paint = np.asarray(self._model(crops=crop[None])[edit.to][0], np.float32) * edit.strength
        size = crop.shape[0]
        differs = cv2.GaussianBlur(np.abs(paint).max(-1), (0, 0), size / 64)
        mask = np.clip((differs - 0.01) / 0.03, 0, 1).astype(np.float32)
        still = np.zeros((size, size, 2), np.float32)
        return Strokes(still, mask, paint, np.zeros((size, size), np.float32))


def _move_and_repaint(folder: Path) -> Method:
    from facepaint.editing.method import MoveAndRepaint  # imports what only it needs

    return MoveAndRepaint(folder)


METHODS: dict[str, Callable[[Path], Method]] = {
    "repaint": _move_and_repaint,
    "painter": PainterNetwork,
    "cyclegan": CycleGANNetwork,
}


def lookup(name: str) -> Callable[[Path], Method]:
    """The constructor of a method by name; EditError, which names the nearest, for another."""
    if name not in METHODS:
        raise EditError(unknown("method", name, METHODS))
    return METHODS[name]
