"""Repaint: one face of a photo, moved and then repainted where pixels alone are not enough.

1. The mover says where the landmarks go (`facepaint.editing.mover`).
2. A flow takes the photo's own pixels there, at their own size (`facepaint.editing.flow`).
3. A network gives moved skin its light (`facepaint.editing.shade`).
4. Networks repaint eyes and mouth from outlines, surroundings and the person's own mouth and eyes
   as they were (`facepaint.editing.windows`, `facepaint.editing.hints`).

Where nothing is asked not a bit changes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.composite import enlarge, is_grey, strips, touched
from facepaint.editing.flow import flow_between
from facepaint.editing.hints import hint
from facepaint.editing.mover import told_change
from facepaint.editing.plan import GAZE
from facepaint.editing.shade import shade
from facepaint.editing.windows import (
    EYES,
    MIRROR,
    MOUTH,
    ROOM,
    Part,
    in_window,
    mean_colour,
    outlines,
    told_blendshapes,
    widened,
    window_frame,
)
from facepaint.face import FloatArray
from facepaint.models import Model
from facepaint.segment import smoothstep

Pixels = npt.NDArray[np.uint8]
_STILL, _MOVED = 0.002, 0.008  # crop units: outlines that move less are not repainted, or wholly
_UNMOVED = 1e-3  # pixels: a move so small changes nothing
_MOST_GROWN = 1.6  # as far as samples for training go
_UNCOVERED = 1 / 512  # cover under which paint changes nothing
_NO_MAP: Any = None  # of `cv2.remap`, whose other map has both coordinates


class Change(NamedTuple):
    """What is to become of a face.

    Attributes:
        points: float32 [478, 2], landmarks as they are, crop units.
        asked: float32 [478, 2], where they are to be.
        have: float32 [52], its blendshapes.
        want: float32 [52], those it is to have.
        name: float32 [7], how far each of EXPRESSIONS is asked for by name.
    """

    points: FloatArray
    asked: FloatArray
    have: FloatArray
    want: FloatArray
    name: FloatArray

    @property
    def is_gaze_alone(self) -> bool:
        """Whether the eyes turn and nothing else is asked."""
        return not self.name.any() and bool((self.want == self.have)[~GAZE].all())


def repaint(
    pixels: Pixels,
    frame: FloatArray,
    change: Change,
    networks: dict[str, Model],
    mask: FloatArray,
) -> None:
    """Change a face in place.

    Args:
        pixels: the photo, uint8 [H, W, 3] RGB.
        frame: float [2, 3], from crop units to the photo's pixels.
        change: what is to become of the face.
        networks: "mouth", "eye" and, unless skin is to keep its light, "shade".
        mask: float [S, S] over the crop, 0 to 1: where the photo may change.
    """
    place = touched(frame, mask, pixels.shape)
    before = pixels[place].copy() if is_grey(align.crop(pixels, frame)) else None
    # what the parts looked like, seen before anything moves
    sources = {
        part: _source(pixels, frame, change.points, part, networks[part.name].card["window"])
        for part in (*EYES, MOUTH)
        if _travel(change, part) > _STILL
    }
    flow = flow_between(change.points, change.asked, len(mask)) * mask[..., None]
    _move(pixels, frame, flow, mask)
    if "shade" in networks and not change.is_gaze_alone:
        told = told_change(change.have, change.want, change.name)
        shade(pixels, frame, change.asked, told, networks["shade"], mask)
    for part, source in sources.items():
        _repaint_part(pixels, source, frame, change, part, networks[part.name], mask)
    if before is not None:
        _take_colour_away(pixels[place], before)


def _travel(change: Change, part: Part) -> float:
    """How far an outline of a part moves at most, crop units."""
    both = [*part.outer, *part.inner]
    return float(np.linalg.norm(change.asked[both] - change.points[both], axis=1).max())


def _take_colour_away(painted: Pixels, before: Pixels) -> None:
    """Make grey what was painted into a grey photo, in place."""
    grey = np.rint(painted.mean(-1, keepdims=True)).astype(np.uint8)
    np.copyto(painted, grey, where=(painted != before).any(-1, keepdims=True))


def _move(pixels: Pixels, frame: FloatArray, flow: FloatArray, mask: FloatArray) -> None:
    """Take the photo's pixels along a flow [S, S, 2], crop units, in place."""
    rows, columns = touched(frame, mask, pixels.shape)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    shift = np.asarray(cv2.transform(flow, np.ascontiguousarray(frame[:, :2])), np.float32)
    x = np.arange(columns.start, columns.stop, dtype=np.float32)
    made = []
    for strip in strips(rows):
        large = enlarge(shift, frame, strip, columns)
        changes = cv2.inRange(large, (-_UNMOVED, -_UNMOVED), (_UNMOVED, _UNMOVED)) == 0
        y = np.arange(strip.start, strip.stop, dtype=np.float32)[:, None]
        large += np.dstack(np.broadcast_arrays(x, y))
        moved = cv2.remap(pixels, large, _NO_MAP, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        made.append((moved, changes))
    # each is made of the photo as it was, so that none is written before all are made
    for strip, (moved, changes) in zip(strips(rows), made, strict=True):
        np.copyto(pixels[strip, columns], moved, where=changes[..., None])


def _repaint_part(
    pixels: Pixels,
    source: _Source,
    frame: FloatArray,
    change: Change,
    part: Part,
    network: Model,
    mask: FloatArray,
) -> None:
    """Paint a mouth or an eye where its outlines moved."""
    amount = float(smoothstep(np.array(_travel(change, part)), _STILL, _MOVED))
    size = network.card["window"]
    window = window_frame(change.asked, part)
    if part.mirrored:
        window = align.chain(window, MIRROR)
    to_photo = align.chain(frame, window)
    seen = align.crop(pixels, to_photo, size)
    grow = part.grow * _grown(change, part)
    told = outlines(in_window(change.asked, window), part, grow, size)
    given = hint(source.pixels, source.frame, change.points, change.asked, part, window, size)
    maps = np.stack([told.mask, told.outer, told.inner, given.known, given.stretch], -1)
    numbers = told_blendshapes(change.want, part)
    painted = network(
        window=seen[None],
        maps=maps[None].astype(np.float32),
        hint=np.rint(given.picture * 255).astype(np.uint8)[None],
        told=np.concatenate([numbers, source.colour])[None].astype(np.float32),
    )["painted"][0]
    inside = _over_window(mask, window, size) * told.mask * amount
    # where the hint was torn the moved photo is torn too: none of its detail may stay; nor inside a
    # mouth, where teeth went along with the lips
    torn = 1 - given.known if part.disc else np.maximum(1 - given.known, told.inner)
    torn = torn[..., None]
    painted = painted - seen * (1 - torn)
    _lay(pixels, to_photo, np.asarray(painted, np.float32), inside, inside * torn[..., 0])


def _grown(change: Change, part: Part) -> float:
    """How much farther than usual is painted around a part: where it becomes narrower, what was
    beside its corners (dimples, shadows) is painted over, 1 to _MOST_GROWN."""
    outline = list(part.outer)
    before, after = (np.ptp(p[outline, 0]) for p in (change.points, change.asked))
    return float(np.clip((before / max(float(after), 1e-6)) ** 2, 1, _MOST_GROWN))


class _Source(NamedTuple):
    """The photo around a part before the edit.

    Attributes:
        pixels: uint8 [L, L, 3] RGB.
        frame: float32 [2, 3], from crop units to these pixels.
        colour: float32 [3], 0 to 1, the mean colour of lips or iris.
    """

    pixels: Pixels
    frame: FloatArray
    colour: FloatArray


def _source(
    pixels: Pixels, frame: FloatArray, points: FloatArray, part: Part, size: int
) -> _Source:
    own = window_frame(points, part)
    wide, large = widened(own), round(ROOM * size)
    source = align.crop(pixels, align.chain(frame, wide), large)
    small = align.crop(pixels, align.chain(frame, own), size // 2)
    told = outlines(in_window(points, own), part, size=size // 2)
    colour = mean_colour(small.astype(np.float32) / 255, told, part)
    return _Source(source, align.invert(wide) * np.float32(large), colour)


def _over_window(mask: FloatArray, window: FloatArray, size: int) -> FloatArray:
    """A mask over the crop [S, S] as one over a window [size, size]."""
    matrix = align.centred(window * np.float32(len(mask)), size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(mask, matrix, (size, size), flags=flags), np.float32)


def _lay(
    pixels: Pixels, to_photo: FloatArray, added: FloatArray, cover: FloatArray, hidden: FloatArray
) -> None:
    """Lay paint on a photo in place.

    Args:
        pixels: uint8 [H, W, 3] RGB.
        to_photo: float [2, 3], from window units to the photo's pixels.
        added: float [S, S, 3], levels that are added under the cover.
        cover: float [S, S], 0 to 1.
        hidden: float [S, S], 0 to 1, how far the photo itself is taken away.
    """
    rows, columns = touched(to_photo, cover, pixels.shape)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    fields = np.dstack([added * cover[..., None], hidden])
    for strip in strips(rows):
        large = enlarge(fields, to_photo, strip, columns)
        covered = enlarge(cover[..., None], to_photo, strip, columns)
        place = pixels[strip, columns]
        result = place * (1 - np.clip(large[..., 3:], 0, 1)) + large[..., :3]
        rounded = cv2.convertScaleAbs(np.maximum(result, 0, out=result))
        np.copyto(place, rounded, where=covered > _UNCOVERED)
