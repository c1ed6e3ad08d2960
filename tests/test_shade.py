"""Shade: folds go where they are, skin keeps its colour, and samples say what was there."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from facepaint import align
from facepaint.editing.mover import told_change
from facepaint.editing.shade import HUES, LEAST, _hues, shade, skin
from facepaint.face import EXPRESSIONS, LEFT_BROW, LEFT_EYE, OUTER_LIPS
from facepaint.mesh import mean_face

SIZE, WINDOW = 512, 128
FACE = mean_face()
TOLD = told_change(np.zeros(52, np.float32), np.zeros(52, np.float32), np.zeros(7, np.float32))
FRAME = np.array([[SIZE, 0, 0], [0, SIZE, 0]], np.float32)
MASK = np.ones((WINDOW, WINDOW), np.float32)


class Gives:
    """A network that asks for one gain."""

    def __init__(self, gain: np.ndarray | float) -> None:
        self.card = {"window": WINDOW}
        self._gain = np.broadcast_to(np.float32(gain), (1, WINDOW, WINDOW)).astype(np.float32)

    def __call__(self, **inputs: Any) -> dict[str, Any]:
        assert inputs["crops"].shape == (1, WINDOW, WINDOW, 3)
        return {"gain": self._gain}


def lit(photo: np.ndarray, gain: np.ndarray | float, mask: np.ndarray = MASK) -> np.ndarray:
    out = photo.copy()
    shade(out, FRAME, FACE, TOLD, Gives(gain), mask)  # type: ignore[arg-type]
    return out


def plain(colour: tuple[int, int, int] = (180, 140, 120)) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), colour, np.uint8)


def test_skin_is_the_face_without_lips_lids_and_brows() -> None:
    found = skin(FACE, 256)
    assert found.min() >= 0 and found.max() <= 1 + 1e-5
    for outline in (OUTER_LIPS, LEFT_EYE, LEFT_BROW):
        x, y = (FACE[list(outline)].mean(0) * 256).astype(int)
        assert found[y, x] < 0.05
    cheek = (FACE[425] * 256).astype(int)
    assert found[cheek[1], cheek[0]] > 0.95
    assert not found[0].any() and not found[:, 0].any()


def test_no_gain_leaves_every_bit() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    assert np.array_equal(lit(photo, 0.0), photo)


def test_light_changes_on_skin_alone_and_under_the_mask() -> None:
    after, where = lit(plain(), -0.2), skin(FACE, SIZE)
    changed = (after != plain()).any(-1)
    assert changed[where > 0.5].all() and not changed[where == 0].any()
    left = MASK * (np.arange(WINDOW) < WINDOW // 2)
    assert not (lit(plain(), -0.2, left.astype(np.float32)) != plain())[:, SIZE // 2 + 8 :].any()


def test_a_grey_photo_stays_grey_and_shadows_on_skin_are_warm() -> None:
    grey = lit(plain((150, 150, 150)), -0.2)
    assert (grey == grey[..., :1]).all() and (grey < 150).any()
    y, x = (FACE[425] * SIZE).astype(int)[::-1]
    before, after = (p[y, x] / 255 + LEAST for p in (plain(), lit(plain(), -0.2)))
    red, green, blue = np.log(after / before) / -0.2
    assert red < green < blue and (red, green, blue) == pytest.approx(HUES, abs=0.05)


def test_white_is_not_made_grey() -> None:
    white = plain((255, 255, 255))
    assert lit(white, -0.3)[200:300, 200:300].min() >= 250


def test_colours_follow_the_light_as_in_the_photo() -> None:
    rng, where = np.random.default_rng(1), np.ones((WINDOW, WINDOW), np.float32)
    light = rng.uniform(-0.8, 0, (WINDOW, WINDOW, 1))
    sepia = 255 * (0.9 * np.exp(light * [0.6, 1.0, 1.4]) - LEAST)
    found = _hues(sepia.clip(0, 255).astype(np.uint8), where)
    assert found == pytest.approx([0.6, 1.0, 1.4], abs=0.1)
    assert _hues(plain()[:WINDOW, :WINDOW], where) == pytest.approx(HUES)


def test_a_fold_goes_at_the_photos_own_size() -> None:
    """A crease two pixels wide in a photo of 512 is half a pixel of what the network sees."""
    photo, (x, y) = plain(), (FACE[425] * SIZE).astype(int)
    cv2.line(photo, (int(x), int(y) - 20), (int(x), int(y) + 20), (120, 80, 62), 2)
    small = cv2.cvtColor(align.crop(photo, FRAME, WINDOW), cv2.COLOR_RGB2GRAY).astype(np.float32)
    light = np.log(small / 255 + LEAST)
    gain = np.maximum(0, np.median(light[int(y) // 4]) - light)  # what would fill it, as seen small
    depth, left = (
        float(np.ptp(p[y, x - 12 : x + 12].astype(float).mean(-1)))
        for p in (photo, lit(photo, gain))
    )
    assert left < 0.45 * depth


def test_what_is_told_is_the_change_and_the_name() -> None:
    name = np.eye(7, dtype=np.float32)[EXPRESSIONS.index("sad")]
    want = np.zeros(52, np.float32)
    want[3] = 0.25
    told = told_change(np.zeros(52, np.float32), want, name)
    assert told.shape == (110,) and told[3] == 0.25 and told[52 + 3] == 0.5
    assert told[104:].tolist() == [0, 1, 0, 0, 0, 0]


# --- samples


def samples(carried: float = 0.0) -> Any:
    pytest.importorskip("torch", reason="the lab's extra is not installed")
    from facepaint.lab.data import drawn
    from facepaint.lab.data.shading import ShadingSamples
    from facepaint.lab.methods.shade import ShadeSettings

    settings = ShadeSettings(method="shade", size=64, light=0.0, carried=carried)
    return ShadingSamples(settings, drawn.close_ups(0, 6))


def test_the_same_photo_twice_has_no_other_light() -> None:
    drawn = samples()
    made = drawn.sample(np.random.default_rng(0), 0, 0)
    assert np.abs(made["gain"]).max() < 0.02 and not made["told"].any()
    assert made["crop"].shape == (64, 64, 3) and made["skin"].shape == (64, 64)


def test_an_answer_is_of_skin_and_of_two_expressions() -> None:
    made = samples().draw(np.random.default_rng(3))
    assert made["gain"].dtype == np.float16 and np.isfinite(made["gain"]).all()
    assert not made["gain"][made["skin"] == 0].any()
    assert np.abs(made["told"]).max() > 0.1


def test_the_answer_lights_the_moved_photo_as_the_second() -> None:
    from facepaint.lab.data.shading import _difference

    rng, where = np.random.default_rng(2), skin(FACE, 64)
    one = rng.integers(60, 180, (64, 64, 3)).astype(np.uint8)
    one = np.asarray(cv2.GaussianBlur(one, (0, 0), 2.0), np.uint8)
    fold = np.exp(-(((np.arange(64) - 40) / 4.0) ** 2)) * -0.3
    two = ((one / 255 + LEAST) * np.exp(fold)[:, None, None] - LEAST) * 255
    gain = _difference(one, np.rint(two).clip(0, 255).astype(np.uint8), where)
    inside = where > 0.9
    mean = (np.broadcast_to(fold[:, None], where.shape) * where).sum() / where.sum()
    wanted = np.broadcast_to(fold[:, None], where.shape) - mean
    assert gain[inside] == pytest.approx(wanted[inside], abs=0.04)


def test_a_carried_difference_lies_on_the_skin_of_another_face() -> None:
    drawn = samples(carried=1.0)
    i, j = next(iter(drawn.pairs.values()))[0]
    made = drawn.sample(np.random.default_rng(5), i, j, carried=True)
    plain_one = drawn.sample(np.random.default_rng(5), i, j)
    assert not np.array_equal(made["crop"], plain_one["crop"]), "another face"
    assert made["told"] == pytest.approx(plain_one["told"], abs=0.3), "the same change"
    assert np.abs(made["gain"]).max() > 0 and not made["gain"][made["skin"] == 0].any()
