"""Datasets: sets of face photos as their owners ship them, read into one kind of record.

A folder is of the first layout that finds files in it. The sets that come without landmarks and
blendshapes are read by the runtime's own detector and reader, so that any folder of photos will do.
"""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align, detect
from facepaint.errors import LabError, PhotoError
from facepaint.face import BLENDSHAPES, EXPRESSIONS, LANDMARKS, Box, FloatArray
from facepaint.models import Model, open_model
from facepaint.photo import Photo
from facepaint.read import read

Pixels = npt.NDArray[np.uint8]
_NON_FACES_A_SCENE = 8


class Portrait(NamedTuple):
    """One face of a photo, or a place that shows none.

    pixels: the photo, uint8 [H, W, 3] RGB. frame: from crop units to photo pixels. landmarks:
    float32 [478, 2] in photo pixels, None for what is no face. blendshapes: float32 [52], None
    where unknown. expression: place in EXPRESSIONS, -1 where unknown. held_out: None leaves it to
    the hash of the subject. parsing: class of each pixel (CelebAMask-HQ's 19, 0 to 18), uint8
    [H, W], None where the set has none.
    """

    pixels: Pixels
    frame: FloatArray
    landmarks: FloatArray | None
    blendshapes: FloatArray | None
    expression: int
    subject: str
    source: str
    held_out: bool | None = None
    parsing: Pixels | None = None


class Layout(NamedTuple):
    """How a set lies in its folder: which files are its own, and the faces of each."""

    name: str
    looks_like: str
    files: Callable[[Path], list[Path]]
    faces: Callable[[Path, Path], Iterator[Portrait]]  # of one file; the folder


def portraits(folder: Path) -> Iterator[Portrait]:
    """The faces of all photos of a folder. Photos of no readable face are left out, and a warning
    says how many; LabError for a photo or a table that cannot be read."""
    layout = layout_of(folder)
    files, left_out = layout.files(folder), []
    for file in files:
        count = 0
        for found in layout.faces(file, folder):
            count += 1
            yield found
        if not count:
            left_out.append(file)
    if left_out:
        warnings.warn(
            f"{len(left_out)} of {len(files)} files of {folder} show no face that can be read and "
            f"were left out; the first is {left_out[0].name}",
            stacklevel=2,
        )


def layout_of(folder: Path) -> Layout:
    """The layout of a folder; LabError, which lists those there are, where it has none."""
    for layout in LAYOUTS:
        if layout.files(folder):
            return layout
    known = "; ".join(f"{x.name}: {x.looks_like}" for x in LAYOUTS)
    raise LabError(f"{folder}: no photos in a layout that is known ({known})")


# --- Parquet, with landmarks and blendshapes


def _parquet_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _parquet_faces(file: Path, folder: Path) -> Iterator[Portrait]:
    for where, record in records(file):
        is_scene = "boxes" in record
        check(record, where, SCENE if is_scene else PORTRAIT)
        if record.get("mask") is not None:
            check(record, where, PARSING)
        pixels = decode(record["image"], where)
        yield from (_of_scene if is_scene else _of_portrait)(pixels, record)


def records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a Parquet file, each with its place in words; a few in memory at a time."""
    import pyarrow.parquet as pq

    n = 0
    try:
        for batch in pq.ParquetFile(file).iter_batches(64):
            for record in batch.to_pylist():
                n += 1
                yield f"{file}, row {n}", record
    except Exception as error:  # of reading: what is done with a row raises elsewhere
        broken = f"damaged after row {n}" if n else "not a Parquet file"
        raise LabError(f"{file}: {broken} ({error})") from error


class Column(NamedTuple):
    """What a column of a Parquet row has to hold, in words and as a test."""

    holds: str
    fits: Callable[[Any], bool]


def _numbers(value: Any, times: int) -> npt.NDArray[Any] | None:
    """A list of numbers as an array, None where it is none, or not so many or a multiple."""
    try:
        found = np.array(value, np.float32)
    except (TypeError, ValueError):
        return None
    return found if isinstance(value, list) and found.size % times == 0 else None


def _is_list(value: Any, count: int, finite: bool = True) -> bool:
    found = _numbers(value, count)
    return found is not None and found.size == count and not (finite and np.isnan(found).any())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_boxes(value: Any) -> bool:
    found = _numbers(value, 5)
    return found is not None and bool(np.isfinite(found).all())


def _are_meshes(value: Any) -> bool:
    known = isinstance(value, list) and all(isinstance(v, list) for v in value)
    return known and all(not v or _is_list(v, 2 * LANDMARKS) for v in value)


IMAGE = {"image": Column("the bytes of a picture", lambda v: isinstance(v, bytes))}
PORTRAIT = {
    **IMAGE,
    "landmarks": Column(f"{2 * LANDMARKS} numbers", lambda v: _is_list(v, 2 * LANDMARKS)),
    "blendshapes": Column(
        f"{len(BLENDSHAPES)} numbers", lambda v: _is_list(v, len(BLENDSHAPES), finite=False)
    ),
    "expression": Column(
        f"null or one of {', '.join(EXPRESSIONS)}", lambda v: v is None or v in EXPRESSIONS
    ),
    "subject": Column("a name", _is_text),
    "source": Column("a name", _is_text),
}
SCENE = {
    **IMAGE,
    "name": Column("a name", _is_text),
    "boxes": Column("lists of 5 numbers", _are_boxes),
    "landmarks": Column(f"lists of {2 * LANDMARKS} numbers or of none", _are_meshes),
}
PARSING = {"mask": Column("the bytes of a picture", lambda v: isinstance(v, bytes))}
CUTOUT = {
    **IMAGE,
    **PARSING,
    "subject": Column("a name", _is_text),
}


def check(record: dict[str, Any], where: str, columns: dict[str, Column]) -> None:
    """LabError, which names the row and the column, for a row that has not what it needs."""
    for name, column in columns.items():
        if name not in record:
            raise LabError(f"{where}: no column {name}, which should be {column.holds}")
        if not column.fits(record[name]):
            raise LabError(f"{where}: {name} should be {column.holds}, not {_shown(record[name])}")
    if columns is SCENE and len(record["landmarks"]) > len(record["boxes"]):
        raise LabError(f"{where}: landmarks of more faces than there are boxes")


def _shown(value: Any) -> str:
    """What a row holds, in a few words."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "null" if value is None else repr(value) if _is_text(value) else type(value).__name__


def decode(data: bytes, where: str, flag: int = cv2.IMREAD_COLOR_RGB) -> Pixels:
    """An encoded picture, uint8 [H, W, 3] RGB; LabError, which begins with `where`, for none."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    if pixels is None:
        raise LabError(f"{where}: holds an image that cannot be decoded")
    return np.asarray(pixels, np.uint8)


def _of_portrait(pixels: Pixels, record: dict[str, Any]) -> Iterator[Portrait]:
    landmarks = np.array(record["landmarks"], np.float32).reshape(LANDMARKS, 2)
    expression = record["expression"]
    yield Portrait(
        pixels,
        align.align(landmarks),
        landmarks,
        np.array(record["blendshapes"], np.float32),
        -1 if expression is None else EXPRESSIONS.index(expression),
        record["subject"],
        record["source"],
        parsing=_parsing(pixels, record),
    )


def _parsing(pixels: Pixels, record: dict[str, Any]) -> Pixels | None:
    """The class of each pixel of a photo, uint8 [H, W]; None where its row has no parsing."""
    if record.get("mask") is None:
        return None
    where = f"the mask of {record['subject']}"
    classes = decode(record["mask"], where, cv2.IMREAD_GRAYSCALE)
    size = pixels.shape[1::-1]
    return np.asarray(cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _of_scene(pixels: Pixels, record: dict[str, Any]) -> Iterator[Portrait]:
    """Faces of a scene where the mesh held; of a scene without any, what is no face."""
    name = record["name"]
    for flat in record["landmarks"]:
        if len(flat):
            landmarks = np.array(flat, np.float32).reshape(LANDMARKS, 2)
            yield Portrait(pixels, align.align(landmarks), landmarks, None, -1, name, "scenes")
    if not record["boxes"]:
        for box in _non_faces(pixels, name):
            yield Portrait(pixels, align.frame_of_box(box), None, None, -1, name, "scenes")


def _non_faces(pixels: Pixels, name: str) -> Iterator[Box]:
    """What the detector mistakes, and places taken at random."""
    found = detect.detect(pixels)[: _NON_FACES_A_SCENE // 2]
    yield from found
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    height, width = pixels.shape[:2]
    for _ in range(_NON_FACES_A_SCENE - len(found)):
        side = float(np.exp(rng.uniform(np.log(20), np.log(min(height, width) / 1.5))))
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        yield Box(x, y, side, side, 0.0)


# --- photos alone, read by the runtime


def photo_portrait(
    file: Path, expression: int, subject: str, source: str, held_out: bool | None = None
) -> Iterator[Portrait]:
    """The largest face of a photo that has no landmarks of its own."""
    try:
        pixels = Photo.read(file).pixels
    except PhotoError as error:
        raise LabError(str(error)) from error
    faces = read(pixels, detect.detect(pixels), _reader())
    if faces:
        face = max(faces, key=lambda f: f.box.width * f.box.height)
        frame = align.align(face.landmarks)
        yield Portrait(
            pixels, frame, face.landmarks, face.blendshapes, expression, subject, source, held_out
        )


@cache
def _reader() -> Model:
    return open_model("reader")


_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
_JAFFE = re.compile(r"([A-Z]{2})\.(AN|DI|FE|HA|NE|SA|SU)\d\.\d+\.tiff?", re.IGNORECASE)
_JAFFE_NAMES = {
    "AN": "angry",
    "DI": "disgusted",
    "FE": "afraid",
    "HA": "happy",
    "NE": "neutral",
    "SA": "sad",
    "SU": "surprised",
}
_FEI = re.compile(r"(\d+)([ab])\.jpe?g", re.IGNORECASE)
_FEI_NAMES = {"a": "neutral", "b": "happy"}
_KEPT = ("test", "val", "validation")


def _matching(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    return sorted(f for f in folder.glob("*") if f.is_file() and pattern.fullmatch(f.name))


def _all_named(folder: Path, pattern: re.Pattern[str], looks_like: str) -> list[Path]:
    """The files of that name, if any; then every other picture beside them is a mistake."""
    files = _matching(folder, pattern)
    strangers = [f for f in folder.glob("*") if f.suffix.lower() in _PICTURES and f not in files]
    if files and strangers:
        raise LabError(f"{strangers[0]}: not named like the rest of the set ({looks_like})")
    return files


def _jaffe_files(folder: Path) -> list[Path]:
    return _all_named(folder, _JAFFE, "KA.AN1.39.tiff")


def _jaffe_faces(file: Path, folder: Path) -> Iterator[Portrait]:
    """KA.AN1.39.tiff: person KA, angry (Lyons et al. 1998)."""
    match = _JAFFE.fullmatch(file.name)
    assert match
    person, label = match[1].upper(), _JAFFE_NAMES[match[2].upper()]
    return photo_portrait(file, EXPRESSIONS.index(label), f"jaffe-{person}", "jaffe")


def _fei_files(folder: Path) -> list[Path]:
    return _all_named(folder, _FEI, "12a.jpg and 12b.jpg")


def _fei_faces(file: Path, folder: Path) -> Iterator[Portrait]:
    """12a.jpg: person 12, neutral; 12b.jpg: smiling (Thomaz & Giraldi 2010)."""
    match = _FEI.fullmatch(file.name)
    assert match
    label = _FEI_NAMES[match[2].lower()]
    return photo_portrait(file, EXPRESSIONS.index(label), f"fei-{int(match[1])}", "fei")


def _folder_files(folder: Path) -> list[Path]:
    """Pictures in folders named like expressions, there or one level down (train/, test/)."""
    homes = [d for part in (folder, *_folders(folder)) for d in _folders(part)]
    named = [d for d in homes if d.name.lower() in EXPRESSIONS]
    for home in named:
        strange = [d.name for d in _folders(home.parent) if d.name.lower() not in EXPRESSIONS]
        if strange and home.parent != folder:
            known = ", ".join(EXPRESSIONS)
            raise LabError(f"{home.parent / strange[0]}: no expression's name; there are {known}")
    files = (f for d in named for f in sorted(d.iterdir()) if f.suffix.lower() in _PICTURES)
    return list(files)


def _folders(folder: Path) -> list[Path]:
    return sorted(d for d in folder.iterdir() if d.is_dir()) if folder.is_dir() else []


def _folder_faces(file: Path, folder: Path) -> Iterator[Portrait]:
    """train/happy/a.jpg: happy. What lies under test/ or val/ is held out; without such folders
    the hash of the file's name decides. Every photo is taken for another person."""
    home, split = file.parent, file.parent.parent
    parts = {d.name.lower() for d in _folders(folder)}
    held = split.name.lower() in _KEPT if split != folder and parts & {*_KEPT} else None
    label = EXPRESSIONS.index(home.name.lower())
    return photo_portrait(file, label, str(file.relative_to(folder)), folder.name, held)


# Another layout is one more line here.
LAYOUTS = (
    Layout("parquet", "*.parquet", _parquet_files, _parquet_faces),
    Layout("jaffe", "KA.AN1.39.tiff", _jaffe_files, _jaffe_faces),
    Layout("fei", "12a.jpg and 12b.jpg", _fei_files, _fei_faces),
    Layout("folders", "train/happy/*.jpg or happy/*.jpg", _folder_files, _folder_faces),
)
