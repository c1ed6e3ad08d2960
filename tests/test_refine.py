"""The refiner: detail where the painter has painted, in large faces, and nothing anywhere else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import facepaint
from facepaint import align
from facepaint.composite import composite
from facepaint.methods import Strokes
from facepaint.models import WEIGHTS, write_entry
from facepaint.refine import (
    DETAIL,
    LEAST,
    SIZE,
    WINDOW,
    Refiner,
    Views,
    border,
    lay,
    residual,
    windows,
)
from facepaint.segment import face_mask

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.errors import LabError  # noqa: E402
from facepaint.lab import commands, features, loop, recipe  # noqa: E402
from facepaint.lab.data import drawn  # noqa: E402
from facepaint.lab.data import windows as window_sets  # noqa: E402
from facepaint.lab.data.windows import WindowSamples, WindowSet, soft_cover, worsened  # noqa: E402
from facepaint.lab.export import export  # noqa: E402
from facepaint.lab.features import Pyramid  # noqa: E402
from facepaint.lab.measure import refiner as measure  # noqa: E402
from facepaint.lab.methods import refiner as method_file  # noqa: E402
from facepaint.lab.methods.refiner import RefinerMethod, RefinerSettings  # noqa: E402
from facepaint.mesh import mean_face  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
S = align.CROP
FACE = mean_face()
MASK = face_mask(FACE)
SMALL: dict[str, Any] = {"method": "refiner", "data": "drawn", "width": 8, "batch": 6}
SMALL |= {"precision": "32-true", "accelerator": "cpu", "warmup": 2, "critic_from": 0}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def faces() -> WindowSet:
    return drawn.windows(0, people=8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights and a refiner of random ones."""
    home = tmp_path_factory.mktemp("refiner")
    torch.manual_seed(0)
    network = method_file.Refiner(8)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    settings = recipe.as_table(recipe.settings(RefinerSettings, SMALL))
    weights = {"refiner": network.state_dict()}
    state = {"step": 1, "settings": settings, "networks": weights, "ema": weights, "optimizers": {}}
    torch.save(state, home / loop.CHECKPOINT)
    assert export(home, home / "refiner.onnx", {"name": "refiner"}) < 1e-3
    shutil.copytree(WEIGHTS, home / "weights")
    commands.adopt(str(home / "refiner.onnx"), str(home / "weights"))
    return home / "weights"


def strokes(**given: float) -> Strokes:
    shapes = {"flow": (S, S, 2), "mask": (S, S), "paint": (S, S, 3), "shade": (S, S)}
    fields = {n: np.full(s, given.get(n, 0.0), np.float32) for n, s in shapes.items()}
    return Strokes(**fields)


def photo(size: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))


def frame_of(side: float, turn: float = 0.1) -> np.ndarray:
    cos, sin = side * np.cos(turn), side * np.sin(turn)
    return np.array([[cos, -sin, 30 + 0.1 * side], [sin, cos, 20]], np.float32)


def laid(side: float, given: Strokes, refiner: Any, mask: np.ndarray = MASK) -> np.ndarray:
    pixels = photo(round(1.3 * side) + 60)
    lay(pixels, frame_of(side), FACE, given, mask, refiner)
    return pixels


# --- at edit time


def test_windows_hold_mouth_and_eyes_and_lie_in_the_crop() -> None:
    mouth, right, left = windows(FACE)
    for place, point in ((mouth, 13), (right, 159), (left, 386)):
        x, y = FACE[point] * SIZE
        assert place[0].start < y < place[0].stop and place[1].start < x < place[1].stop
    assert right[1].start < left[1].start  # the person's right is on the left
    for move in (-0.9, 0.9):
        for rows, columns in windows((FACE + np.float32(move)).astype(np.float32)):
            assert (rows.stop - rows.start, columns.stop - columns.start) == WINDOW
            assert rows.start >= 0 and columns.start >= 0
            assert rows.stop <= SIZE and columns.stop <= SIZE


def test_a_border_falls_to_zero() -> None:
    fade = border()
    assert fade.shape == WINDOW and fade[48, 64] == 1 and fade.max() == 1
    edges = (fade[0], fade[-1], fade[:, 0], fade[:, -1])
    assert not any(edge.any() for edge in edges)
    assert max(np.abs(np.diff(fade, axis=a)).max() for a in (0, 1)) < 0.1


def test_without_paint_nothing_is_refined(weights: Path) -> None:
    """A flow and a shade alone: what composite makes of them stays as it is."""
    moved = strokes(flow=0.02, shade=0.1)
    assert np.array_equal(laid(600, moved, Refiner(weights)), laid(600, moved, None))
    still = photo(900)
    lay(still, frame_of(600), FACE, strokes(), MASK, Refiner(weights))
    assert np.array_equal(still, photo(900))


@pytest.mark.parametrize("side", [520, 700, 1500])
def test_only_windows_under_paint_change(side: int, weights: Path) -> None:
    """Paint on one half of the face: beyond it not a bit; outside of the windows paint is enlarged
    in two steps rather than one, which is hardly another."""
    half = strokes(mask=0.8, paint=0.1)
    half.mask[:, S // 2 :] = 0
    refiner = Refiner(weights)
    with_detail = laid(side, half, lambda views: 20 * refiner(views))
    without = laid(side, half, None)
    apart = np.abs(with_detail.astype(int) - without).max(-1)
    changed = apart > 0
    assert (apart > 40).any()
    y, x = np.mgrid[: changed.shape[0], : changed.shape[1]] + 0.5
    inverse = align.invert(frame_of(side))
    u = align.apply(inverse, np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)) * SIZE
    inside = np.zeros(len(u), bool)
    reach = 2.0 + SIZE / side  # what a cubic reads, on the coarser of both grids
    for rows, columns in windows(FACE):
        inside |= (
            (u[:, 0] > columns.start - reach)
            & (u[:, 0] < columns.stop + reach)
            & (u[:, 1] > rows.start - reach)
            & (u[:, 1] < rows.stop + reach)
        )
    assert apart.ravel()[~inside].max() <= 5
    assert not (changed.ravel() & (u[:, 0] > SIZE / 2 + 2 + 2 * reach)).any()


def test_small_faces_are_left_as_they_are(weights: Path) -> None:
    full, refiner = strokes(mask=0.8, paint=0.1), Refiner(weights)
    below, above = LEAST - 1, LEAST + 1
    assert np.array_equal(laid(below, full, refiner), laid(below, full, None))
    assert not np.array_equal(laid(above, full, refiner), laid(above, full, None))


def test_a_face_cut_by_the_photo_or_beside_it(weights: Path) -> None:
    for x, y in ((-300, -240), (400, 440), (5000, 0)):
        pixels = photo(300)
        frame = np.array([[600, 0, x], [0, 600, y]], np.float32)
        lay(pixels, frame, FACE, strokes(mask=0.5, paint=0.2), MASK, Refiner(weights))
        assert pixels.shape == (300, 300, 3)


def test_a_window_does_not_depend_on_its_batch(weights: Path) -> None:
    rng = np.random.default_rng(0)
    two = [rng.integers(0, 256, (3, *WINDOW, 3), np.uint8) for _ in range(2)]
    views = Views(*two, rng.uniform(0, 1, (3, *WINDOW)).astype(np.float32))
    refiner = Refiner(weights)
    whole = refiner(views)
    for i in range(3):
        alone = refiner(Views(*(x[i : i + 1] for x in views)))
        assert np.abs(alone[0] - whole[i]).max() < 1e-5
    assert not refiner(views._replace(cover=np.zeros_like(views.cover))).any()


def test_where_windows_meet_their_mean_is_taken() -> None:
    """Of a network that always says .5, nothing becomes more than its part of that."""

    def half(views: Views) -> np.ndarray:
        return np.full(views.painted.shape, 0.5, np.float32)

    crop, cover = photo(SIZE), np.ones((SIZE, SIZE), np.float32)
    out = residual(crop, crop, cover, FACE, half)
    assert out.max() == pytest.approx(0.5 * DETAIL) and out.min() == 0
    inside = np.zeros((SIZE, SIZE), bool)
    for place in windows(FACE):
        inside[place] = True
    assert not out[~inside].any()


def test_detail_arrives_at_the_photos_own_size() -> None:
    """A network that gives back a bright dot: it is at the window's place in the photo."""
    rows, columns = windows(FACE)[0]

    def dot(views: Views) -> np.ndarray:
        out = np.zeros(views.painted.shape, np.float32)
        out[0, 44:52, 60:68] = 0.5
        return out

    frame, given = frame_of(640, 0.0), strokes(mask=1.0, paint=0.2)
    with_dot, without = np.full((800, 800, 3), 60, np.uint8), np.full((800, 800, 3), 60, np.uint8)
    lay(with_dot, frame, FACE, given, np.ones_like(MASK), dot)
    composite(without, frame, given, np.ones_like(MASK))
    y, x = np.nonzero((with_dot.astype(int) - without).max(-1) > 60)
    at = np.array([[(columns.start + 64) / SIZE, (rows.start + 48) / SIZE]], np.float32)
    wanted = align.apply(frame, at)[0]
    assert np.abs([x.mean() + 0.5 - wanted[0], y.mean() + 0.5 - wanted[1]]).max() < 1
    assert 15 <= np.ptp(x) <= 25


def test_the_painter_uses_a_refiner_where_there_is_one(
    weights: Path, astronaut: np.ndarray, tmp_path: Path
) -> None:
    from facepaint.web.preview import Preview

    large = np.asarray(cv2.resize(astronaut[20:220, 124:324], (1000, 1000)))
    for name in ("reader", "painter"):
        shutil.copy(WEIGHTS / f"{name}.onnx", tmp_path)
        write_entry(tmp_path, name, f"{name}.onnx")
    plain, refining = facepaint.load(tmp_path), facepaint.load(weights)
    assert set(plain.models) == {"reader", "painter"}
    assert set(refining.models) == set(refining.cards) == {"reader", "painter", "refiner"}
    one, two = (p.edit(large, to="surprised") for p in (plain, refining))
    assert not np.array_equal(one, two)
    assert np.array_equal(refining.edit(large, to="surprised", strength=0), large)
    assert np.array_equal(*(p.edit(astronaut, to="surprised") for p in (plain, refining)))
    found = refining.faces(large)
    shown = Preview(refining, facepaint.Photo.read(large), found)
    assert np.array_equal(shown.edited({0: facepaint.Edit("surprised")}), two)


# --- training


class Patches(torch.nn.Module):
    """In place of MobileNetV2: random mixtures of patches, so that no weights are fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(3, c, 4 * 2**i, 4 * 2**i) for i, c in enumerate(Pyramid.CHANNELS)
        )
        self.requires_grad_(False)

    def forward(self, pictures: Any) -> list[Any]:
        return [layer(pictures) for layer in self.layers]


def settings_of(**changes: Any) -> RefinerSettings:
    return recipe.settings(RefinerSettings, SMALL | changes)


def test_worsening_is_under_the_cover_alone(faces: WindowSet) -> None:
    rng = np.random.default_rng(0)
    for part in range(3):
        crop, points = np.array(faces.crops[3]), faces.landmarks[3]
        cover = soft_cover(rng, points, part)
        soft = worsened(rng, crop, cover)
        assert cover.min() == 0 and 0.3 < cover.max() <= 1
        assert np.array_equal(soft[cover == 0], crop[cover == 0])
        assert not np.array_equal(soft, crop)
        y, x = np.nonzero(cover > 0.3)
        rows, columns = windows(points)[part]
        assert rows.start <= y.mean() < rows.stop and columns.start <= x.mean() < columns.stop


def test_samples_are_of_sharp_faces_of_people_not_held_out(faces: WindowSet) -> None:
    white = np.where(faces.held_out[:, None, None, None], np.uint8(255), faces.crops // 4)
    softened = WindowSet(**{**vars(faces), "crops": white})
    samples = WindowSamples(settings_of(sharpest=0.5), softened, None)
    rows = samples.draw(np.random.default_rng(0), 24)
    assert faces.held_out.any() and max(r["true"].mean() for r in rows) < 128
    assert all(r["answered"] and r["painted"].shape == (*WINDOW, 3) for r in rows)
    kept = window_sets.sharpest(faces, 0.5)
    rest = np.setdiff1d(np.flatnonzero(~faces.held_out), kept)
    assert faces.sharpness[kept].min() >= faces.sharpness[rest].max()
    held = WindowSet(**{**vars(faces), "held_out": np.ones(len(faces), bool)})
    with pytest.raises(LabError, match="no large face of a person that is not held out"):
        WindowSamples(settings_of(), held, None)


def test_results_of_a_painter_have_no_answer(faces: WindowSet) -> None:
    method = RefinerMethod(settings_of(painter=str(WEIGHTS), made=0.5, mouths=1.0), faces)
    batch = method.sample(np.random.default_rng(0), 4, 0)
    assert batch["answered"].tolist() == [True, True, False, False]
    for i in (2, 3):
        outside = batch["cover"][i] < 1e-3
        assert batch["cover"][i].max() > 0.05 and outside.any()
        assert not torch.equal(batch["painted"][i], batch["before"][i])
    with_answer = {k: v[:2] for k, v in batch.items()}
    one, two = (
        method._pair_losses(method._refined(method.networks["refiner"], b), b)
        for b in (batch, with_answer)
    )
    assert torch.allclose(one["pixels"], two["pixels"])


def test_critic_and_features_join_where_there_are_features(
    faces: WindowSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(features, "Pyramid", Patches)
    method = RefinerMethod(settings_of(features="mobilenet_v2", steps=4), faces)
    batch = method.sample(np.random.default_rng(0), 6, 0)
    _, shown = method.loss("refiner", method.networks, batch, 0)
    assert {"pixels", "edges", "features", "critic", "soft"} == shown.keys()
    critic = method.networks["critic"]
    for parameter in critic.parameters():  # so loud that the hinge is met here and there
        torch.nn.init.normal_(parameter)
    method.loss("critic", method.networks, batch, 0)[0].backward()
    reached = {k for k, p in critic.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {k for k, _ in critic.named_parameters()}
    loop.train(method, tmp_path / "run")
    assert (tmp_path / "run" / "sheet-000004.png").exists()


def test_a_refiner_leaves_what_is_coarse_to_the_painter() -> None:
    """However much brighter it would have a whole mouth, the mouth stays as bright as it was."""
    torch.manual_seed(0)
    network = method_file.Refiner(8)
    views = torch.rand(1, 3, *WINDOW), torch.rand(1, 3, *WINDOW), torch.ones(1, 1, *WINDOW)
    torch.nn.init.constant_(network.head.bias, 5.0)
    assert network(*views).abs().max() < 1e-6
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    detail = network(*views)
    assert detail.std() > 0.02
    assert torch.nn.functional.avg_pool2d(detail, 24).abs().max() < 0.1 * detail.std()


def test_some_steps_on_the_same_windows_lower_the_loss(faces: WindowSet) -> None:
    """Of others it would take more: a drawn window is mostly flat."""
    method = RefinerMethod(settings_of(), faces)
    batch = method.sample(np.random.default_rng(0), 6, 0)
    network = method.networks["refiner"]
    optimizer, seen = torch.optim.Adam(network.parameters(), 2e-3), []
    for step in range(60):
        loss, _ = method.loss("refiner", method.networks, batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    assert seen[-1] < 0.9 * seen[0]


def test_results_stand_beside_real_windows_that_show_the_like(faces: WindowSet) -> None:
    """The critic's real window is of a face with about the blendshapes that the sample shows."""
    open_mouths = np.arange(len(faces)) % 2 == 0
    shown = np.zeros_like(faces.blendshapes)
    shown[open_mouths] = 0.6
    black = np.where(open_mouths[:, None, None, None], np.uint8(0), np.uint8(255))
    two = WindowSet(
        **{**vars(faces), "blendshapes": shown, "crops": np.broadcast_to(black, faces.crops.shape)}
    )
    samples = WindowSamples(settings_of(sharpest=1.0), two, None)
    rows = samples.draw(np.random.default_rng(0), 12)
    same = [(r["true"].mean() > 128) == (r["real"].mean() > 128) for r in rows]
    assert all(same) and 0 < sum(r["true"].mean() > 128 for r in rows) < 12


def test_windows_of_held_out_people_are_drawn_for_measuring(faces: WindowSet) -> None:
    grey = np.where(faces.held_out[:, None, None, None], np.uint8(200), np.uint8(20))
    two = WindowSet(**{**vars(faces), "crops": np.broadcast_to(grey, faces.crops.shape)})
    rows = WindowSamples(settings_of(), two, None, held_out=True).draw(np.random.default_rng(0), 8)
    assert min(r["true"].mean() for r in rows) > 110
    nobody = WindowSet(**{**vars(faces), "held_out": np.zeros(len(faces), bool)})
    with pytest.raises(LabError, match="no large face of a person that is held out"):
        WindowSamples(settings_of(), nobody, None, held_out=True)


def test_what_a_refiner_wins_is_measured_against_leaving_windows_alone(faces: WindowSet) -> None:
    def idle(**given: Any) -> dict[str, Any]:
        return {"residual": np.zeros((*given["cover"].shape, 3), np.float32)}

    numbers = measure.refiner(idle, faces)  # type: ignore[arg-type]
    assert numbers["people"] == len({*faces.subjects[faces.held_out]})
    for part in ("mouths", "eyes"):
        found = numbers[part]
        assert found["windows"] == 120
        assert found["l1_255"] == found["l1_255_of_paint"] > 0.5
        ratio = found["laplacian_energy_ratio"]
        assert ratio == found["laplacian_energy_ratio_of_paint"] < 0.8
    true = np.full((*WINDOW, 3), 90, np.uint8)
    row = {"painted": true - 20, "before": true, "true": true, "cover": np.ones(WINDOW, np.float32)}

    def knowing(**given: Any) -> dict[str, Any]:
        return {"residual": np.full((*given["cover"].shape, 3), 20 / 255, np.float32)}

    found = measure._of_windows(knowing, [row])  # type: ignore[arg-type]
    assert found["l1_255_of_paint"] == 20
    inside = 20 * (1 - DETAIL)
    assert inside < found["l1_255"] < inside + 5  # less towards the border


def test_a_refiner_is_small_and_the_identity_at_first(faces: WindowSet) -> None:
    method = RefinerMethod(settings_of(width=24), faces)
    network = method.networks["refiner"]
    assert sum(p.numel() for p in network.parameters()) <= 0.6e6
    batch = method.sample(np.random.default_rng(0), 2, 0)
    result = method._refined(network, batch)
    assert torch.equal(result, batch["painted"].permute(0, 3, 1, 2).float() / 255)
    assert method._soft(batch) > 0


def test_windows_are_cut_from_the_photos_and_cached(tmp_path: Path, astronaut: np.ndarray) -> None:
    """Two photos of the astronaut, one too small."""
    for size, name in ((512, "a"), (128, "b")):
        home = tmp_path / "photos" / "happy"
        home.mkdir(parents=True, exist_ok=True)
        scaled = cv2.resize(astronaut, (size * 2, size * 2), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(home / f"{name}.png"), scaled[..., ::-1])
    cache = tmp_path / "cache"
    found = window_sets.load(tmp_path / "photos", cache, "")
    assert len(found) == 1 and found.crops.shape == (1, SIZE, SIZE, 3)
    assert found.sharpness[0] > 10
    again = window_sets.load(tmp_path / "photos", cache, "photos")
    assert np.array_equal(again.crops, found.crops)
    with pytest.raises(LabError, match="no face of elsewhere with a crop of 205 pixels"):
        window_sets.load(tmp_path / "photos", cache, "elsewhere")
