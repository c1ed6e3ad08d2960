"""Edit the astronaut's portrait (NASA, public domain) and write demo/before-after.png."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from figures import astronaut, save, there_and_back

import facepaint

OUT = Path("demo/before-after.png")


def main() -> None:
    photo = facepaint.Photo.read(astronaut()).pixels
    began = time.perf_counter()
    painter = facepaint.load()
    loaded = time.perf_counter()
    face = painter.faces(photo)[0]
    pictures = there_and_back(painter, photo)
    done = time.perf_counter()
    save(np.hstack(pictures), OUT)
    x, y, width, height, _ = face.box
    print(f"photo    the astronaut Eileen Collins (NASA, public domain), {photo.shape[1]} pixels")
    print(
        f"face     {width:.0f}×{height:.0f} pixels at {x:.0f},{y:.0f}, reads as {face.expression}"
    )
    print("edits    made neutral, and the result made happy again, strength 1")
    print(f"time     {loaded - began:.2f} s to load, {done - loaded:.2f} s to read and edit twice")
    print(f"written  {OUT}: the photo, neutral, happy")


if __name__ == "__main__":
    main()
