"""Every muscle: the rig's moves, what a slider asks, and how it is measured."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.align import CROP  # noqa: E402
from facepaint.face import (  # noqa: E402
    BLENDSHAPES,
    EXPRESSIONS,
    INNER_LIPS,
    LANDMARKS,
    LEFT_EYE,
    LEFT_IRIS,
    RIGHT_EYE,
    RIGHT_IRIS,
)
from facepaint.lab.data import drawn, rig  # noqa: E402
from facepaint.lab.data.samples import Samples, _slid  # noqa: E402
from facepaint.lab.data.topology import (  # noqa: E402
    mean_face,
    mirrored_blendshapes,
    mirrored_landmarks,
)
from facepaint.lab.measure import muscles  # noqa: E402
from facepaint.lab.methods.painter import PainterSettings  # noqa: E402
from facepaint.methods import Strokes  # noqa: E402

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


def test_prototypes_raise_and_take_away() -> None:
    mean = np.full(len(BLENDSHAPES), 0.3, np.float32)
    sad = rig.marked("sad", mean)
    changed = rig.of_prototype("sad")
    assert (sad[~changed] == mean[~changed]).all()
    assert sad[BLENDSHAPES.index("mouthFrownLeft")] == pytest.approx(0.5)
    assert sad[BLENDSHAPES.index("mouthSmileRight")] == 0
    assert (rig.marked("sad", np.ones_like(mean))[changed] >= 0.99).sum() == changed.sum() - 2
    assert (rig.marked("happy", mean) == mean).all() and not rig.of_prototype("happy").any()
    means = np.tile(mean, (len(EXPRESSIONS), 1))
    assert (rig.all_marked(means)[EXPRESSIONS.index("sad")] == sad).all()
    assert set(rig.PROTOTYPES) < set(EXPRESSIONS)
    assert all(rig.of_prototype(e).sum() >= len(p) for e, p in rig.PROTOTYPES.items())


def test_sliders_ask_for_few_muscles_and_for_one_side() -> None:
    rng = np.random.default_rng(0)
    have = rng.uniform(0, 0.2, len(BLENDSHAPES)).astype(np.float32)
    changes = np.array([(_slid(rng, have) != have) for _ in range(400)])
    assert changes.sum(1).min() >= 1 and changes.sum(1).max() <= 6
    assert changes[:, 1:].any(0).all() and not changes[:, 0].any()  # all but "_neutral"
    left, right = (BLENDSHAPES.index(f"mouthSmile{side}") for side in ("Left", "Right"))
    assert (changes[:, left] & ~changes[:, right]).any()
    assert (changes[:, left] & changes[:, right]).any()


def test_samples_of_muscles_go_where_the_rig_says() -> None:
    settings = PainterSettings(pairs=0.25, muscles=1.0, data="drawn")
    samples = Samples(settings, drawn.draw(0, people=8))
    rows = samples.draw(np.random.default_rng(0), 16)
    slid = [r for r in rows if r["slid"]]
    assert len(slid) == 12 and not any(r["paired"] or r["name"].any() for r in slid)
    for r in slid:
        move = rig.move(r["points"], r["blendshapes"], r["asked"])
        assert np.allclose(r["asked_points"], r["points"] + move, atol=1e-6)
        unknown = ~samples.known
        assert (r["shown"][unknown] == r["blendshapes"][unknown]).all()
        assert (r["shown"][~unknown] == r["asked"][~unknown]).all()
    none = Samples(PainterSettings(pairs=0.25, data="drawn"), drawn.draw(0, people=8))
    assert not any(r["slid"] for r in none.draw(np.random.default_rng(0), 16))


def test_a_named_expression_adds_its_prototype() -> None:
    """Two asked alike but for a muscle of the prototype: landmarks differ by the rig's move."""
    samples = Samples(PainterSettings(data="drawn"), drawn.draw(0, people=8))
    source = samples._seen(int(samples._pool[0]), np.eye(2, 3, dtype=np.float32), False)
    samples.moves[EXPRESSIONS.index("angry")] = 0.01  # as if someone had shown it
    name = np.zeros(len(EXPRESSIONS), np.float32)
    name[EXPRESSIONS.index("angry")] = 1
    place = BLENDSHAPES.index("browDownLeft")
    less = samples.targets[EXPRESSIONS.index("angry")].copy()
    more = less.copy()
    less[place], more[place] = 0.6, 0.9
    apart = samples._points(source, more, name) - samples._points(source, less, name)
    assert np.allclose(apart, rig.move(source.points, less, more), atol=1e-5)
    assert apart[285, 1] > 0


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
        def __call__(self, *_: object) -> Strokes | None:
            return None

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
