"""Sets as their owners ship them, written by the tests in those layouts."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.errors import LabError
from facepaint.face import EXPRESSIONS
from facepaint.lab.data import datasets, faces, scenes


@pytest.fixture
def face(portrait: np.ndarray) -> Image.Image:
    return Image.fromarray(portrait)


def named(found: list[datasets.Portrait]) -> list[tuple[str, str]]:
    return sorted((p.subject, EXPRESSIONS[p.expression]) for p in found)


def test_jaffe(tmp_path: Path, face: Image.Image) -> None:
    for name in ("KA.AN1.39.tiff", "KA.NE2.27.tiff", "YM.SU3.60.tiff"):
        face.convert("L").save(tmp_path / name)
    found = list(datasets.portraits(tmp_path))
    assert named(found) == [
        ("jaffe-KA", "angry"),
        ("jaffe-KA", "neutral"),
        ("jaffe-YM", "surprised"),
    ]
    assert all(p.landmarks is not None and p.source == "jaffe" for p in found)
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(LabError, match=r"holiday\.jpg: not named like the rest"):
        list(datasets.portraits(tmp_path))


def test_fei(tmp_path: Path, face: Image.Image) -> None:
    for name in ("12a.jpg", "12b.jpg", "7a.jpg"):
        face.save(tmp_path / name)
    found = list(datasets.portraits(tmp_path))
    assert named(found) == [("fei-12", "happy"), ("fei-12", "neutral"), ("fei-7", "neutral")]


def test_folders_with_a_split(tmp_path: Path, face: Image.Image) -> None:
    for part, label in (("train", "happy"), ("train", "sad"), ("test", "happy")):
        home = tmp_path / part / label
        home.mkdir(parents=True)
        face.save(home / "one.png")
    found = faces.load(tmp_path, tmp_path / "cache")
    assert sorted(EXPRESSIONS[e] for e in found.expressions) == ["happy", "happy", "sad"]
    held = {str(s) for s in found.subjects[found.held_out]}
    assert held == {"test/happy/one.png"}
    (tmp_path / "train" / "joyful").mkdir()
    with pytest.raises(LabError, match="joyful: no expression's name; there are neutral, happy"):
        list(datasets.portraits(tmp_path))


def test_folders_without_a_split(tmp_path: Path, face: Image.Image) -> None:
    (tmp_path / "angry").mkdir()
    face.save(tmp_path / "angry" / "a.jpg")
    (found,) = datasets.portraits(tmp_path)
    assert EXPRESSIONS[found.expression] == "angry" and found.held_out is None


def test_a_broken_photo_is_named_and_a_faceless_one_left_out(
    tmp_path: Path, face: Image.Image
) -> None:
    (tmp_path / "happy").mkdir()
    face.save(tmp_path / "happy" / "a.jpg")
    Image.new("RGB", (200, 200), (90, 120, 60)).save(tmp_path / "happy" / "lawn.png")
    with pytest.warns(UserWarning, match=r"1 of 2 files .* lawn\.png"):
        assert len(list(datasets.portraits(tmp_path))) == 1
    (tmp_path / "happy" / "b.jpg").write_bytes(b"broken")
    with pytest.raises(LabError, match=r"b\.jpg") as error, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        list(datasets.portraits(tmp_path))
    assert "\n" not in str(error.value)


def test_a_folder_of_nothing_lists_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"parquet: .*; jaffe: .*; fei: .*; folders: "):
        faces.load(tmp_path, tmp_path / "cache")
    with pytest.raises(LabError, match="no folder there"):
        faces.data_folder(str(tmp_path / "nowhere"))


@pytest.fixture
def wider(tmp_path: Path) -> Path:
    """The layout that torchvision.datasets.WIDERFace reads."""
    home = tmp_path / "widerface"
    event = home / "WIDER_train" / "images" / "0--Parade"
    event.mkdir(parents=True)
    for split in ("val", "test"):
        (home / f"WIDER_{split}" / "images").mkdir(parents=True)
    Image.new("RGB", (120, 90), (80, 90, 100)).save(event / "0_Parade_1.jpg")
    notes = home / "wider_face_split"
    notes.mkdir()
    boxes = ("10 20 30 40 0 0 0 0 0 0", "1 1 4 4 0 0 0 0 0 0", "60 20 20 20 0 0 0 1 0 0")
    lines = ["0--Parade/0_Parade_1.jpg", str(len(boxes)), *boxes]
    (notes / "wider_face_train_bbx_gt.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_wider_face(wider: Path) -> None:
    found = scenes.load(wider)
    scene = found.scene(0)
    # too small and invalid faces are left out; the mask is the ellipse inside the box
    assert scene.boxes.tolist() == [[10, 20, 40, 60]]
    assert scene.masks[0].sum() == pytest.approx(np.pi / 4 * 30 * 40, rel=0.06)
    assert scene.masks[0, 40, 25] == 1 and scene.masks[0, 21, 11] == 0
    (wider / "widerface" / "WIDER_train" / "images" / "0--Parade" / "0_Parade_1.jpg").unlink()
    with pytest.raises(LabError, match=r"0_Parade_1\.jpg: WIDER FACE lists it"):
        scenes.load(wider)


def test_wider_face_that_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / "widerface").mkdir()
    with pytest.raises(LabError, match="not laid out like WIDER FACE"):
        scenes.load(tmp_path)


def test_a_framed_scene_keeps_boxes_on_their_faces() -> None:
    """A white square is where its box says, however the scene was moved."""
    pixels = np.zeros((100, 140, 3), np.uint8)
    pixels[30:60, 50:90] = 255
    mask = (pixels[..., 0] > 0).astype(np.uint8)
    scene = scenes.Scene(pixels, np.array([[50, 30, 90, 60]], np.float32), mask[None])
    seen = 0
    for seed in range(20):
        made = scenes.framed(scene, 96, np.random.default_rng(seed))
        for box, where in zip(made.boxes, made.masks, strict=True):
            seen += 1
            ys, xs = np.nonzero(where)
            around = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert np.abs(around - box).max() <= 2
    assert seen > 10
