"""Gaze: irises are found in the photo, and go where an edit says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import facepaint
from facepaint import BLENDSHAPES, Box, Edit, EditError, Face, align
from facepaint.editing.gaze import (
    _BALL,
    _CENTRE,
    _found,
    _middle,
    _read,
    at_viewer,
    openings,
    turn,
)
from facepaint.editing.method import MoveAndRepaint
from facepaint.editing.plan import plan
from facepaint.editing.windows import EYES
from facepaint.face import LEFT_EYE, LEFT_IRIS, RIGHT_EYE, RIGHT_IRIS, FloatArray
from facepaint.face_model import mean_3d, pose_of
from facepaint.mesh import mean_face, mirrored_landmarks
from facepaint.models import WEIGHTS
from facepaint.names import EXPRESSIONS

NOTHING = np.zeros(52, np.float32)
TARGETS = dict.fromkeys(EXPRESSIONS, NOTHING)
IRISES = [RIGHT_IRIS, LEFT_IRIS]


def turned_head(yaw: float, pitch: float = 0, aside: tuple[float, float] = (0, 0)) -> FloatArray:
    """Landmarks in crop units of a head turned by degrees, whose irises are off the viewer."""
    (a, b), middle = np.radians([yaw, pitch]), mean_3d().mean(0)
    sideways = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    nod = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    turn_ = np.array(nod) @ np.array(sideways)
    points = (((mean_3d() - middle) @ turn_.T + middle)[:, :2]).astype(np.float32)
    pose = pose_of(points)
    for k, part in enumerate(EYES):
        iris = list(part.inner)
        points[iris] += _middle(points, pose, k) + np.float32(aside) - points[iris[0]]
    return points


def planned(edit: Edit, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    face = Face(0, Box(0, 0, 1, 1, 0.9), points, NOTHING, 1.0, np.eye(7, dtype=np.float32)[0])
    return plan(edit, face, TARGETS)[:2]


def irises(edit: Edit, points: FloatArray) -> FloatArray:
    """Where an edit puts both irises, [2, 2], by the landmarks alone."""
    eyes = turn(edit, *planned(edit, points), points)
    return eyes.placed(points)[IRISES]


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (25, 0), (-25, 0), (0, 15), (20, -12)])
def test_a_look_to_the_camera_is_over_the_middle_of_the_eyeball(yaw: float, pitch: float) -> None:
    points = turned_head(yaw, pitch, aside=(0.022, 0.003))
    pose = pose_of(points)
    found = irises(Edit(look="camera"), points)
    for k, (eye, place) in enumerate(zip((RIGHT_EYE, LEFT_EYE), found, strict=True)):
        ends = [eye[0], eye[8]]
        behind = pose.lifted((_CENTRE * (1 if k == 0 else -1, 1, 1))[None])[0]
        assert place == pytest.approx(points[ends].mean(0) + behind, abs=1e-4)
    half = irises(Edit(look="camera", strength=0.5), points)
    assert half == pytest.approx((points[IRISES] + found) / 2, abs=1e-4)
    assert irises(Edit(look="camera", strength=1.5), points) == pytest.approx(found, abs=1e-5)


def test_against_the_turn_of_the_head() -> None:
    """Turned to the photo's right, eyes that look at the viewer are nearer to its left."""
    straight, right = (irises(Edit(look="camera"), turned_head(y, 0, (0.03, 0))) for y in (0, 25))
    for k, eye in enumerate((RIGHT_EYE, LEFT_EYE)):
        ends = [eye[0], eye[8]]
        at = [
            (found[k, 0] - points[ends, 0].mean()) / np.ptp(points[ends, 0])
            for found, points in ((straight, turned_head(0)), (right, turned_head(25)))
        ]
        shift = at[1] - at[0]
        assert shift * np.sign(pose_of(turned_head(25)).yaw) < -0.04


def test_a_mirrored_face_gets_mirrored_irises() -> None:
    points = turned_head(18, 5, (0.02, -0.004))
    mirrored = points[mirrored_landmarks()] * (-1, 1) + np.float32([1, 0])
    edit = Edit(look="camera")
    there = irises(edit, points)
    here = irises(edit, mirrored.astype(np.float32))
    assert here[::-1] * (-1, 1) + (1, 0) == pytest.approx(there, abs=1.5e-3)


def test_who_looks_at_the_viewer_is_asked_nothing() -> None:
    for aside, stays in (((0.003, 0.002), True), ((0.0, 0.0), True), ((0.015, 0), False)):
        points = turned_head(10, 0, aside)
        eyes = turn(Edit(look="camera"), *planned(Edit(look="camera"), points), points)
        assert np.array_equal(eyes.have, eyes.want) is stays
        assert (not eyes.shifts.any()) is stays


def test_both_eyes_turn_alike() -> None:
    points = turned_head(12, 4, (0.02, 0))
    points[LEFT_IRIS : LEFT_IRIS + 5] += (0.004, 0)  # read worse than the other
    eyes = turn(Edit(look="camera"), *planned(Edit(look="camera"), points), points)
    assert eyes.shifts[0] == pytest.approx(eyes.shifts[1], abs=1e-6) and eyes.shifts.any()


def test_a_gaze_that_is_set_wins_for_its_eye() -> None:
    points = turned_head(0, 0, (0.025, 0))
    alone = irises(Edit(look="camera"), points)
    mixed = irises(Edit(look="camera", set={"eyeLookUpLeft": 1.0}), points)
    by_set = irises(Edit(set={"eyeLookUpLeft": 1.0}), points)
    assert mixed[0] == pytest.approx(alone[0], abs=1e-5)
    assert mixed[1] == pytest.approx(by_set[1], abs=1e-6)
    assert by_set[0] == pytest.approx(points[RIGHT_IRIS], abs=1e-6)


@pytest.mark.parametrize(
    ("muscles", "right", "left"),
    [
        ({"eyeLookUp": 1.0}, (0, -1), (0, -1)),
        ({"eyeLookDown": 1.0}, (0, 1), (0, 1)),
        ({"eyeLookIn": 0.8}, (1, 0), (-1, 0)),
        ({"eyeLookOut": 0.8}, (-1, 0), (1, 0)),
        ({"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8}, (1, 0), (1, 0)),
        ({"eyeLookInLeft": 0.8, "eyeLookOutRight": 0.8}, (-1, 0), (-1, 0)),
    ],
)
def test_irises_go_where_their_muscles_pull(
    muscles: dict[str, float], right: tuple[int, int], left: tuple[int, int]
) -> None:
    """From straight ahead; the photo's axes."""
    points = turned_head(0)
    moved = irises(Edit(set=muscles), points) - points[IRISES]
    for by, way in zip(moved, (right, left), strict=True):
        assert by @ np.array(way) > 0.014
        assert np.abs(by * (1 - np.abs(way))).max() < 0.002
    half = irises(Edit(set={n: v / 2 for n, v in muscles.items()}), points) - points[IRISES]
    assert half == pytest.approx(moved / 2, abs=1e-3)


def test_a_set_gaze_does_not_depend_on_where_the_eyes_looked() -> None:
    edit = Edit(set={"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5})
    one, two = (irises(edit, turned_head(0, 0, (x, 0))) for x in (-0.02, 0.01))
    assert one == pytest.approx(two, abs=1e-4)


def test_scores_of_a_look_to_the_viewer_say_how_the_head_is_turned() -> None:
    scores = at_viewer(turned_head(25))
    named = {n: float(scores[BLENDSHAPES.index(n)]) for n in BLENDSHAPES if scores.any()}
    to_right = pose_of(turned_head(25)).yaw > 0  # the head, to the photo's
    against = (
        ("eyeLookInLeft", "eyeLookOutRight") if to_right else ("eyeLookOutLeft", "eyeLookInRight")
    )
    assert all(named[n] == pytest.approx(np.sin(np.radians(25)) / 0.66, abs=0.05) for n in against)
    assert sum(v > 0.06 for v in named.values()) == 2
    assert at_viewer(turned_head(0)).max() < 0.06


def drawn(points: FloatArray, aside: tuple[float, float], size: int = 400) -> np.ndarray:
    """A face of skin, whites of eyes and irises, uint8 [size, size, 3]."""
    pixels = np.full((size, size, 3), (200, 150, 130), np.uint8)
    pose = pose_of(points)
    for k, eye in enumerate((RIGHT_EYE, LEFT_EYE)):
        opening = np.zeros((size, size), np.uint8)
        cv2.fillPoly(opening, [np.round(points[list(eye)] * size * 16).astype(int)], 1, shift=4)
        inside = np.full_like(pixels, (225, 225, 220))
        x, y = ((_middle(points, pose, k) + pose.scale * np.float32(aside)) * size * 16).astype(int)
        cv2.circle(inside, (x, y), int(0.0279 * size * 16), (90, 70, 50), -1, shift=4)
        pixels = np.where(opening[..., None] > 0, inside, pixels)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 1), np.uint8)


@pytest.mark.parametrize("aside", [-0.024, -0.01, 0.0, 0.016, 0.026])
def test_irises_are_found_in_the_photo_where_the_reader_sees_none(aside: float) -> None:
    """The landmarks say straight, or hardly aside."""
    points, size = turned_head(8), 400
    frame = np.array([[size, 0, 0], [0, size, 0]], np.float32)
    pose = pose_of(points)
    found = _found(drawn(points, (aside, 0)), frame, points, pose)
    assert found == pytest.approx([aside, 0], abs=0.002 + 0.25 * abs(aside))
    assert np.abs(_read(points, pose)).max() < 1e-4 and np.hypot(*found) < _BALL


def test_an_eye_behind_glass_or_in_shadow_turns_with_the_other() -> None:
    """What a mask hides wholly is painted where both irises are seen; behind hair it is not."""
    points, size = turned_head(0), 400
    frame = np.array([[size, 0, 0], [0, size, 0]], np.float32)
    pixels = drawn(points, (0, 0))
    mask = np.ones((128, 128), np.float32)
    mask[:, 64:] = 0  # the person's left eye
    kept = openings(pixels, frame, points, points, mask)
    row, column = (points[LEFT_IRIS, ::-1] * 128).astype(int)
    assert kept[row, column] > 0.9 and not kept[:, :64].any()
    part = mask.copy()
    part[:, 64 : column + 1] = 1
    assert not openings(pixels, frame, points, points, part).any()
    flat = np.full_like(pixels, 150)
    assert not openings(flat, frame, points, points, mask).any()


# --- with photos


@pytest.fixture(scope="module")
def method() -> MoveAndRepaint:
    return MoveAndRepaint(WEIGHTS)


def seen(pixels: np.ndarray, face: Face) -> FloatArray:
    frame = align.align(face.landmarks)
    points = align.apply(align.invert(frame), face.landmarks)
    return _found(pixels, frame, points, pose_of(points))


def test_eyes_turn_away_and_back(method: MoveAndRepaint, portrait: np.ndarray) -> None:
    (face,) = facepaint.load().faces(portrait)
    aside = portrait.copy()
    away = Edit(set={"eyeLookOutLeft": 0.75, "eyeLookInRight": 0.75})
    assert method.paint(aside, face, away)
    assert seen(aside, face)[0] > 0.015
    back = aside.copy()
    assert method.paint(back, face, Edit(look="camera"))
    assert np.hypot(*seen(back, face)) < 0.01
    lower = align.apply(align.invert(align.align(face.landmarks)), face.landmarks)[2, 1]
    rows = int(align.apply(align.align(face.landmarks), np.float32([[0.5, lower]]))[0, 1])
    assert np.array_equal(back[rows + 10 :], aside[rows + 10 :]), "the mouth is left alone"


def test_strength_zero_and_other_regions_change_no_bit(
    method: MoveAndRepaint, portrait: np.ndarray
) -> None:
    (face,) = facepaint.load().faces(portrait)
    pixels = portrait.copy()
    method.paint(pixels, face, Edit(set={"eyeLookOutLeft": 0.75, "eyeLookInRight": 0.75}))
    for edit in (
        Edit(look="camera", strength=0.0),
        Edit(look="camera", regions=("mouth",)),
        Edit(look="camera", regions=("brows", "lower")),
    ):
        after = pixels.copy()
        assert not method.paint(after, face, edit)
        assert np.array_equal(after, pixels)
    for regions in (("eyes",), ("upper", "mouth")):
        assert method.paint(pixels.copy(), face, Edit(look="camera", regions=regions))


def test_a_face_that_looks_at_the_camera_keeps_its_pixels(
    method: MoveAndRepaint, portrait: np.ndarray
) -> None:
    (face,) = facepaint.load().faces(portrait)
    after = portrait.copy()
    assert not method.paint(after, face, Edit(look="camera"))
    assert np.array_equal(after, portrait)


@pytest.mark.parametrize("name", ["painter", "cyclegan"])
def test_a_method_that_cannot_turn_eyes_says_so(name: str, portrait: np.ndarray) -> None:
    weights = "open" if name == "painter" else None
    painter = facepaint.Painter(weights, name)
    for more in ({}, {"to": "happy"}):
        with pytest.raises(EditError, match=f"{name} cannot turn the eyes; the method repaint can"):
            painter.edit(portrait, look="camera", **more)
    assert not painter.method.turns_eyes and facepaint.load().method.turns_eyes


def test_the_mean_face_looks_at_the_viewer() -> None:
    assert np.hypot(*_read(mean_face(), pose_of(mean_face()))) < 0.005


def test_eyes_that_are_shut_stay_shut() -> None:
    face = mean_face()
    shut = face.copy()
    for eye in (LEFT_EYE, RIGHT_EYE):
        top, bottom = list(eye[1:8]), list(eye[:8:-1])
        shut[top] = shut[bottom]
    have = at_viewer(face) * 0
    want = have.copy()
    want[BLENDSHAPES.index("eyeLookInLeft")] = 0.3
    made = turn(Edit(look="camera"), have, want, shut)
    assert not made.shifts.any() and (made.want == have).all()
