"""What measures: the judge, and the scores of detectors, against closed forms and brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.errors import LabError  # noqa: E402
from facepaint.lab import page  # noqa: E402
from facepaint.lab.data import drawn, scenes  # noqa: E402
from facepaint.lab.data.pictures import picture  # noqa: E402
from facepaint.lab.data.samples import HAPPY, NEUTRAL  # noqa: E402
from facepaint.lab.measure import detectors, judge  # noqa: E402

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
    with pytest.raises(LabError, match="no face to learn 'sad' from"):
        judge.fit("mobilenet_v2", faces, labels, ("neutral", "happy", "sad"))
    with pytest.raises(LabError, match="there are mobilenet_v2, vgg19, vgg16-hed"):
        judge.extractor("resnet")


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
    text = page.study(tmp_path, {"torch": "2"}, results)
    assert 'src="cyclegan/&lt;a&gt;.png"' in text and "0.1235" in text
    assert "http" not in text and "<script" not in text
