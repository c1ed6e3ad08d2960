"""Scenes: photos with any number of faces, each with a box and a mask, for the detector we train.

Real ones come from Parquet (boxes, and masks from landmark meshes) or from WIDER FACE (masks are
the ellipses inside the boxes: that set has none). Pasted ones are made while training: faces cut
out along their parsing masks, at any size, turn and light, before scenes that show nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facepaint.errors import LabError
from facepaint.face import FACE_OVAL, LANDMARKS, FloatArray
from facepaint.lab.data import augment, datasets
from facepaint.lab.data.split import is_held_out

Pixels = npt.NDArray[np.uint8]
# Of the 19 classes of CelebAMask-HQ: skin, nose, eyes, brows, mouth, lips.
_FACE_CLASSES = (1, 2, 4, 5, 6, 7, 10, 11, 12)
_HEAD_CLASSES = (*_FACE_CLASSES, 3, 8, 9, 13, 14, 15, 17)  # and glasses, ears, hair, hat, neck
_LEAST = 8  # pixels; a narrower face is not taught


class Scene(NamedTuple):
    """pixels: uint8 [H, W, 3] RGB. boxes: float32 [N, 4] left, top, right, bottom in pixels.
    masks: uint8 [N, H, W], 1 where that face is seen."""

    pixels: Pixels
    boxes: FloatArray
    masks: Pixels


@dataclass(frozen=True)
class SceneSet:
    """Encoded photos and what is known of each; decoded one at a time.

    photos: JPEG bytes. boxes: float32 [N, 4] left, top, right, bottom. meshes: of each box the
    landmarks [478, 2] in pixels, or None. names: decide, by hash, who is held out. cutouts: photo,
    parsing mask (both encoded) and name of single faces to paste.
    """

    photos: list[bytes]
    boxes: list[FloatArray]
    meshes: list[list[FloatArray | None]]
    names: list[str]
    cutouts: list[tuple[bytes, bytes, str]]

    @property
    def held_out(self) -> npt.NDArray[np.bool_]:
        return np.array([is_held_out(n) for n in self.names], bool)

    @property
    def empty(self) -> npt.NDArray[np.bool_]:
        """Which photos show nobody."""
        return np.array([not len(b) for b in self.boxes], bool)

    def scene(self, i: int) -> Scene:
        """The real scene i. Where a face has no mesh its mask is the ellipse inside its box."""
        pixels = datasets.decode(self.photos[i], f"scene {self.names[i]}")
        masks = [
            _mask_of(pixels.shape, box, mesh)
            for box, mesh in zip(self.boxes[i], self.meshes[i], strict=True)
        ]
        height, width = pixels.shape[:2]
        empty = np.zeros((0, height, width), np.uint8)
        return Scene(pixels, self.boxes[i].copy(), np.stack(masks) if masks else empty)


def load(folder: Path) -> SceneSet:
    """Scenes and cut-outs of a folder of Parquet files, or the scenes of a WIDER FACE folder."""
    if (folder / "widerface").is_dir():
        return wider(folder)
    found = SceneSet([], [], [], [], [])
    for file in sorted(folder.glob("*.parquet")):
        for where, record in datasets.records(file):
            if "boxes" in record:
                datasets.check(record, where, datasets.SCENE)
                _add_scene(found, record)
            elif record.get("mask"):
                datasets.check(record, where, datasets.CUTOUT)
                found.cutouts.append((record["image"], record["mask"], record["subject"]))
    if not any(len(b) for b in found.boxes):
        raise LabError(f"{folder}: no scene with boxes of faces there, neither Parquet nor WIDER")
    return found


def _add_scene(found: SceneSet, record: dict[str, Any]) -> None:
    boxes = np.array(record["boxes"], np.float32).reshape(-1, 5)[:, :4]
    boxes[:, 2:] += boxes[:, :2]
    meshes = [
        np.array(m, np.float32).reshape(LANDMARKS, 2) if len(m) else None
        for m in record["landmarks"]
    ]
    found.photos.append(record["image"])
    found.boxes.append(boxes)
    found.meshes.append([*meshes, *[None] * (len(boxes) - len(meshes))])
    found.names.append(record["name"])


def wider(folder: Path, split: str = "train") -> SceneSet:
    """WIDER FACE (Yang et al. 2016) as torchvision reads it: folder/widerface/WIDER_train, …
    Faces marked invalid or narrower than 8 pixels are left out."""
    from torchvision.datasets import WIDERFace

    try:
        images = WIDERFace(str(folder), split=split, download=False)
    except (RuntimeError, OSError, IndexError, ValueError) as error:
        raise LabError(f"{folder}: not laid out like WIDER FACE ({error})") from error
    found = SceneSet([], [], [], [], [])
    for info in images.img_info:
        path, notes = Path(info["img_path"]), info["annotations"]
        if not path.is_file():
            raise LabError(f"{path}: WIDER FACE lists it, but it is not there")
        boxes = notes["bbox"].numpy().astype(np.float32).reshape(-1, 4)
        # the set's own notes have "invalid" before "occlusion" and "pose"; torchvision names the
        # last three columns in another order
        kept = (boxes[:, 2:] >= _LEAST).all(1) & (notes["occlusion"].numpy() == 0)
        boxes = boxes[kept]
        boxes[:, 2:] += boxes[:, :2]
        found.photos.append(path.read_bytes())
        found.boxes.append(boxes)
        found.meshes.append([None] * len(boxes))
        found.names.append(f"{path.parent.name}/{path.name}")
    return found


def _mask_of(shape: tuple[int, ...], box: FloatArray, mesh: FloatArray | None) -> Pixels:
    mask = np.zeros(shape[:2], np.uint8)
    if mesh is None:
        centre, axes = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        whole = tuple(int(v) for v in np.round(centre)), tuple(int(v) for v in np.round(axes))
        cv2.ellipse(mask, *whole, 0, 0, 360, 1, -1)
    else:
        cv2.fillPoly(mask, [np.round(mesh[list(FACE_OVAL)]).astype(np.int32)], 1)
    return mask


# --- while training


def framed(scene: Scene, size: int, rng: np.random.Generator | None = None) -> Scene:
    """The scene at `size` × `size`: enlarged, moved, mirrored and lit at random, or, without a
    generator, fitted whole. Faces that leave the frame or get too small are dropped."""
    height, width = scene.pixels.shape[:2]
    scale = size / max(height, width)
    shift = np.zeros(2)
    flip = False
    if rng is not None:
        scale *= float(np.exp(rng.uniform(np.log(0.7), np.log(2.2))))
        room = size - scale * np.array([width, height])
        shift = rng.uniform(np.minimum(room, 0), np.maximum(room, 0))
        flip = bool(rng.random() < 0.5)
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
    if flip:
        matrix[0] = [-scale, 0, size - shift[0]]
    pixels = cv2.warpAffine(
        scene.pixels, matrix, (size, size), flags=cv2.INTER_AREA, borderValue=(124, 116, 104)
    )
    if rng is not None:
        pixels = augment.Look.draw(rng)(np.asarray(pixels, np.uint8))
    masks = [cv2.warpAffine(m, matrix, (size, size), flags=cv2.INTER_NEAREST) for m in scene.masks]
    corners = np.stack([scene.boxes[:, :2], scene.boxes[:, 2:]], 1) @ matrix[:, :2].T + matrix[:, 2]
    whole = np.concatenate([corners.min(1), corners.max(1)], 1)
    boxes = np.clip(whole, 0, size)
    area = np.prod(whole[:, 2:] - whole[:, :2], axis=1)
    seen = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept = (seen > 0.5 * area) & ((boxes[:, 2:] - boxes[:, :2]).min(1, initial=size) >= _LEAST)
    kept &= np.array([m.any() for m in masks], bool) if masks else kept
    rest = np.stack(masks)[kept] if kept.any() else np.zeros((0, size, size), np.uint8)
    return Scene(np.asarray(pixels, np.uint8), boxes[kept].astype(np.float32), rest)


def pasted(found: SceneSet, background: int, rng: np.random.Generator, size: int) -> Scene:
    """One to six cut-out heads before the face-free scene `background`, each later one in front,
    with things in front of some."""
    height, width = (size, size)
    canvas = framed(found.scene(background), size, rng).pixels.copy()
    masks: list[Pixels] = []
    boxes: list[FloatArray] = []
    for _ in range(int(rng.integers(1, 7))):
        cutout = found.cutouts[int(rng.choice(_trained(found)))]
        side = float(np.exp(rng.uniform(np.log(24), np.log(size * 0.9))))
        face, head, layer = _cut_out(cutout, side, rng, (height, width))
        ys, xs = np.nonzero(face)
        if len(xs) < 12:
            continue
        for mask in masks:  # what now lies behind
            mask[head > 127] = 0
        alpha = (head[..., None] / 255).astype(np.float32)
        canvas = (canvas * (1 - alpha) + layer * alpha).astype(np.uint8)
        masks.append(face)
        boxes.append(np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32))
    for mask in masks:
        if rng.random() < 0.25:
            _occlude(canvas, masks, mask, rng)
    whole = [i for i, b in enumerate(boxes) if masks[i].sum() > 0.3 * _ellipse_area(b)]
    if not whole:
        return Scene(canvas, np.zeros((0, 4), np.float32), np.zeros((0, height, width), np.uint8))
    return Scene(canvas, np.stack([boxes[i] for i in whole]), np.stack([masks[i] for i in whole]))


def _trained(found: SceneSet) -> npt.NDArray[np.intp]:
    return np.array([i for i, c in enumerate(found.cutouts) if not is_held_out(c[2])])


def _ellipse_area(box: FloatArray) -> float:
    return float(np.prod(box[2:] - box[:2])) * np.pi / 4


def _cut_out(
    cutout: tuple[bytes, bytes, str], side: float, rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[Pixels, Pixels, Pixels]:
    """Face mask (0 or 1), head mask (0 to 255) and picture of a cut-out, each over `shape`."""
    photo, parsing, name = cutout
    pixels = augment.Look.draw(rng)(datasets.decode(photo, f"the cut-out of {name}"))
    classes = datasets.decode(parsing, f"the mask of {name}", cv2.IMREAD_GRAYSCALE)
    pixels = np.asarray(cv2.resize(pixels, classes.shape[::-1], interpolation=cv2.INTER_AREA))
    scale = side / classes.shape[0]
    angle = np.deg2rad(np.clip(rng.normal(0, 15), -50, 50))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    if rng.random() < 0.5:
        linear[:, 0] *= -1
    centre = rng.uniform((0, 0), (shape[1], shape[0]))
    middle = np.array(classes.shape[::-1]) / 2
    matrix = np.column_stack([linear, centre - linear @ middle]).astype(np.float32)
    face = np.isin(classes, _FACE_CLASSES).astype(np.uint8)
    head = np.isin(classes, _HEAD_CLASSES).astype(np.uint8) * 255

    def lay(picture: npt.NDArray[Any], how: int) -> Pixels:
        return np.asarray(cv2.warpAffine(picture, matrix, shape[::-1], flags=how), np.uint8)

    small = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    return lay(face, cv2.INTER_NEAREST), lay(head, small), lay(pixels, small)


def _occlude(canvas: Pixels, masks: list[Pixels], mask: Pixels, rng: np.random.Generator) -> None:
    """Something of one colour in front of a part of a face, taken out of every mask."""
    ys, xs = np.nonzero(mask)
    if not len(xs):
        return
    i = int(rng.integers(len(xs)))
    reach = 0.35 * np.sqrt(len(xs))
    cover = np.zeros(mask.shape, np.uint8)
    corners = np.array([xs[i], ys[i]]) + rng.normal(0, reach, (6, 2))
    cv2.fillConvexPoly(cover, cv2.convexHull(corners.astype(np.int32)), 1)
    tone = rng.integers(0, 256, 3)
    grain = rng.normal(0, rng.uniform(2, 25), (*mask.shape, 1))
    canvas[cover > 0] = np.clip(tone + grain, 0, 255)[cover > 0]
    for other in masks:
        other[cover > 0] = 0
