"""Draw the pictures of the docs from the public-domain astronaut, with the weights that ship."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import facepaint
from facepaint import align
from facepaint.edit import Edit
from facepaint.editing.flow import flow_between
from facepaint.editing.method import MoveAndRepaint
from facepaint.segment import visible_face

Pixels = npt.NDArray[np.uint8]
IMAGES = Path("docs/images")
HEAD = np.s_[:288, 96:384]  # of the astronaut
TILE = 288


def astronaut() -> Path:
    """The photo inside the scikit-image wheel, found without importing it."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("scikit-image is missing: run make demo")
    return Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png"


def there_and_back(painter: facepaint.Painter, pixels: Pixels) -> list[Pixels]:
    """The photo, the photo made neutral, and that made happy."""
    neutral = painter.edit(pixels, to="neutral")
    return [pixels, neutral, painter.edit(neutral, to="happy")]


def asked(painter: facepaint.Painter, pixels: Pixels) -> dict[str, Pixels]:
    """The photo made neutral, and of that named expressions and single muscles."""
    neutral = painter.edit(pixels, to="neutral")
    others = [e for e in facepaint.EXPRESSIONS if e not in ("neutral", "happy")]
    made = {name: painter.edit(neutral, to=name) for name in others}
    wink = painter.edit(pixels, set={"eyeBlinkLeft": 1})
    one = painter.edit(neutral, set={"browOuterUpLeft": 1, "mouthSmileLeft": 0.8})
    return made | {"eyeBlinkLeft=1": wink, "one brow, half a smile": one}


def steps(painter: facepaint.Painter, pixels: Pixels) -> dict[str, Pixels]:
    """What each step of an edit sees or makes."""
    (face,) = painter.faces(pixels)
    x, y, width, height = (int(v) for v in face.box[:4])
    boxed, read = pixels.copy(), pixels.copy()
    cv2.rectangle(boxed, (x, y), (x + width, y + height), (60, 220, 60), 2)
    for px, py in face.landmarks:
        cv2.circle(read, (int(px), int(py)), 0, (60, 255, 60), -1)
    frame = align.align(face.landmarks)
    crop = align.crop(pixels, frame)
    assert isinstance(painter.method, MoveAndRepaint)
    change = painter.method.change(face, Edit("neutral"))
    assert change is not None
    mask = visible_face(face, frame, asked=change.asked)
    flow = flow_between(change.points, change.asked, len(mask))
    return {
        "photo": pixels,
        "detect": boxed,
        "read": read,
        "align": crop,
        "move": _flow(flow * mask[..., None], crop),
        "repaint": painter.edit(pixels, to="neutral"),
    }


def _flow(flow: npt.NDArray[np.float32], crop: Pixels) -> Pixels:
    """Arrows from where a pixel's colour comes from to where it goes, over the greyed crop."""
    size, scale = crop.shape[0], 4
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) // 2
    big = cv2.cvtColor(cv2.resize(grey, None, fx=scale, fy=scale), cv2.COLOR_GRAY2RGB)
    for y in range(4, size, 6):
        for x in range(4, size, 6):
            dx, dy = flow[y, x] * size
            if abs(dx) + abs(dy) > 0.5:
                start = (round((x + dx) * scale), round((y + dy) * scale))
                cv2.arrowedLine(big, start, (x * scale, y * scale), (255, 210, 60), 2, cv2.LINE_AA)
    return np.asarray(big, np.uint8)


def labelled(tiles: dict[str, Pixels]) -> Pixels:
    """Tiles of one size in a row, each with its name below."""
    out = []
    for name, tile in tiles.items():
        square = cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_AREA)
        bar = np.full((34, TILE, 3), 255, np.uint8)
        cv2.putText(bar, name, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (30, 30, 30), 1, cv2.LINE_AA)
        framed = cv2.copyMakeBorder(np.vstack([square, bar]), 0, 0, 0, 8, 0, value=(255, 255, 255))
        out.append(framed)
    return np.asarray(np.hstack(out), np.uint8)


def save(pixels: Pixels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facepaint.Photo.read(pixels).save(path, overwrite=True)


def main() -> None:
    painter = facepaint.load()
    head = np.ascontiguousarray(facepaint.Photo.read(astronaut()).pixels[HEAD])
    save(np.hstack(there_and_back(painter, head)), IMAGES / "before-after.png")
    save(labelled(asked(painter, head)), IMAGES / "expressions.png")
    save(labelled(steps(painter, head)), IMAGES / "how-it-works.png")


if __name__ == "__main__":
    main()
