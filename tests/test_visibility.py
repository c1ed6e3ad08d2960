"""Visibility: what is pasted before a face is not in its truth, and what only shades it is."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from facepaint import align
from facepaint.errors import LabError
from facepaint.face import BLENDSHAPES, LEFT_IRIS, RIGHT_IRIS

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.lab.data import datasets, drawn, visibility  # noqa: E402
from facepaint.lab.data.augment import Look  # noqa: E402
from facepaint.lab.data.faces import WIDE, WIDE_PIXELS, cut  # noqa: E402
from facepaint.lab.data.occluders import OCCLUDERS, Bank, Ground  # noqa: E402
from facepaint.lab.data.visibility import ParsedFaces, VisibilitySamples  # noqa: E402
from facepaint.lab.methods.visibility import VisibilitySettings, measure  # noqa: E402


@pytest.fixture(scope="module")
def faces() -> ParsedFaces:
    return visibility.of_drawn(drawn.draw(0, people=12))


@pytest.fixture(scope="module")
def samples(faces: ParsedFaces) -> VisibilitySamples:
    return VisibilitySamples(VisibilitySettings(), faces)


def ground_of(faces: ParsedFaces, i: int) -> Ground:
    bank = Bank(faces.crops[:, 100:118, 100:118], faces.textures)
    return Ground(faces.landmarks[i], np.array([180.0, 140, 120]), np.zeros(3), bank, align.CROP)


@pytest.mark.parametrize("kind", OCCLUDERS)
def test_what_covers_is_hidden_and_all_else_stays(kind: str, faces: ParsedFaces) -> None:
    found = 0
    for seed in range(8):
        rng, i = np.random.default_rng(seed), seed % len(faces)
        layer = OCCLUDERS[kind](rng, ground_of(faces, i))
        for values, most in ((layer.alpha, 1), (layer.cover, 1), (layer.colour, 255)):
            assert values.shape[:2] == (align.CROP, align.CROP) and np.isfinite(values).all()
            assert values.min() >= 0 and values.max() <= most + 1e-3
        assert layer.cover[layer.alpha > 0.99].min(initial=1) > 0.9
        size = np.ones((9, 9), np.uint8)  # softening reaches so far
        core = cv2.erode((layer.cover > 0.99).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        away = cv2.dilate((layer.cover > 0).astype(np.uint8), size) == 0
        crop = cut(faces.crops[i], align.IDENTITY)
        truth = np.full(crop.shape[:2], 255, np.uint8)
        pasted, left = visibility.paste(rng, layer, crop, truth)
        assert pasted.dtype == left.dtype == np.uint8 and pasted.shape == crop.shape
        assert (left[core] <= 8).all() and (left[away] == 255).all()
        found += int(core.sum())
    assert found > 100 or kind == "hair"  # which is thin


def test_lenses_hide_the_eyes_even_where_they_are_clear(faces: ParsedFaces) -> None:
    opacity = []
    for seed in range(12):
        layer = OCCLUDERS["glasses"](np.random.default_rng(seed), ground_of(faces, 0))
        for iris in (RIGHT_IRIS, LEFT_IRIS):
            x, y = (faces.landmarks[0, iris] * align.CROP).astype(int)
            assert layer.cover[y, x] > 0.99
            opacity.append(layer.alpha[y, x])
    assert min(opacity) < 0.3 and max(opacity) > 0.8


def test_a_photo_as_it_is_has_its_own_parsing(
    faces: ParsedFaces, samples: VisibilitySamples
) -> None:
    found = samples.sample(np.random.default_rng(0), 3)
    assert np.array_equal(found["crop"], cut(faces.crops[3], align.IDENTITY))
    assert np.array_equal(found["truth"], cut(faces.visible[3], align.IDENTITY))
    inside = found["oval"] > 0
    assert (found["truth"][inside] > 100).mean() > 0.98
    mirrored = samples.sample(np.random.default_rng(0), 3, flip=True)
    assert np.abs(mirrored["truth"][:, ::-1].astype(int) - found["truth"]).mean() < 3
    assert (mirrored["oval"][:, ::-1] != found["oval"]).mean() < 0.02


def test_samples_follow_from_the_generator(samples: VisibilitySamples) -> None:
    one, two = (
        [samples.draw(rng) for _ in range(12)]
        for rng in (np.random.default_rng(1), np.random.default_rng(1))
    )
    for a, b in zip(one, two, strict=True):
        assert all(np.array_equal(a[k], b[k]) for k in a)
    assert len({x["truth"].tobytes() for x in one}) == 12


def test_shadows_and_light_hide_nothing(faces: ParsedFaces) -> None:
    settings = VisibilitySettings(shaded=1.0, opened=0.0)
    samples = VisibilitySamples(settings, faces)
    rng = np.random.default_rng(0)
    plain, lit = samples.sample(rng, 0), samples.sample(rng, 0, look=Look.draw(rng))
    assert np.array_equal(plain["truth"], lit["truth"])
    assert not np.array_equal(plain["crop"], lit["crop"])


@pytest.mark.parametrize("gap", [0.002, 0.06])
def test_mouths_open_wide_and_stay_visible(gap: float, faces: ParsedFaces) -> None:
    crop = cut(faces.crops[0], align.IDENTITY)
    truth, points = cut(faces.visible[0], align.IDENTITY), faces.landmarks[0].copy()
    points[14, 1] = points[13, 1] + gap
    picture, seen, after = visibility.opened(np.random.default_rng(2), crop, truth, points)
    assert after[14, 1] - after[13, 1] > gap + 0.02
    above = points[:, 1] < points[13, 1]
    assert np.allclose(after[above], points[above], atol=1e-5)
    assert not np.array_equal(picture, crop)
    middle = after[[13, 14]].mean(0) * align.CROP
    assert seen[int(middle[1]), int(middle[0])] == 255
    assert (seen > 127).sum() > (truth > 127).sum()


def test_a_mouth_that_is_hidden_is_not_opened(faces: ParsedFaces) -> None:
    crop = cut(faces.crops[0], align.IDENTITY)
    truth, points = np.zeros((128, 128), np.uint8), faces.landmarks[0]
    found = visibility.opened(np.random.default_rng(2), crop, truth, points)
    assert all(a is b for a, b in zip(found, (crop, truth, points), strict=True))


def test_a_parsing_comes_through_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    made = drawn.draw(3, people=2)
    points = (made.landmarks[0] + (WIDE - 1) / 2) * (WIDE_PIXELS / WIDE)
    classes = np.zeros((112, 112), np.uint8)  # half the photo's size, as some sets have it
    classes[40:100, 30:80] = 1
    classes[60:64, 30:80] = 3
    classes[:20] = 13

    def encoded(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    row: dict[str, Any] = {
        "image": encoded(made.crops[0]),
        "mask": encoded(classes),
        "landmarks": points.ravel().tolist(),
        "blendshapes": [0.0] * len(BLENDSHAPES),
        "expression": None,
        "subject": "Ann",
        "source": "ours",
    }
    pq.write_table(pa.Table.from_pylist([row, row | {"mask": None}]), tmp_path / "a.parquet")
    with_one, without = datasets.portraits(tmp_path)
    assert with_one.parsing is not None and with_one.parsing.shape == (224, 224)
    assert without.parsing is None
    found = visibility.load(tmp_path, tmp_path / "cache")
    again = visibility.load(tmp_path, tmp_path / "cache")
    assert len(found) == len(again) == 1 and not len(found.textures)
    assert np.array_equal(found.visible, again.visible)
    assert 0.1 < (found.visible[0] > 127).mean() < 0.4
    with pytest.raises(LabError, match="no photo with a parsing"):
        visibility.of_portraits([without])
    pq.write_table(pa.Table.from_pylist([row | {"mask": b"?"}]), tmp_path / "a.parquet")
    with pytest.raises(LabError, match="the mask of Ann: holds an image that cannot be decoded"):
        list(datasets.portraits(tmp_path))


def test_measured_against_the_truth(faces: ParsedFaces) -> None:
    few = faces.only(np.arange(len(faces)) < 9)
    kept = dataclasses.replace(few, held_out=np.ones(len(few), bool))
    photos = np.stack([cut(c, align.IDENTITY) for c in few.crops]).astype(np.int16)
    known = np.stack([cut(v, align.IDENTITY) for v in few.visible]).astype(np.float32) / 255

    def oracle(crops: np.ndarray) -> dict[str, np.ndarray]:
        """Knows photos as they are, and takes all pasted things for the face."""
        near = [int(np.abs(photos - c).mean((1, 2, 3)).argmin()) for c in crops]
        return {"visible": known[near]}

    found = measure(oracle, kept)  # type: ignore[arg-type]
    assert found["people"] == 3 and found["untouched"]["iou_face"] == 1
    assert found["untouched"]["wrongly_hidden"] == 0
    assert "untouched_with_glasses" not in found
    assert {*found} >= {*OCCLUDERS} and found["cloth"]["iou_hidden"] < 0.5
    nobody = dataclasses.replace(few, held_out=np.zeros(len(few), bool))
    assert measure(oracle, nobody) == {"people": 0}  # type: ignore[arg-type]
