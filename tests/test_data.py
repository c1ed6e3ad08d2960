"""The lab's data: Parquet to crops, topology, augmentation, landmark moves."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

pa = pytest.importorskip("pyarrow", reason="the lab's extra is not installed")
torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

import pyarrow.parquet as pq  # noqa: E402

from facepaint import align, mesh  # noqa: E402
from facepaint.face import BLENDSHAPES, EXPRESSIONS, LEFT_IRIS, RIGHT_IRIS  # noqa: E402
from facepaint.lab.data import (  # noqa: E402
    augment,
    drawn,
    faces,
    moves,
    ratios,
    render,
    scenes,
)
from facepaint.lab.data.faces import INNER, FaceSet, cut, mirror  # noqa: E402
from facepaint.lab.data.split import is_held_out  # noqa: E402


def encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces in the layout of the labelled sets, and two scenes."""
    home = tmp_path_factory.mktemp("parquet")
    made = drawn.draw(3, people=3)
    scale = faces.WIDE_PIXELS / faces.WIDE
    rows: list[dict[str, Any]] = []
    for i in np.flatnonzero(made.is_face):
        points = (made.landmarks[i] + (faces.WIDE - 1) / 2) * scale
        rows.append(
            {
                "image": encoded(made.crops[i]),
                "landmarks": points.ravel().tolist(),
                "blendshapes": made.blendshapes[i].tolist(),
                "expression": EXPRESSIONS[made.expressions[i]],
                "subject": str(made.subjects[i]),
                "source": "drawn",
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), home / "portraits.parquet")
    flat = np.full((120, 160, 3), 90, np.uint8)
    scenes = [
        {"image": encoded(flat), "name": "empty", "boxes": [], "landmarks": []},
        {
            "image": rows[0]["image"],
            "name": "one",
            "boxes": [[10.0, 10.0, 90.0, 120.0, 0.9], [0.0, 0.0, 9.0, 9.0, 0.7]],
            "landmarks": [rows[0]["landmarks"], []],
        },
    ]
    pq.write_table(pa.Table.from_pylist(scenes), home / "scenes.parquet")
    return home


def test_parquet_becomes_crops(folder: Path, tmp_path: Path) -> None:
    found = faces.load(folder, tmp_path)
    assert found.is_face.sum() == 9 + 1  # the scene's second box has no mesh
    assert (~found.is_face).sum() == 8
    eyes = found.landmarks[found.is_face][:, [RIGHT_IRIS, LEFT_IRIS]]
    assert np.allclose(eyes.mean((0, 1)), [0.5, align.EYE_Y], atol=0.02)
    again = faces.load(folder, tmp_path)  # from the cache
    assert np.array_equal(again.crops, found.crops)
    assert np.array_equal(again.landmarks, found.landmarks, equal_nan=True)


def test_another_file_of_the_same_name_and_size_is_read_anew(folder: Path, tmp_path: Path) -> None:
    first = faces.cached(folder, tmp_path, 1)
    assert faces.cached(folder, tmp_path, 1) == first != faces.cached(folder, tmp_path, 2)
    path = next(folder.glob("*.parquet"))
    os.utime(path, ns=(0, 0))
    assert faces.cached(folder, tmp_path, 1) != first


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    row = {"image": b"broken", "name": "x", "boxes": [[0.0] * 5], "landmarks": [[]]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "bad.parquet")
    with pytest.raises(faces.LabError, match=r"bad\.parquet, row 1: holds an image"):
        faces.load(tmp_path, tmp_path / "cache")


LACKS = {
    "portraits": (
        ("landmarks", None, "landmarks should be 956 numbers, not null"),
        ("landmarks", [1.0, 2.0], "landmarks should be 956 numbers, not a list of 2"),
        ("landmarks", [None] * 956, "landmarks should be 956 numbers"),
        ("blendshapes", None, "blendshapes should be 52 numbers, not null"),
        ("expression", "glad", "expression should be null or one of neutral, .*, not 'glad'"),
        ("image", None, "image should be the bytes of a picture, not null"),
        ("image", b"", "holds an image that cannot be decoded"),
        ("subject", None, "subject should be a name, not null"),
        ("source", ..., "no column source, which should be a name"),
        ("blendshapes", ..., "no column blendshapes, which should be 52 numbers"),
    ),
    "scenes": (
        ("name", None, "name should be a name, not null"),
        ("boxes", [[1.0, 2.0]], "boxes should be lists of 5 numbers, not a list of 1"),
        ("landmarks", None, "landmarks should be lists of 956 numbers or of none, not null"),
        ("landmarks", [None, []], "landmarks should be lists of 956 numbers or of none"),
        ("landmarks", [[], [], []], "landmarks of more faces than there are boxes"),
        ("landmarks", ..., "no column landmarks"),
    ),
}


@pytest.mark.parametrize(
    ("kind", "column", "value", "said"),
    [(kind, *case) for kind, cases in LACKS.items() for case in cases],
)
def test_a_row_that_lacks_something_is_named(
    folder: Path, tmp_path: Path, kind: str, column: str, value: Any, said: str
) -> None:
    """`...` for a column that is not there."""
    rows = pq.read_table(folder / f"{kind}.parquet").to_pylist()[:2]
    rows[1][column] = value
    if value is ...:
        rows = [{k: v for k, v in r.items() if k != column} for r in rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "bad.parquet")
    row = 1 if value is ... else 2
    with pytest.raises(faces.LabError, match=rf"bad\.parquet, row {row}: {said}") as error:
        faces.load(tmp_path, tmp_path / "cache")
    assert "\n" not in str(error.value)
    if kind == "scenes":
        with pytest.raises(faces.LabError, match=rf"bad\.parquet, row {row}: {said}"):
            scenes.load(tmp_path)


def test_a_file_cut_off_within_its_rows_is_named(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "portraits.parquet").read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)  # the rows, not what lists them
    (tmp_path / "bad.parquet").write_bytes(data)
    with pytest.raises(faces.LabError, match=r"bad\.parquet: ") as error:
        faces.load(tmp_path, tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_a_scene_whose_image_is_broken_is_named(folder: Path) -> None:
    found = scenes.load(folder)
    for broken in (b"", b"broken"):
        found.photos[1] = broken
        with pytest.raises(faces.LabError, match=r"^scene one: holds an image that cannot"):
            found.scene(1)
    rng, whole = np.random.default_rng(0), encoded(np.zeros((64, 64, 3), np.uint8))
    for said, cutout in (
        ("the cut-out of Ann", (b"broken", whole, "Ann")),
        ("the mask of Ann", (whole, b"broken", "Ann")),
    ):
        with pytest.raises(faces.LabError, match=rf"^{said}: holds an image that cannot"):
            scenes._cut_out(cutout, 40.0, rng, (64, 64))


def test_people_are_split_not_photos() -> None:
    made = drawn.draw(0, people=40)
    kept = set(made.subjects[made.held_out]) & set(made.subjects[~made.held_out])
    assert not kept
    assert 0 < made.held_out.mean() < 0.4


def test_mirroring_twice_is_nothing() -> None:
    points, blend = mesh.mirrored_landmarks(), mesh.mirrored_blendshapes()
    assert np.array_equal(points[points], np.arange(478))
    assert np.array_equal(blend[blend], np.arange(52))
    assert points[61] == 291 and points[RIGHT_IRIS] == LEFT_IRIS
    smile = [BLENDSHAPES.index(f"mouthSmile{s}") for s in ("Left", "Right")]
    assert blend[smile[0]] == smile[1]


def test_a_mean_face_is_its_own_mirror() -> None:
    order = mesh.mirrored_landmarks(), mesh.mirrored_blendshapes()
    _, flipped, _ = mirror(align.IDENTITY, mesh.mean_face(), np.zeros(52, np.float32), order)
    assert np.abs(flipped - mesh.mean_face()).max() < 1e-3


def test_a_jittered_crop_and_its_landmarks_agree() -> None:
    """A dark dot drawn at a landmark is found where the moved landmark says."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        wide = np.full((faces.WIDE_PIXELS, faces.WIDE_PIXELS, 3), 255, np.uint8)
        at = rng.uniform(0.3, 0.7, 2)
        x, y = ((at + (faces.WIDE - 1) / 2) * faces.WIDE_PIXELS / faces.WIDE).astype(int)
        wide[y - 2 : y + 3, x - 2 : x + 3] = 0
        frame = augment.random_frame(rng, 20, 0.1, 0.05)
        crop = 255.0 - cut(wide, frame)[..., 0]
        rows, columns = np.mgrid[:128, :128] + 0.5
        seen = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum() / 128
        told = align.apply(align.invert(frame), at[None].astype(np.float32))[0]
        assert np.abs(seen - told).max() < 0.012


def test_one_look_treats_both_photos_of_a_pair_alike() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for seed in range(10):
        look = augment.Look.draw(np.random.default_rng(seed))
        one, two = look(picture), look(picture)
        assert np.array_equal(one, two)
        assert one.shape == picture.shape and one.dtype == np.uint8


# --- the same on the device


def test_a_crop_is_cut_alike_on_host_and_device() -> None:
    """Turned, scaled, moved and mirrored; the rounding of the host is all that differs."""
    made, rng = drawn.draw(0, people=4), np.random.default_rng(0)
    rows = np.flatnonzero(made.is_face)[:6]
    order = mesh.mirrored_landmarks(), mesh.mirrored_blendshapes()
    frames = [augment.random_frame(rng, 18, 0.14, 0.06) for _ in rows]
    blend = np.zeros(52, np.float32)
    frames[::2] = [mirror(f, mesh.mean_face(), blend, order)[0] for f in frames[::2]]
    wanted = np.stack([cut(made.crops[i], f) for i, f in zip(rows, frames, strict=True)])
    wide, given = torch.from_numpy(made.crops[rows]), torch.from_numpy(np.stack(frames))
    got = render.cut(wide, given).permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(got - wanted).max() < 2 and np.abs(got - wanted).mean() < 0.3
    other = render.cut(wide, torch.from_numpy(np.stack(frames[::-1]))).permute(0, 2, 3, 1).numpy()
    assert np.abs(other * 255 - wanted).mean() > 3


PLAIN = augment.Look(np.ones(3), 1.0, 0.0, 1.0, None, 1.0, 0.0, 0, 0.0, 0)
LOOKS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "gain": {"gain": np.array([1.2, 0.8, 1.0]), "gamma": 1.4, "lift": 0.03},
    "colour": {"saturation": 1.3},
    "grey": {"saturation": 0.0},
    "shade": {"shade": np.linspace(0.6, 1.3, 64, dtype=np.float32).reshape(8, 8)},
    "small": {"small": 0.33},
    "smaller": {"small": 0.8},
    "blur": {"blur": 0.5},
    "blurred": {"blur": 1.4},
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_is_alike_on_host_and_device(name: str) -> None:
    """Within what rounding after each step makes of it on the host; in both views."""
    made = drawn.draw(0, people=6)
    rows = np.flatnonzero(made.is_face)[:8].reshape(2, 4)
    look = dataclasses.replace(PLAIN, **LOOKS[name])
    crops = np.stack([[cut(made.crops[i], align.IDENTITY) for i in view] for view in rows])
    wanted = np.stack([[look(crop) for crop in view] for view in crops])
    given = torch.from_numpy(crops).permute(0, 1, 4, 2, 3).float() / 255
    looks = torch.from_numpy(np.stack([look.packed()] * 4))
    got = render.light(given, looks).permute(0, 1, 3, 4, 2).numpy() * 255
    apart = np.abs(got - wanted)
    assert apart.mean() < 0.6 and np.quantile(apart, 0.999) < 5
    if name != "nothing":
        assert np.abs(crops.astype(float) - wanted).mean() > 2 * apart.mean()


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_jpeg_on_the_device_is_libjpegs(quality: int) -> None:
    """But for blocks whose mean lies between two steps of its rounding."""
    made = drawn.draw(0, people=6)
    crops = np.stack([cut(c, align.IDENTITY) for c in made.crops[:8]])
    wanted = []
    for crop in crops:
        buffer = io.BytesIO()
        Image.fromarray(crop).save(buffer, "JPEG", quality=quality)
        wanted.append(np.asarray(Image.open(buffer)))
    given = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    apart = {
        q: np.abs(
            render.jpeg(given, torch.full((8,), q)).permute(0, 2, 3, 1).numpy() * 255 - wanted
        )
        for q in (quality - 10.0, quality, quality + 5.0)
    }
    near, *far = (apart[q].mean() for q in sorted(apart, key=lambda q: abs(q - quality)))
    assert near < 0.8 and near < 0.6 * min(far)
    assert near < 0.3 * np.abs(crops.astype(float) - wanted).mean()


def test_noise_on_the_device_is_of_its_size_and_the_same_in_all_views() -> None:
    looks = torch.from_numpy(np.stack([dataclasses.replace(PLAIN, noise=6.0).packed()] * 2))
    torch.manual_seed(0)
    got = render.light(torch.full((3, 2, 3, 128, 128), 0.5), looks) * 255 - 127.5
    assert got.std().item() == pytest.approx(6, rel=0.02)
    assert torch.equal(got[0], got[2]) and not torch.equal(got[0, 0], got[0, 1])
    torch.manual_seed(0)
    again = render.light(torch.full((3, 2, 3, 128, 128), 0.5), looks) * 255 - 127.5
    assert torch.equal(got, again)


def test_what_hides_a_face_is_alike_on_host_and_device() -> None:
    rng = np.random.default_rng(0)
    covers = [augment.Cover.draw(rng) for _ in range(60)] + [augment.Cover.none()]
    pictures = rng.integers(0, 256, (len(covers), 128, 128, 3), np.uint8)
    wanted = np.stack([cover(p) for cover, p in zip(covers, pictures, strict=True)])
    parts = (np.stack([getattr(c, n) for c in covers]) for n in ("mask", "colour", "ends"))
    got = render.covered(torch.from_numpy(pictures), *(torch.from_numpy(x) for x in parts))
    assert np.array_equal(got.numpy(), wanted)
    changed = (wanted != pictures).any((1, 2, 3))
    assert changed[:-1].all() and not changed[-1]
    moved = np.stack([c.ends for c in covers]) != covers[-1].ends
    assert moved.any(0).all() and (moved.sum(1) <= 1).all()  # each side, one at a time


def test_the_linear_map_finds_the_moves_that_were_drawn() -> None:
    made = drawn.draw(1, people=20)
    groups = moves.people(made, made.is_face)
    assert len(groups) == 20
    linear = moves.fit(made, groups, ridge=1e-3)
    smile = np.zeros(52, np.float32)
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        smile[BLENDSHAPES.index(name)] = 0.5
    rest = np.zeros(52, np.float32)
    moved = moves.moved(mesh.mean_face(), rest, smile, linear) - mesh.mean_face()
    assert moved[61, 0] < -0.005 < 0.005 < moved[291, 0]  # the corners part
    assert (moved[[61, 291], 1] < -0.005).all()  # and rise
    assert np.abs(moved[[33, 263, 168]]).max() < 0.01  # the eyes stay


def test_moves_of_an_expression_are_those_that_were_drawn_alike_on_both_sides() -> None:
    made = drawn.draw(1, people=20)
    moved = moves.expression_moves(made, moves.people(made, made.is_face))
    smile = moved[EXPRESSIONS.index("happy")]
    assert smile[291, 0] == pytest.approx(-smile[61, 0], abs=1e-6)
    assert smile[291, 0] == pytest.approx(0.035 * 0.9, abs=0.005)
    assert smile[291, 1] == pytest.approx(-0.03 * 0.9, abs=0.005)
    assert np.abs(smile[[33, 263, 168]]).max() < 0.005  # what is still stays
    assert moved[EXPRESSIONS.index("surprised"), 17, 1] > 0.05  # the jaw
    assert not moved[0].any() and not moved[EXPRESSIONS.index("afraid")].any()


def test_the_motion_of_the_head_is_taken_out_of_closed_mouths() -> None:
    """A nod and brows that meet: the nod goes, the brows stay."""
    mean = mesh.mean_face()
    nod = np.zeros((478, 2), np.float32)
    nod[:, 1] = 0.02 - 0.5 * np.square(mean[:, 0] - 0.5) - 0.1 * (mean[:, 1] - 0.4)
    brows = np.zeros_like(nod)
    brows[[107, 336], 1] = 0.03
    found = moves._of_muscles(nod + brows)
    assert np.abs(found - brows).max() < 1e-5
    assert {EXPRESSIONS[e] for e in moves.CLOSED} == {"sad", "angry", "disgusted"}


def _with_furrows() -> FaceSet:
    """Drawn people of whom the surprised ones have a dark furrow between the brows."""
    made = drawn.draw(1, people=6)
    crops = made.crops.copy()
    for i in np.flatnonzero(made.expressions == EXPRESSIONS.index("surprised")):
        x, y = align.apply(INNER, made.landmarks[i][[168]])[0]
        dark = crops[i, int(y) - 4 : int(y) + 4, int(x) - 4 : int(x) + 4]
        dark[:] = dark * 0.6
    return dataclasses.replace(made, crops=crops)


def test_a_ratio_image_holds_the_furrow_and_lies_where_the_face_is() -> None:
    made = _with_furrows()
    groups = moves.people(made, made.is_face)
    found = ratios.ratio_images(made, groups, moves.expression_moves(made, groups))
    surprised = found[EXPRESSIONS.index("surprised")]
    x, y = (mesh.mean_face()[168] * 128).astype(int)
    near = surprised[y - 2 : y + 2, x - 2 : x + 2]
    assert near.mean() == pytest.approx(np.log(0.6), abs=0.15)
    assert np.abs(surprised[y + 20, x - 20 : x - 10]).max() < 0.05  # skin that stayed
    assert np.array_equal(surprised, surprised[:, ::-1])
    assert not found[0].any() and not found[EXPRESSIONS.index("sad")].any()
    shift = np.array([10, -6], np.float32) / 128
    laid = ratios.on_face(surprised, mesh.mean_face() + shift)
    moved = np.roll(surprised, (-6, 10), (0, 1))
    assert np.abs(laid - moved)[20:108, 20:108].mean() < 0.01
    assert np.array_equal(ratios.on_face(surprised, mesh.mean_face()), surprised)


def test_a_ratio_image_follows_the_landmarks_of_a_turned_head() -> None:
    """Where a cheek is seen from the side, a furrow beside the mouth lies at its own landmarks."""
    mean = mesh.mean_face()
    turned = mean.copy()
    nose = float(mean[1, 0])
    turned[:, 0] = nose + (mean[:, 0] - nose) * np.where(mean[:, 0] < nose, 0.5, 1.3)
    turned[:, 0] += 0.06
    at = [int(np.abs(mean - [x, 0.62]).sum(1).argmin()) for x in (0.3, 0.7)]
    furrows = np.zeros((128, 128), np.float32)
    for x, y in mean[at] * 128:
        cv2.circle(furrows, (round(float(x)), round(float(y))), 4, -0.5, -1)
    laid = ratios.on_face(furrows, turned)
    for k in at:
        x, y = np.round(turned[k] * 128).astype(int)
        assert laid[y, x] < -0.4
    near = np.zeros_like(furrows)
    for x, y in turned[at] * 128:
        cv2.circle(near, (round(float(x)), round(float(y))), 12, 1.0, -1)
    assert np.abs(laid[near == 0]).max() < 0.02


def test_targets_are_means_of_the_labelled_or_their_stronger_half() -> None:
    made = drawn.draw(2, people=6)
    targets = moves.expression_targets(made, made.is_face)
    happy = made.blendshapes[made.expressions == EXPRESSIONS.index("happy")]
    neutral = made.blendshapes[made.expressions == 0].mean(0)
    assert np.allclose(targets[0], neutral, atol=1e-6)
    along = happy @ (happy.mean(0) - neutral)
    strong = happy[np.argsort(-along)[: len(happy) // 2]].mean(0)
    assert np.allclose(targets[EXPRESSIONS.index("happy")], strong, atol=1e-6)
    assert not targets[EXPRESSIONS.index("afraid")].any()  # nobody drawn is afraid


def test_the_split_has_one_rule_and_recipes_name_it() -> None:
    from facepaint.errors import LabError
    from facepaint.lab.data import named
    from facepaint.lab.recipe import Settings

    assert named.faces(Settings(data="drawn"), None).held_out.any()
    with pytest.raises(LabError, match="split='by photo' is not how people are held out"):
        named.faces(Settings(data="drawn", split="by photo"), None)
    kept = np.mean([is_held_out(f"person {n}") for n in range(8000)])
    assert kept == pytest.approx(1 / 8, abs=0.02)


def test_the_reader_on_people_it_never_saw(shared_data: Path, tmp_path: Path) -> None:
    """The shipped reader on a set of the shared photos; its full measurement is in its card."""
    from facepaint.lab.measure import reader as measure
    from facepaint.models import open_model

    small = tmp_path / "few"
    small.mkdir()
    table = pq.read_table(shared_data / "london.parquet")
    kept = [i for i, s in enumerate(table["subject"].to_pylist()) if is_held_out(s)]
    pq.write_table(table.take(kept), small / "london.parquet")
    found = faces.load(small, tmp_path / "cache")
    got = measure.reader(open_model("reader"), found)
    assert got["landmark_error"] < 0.03
    assert got["smile_correlation"] > 0.9
    assert got["blendshape_error"] < 0.05
    assert got["faces_kept"] == 1.0
