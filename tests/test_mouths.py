"""How bright and of which hue teeth may be: as beside such skin in people's smiles."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from facepaint import align
from facepaint.face import INNER_LIPS

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.lab.data import drawn, mouths  # noqa: E402
from facepaint.lab.data.faces import INNER, FaceSet  # noqa: E402

SLOPE, FACTOR = np.array([0.5, 0.4, 0.3]), np.array([0.9, 0.85, 0.8])


def smiling(people: int) -> FaceSet:
    """Faces of one colour each, whose teeth have a colour that follows from it."""
    made = drawn.draw(0, people=people)
    crops, landmarks, rng = made.crops.copy(), made.landmarks.copy(), np.random.default_rng(1)
    mouth = list(INNER_LIPS)
    for i in np.flatnonzero(made.is_face):
        centre = landmarks[i][mouth].mean(0)
        landmarks[i][mouth] = centre + (landmarks[i][mouth] - centre) * [1.0, 0.0]
        angle = np.linspace(0, 2 * np.pi, len(mouth), endpoint=False)
        landmarks[i][mouth] += 0.06 * np.stack([np.cos(angle), np.sin(angle)], 1)
        skin = rng.uniform(0.2, 0.9, 3)
        crops[i] = np.rint(255 * skin)
        outline = align.apply(INNER, landmarks[i][mouth])
        colour = 255 * FACTOR * skin**SLOPE
        cv2.fillPoly(crops[i], [np.rint(outline * 16).astype(np.int32)], colour.tolist(), shift=4)
    shown = np.full_like(made.blendshapes, 0.8)
    return dataclasses.replace(made, crops=crops, landmarks=landmarks, blendshapes=shown)


def test_teeth_are_measured_beside_the_skin_of_broad_smiles() -> None:
    made = smiling(16)
    lines = mouths.measure(made, np.flatnonzero(made.is_face))
    assert lines is not None
    assert lines.slope == pytest.approx(SLOPE, abs=0.08)
    assert np.exp(lines.offset) == pytest.approx(FACTOR, abs=0.06)


def test_of_too_few_smiles_nothing_is_told() -> None:
    made = smiling(16)
    assert mouths.measure(made, np.flatnonzero(made.is_face)[:10]) is None
    still = dataclasses.replace(made, blendshapes=np.zeros_like(made.blendshapes))
    assert mouths.measure(still, np.flatnonzero(made.is_face)) is None


def test_teeth_that_are_too_bright_come_down_and_nothing_else_changes() -> None:
    lines = mouths.Lines(SLOPE.astype(np.float32), np.log(FACTOR).astype(np.float32))
    skin = torch.tensor([[0.6, 0.3, 0.15]] * 2)
    usual = FACTOR * np.array([0.6, 0.3, 0.15]) ** SLOPE
    pictures = torch.full((2, 3, 64, 64), 0.1)
    pictures[0, :, 20:40, 20:40] = 0.95  # glaring
    pictures[0, :, 20:40, 20:24] = 0.4  # the darker ones keep their place below the bright ones
    pictures[1, :, 20:40, 20:40] = 0.2  # in shadow
    between = torch.zeros(2, 64, 64)
    between[:, 20:40, 20:40] = 1
    held = mouths.held_back(pictures, between, skin, lines)
    bright = held[0, :, 30, 30].numpy()
    grey = np.array(mouths.LUMINANCE)
    assert float(grey @ bright) == pytest.approx(1.1 * float(grey @ usual), rel=0.03)
    assert bright[0] > bright[1] > bright[2]  # they take on the light's hue
    assert float(held[0, 0, 30, 22] / held[0, 0, 30, 30]) == pytest.approx(0.4 / 0.95, rel=1e-4)
    assert torch.equal(held[1], pictures[1])
    assert torch.equal(held[0, :, :18], pictures[0, :, :18])


def test_open_mouths_are_dark_inside_where_neither_teeth_nor_tongue_are_in_front() -> None:
    """By what lies between the lips, beside skin; a closed mouth has no inside."""
    made = smiling(16)
    rows = np.flatnonzero(made.is_face)
    closed = made.landmarks.copy()
    closed[:, list(INNER_LIPS), 1] = closed[:, list(INNER_LIPS), 1].mean(1, keepdims=True)

    def seen(share: float, landmarks: np.ndarray) -> np.ndarray:
        """Mouths of so much of the skin's light."""
        crops = made.crops.copy()
        for i in rows:
            outline = align.apply(INNER, made.landmarks[i][list(INNER_LIPS)])
            colour = (share * crops[i][0, 0]).tolist()
            at = np.rint(outline * 16).astype(np.int32)
            cv2.fillPoly(crops[i], [at], colour, shift=4)
        return mouths.dark_inside(dataclasses.replace(made, crops=crops, landmarks=landmarks), rows)

    assert seen(0.4, made.landmarks).all()
    assert not seen(0.8, made.landmarks).any()
    assert not seen(0.4, closed).any()


def test_the_inside_of_open_mouths_is_as_dark_as_people_s_from_place_to_place() -> None:
    """Beside skin, whatever its colour; it lies between the lips of any face, however open."""
    made = smiling(8)
    rows, crops = np.flatnonzero(made.is_face), made.crops.copy()
    mouth = list(INNER_LIPS)
    for i in rows:
        outline = np.rint(align.apply(INNER, made.landmarks[i][mouth]) * 16).astype(np.int32)
        skin = crops[i][0, 0].astype(float)
        cv2.fillPoly(crops[i], [outline], (0.5 * skin).tolist(), shift=4)
        middle = round(float(outline[:, 1].mean() / 16))
        upper = (crops[i] != crops[i][0, 0]).any(-1) & (np.arange(len(crops[i])) < middle)[:, None]
        crops[i][upper] = 0.25 * skin
    inside = mouths.mean_inside(dataclasses.replace(made, crops=crops), rows)
    assert inside is not None and inside.shape == (8, 12, 3)
    middle = np.s_[:, 3:-3]  # the corners' few rows are of either
    assert np.exp(inside[:3][middle]) == pytest.approx(0.25, abs=0.04)
    assert np.exp(inside[-2:][middle]) == pytest.approx(0.5, abs=0.06)
    face = made.landmarks[rows[0]]
    laid, where = mouths.laid_inside(inside, face)
    assert laid.shape == (128, 128, 3) and {*np.unique(where)} == {0, 1}
    y, x = np.nonzero(where)
    low, high = face[mouth].min(0) * 128, face[mouth].max(0) * 128
    assert low[0] - 1 < x.min() and x.max() < high[0] and low[1] - 1 < y.min() and y.max() < high[1]
    top, bottom = (
        laid[where.astype(bool) & (np.indices(where.shape)[0] == r)] for r in (y.min(), y.max())
    )
    assert np.exp(top) == pytest.approx(0.25, abs=0.04)
    assert np.exp(bottom) == pytest.approx(0.5, abs=0.06)
    shut = face.copy()
    shut[mouth, 1] = shut[mouth, 1].mean()
    assert not mouths.laid_inside(inside, shut)[1].any()
    assert mouths.mean_inside(made, rows[:0]) is None
