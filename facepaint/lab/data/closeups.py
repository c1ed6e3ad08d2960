"""CloseUps: faces at the photo's own sharpness, for what is painted into photos.

Each is a square cut-out of its photo, WIDE times the side of the networks' crop, at the photo's
own size up to LARGEST pixels. They differ in size, so their pixels lie in one flat file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.errors import LabError
from facepaint.face import FloatArray
from facepaint.lab.data import datasets
from facepaint.lab.data.datasets import Portrait
from facepaint.lab.data.faces import cached
from facepaint.lab.data.split import is_held_out

Pixels = npt.NDArray[np.uint8]
WIDE = 1.3  # of the crop's side
LARGEST = 720  # pixels a side of a cut-out
_FORMAT = 2  # of the cache; raise it when what is stored changes
_ARRAYS = (
    *("starts", "sides", "landmarks", "blendshapes", "expressions"),
    *("subjects", "sources", "held_out", "crop_sides"),
)


@dataclass(frozen=True, eq=False)
class CloseUps:
    """Faces and what is known of each; arrays of one length, N.

    Attributes:
        pixels: uint8, the flat RGB pixels of all cut-outs, one behind another.
        starts: int64 [N], where in `pixels` each begins.
        sides: int64 [N], pixels a side of each cut-out.
        landmarks: float32 [N, 478, 2], crop units.
        blendshapes: float32 [N, 52], 0 to 1.
        expressions: int8 [N], place in EXPRESSIONS, -1 where unknown.
        subjects: str [N], one name a person.
        sources: str [N], the names of the sets.
        held_out: bool [N], whose photos are kept for measuring.
        crop_sides: float32 [N], the crop's side in the photo, pixels: how sharp it can be.
    """

    pixels: Pixels
    starts: npt.NDArray[np.int64]
    sides: npt.NDArray[np.int64]
    landmarks: FloatArray
    blendshapes: FloatArray
    expressions: npt.NDArray[np.int8]
    subjects: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    held_out: npt.NDArray[np.bool_]
    crop_sides: FloatArray

    def __len__(self) -> int:
        return len(self.starts)

    def cut_out(self, i: int) -> Pixels:
        """The cut-out of a face, uint8 [side, side, 3] RGB."""
        side, start = int(self.sides[i]), int(self.starts[i])
        return self.pixels[start : start + side * side * 3].reshape(side, side, 3)

    def frame(self, i: int) -> FloatArray:
        """From crop units to pixels of the cut-out, float32 [2, 3]."""
        return frame_in(int(self.sides[i]))

    def window(self, i: int, frame: FloatArray, size: int) -> Pixels:
        """A square of a face, uint8 [size, size, 3] RGB.

        Args:
            i: which face.
            frame: float [2, 3], from window units to crop units; it may mirror.
            size: pixels a side.
        """
        return align.crop(self.cut_out(i), align.chain(self.frame(i), frame), size)

    def others(self) -> dict[int, npt.NDArray[np.intp]]:
        """For each face of a person with several, the other photos of that person."""
        by_person: dict[tuple[str, str], list[int]] = defaultdict(list)
        for i, who in enumerate(zip(self.sources, self.subjects, strict=True)):
            by_person[who].append(i)
        groups = [np.array(g) for g in by_person.values() if len(g) > 1]
        return {int(i): g[g != i] for g in groups for i in g}

    def only(self, chosen: npt.NDArray[np.bool_]) -> CloseUps:
        """The chosen ones, bool [N]; the pixels stay shared."""
        return CloseUps(self.pixels, *(getattr(self, name)[chosen] for name in _ARRAYS))


def frame_in(side: int) -> FloatArray:
    """From crop units to the pixels of a cut-out of `side` pixels, float32 [2, 3]."""
    scale, shift = side / WIDE, (WIDE - 1) / 2 * side / WIDE
    return np.array([[scale, 0, shift], [0, scale, shift]], np.float32)


def load(folder: Path, cache: Path, sources: str = "") -> CloseUps:
    """The faces of a folder's photos, read once into `cache`.

    Args:
        folder: photos in any layout that `datasets` knows.
        cache: where to keep what was read.
        sources: names of sets to take, separated by commas; "" for all.

    Raises:
        LabError: if there is no face.
    """
    home = cached(folder, cache, f"close-ups {_FORMAT}")
    if not (home / "done").exists():
        home.mkdir(parents=True, exist_ok=True)
        with (home / "pixels.bin").open("wb") as file:
            _write(home, file, datasets.portraits(folder))
        (home / "done").touch()
    arrays = {n: np.load(home / f"{n}.npy") for n in _ARRAYS}
    found = CloseUps(np.memmap(home / "pixels.bin", np.uint8, "r"), **arrays)
    names = [s for s in sources.split(",") if s]
    if names:
        found = found.only(np.isin(found.sources, names))
    if not len(found):
        raise LabError(f"{folder}: no face of sources={sources!r} with landmarks in its photos")
    return found


def of_portraits(portraits: Iterable[Portrait]) -> CloseUps:
    """Close-ups in memory; LabError where no portrait shows a face."""
    rows = [_row(p) for p in portraits if p.landmarks is not None]
    if not rows:
        raise LabError("no face among the portraits")
    pixels = np.concatenate([r.pop("pixels").ravel() for r in rows])
    return CloseUps(pixels, **_arrays(rows))


def _write(home: Path, file: Any, portraits: Iterable[Portrait]) -> None:
    rows = []
    for portrait in portraits:
        if portrait.landmarks is not None and portrait.blendshapes is not None:
            row = _row(portrait)
            file.write(row.pop("pixels").tobytes())
            rows.append(row)
    for name, array in (_arrays(rows) if rows else {}).items():
        np.save(home / f"{name}.npy", array)
    (home / "count.json").write_text(json.dumps(len(rows)), encoding="utf-8")


def _arrays(rows: list[dict[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    arrays = {n: np.stack([r[n] for r in rows]) for n in rows[0]}
    ends = np.cumsum(3 * arrays["sides"] ** 2)
    return {"starts": np.concatenate([[0], ends[:-1]])} | arrays


def _row(seen: Portrait) -> dict[str, Any]:
    assert seen.landmarks is not None and seen.blendshapes is not None
    crop_side = align.side_of(seen.frame)
    side = round(min(LARGEST, WIDE * crop_side))
    wide = np.array([[WIDE, 0, (1 - WIDE) / 2], [0, WIDE, (1 - WIDE) / 2]], np.float32)
    return {
        "pixels": align.crop(seen.pixels, align.chain(seen.frame, wide), side),
        "sides": np.int64(side),
        "landmarks": align.apply(align.invert(seen.frame), seen.landmarks),
        "blendshapes": seen.blendshapes,
        "expressions": np.int8(seen.expression),
        "subjects": seen.subject,
        "sources": seen.source,
        "held_out": is_held_out(seen.subject) if seen.held_out is None else seen.held_out,
        "crop_sides": np.float32(crop_side),
    }
