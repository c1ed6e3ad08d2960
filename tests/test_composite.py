"""Composite: strokes on the photo's own pixels, against what the strokes say."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

import facepaint.composite
from facepaint import align
from facepaint.composite import composite, enlarge
from facepaint.mesh import mean_face
from facepaint.methods import Strokes
from facepaint.segment import face_mask

S = align.CROP
MASK = face_mask(mean_face())


def strokes(**given: np.ndarray | float) -> Strokes:
    """Strokes of zeros but for the given fields."""
    shapes = {"flow": (S, S, 2), "mask": (S, S), "paint": (S, S, 3), "shade": (S, S)}
    return Strokes(
        **{
            n: np.broadcast_to(given.get(n, 0.0), shape).astype(np.float32)
            for n, shape in shapes.items()
        }
    )


def wild(seed: int, paint: float, shade: float) -> Strokes:
    """Random strokes, paint and shade up to what is given."""
    rng = np.random.default_rng(seed)
    return strokes(
        flow=rng.uniform(-0.2, 0.2, (S, S, 2)),
        mask=rng.uniform(0, 1, (S, S)),
        paint=rng.uniform(-paint, paint, (S, S, 3)),
        shade=rng.uniform(-shade, shade, (S, S)),
    )


def photo(size: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def frame(side: float = 200, x: float = 90, y: float = 80, turn: float = 0.2) -> np.ndarray:
    cos, sin = side * np.cos(turn), side * np.sin(turn)
    return np.array([[cos, -sin, x], [sin, cos, y]], np.float32)


def under_mask(size: int, where: np.ndarray) -> np.ndarray:
    """Which photo pixels have a crop place where the mask, or a neighbour of it, is not zero."""
    y, x = np.mgrid[:size, :size] + 0.5
    u = align.apply(align.invert(where), np.stack([x, y], -1).reshape(-1, 2)) * S
    reach = 2.5  # cubic interpolation reads two neighbours
    out = np.zeros(len(u), bool)
    for dx in (-reach, 0, reach):
        for dy in (-reach, 0, reach):
            i = np.floor(u + np.array([dx, dy])).astype(int)
            inside = ((i >= 0) & (i < S)).all(1)
            out[inside] |= MASK[i[inside, 1], i[inside, 0]] > 0
    return out.reshape(size, size)


@pytest.mark.parametrize("side", [30, 128, 200, 900])
def test_strokes_of_zeros_leave_every_bit(side: float) -> None:
    before = photo()
    after = before.copy()
    composite(after, frame(side), strokes(), MASK)
    assert np.array_equal(before, after)


def test_large_faces_keep_the_sharpness_that_a_cubic_would_lose() -> None:
    """Half a pixel aside, where sampling blurs most."""
    pytest.importorskip("torch", reason="the lab's extra is not installed")
    from facepaint.lab.measure.metrics import laplacian_energy

    kept = {}
    for side in (500, 520):  # on either side of where the sampling changes
        before = photo(700)
        after = before.copy()
        composite(after, frame(side, 90, 80, 0), strokes(flow=0.5 / side), MASK)
        inside = (slice(250, 400), slice(250, 400))
        energy = [
            laplacian_energy(p[inside], np.ones((150, 150), np.float32)) for p in (before, after)
        ]
        kept[side] = energy[1] / energy[0]
    assert kept[520] > 1.3 * kept[500]


def test_rows_are_made_in_strips_that_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes from the photo as it was, also where a flow reaches into the one before."""
    asked = wild(3, paint=0.5, shade=0.2)
    made = {}
    for rows in (16, 64, 10_000):
        monkeypatch.setattr("facepaint.composite._STRIP", rows)
        made[rows] = photo()
        composite(made[rows], frame(300, 60, 20), asked, MASK)
    assert (made[16] != photo()).mean() > 0.1
    for rows in (16, 64):  # but for where a place in the photo is rounded the other way
        assert (made[rows] != made[10_000]).mean() < 4e-3


@pytest.mark.parametrize("turn", [0, 0.35])
def test_a_field_enlarged_in_two_steps_is_the_same_field(
    turn: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the size on at which a field is enlarged cubically to some of the pixels only."""
    field = np.random.default_rng(2).normal(0, 1, (S, S, 3)).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), 2)
    large, place = frame(2700, -300, -200, turn), (slice(500, 563), slice(300, 701))
    two = enlarge(field, large, *place)
    monkeypatch.setattr("facepaint.composite._SPARSE", np.inf)
    one = enlarge(field, large, *place)
    assert two.shape == one.shape == (63, 401, 3)
    assert not np.array_equal(one, two) and np.abs(one - two).max() < 0.01 * np.ptp(field)


def test_what_lies_beside_an_oval_is_left_out_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    oval = np.zeros((S, S), np.float32)
    cv2.ellipse(oval, (60, 64), (30, 55), 0, 0, 360, 1, -1)
    wide, made = [], facepaint.composite._repainted

    def watched(*given: Any) -> Any:
        wide.append(given[-1][1].stop - given[-1][1].start)
        return made(*given)

    monkeypatch.setattr("facepaint.composite._repainted", watched)
    before = photo(600)
    after = before.copy()
    composite(after, frame(500, 40, 30, 0), wild(4, paint=0.5, shade=0.2), oval)
    assert min(wide) < 0.75 * max(wide) < 0.75 * 300  # narrow above and below
    changed = np.flatnonzero((before != after).any(-1).any(0))
    assert np.ptp(changed) < max(wide) + 2


@pytest.mark.parametrize("side", [40, 200, 700])
def test_nothing_changes_outside_the_mask(side: float) -> None:
    everything = wild(1, paint=1, shade=0.6)
    before = photo()
    after = before.copy()
    composite(after, frame(side), everything, MASK)
    changed = (before != after).any(-1)
    allowed = under_mask(400, frame(side)) if side >= S else None
    assert changed.any()
    if allowed is not None:
        assert not (changed & ~allowed).any()


def test_a_flow_moves_the_picture_by_its_length_in_crop_sides() -> None:
    """On a ramp of the column, the new value at a place is the column it was taken from."""
    x = np.tile(np.arange(400) / 2, (400, 1))
    ramp = np.repeat(x[..., None], 3, 2).astype(np.uint8)
    where = frame(200, 100, 100, 0.0)
    flow = np.zeros((S, S, 2), np.float32)
    flow[..., 0] = 0.05
    after = ramp.copy()
    composite(after, where, strokes(flow=flow), np.ones_like(MASK))
    middle = slice(180, 220), slice(180, 220)
    assert np.abs(after[middle].astype(float) - ramp[middle] - 0.05 * 200 / 2).max() <= 1.01


def test_the_flow_turns_with_the_face() -> None:
    y = np.tile(np.arange(400)[:, None] / 2, (1, 400))
    ramp = np.repeat(y[..., None], 3, 2).astype(np.uint8)
    where = frame(200, 300, 100, np.pi / 2)  # the crop's x runs down the photo
    flow = np.zeros((S, S, 2), np.float32)
    flow[..., 0] = 0.05
    after = ramp.copy()
    composite(after, where, strokes(flow=flow), np.ones_like(MASK))
    middle = slice(180, 220), slice(180, 220)
    assert np.abs(after[middle].astype(float) - ramp[middle] - 5).max() <= 1.01


def test_shade_is_a_gain_of_the_light_and_leaves_the_grain() -> None:
    """What is larger than a pixel of the crop gets darker by the gain; what is finer stays."""
    grain = np.zeros((800, 800, 3), np.uint8)
    grain[:, :] = np.where(np.indices((800, 800)).sum(0) % 2, 130, 110)[..., None]
    grain[:, 400:] //= 2
    after = grain.copy()
    composite(after, frame(700, 50, 50, 0.0), strokes(shade=np.log(0.6)), np.ones_like(MASK))
    for side in (slice(300, 360), slice(440, 500)):
        part, was = after[380:420, side].astype(float), grain[380:420, side].astype(float)
        assert part.mean() == pytest.approx(0.6 * was.mean(), abs=1)
        assert part.std() == pytest.approx(was.std(), abs=0.5)


def test_full_paint_hides_the_detail_below_it() -> None:
    """Where the mask is 1 the photo's own detail is gone: no old mouth behind new teeth. But where
    paint changes little, near and far, as on lips that only move, it is laid over the detail."""
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[::2] = 200
    middle = slice(380, 420), slice(380, 420)
    assert stripes[middle].std() > 90
    for paint, spread in ((0.3, 0), (-0.2, 0), (0.02, 100), (0.0, 100)):
        after = stripes.copy()
        laid = strokes(mask=1.0, paint=paint)
        composite(after, frame(700, 50, 50, 0.0), laid, np.ones_like(MASK))
        assert after[middle].std() == pytest.approx(spread, abs=10), paint
        assert after[middle].mean() == pytest.approx(100 + 255 * paint, abs=3), paint
    patch = strokes(mask=1.0)
    patch.paint[60:66, 60:66] = 0.3  # beside it nothing of what it stands for shall be left
    composite(after, frame(700, 50, 50, 0.0), patch, np.ones_like(MASK))
    assert after[390:400, 370:376].std() < 15


def test_paint_adds_its_colour_under_the_mask() -> None:
    before = np.full((300, 300, 3), 100, np.uint8)
    after = before.copy()
    paint = np.zeros((S, S, 3), np.float32)
    paint[..., 0] = 0.2
    composite(after, frame(200, 50, 50, 0.0), strokes(mask=0.5, paint=paint), np.ones_like(MASK))
    assert np.allclose(after[150, 150], [100 + 0.5 * 51, 100, 100], atol=1)


def test_a_face_cut_by_the_photo_or_beside_it() -> None:
    before = photo(120)
    for x, y in ((-80, -60), (60, 70), (4000, 4000), (-4000, 10)):
        after = before.copy()
        composite(after, frame(200, x, y), strokes(flow=0.05, mask=0.3, paint=0.1), MASK)
        assert after.shape == before.shape
    assert np.array_equal(after, before)  # the last lies beside the photo


def test_the_mask_is_one_inside_zero_at_the_edge_and_smooth() -> None:
    assert MASK.min() == 0 and MASK.max() == 1
    assert MASK[int(0.55 * S), S // 2] == 1
    assert not (MASK[0].any() or MASK[-1].any() or MASK[:, 0].any() or MASK[:, -1].any())
    assert np.abs(np.diff(MASK, axis=0)).max() < 0.3
    points = mean_face()[[1, 61, 291, 33, 263, 13, 14]]  # nose tip, mouth and eye corners, lips
    columns, rows = (points * S).astype(int).T
    assert (MASK[rows, columns] > 0.99).all()
