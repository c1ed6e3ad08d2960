"""Every muscle: the rig's moves, what a slider asks, and how it is measured."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

import facepaint  # noqa: E402
from facepaint import motion, rig  # noqa: E402
from facepaint.align import CROP  # noqa: E402
from facepaint.face import (  # noqa: E402
    BLENDSHAPES,
    INNER_LIPS,
    LANDMARKS,
    LEFT_BROW,
    LEFT_EYE,
    LEFT_IRIS,
    RIGHT_BROW,
    RIGHT_EYE,
    RIGHT_IRIS,
)
from facepaint.lab.data import drawn  # noqa: E402
from facepaint.lab.measure import muscles  # noqa: E402
from facepaint.mesh import mean_face, mirrored_blendshapes, mirrored_landmarks  # noqa: E402

FACE = mean_face()
NOTHING = np.zeros(len(BLENDSHAPES), np.float32)
UNIT = float(np.linalg.norm(FACE[LEFT_IRIS] - FACE[RIGHT_IRIS]))


def asked(**scores: float) -> np.ndarray:
    """Scores by the name of a blendshape, or of a pair of them."""
    want = NOTHING.copy()
    for name, score in scores.items():
        for i, b in enumerate(BLENDSHAPES):
            if b in (name, f"{name}Left", f"{name}Right"):
                want[i] = score
    return want


def moved(points: np.ndarray = FACE, **scores: float) -> np.ndarray:
    return rig.move(points, NOTHING, asked(**scores)) / UNIT


def opened(by: float = 0.02) -> np.ndarray:
    """The mean face with its lower lip lower, so that its mouth has an opening."""
    points = FACE.copy()
    points[list(INNER_LIPS[11:]), 1] += by
    return points


@pytest.mark.parametrize(
    ("name", "landmark", "x", "y"),  # of the person's left, the photo's right
    [
        ("mouthSmile", 291, 1, -1),
        ("mouthFrown", 291, 0, 1),
        ("mouthStretch", 291, 1, 1),
        ("mouthPucker", 291, -1, 0),
        ("browDown", 285, -1, 1),
        ("browInnerUp", 336, 0, -1),
        ("browOuterUp", 300, 0, -1),
        ("jawOpen", 152, 0, 1),
        ("jawLeft", 152, 1, 0),
        ("mouthRight", 13, -1, 0),
        ("mouthUpperUp", 269, 0, -1),
        ("mouthLowerDown", 405, 0, 1),
        ("noseSneer", 358, 1, -1),
        ("cheekPuff", 411, 1, 0),
        ("eyeLookOut", LEFT_IRIS, 1, 0),
        ("eyeLookUp", LEFT_IRIS, 0, -1),
        ("eyeWide", 386, 0, -1),
    ],
)
def test_a_muscle_pulls_where_it_should(name: str, landmark: int, x: int, y: int) -> None:
    way = moved(**{name: 1.0})[landmark]
    for got, wanted in zip(way, (x, y), strict=True):
        assert abs(got) < 0.04 if wanted == 0 else got * wanted > 0.01
    assert np.linalg.norm(way) < 0.4  # of the distance between the eyes


def test_each_muscle_moves_something_and_stays_small() -> None:
    for name in BLENDSHAPES[1:]:
        size = np.linalg.norm(moved(opened(), **{name: 1.0}), axis=1)
        assert 0.01 < size.max() < 0.4, name
        assert np.median(size) < 0.08, name  # most of the face stays
    assert not moved().any()


def test_the_sides_mirror_each_other() -> None:
    order, swapped = mirrored_landmarks(), mirrored_blendshapes()
    symmetric = (FACE + (FACE[order] * (-1, 1) + (1, 0))) / 2
    symmetric = symmetric.astype(np.float32)
    for i in range(1, len(BLENDSHAPES)):
        one, other = NOTHING.copy(), NOTHING.copy()
        one[i], other[swapped[i]] = 0.7, 0.7
        left, right = (rig.move(symmetric, NOTHING, w) for w in (one, other))
        assert np.abs(left[order] * (-1, 1) - right).max() < 1e-5, BLENDSHAPES[i]


def test_one_side_leaves_the_other() -> None:
    right_eye, left_eye = list(RIGHT_EYE), list(LEFT_EYE)
    wink = moved(eyeBlinkLeft=1.0)
    assert np.abs(wink[right_eye]).max() < 1e-6 and np.abs(wink[left_eye]).max() > 0.02
    half = moved(mouthSmileLeft=1.0)
    assert np.linalg.norm(half[61]) < 0.01 < 0.1 < np.linalg.norm(half[291])


def test_lips_and_lids_part() -> None:
    open_ = moved(jawOpen=1.0)
    assert open_[14, 1] > 0.2 and abs(open_[13, 1]) < 0.05
    above, below = np.array(LEFT_EYE[1:8]), np.array(LEFT_EYE[:8:-1])
    shut = FACE + rig.move(FACE, NOTHING, asked(eyeBlink=1.0))
    was, now = (p[below, 1] - p[above, 1] for p in (FACE, shut))
    assert (was > 0).all() and np.abs(now).max() < 0.02 * UNIT
    half = FACE + rig.move(FACE, asked(eyeBlink=0.5), asked(eyeBlink=1.0))
    assert np.allclose(half, shut, atol=1e-6), "whatever is still open is closed"
    closed = opened() + rig.move(opened(), NOTHING, asked(mouthClose=1.0))
    inner = np.array(INNER_LIPS)
    gap = closed[inner[:10:-1], 1] - closed[inner[1:10], 1]
    assert np.abs(gap).max() < 1e-5
    assert not rig.move(opened(0), NOTHING, NOTHING).any()


def test_moves_turn_and_grow_with_the_face() -> None:
    turn = np.deg2rad(20)
    matrix = 0.7 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    tilted = ((FACE - 0.5) @ matrix.T + 0.5).astype(np.float32)
    want = asked(mouthSmile=0.8, eyeBlinkRight=0.6, jawOpen=0.2)
    upright, turned = (rig.move(p, NOTHING, want) for p in (FACE, tilted))
    assert np.abs(upright @ matrix.T - turned).max() < 1e-5


# --- the flow that follows it


def at(flow: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The flow at points in crop units."""
    x, y = ((points * len(flow) - 0.5).astype(np.float32)).T
    got = cv2.remap(flow, np.ascontiguousarray(x), np.ascontiguousarray(y), cv2.INTER_LINEAR)
    return np.asarray(got).reshape(-1, 2)


@pytest.mark.parametrize(
    "name", ["browDown", "browInnerUp", "mouthFrown", "mouthSmileLeft", "noseSneer", "cheekPuff"]
)
def test_the_flow_takes_landmarks_where_the_rig_says(name: str) -> None:
    want = asked(**{name: 0.8})
    shifts = rig.move(FACE, NOTHING, want)
    flow = motion.motion(FACE, NOTHING, want, CROP).flow
    far = np.linalg.norm(shifts, axis=1)
    led = far > 0.3 * far.max()
    got = -at(flow, FACE + shifts)
    along = (got[led] * shifts[led]).sum() / np.square(shifts[led]).sum()
    assert along == pytest.approx(1, abs=0.1)
    assert np.linalg.norm(flow[2, 2]) < 0.01 and flow.dtype == np.float32


def test_a_lid_slides_over_the_eye_which_stays() -> None:
    """A picture whose eye is white and whose iris is black, half closed: the lid's skin is over
    the upper half, and what is seen of the iris has not moved."""
    size = 512
    eye = FACE[list(LEFT_EYE)] * size
    picture = np.full((size, size), 120, np.uint8)
    cv2.fillPoly(picture, [np.rint(eye).astype(np.int32)], 255)
    middle = (eye.min(0) + eye.max(0)) / 2
    cv2.circle(picture, tuple(int(v) for v in middle), 5, 0, -1)
    flow = motion.motion(FACE, NOTHING, asked(eyeBlinkLeft=0.5), size).flow
    y, x = np.mgrid[:size, :size].astype(np.float32)
    out = cv2.remap(picture, x + flow[..., 0] * size, y + flow[..., 1] * size, cv2.INTER_LINEAR)
    column = int(middle[0]) + 12  # beside the iris
    top, bottom = (int(v) for v in (eye[:, 1].min(), eye[:, 1].max()))
    seen, was = (int((p[top - 2 : bottom + 2, column] > 200).sum()) for p in (out, picture))
    assert 0.35 * was < seen < 0.65 * was
    iris = cv2.dilate((picture < 60).astype(np.uint8), np.ones((3, 3))) > 0
    left = (out < 60) & (y > middle[1] - 8) & (y < middle[1] + 8)
    assert left.any() and not (left & ~iris).any()
    other = FACE[list(RIGHT_EYE)]
    assert np.abs(at(flow, other)).max() < 1e-6
    closed = motion.motion(FACE, NOTHING, asked(eyeBlink=1.0), size).flow
    out = cv2.remap(picture, x + closed[..., 0] * size, y + closed[..., 1] * size, cv2.INTER_LINEAR)
    assert (out > 200).sum() < 0.5 * (picture > 200).sum()  # the rest is painted over
    wide = motion.motion(FACE, NOTHING, asked(eyeWide=1.0), size).flow
    out = cv2.remap(picture, x + wide[..., 0] * size, y + wide[..., 1] * size, cv2.INTER_LINEAR)
    assert (out > 200).sum() > 1.2 * (picture > 200).sum()


def test_where_lids_meet_the_upper_ones_edge_is_painted() -> None:
    closed = motion.motion(FACE, NOTHING, asked(eyeBlinkLeft=1.0), CROP)
    half = motion.motion(FACE, NOTHING, asked(eyeBlinkLeft=0.5), CROP)
    assert not half.seam.any() and closed.seam.max() > 0.9
    y, x = np.nonzero(closed.seam > 0.5)
    eye = FACE[list(LEFT_EYE)] * CROP
    assert (abs(x - eye[:, 0].mean()) < np.ptp(eye[:, 0])).all()
    assert (y > eye[:, 1].mean() - 2).all() and (y < eye[:, 1].max() + 2).all()
    taken = y + 0.5 + closed.edge[y, x, 1] * CROP  # where from: above the open eye
    assert (taken < eye[:, 1].mean()).all()


def test_nothing_asked_nothing_moves() -> None:
    assert not motion.motion(FACE, NOTHING, NOTHING, CROP).flow.any()
    beside = motion.motion(
        FACE + np.float32(3), NOTHING, asked(eyeBlink=1.0, jawLeft=1.0), CROP
    ).flow
    assert np.isfinite(beside).all() and np.abs(beside).max() < 1


@pytest.mark.parametrize(("weights", "least"), [(None, 12), ("open", 1)])
def test_a_wink_through_the_whole_edit(
    weights: str | None, least: int, astronaut: np.ndarray
) -> None:
    """One eye or brow changes; the other does not, but for a little of its skin and light."""
    painter = facepaint.load(weights)
    face = painter.faces(astronaut)[0]
    for muscle, here, there in (
        ("eyeBlinkLeft", LEFT_EYE, RIGHT_EYE),
        ("browDownRight", RIGHT_BROW, LEFT_BROW),
    ):
        out = painter.edit(astronaut, set={muscle: 1.0}, faces=[0])
        apart = np.abs(out.astype(int) - astronaut).max(-1)

        def near(points: tuple[int, ...], apart: np.ndarray = apart) -> int:
            low, high = (f(face.landmarks[list(points)], 0).astype(int) for f in (np.min, np.max))
            return int(apart[low[1] : high[1] + 1, low[0] : high[0] + 1].max())

        assert near(here) > 20 and near(there) <= least


# --- how it is measured


class _Perfect:
    """A method that moves the photo by the rig, and a reader that knows where landmarks are."""

    def __init__(self, part: float, other: float = 0.0) -> None:
        self.part, self.other = part, other

    def of(self, want: np.ndarray) -> np.ndarray:
        whole = rig.move(FACE, NOTHING, want)
        swap = np.zeros_like(want)
        swap[mirrored_blendshapes()] = want
        return self.part * whole + self.other * rig.move(FACE, NOTHING, swap)


@pytest.mark.parametrize(("part", "other"), [(1.0, 0.0), (0.5, 0.0), (0.6, 0.4), (0.0, 0.0)])
def test_what_is_measured_of_a_slider(
    part: float, other: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = _Perfect(part, other)

    class Person:
        def raised(self, names: tuple[str, ...]) -> dict[str, float]:
            return dict.fromkeys(names, 0.6)

        def wanted(self, scores: dict[str, float]) -> np.ndarray:
            return moved(**scores)

        def moved(self, scores: dict[str, float]) -> np.ndarray:
            return fake.of(asked(**scores)) / UNIT

    found = muscles._of_slider(Person(), ("mouthSmileLeft", "mouthSmileRight"))  # type: ignore[arg-type]
    assert found["reached"] == pytest.approx(part + other, abs=1e-3)
    assert found["astray"] == pytest.approx(0, abs=1e-3)
    assert found["reached_alone"] == pytest.approx(part, abs=0.01)
    assert found["other_side"] == pytest.approx(other, abs=0.01)
    closed = muscles._of_slider(Person(), ("mouthClose",))  # type: ignore[arg-type]
    assert "reached" not in closed or closed["size"] > 0.1


def test_a_painter_that_does_nothing_reaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through photos: the reader's landmarks are those of the face that is drawn."""
    from facepaint.lab.measure import evaluate

    faces = drawn.draw(0, people=24)

    class Still:
        def paint(self, *_: object) -> bool:
            return False

    class Reader:
        def __call__(self, crops: np.ndarray) -> dict[str, np.ndarray]:
            return {
                "landmarks": FACE[None],
                "blendshapes": NOTHING[None],
                "confidence": np.ones(1, np.float32),
                "expressions": np.full((1, 7), 1 / 7, np.float32),
            }

    assert len(evaluate.sources_for(faces, "happy", 4)), "someone to measure on"
    found = muscles.measure(faces, Still(), (Reader(), Reader()))  # type: ignore[arg-type]
    assert found["mean"]["reached"] == 0 and found["mean"]["astray"] == 0
    assert found["mean"]["size"] > 0.3 and len(found["each"]) == len(BLENDSHAPES) - 1 - 18
    assert found["each"]["mouthSmile"]["size"] * UNIT * CROP / 100 < LANDMARKS
