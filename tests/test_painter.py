"""The whole way, photo → faces → edited faces → photo, with the weights that ship."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facepaint
import facepaint.names
from facepaint import align
from facepaint.face import MaskedBox
from facepaint.mesh import mean_face
from facepaint.methods import METHODS, _between_corners, _lit, _without_smudges
from facepaint.models import default_method, folder_of


@pytest.fixture(scope="module")
def painter() -> facepaint.Painter:
    return facepaint.load()


@pytest.fixture(scope="module")
def crowd(portrait: np.ndarray) -> np.ndarray:
    """Three times the same face: two above, one below."""
    empty = np.full_like(portrait, 128)
    return np.vstack([np.hstack([portrait, portrait]), np.hstack([empty, portrait])])


def weights_of(method: str) -> Path:
    """The weights of a method that ship."""
    return folder_of("open" if method == "painter" else None)


def to_bytes(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_the_astronaut_is_read(painter: facepaint.Painter, astronaut: np.ndarray) -> None:
    (face,) = painter.faces(astronaut)
    assert face.index == 0
    assert face.expression == "happy"
    assert face.confidence > 0.9
    assert face.blendshapes.min() >= 0 and face.blendshapes.max() <= 1
    assert np.isclose(face.probabilities.sum(), 1, atol=1e-5)
    box = face.box
    inside = (face.landmarks > [box.x - 30, box.y - 30]) & (
        face.landmarks < [box.x + box.width + 30, box.y + box.height + 30]
    )
    assert inside.all()
    right, left = face.landmarks[468], face.landmarks[473]
    assert left[0] - right[0] == pytest.approx(39, abs=5)  # irises, measured by hand


def test_reading_follows_the_picture(painter: facepaint.Painter, portrait: np.ndarray) -> None:
    """Twice the size, twice the landmarks; mirrored, mirrored."""
    (face,) = painter.faces(portrait)
    big = np.asarray(Image.fromarray(portrait).resize((512, 512), Image.Resampling.BICUBIC))
    (twice,) = painter.faces(big)
    eyes = np.linalg.norm(face.landmarks[473] - face.landmarks[468])
    assert np.abs(twice.landmarks / 2 - face.landmarks).mean() < 0.03 * eyes
    (flipped,) = painter.faces(np.ascontiguousarray(portrait[:, ::-1]))
    nose = face.landmarks[1]
    assert np.abs(flipped.landmarks[1] - [256 - nose[0], nose[1]]).max() < 0.06 * eyes


def test_faces_are_in_reading_order(painter: facepaint.Painter, crowd: np.ndarray) -> None:
    faces = painter.faces(crowd)
    assert [f.index for f in faces] == [0, 1, 2]
    centres = [(f.box.y > 256, f.box.x > 256) for f in faces]
    assert centres == [(False, False), (False, True), (True, True)]


def test_what_is_no_face_is_dropped(painter: facepaint.Painter, portrait: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    box = facepaint.Box(20, 20, 100, 120, 0.9)
    assert painter.faces(noise, lambda _: [box]) == []
    assert len(painter.faces(portrait)) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("to", facepaint.EXPRESSIONS)
def test_an_edit_keeps_its_promises(method: str, to: str, portrait: np.ndarray) -> None:
    """For each method: same shape, strength 0 is the photo, nothing changes far from the face,
    twice the same, and the photo that was given is not touched."""
    painter = facepaint.Painter(weights_of(method), method)
    if to not in painter.expressions:
        said = f"make (a face|one) .*neutral.*|{method} cannot make a face {to}"
        with pytest.raises(facepaint.EditError, match=said):
            painter.edit(portrait, to=to)
        return
    assert method == default_method(weights_of(method)) or method == "cyclegan"
    before = portrait.copy()
    result = painter.edit(portrait, to=to, strength=1.0)
    assert result.shape == portrait.shape and result.dtype == np.uint8
    assert np.array_equal(portrait, before)
    assert np.array_equal(painter.edit(portrait, to=to, strength=0.0), portrait)
    assert np.array_equal(painter.edit(portrait, to=to, strength=1.0), result)
    (face,) = painter.faces(portrait)
    y, x = np.mgrid[:256, :256] + 0.5
    frame = align.align(face.landmarks)
    u = align.apply(align.invert(frame), np.stack([x, y], -1).reshape(-1, 2))
    outside = ((u < 0) | (u > 1)).any(1).reshape(256, 256)
    assert outside.any()
    assert np.array_equal(result[outside], portrait[outside])


def test_neutral_takes_the_smile_away(painter: facepaint.Painter, astronaut: np.ndarray) -> None:
    """The reader has voted in training, so this says that the edit does what it should, not how
    well it looks."""
    smile = [facepaint.BLENDSHAPES.index(f"mouthSmile{s}") for s in ("Left", "Right")]
    levels = []
    for strength in (0.0, 0.5, 1.0):
        edited = painter.edit(astronaut, to="neutral", strength=strength)
        (face,) = painter.faces(edited)
        levels.append(float(face.blendshapes[smile].mean()))
    assert levels[0] > 0.5
    assert levels[0] > levels[1] > levels[2]
    assert levels[2] < 0.5 * levels[0]


def test_only_the_chosen_faces_change(painter: facepaint.Painter, crowd: np.ndarray) -> None:
    result = painter.edit(crowd, to="neutral", faces=[1])
    changed = (result != crowd).any(-1)
    assert changed[:256, 256:].any()
    assert not changed[:256, :256].any() and not changed[256:].any()
    both = painter.edit(crowd, to="neutral", faces=[0, 2])
    assert np.array_equal(both[:256, 256:], crowd[:256, 256:])


def test_the_same_kind_comes_back(
    painter: facepaint.Painter, portrait: np.ndarray, tmp_path: Path
) -> None:
    wanted = painter.edit(portrait, to="neutral")
    png = to_bytes(portrait, "PNG")
    out = painter.edit(png, to="neutral")
    assert isinstance(out, bytes)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(out))), wanted)
    image = painter.edit(Image.fromarray(portrait), to="neutral")
    assert isinstance(image, Image.Image) and np.array_equal(np.asarray(image), wanted)
    path = tmp_path / "photo.png"
    path.write_bytes(png)
    for source in (path, str(path), facepaint.Photo.read(path)):
        photo = painter.edit(source, to="neutral")
        assert isinstance(photo, facepaint.Photo) and np.array_equal(photo.pixels, wanted)
    with path.open("rb") as file:
        assert np.array_equal(painter.edit(file, to="neutral").pixels, wanted)
    assert path.read_bytes() == png


def test_alpha_and_grey_survive(painter: facepaint.Painter, portrait: np.ndarray) -> None:
    alpha = np.arange(256, dtype=np.uint8)[:, None].repeat(256, 1)
    out = painter.edit(np.dstack([portrait, alpha]), to="neutral")
    assert out.shape == (256, 256, 4) and np.array_equal(out[..., 3], alpha)
    grey = np.asarray(Image.fromarray(portrait).convert("L"))
    out = painter.edit(grey, to="neutral")
    assert out.shape == grey.shape and (out != grey).any()


def test_errors(painter: facepaint.Painter, portrait: np.ndarray) -> None:
    flat = np.full((200, 200, 3), 90, np.uint8)
    with pytest.raises(facepaint.NoFaceError, match="no face found"):
        painter.edit(flat, to="happy")
    with pytest.raises(facepaint.EditError, match="no face 9: the photo has 1 face, 0"):
        painter.edit(portrait, to="happy", faces=[9])
    with pytest.raises(facepaint.EditError, match="did you mean happy"):
        painter.edit(portrait, to="hapy")
    with pytest.raises(facepaint.EditError, match="outside 0 to 1"):
        painter.edit(portrait, to="happy", strength=2)
    with pytest.raises(facepaint.PhotoError):
        painter.edit(b"no photo", to="happy")


def test_progress_is_told(painter: facepaint.Painter, crowd: np.ndarray) -> None:
    told: list[tuple[int, int]] = []
    painter.edit(crowd, to="neutral", progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_grey_photo_stays_grey(painter: facepaint.Painter, portrait: np.ndarray) -> None:
    grey = np.repeat(portrait.mean(-1, keepdims=True).round().astype(np.uint8), 3, -1)
    for to in ("neutral", "surprised"):
        result = painter.edit(grey, to=to)
        assert not np.array_equal(result, grey)
        assert np.ptp(result.astype(int), axis=-1).max() <= 1


@pytest.mark.parametrize("region", facepaint.names.REGIONS)
def test_outside_a_region_not_a_bit_changes(
    painter: facepaint.Painter, portrait: np.ndarray, region: str
) -> None:
    """The lips, an eye or the forehead, whichever the region does not hold, stay as they were."""
    result = painter.edit(portrait, to="surprised", regions=[region])
    assert not np.array_equal(result, portrait)
    (face,) = painter.faces(portrait)
    points = face.landmarks
    mouth, eye, brow = points[13], points[159], points[105]
    far = {
        "mouth": (eye, brow),
        "eyes": (mouth,),
        "brows": (mouth,),
        "upper": (mouth,),
        "lower": (eye, brow),
    }
    for x, y in far[region]:
        rows, columns = slice(int(y) - 2, int(y) + 3), slice(int(x) - 2, int(x) + 3)
        assert np.array_equal(result[rows, columns], portrait[rows, columns])


def test_each_face_has_an_edit_of_its_own(painter: facepaint.Painter, crowd: np.ndarray) -> None:
    edits = {0: facepaint.Edit("neutral"), 2: facepaint.Edit(set={"jawOpen": 0.5})}
    result = painter.edit(crowd, faces=edits)
    assert np.array_equal(result[:256, 256:], crowd[:256, 256:])
    alone = painter.edit(crowd, to="neutral", faces=[0])
    assert np.array_equal(result[:256, :256], alone[:256, :256])
    assert not np.array_equal(result[256:], crowd[256:])


def test_arguments_that_are_none_or_contradict(
    painter: facepaint.Painter, portrait: np.ndarray
) -> None:
    with pytest.raises(TypeError, match="strenght"):
        painter.edit(portrait, to="happy", strenght=0.5)
    with pytest.raises(facepaint.EditError, match="leave out to"):
        painter.edit(portrait, to="happy", faces={0: facepaint.Edit("sad")})
    with pytest.raises(facepaint.EditError, match="nothing is asked"):
        painter.edit(portrait)
    assert np.array_equal(painter.edit(portrait, faces={}), portrait)


def test_like_takes_a_photo_or_a_face(painter: facepaint.Painter, portrait: np.ndarray) -> None:
    neutral = painter.edit(portrait, to="neutral")
    (face,) = painter.faces(portrait)
    one = painter.edit(neutral, like=face)
    two = painter.edit(neutral, like=portrait)
    assert np.array_equal(one, two) and not np.array_equal(one, neutral)


def test_something_before_a_face_is_not_painted_over(
    painter: facepaint.Painter, portrait: np.ndarray
) -> None:
    """A detector whose mask has a hole: there the photo stays."""
    (face,) = painter.faces(portrait)
    box = face.box
    mask = np.ones((28, 28), np.float32)
    mask[14:, :14] = 0  # something before the lower left quarter
    masked = MaskedBox.of(box, mask)
    result = painter.edit(portrait, to="neutral", detector=lambda _: [masked])
    whole = painter.edit(portrait, to="neutral", detector=lambda _: [box])
    x, y = (int(v) for v in (box.x + 0.36 * box.width, box.y + 0.78 * box.height))
    hidden = slice(y - 6, y + 6), slice(x - 6, x + 2)
    assert np.array_equal(result[hidden], portrait[hidden])
    assert not np.array_equal(whole[hidden], portrait[hidden])
    seen = slice(y - 6, y + 6), slice(int(box.x + 0.6 * box.width), int(box.x + 0.7 * box.width))
    assert not np.array_equal(result[seen], portrait[seen])


def test_what_is_bright_already_is_not_brightened_to_white() -> None:
    """Nor is what was white made grey. Where a flow takes it from is what counts; folds are deeper
    where skin shows its colour."""
    size = align.CROP
    crop = np.full((size, size, 3), 60, np.uint8)
    crop[:, : size // 2] = 250
    flow = np.zeros((size, size, 2), np.float32)
    light, dark = np.s_[:, : size // 2 - 1], np.s_[:, size // 2 + 1 :]
    shade = np.full((size, size), 0.2, np.float32)
    left = _lit(crop, {"flow": flow, "shade": shade}, 1.5) / shade
    assert (left[light] < 0.1).all() and (left[dark] > 0.9).all() and (left <= 1).all()
    flow[..., 0] = 0.5  # the right half is taken from beyond the right, the left from the right
    assert (_lit(crop, {"flow": flow, "shade": shade}, 1.5) > 0.9 * shade).all()
    folds = _lit(crop, {"flow": 0 * flow, "shade": -shade}, 1.5) / -shade
    assert (folds[:, : size // 2 - 8] < 0.5).all()
    assert folds[:, size // 2 + 8 :] == pytest.approx(1.5, abs=1e-3)
    assert np.abs(np.diff(folds, axis=1)).max() < 0.3  # without an edge


def test_paint_that_covers_skin_faintly_does_not_darken_it() -> None:
    """Nor colours it so; but it brightens, and darkens where it may, and what it covers well."""
    size = align.CROP
    mask = np.full((size, size), 0.2, np.float32)
    mask[:, 100:] = 0.9
    dark = np.zeros((size, size), np.float32)
    dark[:40] = 1
    hue = np.array([0.02, 0, -0.02], np.float32)
    for paint, kept_on_skin in ((-0.3, 0.0), (0.3, 0.3)):
        strokes = {"mask": mask, "paint": np.full((size, size, 3), paint, np.float32) + hue}
        left = _without_smudges(strokes, dark)
        on_skin = kept_on_skin + hue if kept_on_skin else 0 * hue
        assert left[50:, :100] == pytest.approx(np.broadcast_to(on_skin, (78, 100, 3)), abs=1e-6)
        for whole in (left[:40], left[:, 100:]):
            assert whole == pytest.approx(np.broadcast_to(paint + hue, whole.shape), abs=1e-6)


def test_nose_and_chin_lie_between_the_corners_of_the_mouth_and_cheeks_do_not() -> None:
    face = mean_face()
    dark = _between_corners(face, align.CROP)
    for landmark, inside in ((2, 1), (98, 1), (13, 1), (152, 1), (205, 0), (425, 0), (234, 0)):
        x, y = (face[landmark] * align.CROP).astype(int).clip(0, align.CROP - 1)
        assert dark[y, x] == pytest.approx(inside, abs=0.05), landmark
