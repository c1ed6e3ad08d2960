"""Alignment: similarities, frames and crops, against closed forms and round trips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facepaint import align
from facepaint.face import LEFT_IRIS, NOSE_BRIDGE, RIGHT_IRIS, Box

TURNS = st.floats(-3.0, 3.0)
SIZES = st.floats(0.1, 2000)
PLACES = st.floats(-3000, 3000)


def frame_of(turn: float, size: float, x: float, y: float) -> np.ndarray:
    cos, sin = size * np.cos(turn), size * np.sin(turn)
    return np.array([[cos, -sin, x], [sin, cos, y]], np.float32)


def standing() -> np.ndarray:
    """Landmarks in crop units of which only the stable ones matter."""
    points = np.zeros((478, 2), np.float32)
    points[list(align.STABLE)] = align._TEMPLATE
    return points


@given(TURNS, SIZES, PLACES, PLACES)
def test_a_similarity_is_recovered(turn: float, size: float, x: float, y: float) -> None:
    frame = frame_of(turn, size, x, y)
    points = standing()
    moved = align.apply(frame, points)
    got = align.align(moved)
    again = align.apply(got, points[list(align.STABLE)])
    wanted = moved[list(align.STABLE)]
    assert np.abs(again - wanted).max() < 1e-3 * (size + abs(x) + abs(y) + 1)


@given(TURNS, SIZES, PLACES, PLACES)
def test_inverse_undoes(turn: float, size: float, x: float, y: float) -> None:
    frame = frame_of(turn, size, x, y)
    points = np.array([[0, 0], [1, 0], [0.3, 0.8]], np.float32)
    back = align.apply(align.invert(frame), align.apply(frame, points))
    assert np.abs(back - points).max() < 1e-3 * (1 + (abs(x) + abs(y)) / size)


def test_least_squares_beats_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(9, 2)), rng.normal(size=(9, 2))
    best = align.fit_similarity(source, target)

    def cost(frame: np.ndarray) -> float:
        return float(((source @ frame[:, :2].T + frame[:, 2] - target) ** 2).sum())

    a, b, x, y = best[0, 0], best[1, 0], best[0, 2], best[1, 2]
    for step in np.vstack([np.eye(4), -np.eye(4)]) * 0.01:
        da, db, dx, dy = step
        near = np.array([[a + da, -(b + db), x + dx], [b + db, a + da, y + dy]])
        assert cost(best) < cost(near)


def test_the_crop_has_the_documented_geometry() -> None:
    points = standing()
    eyes = points[RIGHT_IRIS], points[LEFT_IRIS]
    assert np.allclose((eyes[0] + eyes[1]) / 2, [0.5, align.EYE_Y], atol=1e-6)
    assert np.isclose(np.linalg.norm(eyes[1] - eyes[0]), align.EYE_DISTANCE)
    assert all(points[i, 1] > align.EYE_Y - 0.01 for i in NOSE_BRIDGE)


def test_a_box_gives_the_frame_of_a_mean_face() -> None:
    box = Box(100, 50, 214, 260, 1.0)
    frame = align.frame_of_box(box)
    eyes = align.apply(frame, np.array([[0.35, align.EYE_Y], [0.65, align.EYE_Y]], np.float32))
    assert np.isclose(np.linalg.norm(eyes[1] - eyes[0]), 100, atol=0.1)
    assert np.isclose(eyes.mean(0)[0], 207, atol=0.1)
    centre = align.apply(align.frame_of_box(box, 0.5), np.array([[0.5, 0.4562]], np.float32))
    assert np.allclose(centre, [[207, 180]], atol=0.1)  # it turns about the box's centre


@pytest.mark.parametrize("size", [16, 128, 300])
def test_identity_crop_is_the_picture(size: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    frame = np.array([[size, 0, 0], [0, size, 0]], np.float32)
    assert np.array_equal(align.crop(picture, frame, size), picture)


def test_shrinking_averages() -> None:
    """A crop at an eighth of the size is the mean of 8 × 8 pixels, not one pixel in 64."""
    picture = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)
    frame = np.array([[512, 0, 0], [0, 512, 0]], np.float32)
    means = picture.reshape(64, 8, 64, 8, 3).mean((1, 3))
    assert np.abs(align.crop(picture, frame, 64) - means).max() <= 1


def test_a_ramp_is_sampled_at_pixel_centres() -> None:
    """On a linear ramp the value says where it was read: turned, scaled and shifted."""
    y, x = np.mgrid[:200, :200]
    picture = np.dstack([x, y, 0 * x]).astype(np.uint8)
    frame = frame_of(0.4, 90, 70, 40)
    got = align.crop(picture, frame, 64).astype(float)
    centres = (np.mgrid[:64, :64] + 0.5) / 64
    where = align.apply(frame, np.stack([centres[1], centres[0]], -1).reshape(-1, 2)) - 0.5
    assert np.abs(got[..., :2].reshape(-1, 2) - where).max() < 1


def test_beyond_the_photo_its_edge_repeats() -> None:
    picture = np.full((40, 40, 3), 77, np.uint8)
    frame = np.array([[100, 0, -30], [0, 100, -30]], np.float32)
    assert (align.crop(picture, frame, 32) == 77).all()
    far = np.array([[10, 0, 500], [0, 10, 500]], np.float32)
    assert (align.crop(picture, far, 32) == 77).all()
    rows, columns = align.bounds(far, picture.shape)
    assert picture[rows, columns].size == 0
