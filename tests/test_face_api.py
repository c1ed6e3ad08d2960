"""The third judge: its files, its arithmetic by hand, and what it does not accept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the lab's extra is not installed")

import face_api_files as files

from facepaint import Edit, align, load
from facepaint.errors import LabError
from facepaint.face import EXPRESSIONS
from facepaint.lab.measure.face_api import FaceApi

CLASSES = ("neutral", "happy", "sad", "angry", "afraid", "disgusted", "surprised")


def crops(side: int, count: int = 3, seed: int = 0) -> list[Any]:
    """Pictures of soft blotches, of another colour each."""
    rng = np.random.default_rng(seed)
    some = rng.uniform(0, 255, (count, side // 16, side // 16, 3))
    return [np.kron(p, np.ones((16, 16, 1))).astype(np.uint8) for p in some]


def softmax(scores: Any) -> Any:
    return np.exp(scores) / np.exp(scores).sum()


def test_the_classes_have_their_places(tmp_path: Path) -> None:
    """Where only the last bias speaks, it alone is what comes out."""
    weights = files.zeros()
    weights["fc/bias"] += np.arange(7)
    (told,) = FaceApi(files.write(tmp_path, weights))(crops(128, 1))
    assert told.dtype == np.float32
    by_name = dict(zip(CLASSES, softmax(np.arange(7)), strict=True))
    assert told == pytest.approx([by_name[e] for e in EXPRESSIONS], abs=1e-6)


@pytest.mark.parametrize("quantised", [False, True])
def test_the_arithmetic_is_as_by_hand(quantised: bool, tmp_path: Path) -> None:
    """On a picture of one colour, with weights that are nearly all zero, each number that reaches
    the last layer can be said: red less its mean, what padding leaves of it, what sums and ReLU
    make of it. All of these weights are ones that 8 bits can hold."""
    weights = files.zeros()
    weights["dense0/conv0/filters"][1, 1, 0, 0] = 1  # red
    weights["dense0/conv0/filters"][2, 2, 0, 1] = 1  # red; 0 at the last row and column
    weights["dense0/conv1/bias"][2] = -1  # gone by ReLU
    weights["dense1/conv1/bias"][0] = 0.5
    weights["dense1/conv2/bias"][0] = 1
    weights["dense1/conv3/bias"][0] = -0.5
    weights["dense2/conv1/bias"][[0, 3]] = 0.5, -1
    for begin, end, times in ((3, 4, -1), (0, 5, 1)):  # of what came before: less than 0; the sum
        weights["dense2/conv2/depthwise_filter"][1, 1, begin] = 1
        weights["dense2/conv2/pointwise_filter"][0, 0, begin, end] = times
    weights["dense2/conv3/depthwise_filter"][1, 1, 5] = 1
    weights["dense2/conv3/pointwise_filter"][0, 0, 5, 6] = 2
    for k in (1, 2, 3):
        weights[f"dense{k}/conv0/depthwise_filter"][1, 1, :7] = 1
        weights[f"dense{k}/conv0/pointwise_filter"][0, 0, range(7), range(7)] = 1
    weights["fc/weights"][range(7), range(7)] = 1
    sees = FaceApi(files.write(tmp_path, weights, quantised))
    (told,) = sees([np.full((128, 128, 3), (230, 20, 50), np.uint8)])
    red = (230 - 122.782) / 255
    reached = [red + 1.5, red * (6 / 7) ** 2, 0, 0, 0, red + 1.5, 2 * (red + 1.5)]
    by_name = dict(zip(CLASSES, softmax(np.array(reached)), strict=True))
    assert told == pytest.approx([by_name[e] for e in EXPRESSIONS], abs=1e-6)


def test_faces_are_looked_at_alone_mirrored_and_in_grey(tmp_path: Path) -> None:
    sees = FaceApi(files.write(tmp_path, files.noise(0)))
    some = crops(144, 30)  # of this side the squares lie in the middle to the pixel
    told = sees(some)
    assert told.shape == (30, 7) and told.sum(1) == pytest.approx(np.ones(30), abs=1e-5)
    assert np.ptp(told, axis=0).max() > 0.1, "it tells these pictures apart"
    assert sees(some[27:28])[0] == pytest.approx(told[27], abs=1e-5)
    mirrored = sees([p[:, ::-1] for p in some])
    assert mirrored == pytest.approx(told, abs=1e-5)
    assert sees([p[::-1] for p in some]) != pytest.approx(told, abs=1e-2), "but not upside down"
    grey = [p[..., :1] for p in some]
    assert sees(grey) == pytest.approx(sees([np.repeat(p, 3, 2) for p in grey]), abs=1e-6)


def test_what_is_not_its_files_is_one_clear_line(tmp_path: Path) -> None:
    def spoil(name: str, change: Any = None, data: Any = None) -> Path:
        folder = files.write(tmp_path / name, files.zeros())
        if change is not None:
            told = json.loads((folder / files.MANIFEST).read_text())
            change(told)
            (folder / files.MANIFEST).write_text(json.dumps(told))
        if data is not None:
            path = folder / files.DATA
            path.write_bytes(data(path.read_bytes()))
        return folder

    def first(told: Any) -> Any:
        return told[0]["weights"][0]

    gone, text = spoil("gone"), spoil("text")
    (gone / files.DATA).unlink()
    (text / files.MANIFEST).write_bytes(b"\xff no such thing")
    whole = sum(w.nbytes for w in files.zeros().values())
    cases = {
        tmp_path / "nowhere": f"{files.MANIFEST}: No such file or directory",
        gone: f"{files.DATA}: No such file or directory",
        spoil("short", data=lambda d: d[:-1]): f"{whole - 1} bytes of weights, not {whole}",
        spoil("long", data=lambda d: d + b"\0"): f"{whole + 1} bytes of weights, not {whole}",
        text: "not the weights of face-api",
        spoil("two", lambda told: told.append(told[0])): "not the weights of face-api",
        spoil("half", lambda told: first(told).update(dtype="f2")): "not the weights of face-api",
        spoil("less", lambda told: told[0]["weights"].pop()): "another network than that of",
        spoil("wide", lambda told: first(told).update(shape=[9])): "another network than that of",
    }
    for folder, said in cases.items():
        with pytest.raises(LabError) as raised:
            FaceApi(folder)
        line = str(raised.value)
        assert str(folder) in line and said in line and "\n" not in line
        assert line.endswith("give the folder model of the npm package @vladmandic/face-api")


def test_it_knows_a_smile(astronaut: np.ndarray) -> None:
    """The one photo that everyone has, and the same face made neutral."""
    folder = os.environ.get("FACEPAINT_FACE_API")
    if folder is None:
        pytest.skip("FACEPAINT_FACE_API, the folder of the third judge's weights, is not set")
    painter = load()
    face = painter.faces(astronaut)[0]
    frame = align.align(face.landmarks)
    neutral, _ = painter.paint(astronaut, [(face, Edit("neutral"))])
    smiling, still = FaceApi(Path(folder))([align.crop(p, frame) for p in (astronaut, neutral)])
    assert EXPRESSIONS[int(smiling.argmax())] == "happy" and smiling.max() > 0.8
    assert still[EXPRESSIONS.index("happy")] < 0.3
