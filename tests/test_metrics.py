"""Metrics against oracles: scipy's formulas written out, brute force, closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.face import head_turn
from facepaint.lab.measure import metrics
from facepaint.mesh import mean_face

RNG = np.random.default_rng(0)


def picture(seed: int = 0, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def test_rates_are_counts() -> None:
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])
    assert metrics.rate_named(p, 1) == 0.5
    assert metrics.rate_two_way(p, 2, 0) == 0.5  # a tie is no
    assert metrics.gain_of_probability(p, p + 0.1, 0) == pytest.approx(0.1)


def test_spearman_is_pearson_of_ranks() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = rng.integers(0, 6, 9).astype(float)  # with ties
        order = {v: np.flatnonzero(np.sort(values) == v).mean() for v in values}
        ranks = np.array([order[v] for v in values])
        wanted = np.corrcoef(ranks, np.arange(9))[0, 1]
        assert metrics.spearman_of_strength(values[None]) == pytest.approx(wanted)
    assert metrics.spearman_of_strength(np.array([[1, 2, 3], [3, 2, 1.0]])) == 0
    assert metrics.spearman_of_strength(np.ones((1, 5))) == 0


def test_rates_of_one_person_are_of_distances_and_errors_are_means() -> None:
    assert metrics.same_person_rate(np.array([0.1, 0.59, 0.6, 0.9])) == 0.5
    read, asked = RNG.random((2, 3, 52))
    brute = sum(abs(a - b) for a, b in zip(read.flat, asked.flat, strict=True)) / read.size
    assert metrics.blendshape_error(read, asked) == pytest.approx(brute)


def test_landmark_error_of_a_known_shift() -> None:
    points = RNG.uniform(0, 100, (3, 478, 2))
    moved = points + np.array([3, 4])
    assert metrics.landmark_error(moved, points, np.array([10, 20, 50.0])) == pytest.approx(
        (5 / 10 + 5 / 20 + 5 / 50) / 3
    )


def test_change_outside_and_where() -> None:
    before = picture()
    after, mask = before.copy(), np.zeros((64, 64), np.float32)
    mask[20:40, 20:40] = 1
    after[30, 30] = before[30, 30] ^ 255
    assert metrics.greatest_change_outside(before, after, mask) == 0
    assert metrics.share_of_change_at(before, after, mask) == 1
    after[2, 2, 0] = before[2, 2, 0] ^ 8
    assert metrics.greatest_change_outside(before, after, mask) == 8
    assert metrics.share_of_change_at(before, before, mask) == 0


def test_sharpness_falls_with_blur_and_is_one_for_itself() -> None:
    before, skin = picture(), np.ones((64, 64), np.float32)
    assert metrics.laplacian_energy_ratio(before, before, skin) == 1
    ratios = [
        metrics.laplacian_energy_ratio(before, cv2.GaussianBlur(before, (0, 0), s), skin)
        for s in (0.5, 1, 2)
    ]
    assert 1 > ratios[0] > ratios[1] > ratios[2]
    inner = np.zeros((64, 64), np.float32)
    inner[1:-1, 1:-1] = 1  # at the border it matters how a picture goes on
    after = before // 2

    def by_hand(pixels: np.ndarray) -> float:
        grey = np.round(pixels @ [0.299, 0.587, 0.114])
        around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
        return float(((around - 4 * grey[1:-1, 1:-1]) ** 2).mean())

    assert metrics.laplacian_energy(before, inner) == pytest.approx(by_hand(before), rel=1e-3)
    wanted = by_hand(after) / by_hand(before)
    assert metrics.laplacian_energy_ratio(before, after, inner) == pytest.approx(wanted, rel=1e-3)
    flat = np.full_like(before, 9)
    assert metrics.laplacian_energy_ratio(flat, flat, skin) == 1


def test_skin_has_no_mouth_nor_eyes() -> None:
    points = mean_face() * 300
    mask = metrics.skin_mask(points, (300, 300))
    for i in (13, 14, 468, 473, 159, 386):
        x, y = points[i].astype(int)
        assert mask[y, x] == 0
    for i in (50, 280, 5):  # cheeks and nose
        x, y = points[i].astype(int)
        assert mask[y, x] == 1


def test_three_readings_of_one_cycle() -> None:
    a, b = picture(1), picture(2)
    got = metrics.cycle_l1(metrics.mean_l1_255([a], [b]), a.size)
    brute = sum(abs(int(x) - int(y)) for x, y in zip(a.flat, b.flat, strict=True))
    assert got["cycle_l1_255"] == pytest.approx(brute / a.size)
    assert got["cycle_l1_sum"] == pytest.approx(brute / 255)
    assert got["cycle_l1_1"] == pytest.approx(brute / 255 / a.size)


def test_kernel_distance_by_brute_force_and_its_sign() -> None:
    x, y = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3)) + 1

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert metrics.kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy)
    one, two = RNG.normal(size=(2, 400, 8))
    assert abs(metrics.kernel_distance(one, two)) < 0.02 < metrics.kernel_distance(one, two + 1)


def test_frechet_distance_in_closed_form() -> None:
    """|m - n|² + tr(A + B - 2 √(AB)), the root's trace by the eigenvalues of AB."""
    x = RNG.normal(size=(60, 4)) * [1, 2, 0.5, 1]
    y = RNG.normal(size=(50, 4)) + np.array([0, 1, 0, 0.5])
    a, b = np.cov(x.T), np.cov(y.T)
    root = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    wanted = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root
    assert metrics.frechet_distance(x, y) == pytest.approx(wanted, rel=1e-6)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet_distance(x, x + np.array([3, 0, 0, 0])) == pytest.approx(9)


def test_kid_is_the_kernel_distance() -> None:
    x, y = RNG.normal(size=(30, 6)), RNG.normal(size=(30, 6)) + 0.5
    whole = metrics.kid(x, y, subset=30)  # every subset is all of them
    assert whole == pytest.approx(metrics.kernel_distance(x, y))
    some = metrics.kid(x, y, subset=20)
    assert some == metrics.kid(x, y, subset=20) and some == pytest.approx(whole, rel=0.3)
    assert metrics.kid(x[:8], y) > 0  # fewer than a subset


def cielab(colour: tuple[int, int, int]) -> np.ndarray:
    """L, a and b of an sRGB colour under D65, by the formulas of IEC 61966-2-1 and CIE 15."""
    value = np.array(colour) / 255
    linear = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    to_xyz = [
        [0.412453, 0.35758, 0.180423],
        [0.212671, 0.71516, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
    x, y, z = np.array(to_xyz) @ linear / [0.950456, 1, 1.088754]
    f = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_tone_by_its_formula() -> None:
    points = mean_face() * 200
    for colour, wanted in (((240, 210, 190), "light"), ((90, 55, 40), "dark")):
        flat = np.full((200, 200, 3), colour, np.uint8)
        lab = cielab(colour)
        angle = metrics.typology_angle(flat, points)
        assert angle == pytest.approx(np.degrees(np.arctan((lab[0] - 50) / lab[2])), abs=0.5)
        assert metrics.tone(angle) == wanted
    edges = {-90: "dark", 10: "dark", 10.1: "medium", 28: "medium", 28.1: "light"}
    assert {angle: metrics.tone(angle) for angle in edges} == edges


def test_tone_in_blue_light_and_where_there_is_none() -> None:
    points = mean_face() * 200
    blue = {"dark": (50, 52, 70), "light": (200, 205, 230)}  # of the quotient alone: the other way
    for wanted, colour in blue.items():
        flat = np.full((200, 200, 3), colour, np.uint8)
        assert metrics.tone(metrics.typology_angle(flat, points)) == wanted
    for grey in (0, 90, 255):
        flat = np.full((200, 200, 3), grey, np.uint8)
        assert metrics.tone(metrics.typology_angle(flat, points)) == "unknown"
    away = np.full((200, 200, 3), (240, 210, 190), np.uint8)
    assert metrics.tone(metrics.typology_angle(away, points + 500)) == "unknown"


def test_a_straight_head_is_not_turned() -> None:
    points = mean_face()
    assert abs(head_turn(points)) < 0.02
    moved = points.copy()
    moved[1, 0] += 0.05
    assert head_turn(moved) > 0.1
    tilt = np.array([[0.6, -0.8], [0.8, 0.6]], np.float32)
    assert head_turn(moved @ tilt.T * 300) == pytest.approx(head_turn(moved), abs=1e-3)


def test_the_bootstrap_holds_the_mean() -> None:
    values = RNG.normal(3, 1, 400)
    low, high = metrics.bootstrap_interval(values)
    assert low < values.mean() < high
    # a normal mean's interval is known: ± 1.96 / √N
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_the_bootstrap_draws_people() -> None:
    """Five photos of everyone say no more than one; a person with more photos counts for more."""
    values = RNG.normal(3, 1, 80)
    once = metrics.bootstrap_interval(values)
    people = np.repeat(np.arange(80), 5)
    again = metrics.bootstrap_interval(np.repeat(values, 5), people)
    assert again == pytest.approx(once)
    alone = metrics.bootstrap_interval(np.repeat(values, 5))
    assert alone[1] - alone[0] < 0.6 * (once[1] - once[0])
    means = metrics.bootstrap_means(np.array([1.0, 1, 1, 0]), np.array(["a", "a", "a", "b"]))
    assert set(np.round(means, 6)) == {0, 0.75, 1}
