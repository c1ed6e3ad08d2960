"""What measures: the judge, and the scores of detectors, against closed forms and brute force."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.errors import LabError  # noqa: E402
from facepaint.lab import page  # noqa: E402
from facepaint.lab.data import drawn, scenes  # noqa: E402
from facepaint.lab.data.faces import FaceSet  # noqa: E402
from facepaint.lab.data.pictures import picture  # noqa: E402
from facepaint.lab.data.samples import HAPPY, NEUTRAL  # noqa: E402
from facepaint.lab.measure import (  # noqa: E402
    detectors,
    distribution,
    evaluate,
    judge,
    metrics,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def test_a_judge_tells_drawn_smiles_from_none() -> None:
    faces = drawn.draw(0, people=40)
    labels = np.full(len(faces), -1)
    labels[faces.expressions == NEUTRAL] = 0
    labels[faces.expressions == HAPPY] = 1
    try:
        one = judge.fit("mobilenet_v2", faces, labels, ("neutral", "happy"))
    except LabError as error:  # its weights cannot be had here
        pytest.skip(str(error))
    assert set(one.accuracy) == {"neutral", "happy"} and min(one.accuracy.values()) > 0.9
    rows = [int(i) for i in np.flatnonzero(faces.held_out & (labels >= 0))]
    seen = one([picture(faces, i, 64, True) for i in rows])
    assert np.allclose(seen.sum(1), 1, atol=1e-5)
    shuffled = np.random.default_rng(0).permutation(labels)
    blind = judge.fit("mobilenet_v2", faces, shuffled, ("neutral", "happy"))
    assert np.mean(list(blind.accuracy.values())) < 0.8
    with pytest.raises(LabError, match="there are mobilenet_v2, vgg19, vgg16-hed"):
        judge.extractor("resnet")


def of_two_sets(one: bool) -> tuple[FaceSet, np.ndarray]:
    """900 pictures of two sets, of another brightness each; the third class is in the first alone,
    where it is common. At the mouth stands the class, in noise. one: call both by one name."""
    rng = np.random.default_rng(0)
    shares = np.where(np.arange(900)[:, None] % 2, [0.5, 0.5, 0.0], [0.15, 0.15, 0.7])
    labels = np.array([rng.choice(3, p=p) for p in shares])
    crops = np.full((900, 224, 224, 3), 90, np.float32)
    crops[1::2] += 60
    mouth = np.array([0, 30, -30])[labels] + rng.normal(0, 20, 900)
    crops[:, 112:168, 84:140] += mouth[:, None, None, None]
    sources = np.where(np.arange(900) % 2, "plain", "posed")
    faces = FaceSet(
        crops=crops.clip(0, 255).astype(np.uint8),
        landmarks=np.zeros((900, 478, 2), np.float32),
        blendshapes=np.zeros((900, 52), np.float32),
        expressions=labels.astype(np.int8),
        subjects=np.array([f"p{i}" for i in range(900)]),
        sources=np.full(900, "all") if one else sources,
        held_out=np.arange(900) >= 600,
    )
    return faces, labels


@pytest.mark.parametrize("one", [True, False])
def test_a_judge_tells_expressions_not_sets(one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is told no sets is the control: it takes the set for the expression."""
    coarse = lambda pictures: torch.nn.functional.avg_pool2d(pictures, 16).flatten(1)  # noqa: E731
    monkeypatch.setattr(judge, "extractor", lambda name: coarse)
    faces, labels = of_two_sets(one)
    told: list[tuple[int, int]] = []
    classes = ("neutral", "happy", "sad")
    ours = judge.fit("x", faces, labels, classes, 100, 0.01, listen=lambda *t: told.append(t[:2]))
    real = np.flatnonzero(faces.held_out)
    assert list(ours.of_real) == real.tolist()
    assert told[-1][0] == told[-1][1] == 300 + len(real) and "seed 0" in ours.fitted
    named = np.stack([ours.of_real[int(i)] for i in real])
    for k, name in enumerate(classes):
        right = (named[labels[real] == k].argmax(1) == k).mean()
        assert ours.accuracy[name] == pytest.approx(right)
    assert np.allclose(ours([picture(faces, 601, 128, True)], faces.sources[601]), named[1])
    posed = real % 2 == 0
    neutral = named[posed & (labels[real] == 0)]
    right = metrics.rate_two_way(neutral, 0, 2)
    shown = np.full((128, 128, 3), 150, np.uint8)  # a sad one of the set that has none
    shown[64:115, 38:90] = 120
    sad = float(ours([shown], "all" if one else "plain")[0] @ [-1, 0, 1])
    assert (right < 0.7 and sad < 0) if one else (right > 0.85 and sad > 0)


def test_a_judge_of_fewer_classes_gives_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the judge of those classes alone, in the columns of all."""
    coarse = lambda pictures: torch.nn.functional.avg_pool2d(pictures, 16).flatten(1)  # noqa: E731
    monkeypatch.setattr(judge, "extractor", lambda name: coarse)
    faces, labels = of_two_sets(False)
    alone = judge.fit("x", faces, labels, ("neutral", "happy", "sad"), 50)
    spread = np.array([0, 2, 3])[labels]  # nobody shows the second
    classes = ("neutral", "glad", "happy", "sad")
    wide = judge.fit("x", faces, spread, classes, 50)
    assert wide.unknown == ("glad",) and alone.unknown == ()
    assert "none of them glad" in wide.fitted and "none of them" not in alone.fitted
    assert wide.accuracy == alone.accuracy
    for i, told in wide.of_real.items():
        assert told[1] == 0 and np.array_equal(told[[0, 2, 3]], alone.of_real[i])
    with pytest.raises(LabError, match="no face to learn 'neutral' from"):
        judge.fit("x", faces, labels + 1, classes)
    with pytest.raises(LabError, match="anything but 'neutral' from; a judge needs two"):
        judge.fit("x", faces, np.where(labels == 0, 0, -1), classes)


def test_a_judge_looks_at_real_faces_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looked: list[int] = []

    def coarse(pictures: torch.Tensor) -> torch.Tensor:
        looked.append(len(pictures))
        return torch.nn.functional.avg_pool2d(pictures, 16).flatten(1)

    monkeypatch.setattr(judge, "extractor", lambda name: coarse)
    faces, labels = of_two_sets(False)
    classes = ("neutral", "happy", "sad")
    first, again = (
        judge.fit("x", faces, labels, classes, 50, cache=tmp_path / "c") for _ in range(2)
    )
    assert sum(looked) == 150 + 300
    assert all(np.array_equal(first.of_real[i], again.of_real[i]) for i in first.of_real)
    judge.fit("y", faces, labels, classes, 50, cache=tmp_path / "c")  # other features
    judge.fit("x", faces, labels, classes, 40, cache=tmp_path / "c")  # other faces
    assert sum(looked) == 2 * 450 + 120 + 300


def test_faces_are_taken_evenly_from_the_sets() -> None:
    sources = np.repeat(["a", "b", "c"], [5, 100, 300])
    taken = judge._evenly(np.random.default_rng(0).permutation(405), sources, 105)
    assert len(set(taken)) == 105
    assert {s: int((sources[taken] == s).sum()) for s in "abc"} == {"a": 5, "b": 50, "c": 50}
    assert len(judge._evenly(np.arange(405), sources, 900)) == 405


class Corners(torch.nn.Module):
    """A small stand-in for Inception: the colours at four places."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures[:, :, 16::64, 16::64].flatten(1)


def test_distances_of_a_stand_in_are_those_of_its_features() -> None:
    rng = np.random.default_rng(0)
    real, before, after = rng.integers(0, 256, (3, 40, 128, 128, 3), np.uint8)
    after = after // 2
    halves = np.arange(40) % 2
    kinds: dict[str, distribution.Between] = {
        "fid_inception": metrics.frechet_distance,
        "kid_inception": metrics.kid,
    }
    got = distribution.distances(
        distribution.Distance(Corners(), kinds), list(real), halves, list(before), list(after)
    )

    def seen(pictures: np.ndarray) -> np.ndarray:
        return (pictures[:, 16::64, 16::64] / 255).transpose(0, 3, 1, 2).reshape(40, -1)

    x, y = seen(real), seen(after)
    root = np.sqrt(np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T)).real).sum()
    traces = np.trace(np.cov(x.T)) + np.trace(np.cov(y.T))
    wanted = ((x.mean(0) - y.mean(0)) ** 2).sum() + traces - 2 * root
    assert got["fid_inception"] == pytest.approx(wanted, rel=1e-3)
    assert got["kid_inception"] == pytest.approx(metrics.kernel_distance(x, y), rel=1e-3)
    assert got["fid_inception_of_the_input"] < got["fid_inception"]
    first, second = x[halves == 0], x[halves == 1]
    assert got["fid_inception_of_real"] == pytest.approx(
        metrics.frechet_distance(first, second), rel=1e-3
    )


@pytest.mark.parametrize(("people", "given"), [(5, False), (19, False), (20, True)])
def test_no_distance_of_too_few_people(
    people: int, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many photos there are of each."""
    monkeypatch.setattr(distribution, "edited", lambda _, pixels, *__: pixels)
    monkeypatch.setattr(distribution, "read_face", lambda *_: None)
    faces = drawn.draw(0, people=people)
    each = [i for i in np.flatnonzero(faces.is_face) if faces.expressions[i] != -1]
    many = np.repeat(each, 5)
    faces = dataclasses.replace(
        faces,
        **{
            f.name: getattr(faces, f.name)[many]
            for f in dataclasses.fields(faces)
            if f.name != "held_out"
        },
        held_out=np.ones(len(many), bool),
    )
    rows: list[evaluate.Row] = [
        {"source": "drawn", "face": int(i)} for i in np.flatnonzero(faces.expressions == NEUTRAL)
    ]
    assert len(rows) >= 10
    chosen = distribution.Distance(Corners(), {"kid": lambda *_: 1.0})
    tools = evaluate.Tools(*[None] * 4)  # type: ignore[arg-type]
    assert bool(distribution.between(faces, tools, "happy", rows, chosen)) is given


def test_nobody_is_in_both_halves() -> None:
    people = np.array(["a", "a", "b", "c", "c", "d", "a"])
    halves = distribution.by_half(people)
    assert set(halves) == {0, 1}
    assert all(len(set(halves[people == p])) == 1 for p in "abcd")


def test_without_inception_nothing_is_called_fid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(distribution.INCEPTION_VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert distribution.inception(None) is None
    try:
        stands_in = distribution.distance()
    except LabError as error:  # MobileNetV2's weights cannot be had here
        pytest.skip(str(error))
    assert list(stands_in.kinds) == ["kernel_distance_mobilenet_v2"]
    other = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    other.write_bytes(b"another network")
    for named in (str(other), None):  # by the option, then by the variable
        with pytest.raises(LabError, match="is not torch-fidelity's"):
            distribution.inception(named)
        monkeypatch.setenv(distribution.INCEPTION_VARIABLE, str(other))


def test_overlap_is_that_of_counted_pixels() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 30, (12, 2, 2)), axis=1)
    boxes = np.concatenate([corners[:, 0], corners[:, 1] + 1], 1).astype(float)

    def counted(box: np.ndarray) -> np.ndarray:
        out = np.zeros((40, 40), bool)
        out[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
        return out

    got = detectors.iou(boxes[:6], boxes[6:])
    for i, a in enumerate(boxes[:6]):
        for k, b in enumerate(boxes[6:]):
            one, two = counted(a), counted(b)
            assert np.isclose(got[i, k], (one & two).sum() / (one | two).sum())


def found_in(scene: scenes.Scene, shift: float, score: float = 0.9) -> dict[str, torch.Tensor]:
    count = len(scene.boxes)
    return {
        "boxes": torch.from_numpy(scene.boxes + np.float32(shift)),
        "scores": torch.full((count,), score),
        "labels": torch.ones(count, dtype=torch.long),
        "masks": torch.from_numpy(scene.masks > 0),
    }


def test_scores_of_the_truth_are_one_and_of_nonsense_nothing() -> None:
    known = drawn.scenes(0)
    truth = [known.scene(i) for i in range(8)]
    right = detectors.scores([found_in(s, 0) for s in truth], truth)
    assert right["map_50"] == pytest.approx(1.0) and right["found"] == 1.0
    assert right["false_alarms_a_scene"] == 0 and right["mask_iou"] == 1.0
    wrong = detectors.scores([found_in(s, 500) for s in truth], truth)
    assert wrong["map_50"] == 0 and wrong["found"] == 0 and "mask_iou" not in wrong
    faces = sum(len(s.boxes) for s in truth)
    assert wrong["false_alarms_a_scene"] == faces / len(truth)


def test_a_page_shows_what_it_is_given_and_loads_nothing(tmp_path: Path) -> None:
    page.curves(tmp_path / "x.curve.png", {"a": [3.0, 2.0, 1.0], "b": [1.0, 2.0]}, True)
    assert (tmp_path / "x.curve.png").read_bytes().startswith(b"\x89PNG")
    results = {"cyclegan": {"grey": {"picture": "cyclegan/<a>.png", "cycle": 0.123456}}}
    text = page.study(results)
    assert 'src="cyclegan/&lt;a&gt;.png"' in text and "0.1235" in text
    assert "http" not in text and "<script" not in text
