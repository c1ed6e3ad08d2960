"""The 3-D face model: its shape and symmetry, the direction of moves, and poses."""

from __future__ import annotations

import numpy as np
import pytest

from facepaint import face_model
from facepaint.face import BLENDSHAPES, LEFT_IRIS, RIGHT_IRIS
from facepaint.mesh import mean_face, mirrored_landmarks

MEAN, MOVES = face_model.mean_3d(), face_model.moves_3d()
LEFT_CORNER, RIGHT_CORNER, CHIN, NOSE_TIP = 291, 61, 152, 4


def move(name: str, landmark: int) -> np.ndarray:
    return MOVES[BLENDSHAPES.index(name), landmark]


def turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Roll · yaw · pitch in degrees, with the signs that `Pose` documents."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in np.radians([yaw, pitch, roll]))
    return (
        np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    )


def test_mean_is_the_mean_face_with_depth() -> None:
    assert MEAN.shape == (478, 3) and MEAN.dtype == np.float32
    np.testing.assert_allclose(MEAN[:, :2], mean_face(), atol=1e-6)
    assert MEAN[NOSE_TIP, 2] == MEAN[:, 2].max()
    assert 0.1 < MEAN[NOSE_TIP, 2] < 0.2  # a nose stands out by about half the eyes' distance
    assert MEAN[[234, 454], 2].max() < -0.2  # the face's edges lie behind the eyes
    assert MEAN[RIGHT_IRIS, 2] == MEAN[LEFT_IRIS, 2] == 0


def test_both_sides_are_alike() -> None:
    order = mirrored_landmarks()
    np.testing.assert_array_equal(MEAN[order, 2], MEAN[:, 2])
    swap = {"Left": "Right", "Right": "Left"}
    for i, name in enumerate(BLENDSHAPES):
        other = next((name[: -len(s)] + swap[s] for s in swap if name.endswith(s)), name)
        mirrored = MOVES[BLENDSHAPES.index(other)][order] * (-1, 1, 1)
        np.testing.assert_allclose(mirrored, MOVES[i], atol=1e-6, err_msg=name)


def test_every_muscle_moves_something_and_neutral_nothing() -> None:
    assert MOVES.shape == (52, 478, 3) and MOVES.dtype == np.float32
    sizes = np.abs(MOVES).max((1, 2))
    assert sizes[0] == 0
    assert sizes[1:].min() > 0.005 and sizes.max() < 0.25


def test_jaw_opens_downward_and_leaves_the_upper_lip() -> None:
    assert move("jawOpen", CHIN)[1] > 0.08
    assert move("jawOpen", 14)[1] > 0.08  # the lower lip
    assert abs(move("jawOpen", 13)[1]) < 0.02  # the upper lip
    assert np.abs(MOVES[BLENDSHAPES.index("jawOpen"), 468:]).max() == 0


def test_a_smile_on_one_side_lifts_its_corner() -> None:
    x, y, _ = move("mouthSmileLeft", LEFT_CORNER)
    assert x > 0.02 and y < -0.03
    assert np.abs(move("mouthSmileLeft", RIGHT_CORNER)).max() < 0.005


@pytest.mark.parametrize(
    ("name", "landmark", "axis", "sign"),
    [
        ("browDownLeft", 334, 1, 1),
        ("browInnerUp", 336, 1, -1),
        ("browOuterUpLeft", 300, 1, -1),
        ("eyeBlinkLeft", 386, 1, 1),
        ("eyeWideLeft", 386, 1, -1),
        ("eyeLookOutLeft", LEFT_IRIS, 0, 1),
        ("eyeLookOutRight", RIGHT_IRIS, 0, -1),
        ("eyeLookUpLeft", LEFT_IRIS, 1, -1),
        ("mouthUpperUpLeft", 269, 1, -1),
        ("mouthLowerDownLeft", 405, 1, 1),
        ("mouthFrownLeft", LEFT_CORNER, 1, 1),
        ("mouthPucker", LEFT_CORNER, 0, -1),
        ("mouthPucker", 0, 2, 1),
        ("noseSneerLeft", 358, 1, -1),
        ("cheekPuff", 425, 2, 1),
        ("jawLeft", CHIN, 0, 1),
    ],
)
def test_moves_go_the_right_way(name: str, landmark: int, axis: int, sign: int) -> None:
    assert move(name, landmark)[axis] * sign > 0.004


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (-40, 10, 15), (10, -20, -30)])
def test_pose_of_a_turned_face(angles: tuple[float, float, float]) -> None:
    seen = (MEAN @ turned(*angles).T)[:, :2] * 250 + [40, 60]
    noise = np.random.default_rng(0).normal(size=seen.shape)  # pixels
    pose = face_model.pose_of((seen + noise).astype(np.float32))
    assert np.abs(np.array([pose.yaw, pose.pitch, pose.roll]) - angles).max() < 1
    assert pose.scale == pytest.approx(250, rel=0.01)
    np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.norm(pose.project(MEAN) - seen, axis=1).mean() < 1.5


def test_positive_yaw_is_to_the_persons_left_and_positive_pitch_up() -> None:
    def nose(*angles: float) -> np.ndarray:
        return (turned(*angles) @ [0.0, 0.0, 1.0])[:2]

    assert nose(20, 0, 0)[0] > 0 and nose(0, 20, 0)[1] < 0


def test_an_expression_hardly_changes_the_pose() -> None:
    wanted = [BLENDSHAPES.index(n) for n in ("jawOpen", "mouthSmileLeft", "browInnerUp")]
    pose = face_model.pose_of((MEAN + MOVES[wanted].sum(0))[:, :2])
    assert max(abs(pose.yaw), abs(pose.pitch), abs(pose.roll)) < 3


def test_lifted_moves_are_those_of_the_turned_face() -> None:
    rotation = turned(25, 10, -5)
    seen = (MEAN @ rotation.T)[:, :2] * 200
    smile = MOVES[BLENDSHAPES.index("mouthSmileLeft")]
    pose = face_model.pose_of(seen.astype(np.float32))
    np.testing.assert_allclose(pose.lifted(smile), (smile @ rotation.T)[:, :2] * 200, atol=0.05)
    flat = smile * (1, 1, 0)
    np.testing.assert_allclose(pose.frontal(pose.lifted(flat)), flat[:, :2], atol=1e-5)
