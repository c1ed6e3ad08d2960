"""Whether a slider moves its muscle, and nothing else: landmarks read before and after, against the
move that was asked for, by the method's mover or, of a method without one, by the rig."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint import align, rig
from facepaint.edit import Edit
from facepaint.editing.method import MoveAndRepaint
from facepaint.face import BLENDSHAPES, LEFT_IRIS, RIGHT_IRIS, Face, FloatArray
from facepaint.lab import loop
from facepaint.lab.data.faces import INNER, FaceSet
from facepaint.lab.measure.evaluate import edited, in_crop, read_face, sources_for
from facepaint.methods import Method
from facepaint.models import Model
from facepaint.names import PAIRS

_FACES = 4  # of each set
_RAISE = 0.6
_LEAST = 0.1  # hundredths: such as closing a mouth that is closed
_SINGLE = [b for b in BLENDSHAPES[1:] if b not in {n for pair in PAIRS.values() for n in pair}]


def measure(
    faces: FaceSet,
    method: Method,
    readers: tuple[Model, Model],
    listen: loop.Listener | None = None,
) -> dict[str, Any]:
    """Raise every muscle, or pair of them, by .6 on neutral held-out faces, and measure moves.

    Args:
        faces: of which held-out ones are taken.
        method: which edits.
        readers: the one of the method, and one that was in none of its losses, which measures.
        listen: told how many faces are done.

    Returns:
        Means of faces, `mean` of all muscles and for `each`: `reached`, how far landmarks went
        along the move asked for, 1 as far as it says; `size` of that move, and `astray`, how far
        they went elsewhere, both the root of the mean square over all landmarks, in hundredths of
        the irises' distance. Of one of a pair also `reached_alone`, and `other_side`, how far the
        other side went along. Beside them `moved_by`, mover or rig, which asked for the moves.
    """
    rows = sources_for(faces, "happy", _FACES)
    sliders = {**PAIRS, **{n: (n,) for n in _SINGLE}}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in sliders}
    for n, row in enumerate(rows, 1):
        person = _Person(np.array(faces.crops[row]), method, readers)
        for name, muscles in sliders.items():
            for key, value in _of_slider(person, muscles).items():
                found[name].setdefault(key, []).append(value)
        if listen:
            listen(n, len(rows), {})
    means = {m: {k: float(np.mean(v)) for k, v in some.items()} for m, some in found.items()}
    every = {k: float(np.mean([m[k] for m in means.values() if k in m])) for k in _ALL}
    asked_by = "mover" if isinstance(method, MoveAndRepaint) else "rig"
    begun = {"faces": len(rows), "raised_by": _RAISE, "moved_by": asked_by}
    return begun | {"mean": every, "each": means}


_ALL = ("reached", "size", "astray", "reached_alone", "other_side")


class _Person:
    """A face that is asked for one thing after the other."""

    def __init__(
        self, pixels: npt.NDArray[np.uint8], method: Method, readers: tuple[Model, Model]
    ) -> None:
        self._pixels, self._method, self._judge = pixels, method, readers[1]
        self.face = read_face(readers[0], pixels)
        self._before = self._points(pixels)
        self._unit = float(np.linalg.norm(self._before[LEFT_IRIS] - self._before[RIGHT_IRIS]))

    def moved(self, asked: dict[str, float]) -> FloatArray:
        """How far each landmark went, [478, 2], of the irises' distance."""
        after = edited(self._method, self._pixels, self.face, Edit(set=asked))
        return np.asarray((self._points(after) - self._before) / self._unit, np.float32)

    def wanted(self, asked: dict[str, float]) -> FloatArray:
        """How far each shall go, [478, 2], of the irises' distance."""
        crop = in_crop(self.face)
        unit = np.linalg.norm(crop[LEFT_IRIS] - crop[RIGHT_IRIS])
        if isinstance(self._method, MoveAndRepaint):
            move = _moved(self._method, self.face, Edit(set=asked))
        else:
            have, want = self.face.blendshapes, self.face.blendshapes.copy()
            for name, score in asked.items():
                want[BLENDSHAPES.index(name)] = score
            move = rig.move(crop, have, want)
        return np.asarray(move / unit, np.float32)

    def raised(self, muscles: tuple[str, ...]) -> dict[str, float]:
        have = self.face.blendshapes
        return {m: min(1.0, float(have[BLENDSHAPES.index(m)]) + _RAISE) for m in muscles}

    def _points(self, pixels: npt.NDArray[np.uint8]) -> FloatArray:
        return in_crop(read_face(self._judge, pixels))


def _moved(method: MoveAndRepaint, face: Face, edit: Edit) -> FloatArray:
    """How far landmarks of a wide crop are asked to go, [478, 2] in crop units."""
    change = method.change(face, edit)
    if change is None:
        return np.zeros_like(face.landmarks)
    to_inner = align.chain(align.invert(INNER), align.align(face.landmarks))
    before, after = (align.apply(to_inner, p) for p in (change.points, change.asked))
    return after - before


def _of_slider(person: _Person, muscles: tuple[str, ...]) -> dict[str, float]:
    asked = person.raised(muscles)
    wanted, moved = person.wanted(asked), person.moved(asked)
    result, reached = {"size": _size(wanted)}, 0.0
    if result["size"] > _LEAST:
        result["reached"] = reached = _along(moved, wanted)
    result["astray"] = _size(moved - reached * wanted)
    if len(muscles) > 1:
        one, other = person.raised(muscles[:1]), person.raised(muscles[1:])
        alone = person.moved(one)
        result["reached_alone"] = _along(alone, person.wanted(one))
        result["other_side"] = _along(alone, person.wanted(other))
    return result


def _size(move: FloatArray) -> float:
    return 100 * float(np.sqrt(np.square(move).sum(1).mean()))


def _along(moved: FloatArray, wanted: FloatArray) -> float:
    total = float(np.square(wanted).sum())
    return float((moved * wanted).sum()) / total if total else 0.0
