"""Rendered faces: shapes, chance by seed alone, and colours that lie where landmarks say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from facepaint import align
from facepaint.face import BLENDSHAPES, EXPRESSIONS, INNER_LIPS, LEFT_IRIS, OUTER_LIPS, RIGHT_IRIS
from facepaint.lab.data import render_mesh, rendered
from facepaint.lab.data.datasets import Portrait
from facepaint.lab.data.render_acting import Acted, act

MODEL = Path(__file__).parents[2] / "shared/data/ict_facekit.npz"
SIZE = 192
needs_model = pytest.mark.skipif(not MODEL.exists(), reason=f"needs the ICT face model at {MODEL}")


def asked(**muscles: float) -> Acted:
    values = np.zeros(len(BLENDSHAPES), np.float32)
    for name, strength in muscles.items():
        values[BLENDSHAPES.index(name)] = strength
    return Acted(values, None, 0.0)


@pytest.fixture(scope="module")
def open_mouth() -> Iterator[Portrait]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "act", lambda rng, which: asked(jawOpen=0.8))
        yield next(rendered.portraits(MODEL, 9, 1, SIZE))


def brightness(portrait: Portrait, points: np.ndarray) -> float:
    """Mean grey value inside an outline, 0 to 255."""
    inside = np.zeros(portrait.pixels.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.round(points).astype(np.int32)], 1)
    return float(portrait.pixels.mean(2)[inside > 0].mean())


@needs_model
def test_a_portrait_has_all_that_training_needs(open_mouth: Portrait) -> None:
    assert open_mouth.pixels.shape == (SIZE, SIZE, 3) and open_mouth.pixels.dtype == np.uint8
    assert open_mouth.landmarks is not None and open_mouth.blendshapes is not None
    assert open_mouth.landmarks.shape == (478, 2) and open_mouth.landmarks.dtype == np.float32
    assert open_mouth.blendshapes.shape == (52,) and open_mouth.blendshapes.dtype == np.float32
    assert open_mouth.expression == -1 and open_mouth.held_out is None
    assert open_mouth.source == "rendered" and open_mouth.subject.startswith("rendered-")
    assert 0.6 < align.side_of(open_mouth.frame) / SIZE < 0.85


@needs_model
def test_an_open_mouth_is_darker_inside_than_its_lips(open_mouth: Portrait) -> None:
    points = open_mouth.landmarks
    assert points is not None
    inner, outer = points[list(INNER_LIPS)], points[list(OUTER_LIPS)]
    lower_lip = np.concatenate([outer[11:20], inner[11:20][::-1]])
    middle = inner.mean(0) + (inner - inner.mean(0)) * 0.7
    assert brightness(open_mouth, middle) < brightness(open_mouth, lower_lip)


@needs_model
@pytest.mark.parametrize("iris", [RIGHT_IRIS, LEFT_IRIS])
def test_the_pupil_is_darker_than_the_white(open_mouth: Portrait, iris: int) -> None:
    points = open_mouth.landmarks
    assert points is not None
    centre = points[iris]
    arms = np.linalg.norm(points[iris + 1 : iris + 5] - centre, axis=1).mean()
    grey = open_mouth.pixels.mean(2)
    row, column = np.floor(centre[::-1]).astype(int)
    pupil = grey[row - 1 : row + 2, column - 1 : column + 2].min()
    sides = [grey[row, int(centre[0] + side * 1.5 * arms)] for side in (-1, 1)]
    assert pupil < min(sides)


@needs_model
def test_the_seed_alone_decides(open_mouth: Portrait) -> None:
    first, again = (next(rendered.portraits(MODEL, 5, 1, 96)) for _ in range(2))
    other = next(rendered.portraits(MODEL, 6, 1, 96))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    assert not np.array_equal(first.pixels, other.pixels)


def test_expressions_are_what_a_face_can_do() -> None:
    acted = [act(np.random.default_rng(i), i % rendered.PICTURES) for i in range(600)]
    values = np.stack([a.blendshapes for a in acted])
    assert values.min() >= 0 and values.max() <= 1
    jaw, close = (values[:, BLENDSHAPES.index(n)] for n in ("jawOpen", "mouthClose"))
    assert (close <= jaw).all()  # else the lower lip would go through the upper one
    assert {a.expression for a in acted} == {None, *EXPRESSIONS}
    counts = np.histogram(jaw, 5, (0, 1))[0]
    assert counts.min() > 30


def test_the_nearer_triangle_is_seen() -> None:
    square = np.array([[0, 0], [0, 8], [8, 8], [8, 0]], np.float32)
    far, near = (np.column_stack([square, np.full(4, z, np.float32)]) for z in (0.0, 1.0))
    near[:, 0] = near[:, 0] / 2
    screen = np.concatenate([far, near]).astype(np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    raster = render_mesh.rasterise(screen, triangles, 8)
    depth = raster.picture(raster.of(screen[:, 2]), -1)
    np.testing.assert_allclose(depth[:, :4], 1, atol=1e-5)
    np.testing.assert_allclose(depth[:, 4:], 0, atol=1e-5)
    np.testing.assert_allclose(raster.weights.sum(1), 1, atol=1e-5)
    assert not len(render_mesh.rasterise(screen, triangles[:, ::-1], 8).pixels)  # from behind
