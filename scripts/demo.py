"""Edit the astronaut's portrait (NASA, public domain) and write demo/before-after.png."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import facepaint

OUT = Path("demo/before-after.png")
EXPRESSIONS = ("neutral", "happy")


def astronaut() -> Path:
    """The photo inside the scikit-image wheel, found without importing it."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("scikit-image is missing: run make demo")
    return Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png"


def main() -> None:
    photo = facepaint.Photo.read(astronaut())
    began = time.perf_counter()
    painter = facepaint.load()
    loaded = time.perf_counter()
    face = painter.faces(photo)[0]
    edited = [painter.edit(photo, to=e, strength=1.0).pixels for e in EXPRESSIONS]
    done = time.perf_counter()
    OUT.parent.mkdir(exist_ok=True)
    side_by_side = np.hstack([photo.pixels, *edited])
    facepaint.Photo.read(side_by_side).save(OUT, overwrite=True)
    x, y, width, height, _ = face.box
    print(
        f"photo    the astronaut Eileen Collins (NASA, public domain), {photo.pixels.shape[1]} px"
    )
    print(
        f"face     {width:.0f}×{height:.0f} pixels at {x:.0f},{y:.0f}, reads as {face.expression}"
    )
    print(f"edits    {' and '.join(EXPRESSIONS)}, strength 1")
    print(f"time     {loaded - began:.2f} s to load, {done - loaded:.2f} s to read and edit")
    print(f"written  {OUT} (the photo, then each edit)")


if __name__ == "__main__":
    main()
