"""Expressions asked for by name: in samples, by the critic that names them, at edit time."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facepaint
from facepaint import align, rig
from facepaint.change import GAZE, named
from facepaint.errors import LabError
from facepaint.face import head_turn
from facepaint.models import folder_of, write_entry
from facepaint.names import BLENDSHAPES, EXPRESSIONS

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")
onnx = pytest.importorskip("onnx", reason="the lab's extra is not installed")

from facepaint.lab import features, loop, recipe  # noqa: E402
from facepaint.lab.data import drawn, mouths, moves  # noqa: E402
from facepaint.lab.data.faces import FaceSet  # noqa: E402
from facepaint.lab.data.samples import HAPPY, NEUTRAL, OTHERS, Samples, one_hot  # noqa: E402
from facepaint.lab.data.topology import SMILING  # noqa: E402
from facepaint.lab.features import Pyramid  # noqa: E402
from facepaint.lab.methods.painter import (  # noqa: E402
    PainterMethod,
    PainterSettings,
    _fold_loss,
    _inside_loss,
    class_loss,
    compose,
    compose_two,
    warp,
)
from facepaint.lab.networks import Strokes  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
FREE = folder_of("open")  # whose painter still ships
SMALL = {"method": "painter", "data": "drawn", "width": 8, "batch": 6, "critic_from": 0}
SMALL |= {"precision": "32-true", "accelerator": "cpu", "features": "mobilenet_v2"}


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


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    return drawn.draw(0, people=12)


@pytest.fixture
def build(faces: FaceSet, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds a painter's method whose critic looks through Patches."""
    monkeypatch.setattr(features, "Pyramid", Patches)

    def made(**changes: Any) -> PainterMethod:
        return PainterMethod(recipe.settings(PainterSettings, SMALL | changes), faces)

    return made


# --- samples


def drawn_rows(faces: FaceSet, count: int = 200, **changes: Any) -> list[dict[str, Any]]:
    settings = recipe.settings(PainterSettings, {"pairs": 0.0} | changes)
    return Samples(settings, faces).draw(np.random.default_rng(0), count)


def test_pairs_carry_the_partners_expression(faces: FaceSet) -> None:
    for row in drawn_rows(faces, 30, pairs=1.0):
        distance = np.abs(faces.blendshapes - row["asked"]).sum(1)
        mirrored = faces.expressions[int(np.nanargmin(distance))]
        assert row["name"].sum() == 1 and row["name"][mirrored] == 1
    for row in drawn_rows(faces, 8, pairs=1.0, poles=1.0):
        assert row["name"][:2].sum() == 1


def test_singles_carry_what_they_are_asked_by_name_and_nothing_else(faces: FaceSet) -> None:
    rows = drawn_rows(faces, named=1.0, others=1.0)
    labelled = sorted({*faces.expressions.tolist()} & {*OTHERS})
    assert [EXPRESSIONS[e] for e in labelled] == ["surprised"]
    names = np.stack([r["name"] for r in rows])
    assert (names.argmax(1) == labelled[0]).all() and ((names > 0).sum(1) == 1).all()
    strengths = names.max(1)
    assert 0.35 < (strengths == 1).mean() < 0.65
    assert strengths.min() >= 0.2 and strengths.max() <= 1.3
    poles = np.stack([r["name"] for r in drawn_rows(faces, named=1.0, others=0.0)])
    assert not poles[:, OTHERS].any() and (poles[:, :2].max(0) > 0).all()
    assert not any(r["name"].any() for r in drawn_rows(faces, 40, named=0.0))


def test_what_is_asked_by_name_is_the_mean_or_a_real_face(faces: FaceSet) -> None:
    """At strength 1, of a gaze that is zero in all drawn faces."""
    rows = [r for r in drawn_rows(faces, named=1.0, others=1.0) if r["name"].max() == 1]
    settings = recipe.settings(PainterSettings, {})
    target = Samples(settings, faces).targets[OTHERS[-1]]
    near = np.array([np.abs(r["asked"] - target).max() < 1e-6 for r in rows])
    assert 0.3 < near.mean() < 0.7
    shown = faces.blendshapes[(faces.expressions == OTHERS[-1]) & ~faces.held_out]
    for row in np.array(rows)[~near]:
        assert np.abs(shown - row["asked"]).max(1).min() < 1e-6


def test_what_blendshapes_under_read_is_told_by_landmarks_and_folds(faces: FaceSet) -> None:
    """A neutral face asked to look surprised: its landmarks go as those of people do, as far as
    the setting says; and its shade shall be that of people, on its own landmarks."""
    settings = recipe.settings(PainterSettings, {"marked": 3.0, "folds": 1.0})
    samples = Samples(settings, faces)
    rest = faces.expressions == 0
    row = int(np.flatnonzero(rest & ~faces.held_out)[0])
    seen = samples._seen(row, align.IDENTITY, False)
    name, asked = one_hot(OTHERS[-1], 0.5), samples.targets[OTHERS[-1]]
    points = samples._points(seen._replace(blendshapes=samples.targets[0]), asked, name)
    moved = (points - seen.points) * 128
    assert np.sqrt(np.square(moved).mean()) == pytest.approx(1.5, abs=1e-3)
    direction = samples.moves[OTHERS[-1]].ravel()
    along = moved.ravel() @ direction / np.linalg.norm(moved) / np.linalg.norm(direction)
    assert along == pytest.approx(1, abs=1e-4)
    folds = samples._folds(seen, points, name)
    assert folds["told"] and 0 < np.abs(folds["folds"]).max() <= 0.11
    assert not samples._folds(seen, points, one_hot(-1))["told"]
    assert not any(r["told"] for r in drawn_rows(faces, 20, pairs=1.0))
    assert any(r["told"] for r in drawn_rows(faces, 20, named=1.0, others=1.0))


def test_folds_of_a_smile_come_with_it_and_go_with_it(faces: FaceSet) -> None:
    samples = Samples(recipe.settings(PainterSettings, {}), faces)
    row = int(np.flatnonzero((faces.expressions == 0) & ~faces.held_out)[0])
    rest = samples._seen(row, align.IDENTITY, False)._replace(blendshapes=samples.targets[0])
    smiling = rest._replace(blendshapes=samples.targets[1])

    def told(face: Any, e: int) -> Any:
        return samples._folds(face, face.points, one_hot(e))["folds"]

    assert np.abs(told(rest, 1)).max() > 0.05
    assert np.allclose(told(smiling, 0), -told(smiling._replace(blendshapes=rest.blendshapes), 1))
    assert not told(smiling, 1).any() and not told(rest, 0).any()


def test_the_shade_of_what_is_told_is_learned_outside_of_the_paint() -> None:
    zero = torch.zeros(2, 1, 8, 8)
    strokes = Strokes(torch.zeros(2, 2, 8, 8), zero, torch.zeros(2, 3, 8, 8), zero)
    batch = {"told": torch.tensor([True, False]), "face": torch.ones(2, 8, 8)}
    batch |= {"region": torch.zeros(2, 8, 8), "folds": torch.full((2, 8, 8), 0.1)}
    assert float(_fold_loss(strokes, batch)) == pytest.approx(0.1)
    batch["region"][:, :4] = 1
    batch["folds"][:, :4] = 5.0  # under the paint nothing is told
    assert float(_fold_loss(strokes, batch)) == pytest.approx(0.1)


def test_nobody_with_two_expressions_is_one_clear_line(faces: FaceSet) -> None:
    kept = np.where(faces.held_out, faces.expressions, -1).astype(np.int8)
    with pytest.raises(LabError, match="nobody in the data shows two expressions"):
        drawn_rows(dataclasses.replace(faces, expressions=kept))


def test_labelled_faces_are_of_each_expression_and_of_nobody_held_out(faces: FaceSet) -> None:
    marked = np.where(faces.held_out[:, None, None, None], np.uint8(255), np.uint8(0))
    crops = np.broadcast_to(marked, faces.crops.shape)
    few = dataclasses.replace(faces, crops=crops)
    # one expression far more often than the others
    samples = Samples(recipe.settings(PainterSettings, {}), few)
    rows = samples.labelled(np.random.default_rng(0), 200, 150)
    labels = np.array([int(r["label"]) for r in rows])
    assert (labels[150:] == -1).all() and (labels[:150] >= 0).all()
    kinds, counts = np.unique(labels[:150], return_counts=True)
    assert [EXPRESSIONS[k] for k in kinds] == ["neutral", "happy", "surprised"]
    assert counts.min() > 30
    assert max(r["labelled"].mean() for r in rows[:150]) < 128  # black faces; the held-out white


# --- the critic that names


def test_the_critic_learns_to_name_and_the_painter_is_told(build: Any, tmp_path: Path) -> None:
    method = build(steps=3)
    batch = method.sample(np.random.default_rng(1), 6, 0)
    assert (batch["label"] >= 0).all() and batch["labelled"].shape == (6, 128, 128, 3)
    _, shown = method.loss("painter", method.networks, batch, 0)
    assert shown["class"] > 0
    _, shown = method.loss("critic", method.networks, batch, 0)
    assert 0 <= float(shown["class_right"]) <= 1
    loop.train(method, tmp_path / "run")
    assert "class_right" in (tmp_path / "run" / "log.jsonl").read_text()


def test_the_class_head_learns_from_labelled_faces_alone(build: Any) -> None:
    method = build(labelled=3)
    critic = method.networks["critic"]
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    batch = method.sample(np.random.default_rng(0), 6, 0)
    assert (batch["label"] >= 0).tolist() == [True] * 3 + [False] * 3
    losses = []
    for _ in range(25):
        loss, right = method._naming_loss(critic, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0] and float(right) == 1


def test_a_critic_on_pixels_names_nothing_and_draws_no_labelled_faces(build: Any) -> None:
    for changes in ({"features": ""}, {"weight_class": 0.0}):
        method = build(**changes)
        batch = method.sample(np.random.default_rng(1), 6, 0)
        assert "label" not in batch
        for phase in method.phases:
            _, shown = method.loss(phase, method.networks, batch, 0)
            assert not {"class", "class_right"} & shown.keys()


def test_every_part_of_a_critic_on_features_gets_a_gradient(build: Any) -> None:
    method = build()
    reached: set[str] = set()
    for step in range(4):
        batch = method.sample(np.random.default_rng(step), 6, step)
        method.loss("painter", method.networks, batch, step)[0].backward()
        named_weight = method.networks["painter"].name.weight.grad
        method.networks["critic"].zero_grad()
        method.loss("critic", method.networks, batch, step)[0].backward()
        for key, p in method.networks["critic"].named_parameters():
            if p.grad is not None and p.grad.abs().sum() > 0:
                reached.add(key)
        for p in method.networks["painter"].parameters():
            p.data -= 0.01 * p.grad / (1 + p.grad.norm())
    assert reached == {k for k, _ in method.networks["critic"].named_parameters()}
    assert named_weight is not None and named_weight.abs().sum() > 0


def test_the_class_loss_is_a_weighted_cross_entropy() -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    name = torch.zeros(4, 7)
    name[0, 3], name[1, 5], name[2, 1] = 1.0, 0.25, 1.3
    each = -torch.log_softmax(logits, 1)
    wanted = (each[0, 3] + 0.25 * each[1, 5] + each[2, 1]) / 3
    assert torch.allclose(class_loss(logits, name), wanted)
    assert float(class_loss(logits, torch.zeros(4, 7))) == 0


# --- at edit time


def test_the_name_of_an_edit(portrait: np.ndarray) -> None:
    happy, sad = (EXPRESSIONS.index(e) for e in ("happy", "sad"))
    assert np.array_equal(named(facepaint.Edit("happy")), np.eye(7, dtype=np.float32)[happy])
    assert named(facepaint.Edit("happy", 1.5, set={"jawOpen": 0.3}))[happy] == 1.5
    # beside a prototype less, but in proportion
    one, more = (named(facepaint.Edit("sad", s))[sad] for s in (0.5, 1.5))
    assert 0 < one < 0.5 and more == pytest.approx(3 * one)
    assert not named(facepaint.Edit("sad", 0.0)).any()
    assert not named(facepaint.Edit("sad", regions=("mouth",))).any()
    assert not named(facepaint.Edit(set={"jawOpen": 0.3})).any()


def weights_with(folder: Path, change: Any) -> Path:
    """The free weights with a painter that `change` has changed."""
    shutil.copytree(FREE, folder)
    model = onnx.load(str(folder / "painter.onnx"))
    change(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "painter.onnx"))
    write_entry(folder, "painter", "painter.onnx")
    return folder


def of_before_names(model: Any) -> None:
    """Takes [N, 52]: what it computes with no name."""
    (given,) = (i for i in model.graph.input if i.name == "change")
    given.type.tensor_type.shape.dim[1].dim_value = 52
    for node in model.graph.node:
        node.input[:] = ["asked" if i == "change" else i for i in node.input]
    pads = onnx.numpy_helper.from_array(np.array([0, 0, 0, 7]), "pads")
    model.graph.initializer.append(pads)
    model.graph.node.insert(0, onnx.helper.make_node("Pad", ["change", "pads"], ["asked"]))


def that_forgot_names(model: Any) -> None:
    for weight in model.graph.initializer:
        if weight.name == "network.name.weight.half":
            none = np.zeros(tuple(weight.dims), np.float16)
            weight.CopyFrom(onnx.numpy_helper.from_array(none, weight.name))
            return
    raise AssertionError("no weights of names")


EDITS = {
    "named": facepaint.Edit("neutral"),
    "named and set": facepaint.Edit("neutral", set={"jawOpen": 0.4}),
    "region": facepaint.Edit("neutral", regions=("mouth",)),
    "set": facepaint.Edit(set={"jawOpen": 0.4}),
}


def test_networks_with_and_without_names_paint(portrait: np.ndarray, tmp_path: Path) -> None:
    """One from before names paints what one does that forgot them; the shipped one, which learned
    them, paints otherwise where, and only where, a name is asked for the whole face."""
    shipped = facepaint.load("open")
    older = facepaint.load(weights_with(tmp_path / "older", of_before_names))
    forgot = facepaint.load(weights_with(tmp_path / "forgot", that_forgot_names))
    (face,) = shipped.faces(portrait)
    photo = facepaint.Photo.read(portrait)
    for what, edit in EDITS.items():
        one, two, three = (
            p.repaint(photo, [(face, edit)]).pixels for p in (forgot, older, shipped)
        )
        assert not np.array_equal(one, portrait)
        assert np.array_equal(one, two)
        assert np.array_equal(one, three) == ("named" not in what), what
    for painter in (shipped, older, forgot):
        same = painter.repaint(photo, [(face, facepaint.Edit("neutral", 0.0))]).pixels
        assert np.array_equal(same, portrait)


def test_a_name_is_asked_of_a_face_that_shows_it_already(
    portrait: np.ndarray, tmp_path: Path
) -> None:
    """Its blendshapes are those of the target, so that only the name is left."""
    knowing = facepaint.load("open")
    (face,) = knowing.faces(portrait)
    target = np.array(knowing.cards["painter"]["expressions"]["happy"], np.float32)
    reached = dataclasses.replace(face, blendshapes=target)
    photo = facepaint.Photo.read(portrait)
    made = knowing.repaint(photo, [(reached, facepaint.Edit("happy"))]).pixels
    assert not np.array_equal(made, portrait)
    forgot = facepaint.load(weights_with(tmp_path / "forgot", that_forgot_names))
    without = forgot.repaint(photo, [(reached, facepaint.Edit("happy"))]).pixels
    assert np.array_equal(without, portrait)


# --- relays: what is hard to reach in one step is shown in two


def test_relays_smile_and_are_asked_for_one_of_the_five(faces: FaceSet) -> None:
    shares = recipe.settings(PainterSettings, SMALL | {"relays": 0.5, "pairs": 0.25})
    samples = Samples(shares, faces)
    rows = samples.draw(np.random.default_rng(0), 12)
    assert [r["relay"] for r in rows] == [False] * 3 + [True] * 6 + [False] * 3
    assert not any(r["paired"] for r in rows[3:])
    for row in rows[3:9]:
        assert row["blendshapes"][SMILING].mean() > 0.3
        assert int(row["name"].argmax()) in OTHERS and row["name"].max() > 0


def test_relays_are_asked_for_those_of_the_five_that_are_named(faces: FaceSet) -> None:
    kinds = faces.expressions.copy()
    surprised, sad = (EXPRESSIONS.index(e) for e in ("surprised", "sad"))
    kinds[np.flatnonzero(kinds == surprised)[::2]] = sad
    some = dataclasses.replace(faces, expressions=kinds)

    def asked(names: str) -> set[int]:
        more = {"relays": 1.0, "pairs": 0.0, "relayed": names}
        samples = Samples(recipe.settings(PainterSettings, SMALL | more), some)
        return {int(r["name"].argmax()) for r in samples.draw(np.random.default_rng(0), 24)}

    assert asked("") == {sad, surprised}
    assert asked("sad,angry") == {sad}
    with pytest.raises(LabError, match="relayed='glad' is none of sad, angry, disgusted, afraid"):
        asked("sad,glad")


def test_turned_heads_are_in_no_relay_and_begin_a_share_of_the_singles(faces: FaceSet) -> None:
    landmarks = faces.landmarks.copy()
    landmarks[::3, 1, 0] += 0.2  # the nose tip moves to a side
    turned = dataclasses.replace(faces, landmarks=landmarks)

    def share(relays: float, of_singles: float) -> float:
        more = {"relays": relays, "pairs": 0.0, "clear": 0.5, "turned": of_singles}
        samples = Samples(recipe.settings(PainterSettings, SMALL | more), turned)
        rows = samples.draw(np.random.default_rng(0), 60)
        return float(np.mean([abs(head_turn(r["points"])) > 0.35 for r in rows]))

    assert share(1.0, 1.0) == 0.0
    assert 0.1 < share(0.0, 0.0) < 0.6 and share(0.0, 1.0) == 1.0


def test_relays_are_asked_to_be_clearly_happy_and_neutral_as_well(faces: FaceSet) -> None:
    shares = {"relays": 1.0, "pairs": 0.0, "clear": 1.0, "overshoot": 0.5}
    samples = Samples(recipe.settings(PainterSettings, SMALL | shares), faces)
    asked = set()
    for row in samples.draw(np.random.default_rng(0), 12):
        smiles = row["blendshapes"][SMILING].mean() > 0.35
        asked.add(int(row["name"].argmax()))
        assert int(row["name"].argmax()) == (NEUTRAL if smiles else HAPPY)
        told = moves.moved(row["points"], row["blendshapes"], row["asked"], samples.linear)
        far = row["asked_points"] - row["points"]
        assert np.allclose(far, 1.5 * (told - row["points"]), atol=1e-5)
    assert asked == {HAPPY, NEUTRAL}


def test_relays_without_a_teacher_are_one_clear_line(build: Any, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="relays need a teacher"):
        build(relays=0.5)
    with pytest.raises(LabError, match="is a reader, not a painter"):
        build(relays=0.5, teacher=str(FREE / "reader.onnx"))
    with pytest.raises(LabError, match="no checkpoint"):
        build(relays=0.5, teacher=str(tmp_path / "nothing"))


def test_a_relay_is_answered_by_what_the_teacher_makes_in_two_steps(build: Any) -> None:
    method = build(relays=0.5, pairs=0.5, teacher=str(FREE / "painter.onnx"))
    batch = method.sample(np.random.default_rng(1), 6, 0)
    relays, before = batch["relay"].clone(), batch["partner"].clone()
    assert relays.any() and not (batch["paired"] & relays).any()
    method._answer(method._teacher, batch)
    assert (batch["paired"] | ~relays).all() and not (batch["told"] & relays).any()
    apart = (batch["partner"].float() - before.float()).abs().flatten(1).mean(1)
    assert (apart[relays] > 0.5).all() and (apart[~relays] == 0).all()
    # in two steps by hand, where the photo is sampled twice
    i = int(relays.nonzero()[0])
    row = {k: v[i : i + 1] for k, v in batch.items()}
    teacher, source = method._teacher, row["source"].permute(0, 3, 1, 2) / 255
    strength = row["name"].max()
    rest = row["blendshapes"] + strength * (
        torch.from_numpy(method.targets[NEUTRAL]) - row["blendshapes"]
    )
    rest = torch.where(torch.from_numpy(GAZE), row["asked"], rest.clamp(0, 1))
    quiet = torch.from_numpy(one_hot(NEUTRAL))[None] * strength
    with torch.no_grad():
        first = teacher(source, torch.cat([rest - row["blendshapes"], quiet], 1))
        between = compose(source, first, row["face"])
        then = teacher(between, torch.cat([row["asked"] - rest, row["name"]], 1))
        twice = compose(between, then, row["face"])
    answer = row["partner"].permute(0, 3, 1, 2) / 255
    assert (answer - twice).abs().mean() < 0.3 * (answer - source).abs().mean()


def test_a_relay_of_happy_or_neutral_makes_a_part_of_its_change_again(build: Any) -> None:
    changed = {}
    for overshoot in (0.0, 0.5):
        painter = str(FREE / "painter.onnx")
        more = {"relays": 1.0, "pairs": 0.0, "clear": 1.0, "overshoot": overshoot}
        method = build(teacher=painter, **more)
        batch = method.sample(np.random.default_rng(1), 6, 0)
        asked: list[Any] = []
        method._teacher.register_forward_pre_hook(lambda _, given, to=asked: to.append(given[1]))
        method._answer(method._teacher, batch)
        (first, name), (then, again) = (c.split([len(BLENDSHAPES), 7], 1) for c in asked)
        assert torch.equal(first, batch["asked"] - batch["blendshapes"])
        assert torch.allclose(then, overshoot * first)
        assert torch.equal(name, batch["name"]) and torch.equal(again, batch["name"])
        changed[overshoot] = batch["partner"].float()
    assert (changed[0.5] - changed[0.0]).abs().mean() > 0.1


UPPER = [BLENDSHAPES.index(f"mouthUpperUp{side}") for side in ("Left", "Right")]
BARED = {"relays": 1.0, "pairs": 0.0, "bared": 1.0}


def test_some_relays_bare_their_teeth_without_a_smile(faces: FaceSet) -> None:
    """From closed mouths; the rig says how a smile's mouth would have to move."""
    wide = faces.blendshapes.copy()
    wide[np.ix_(wide[:, SMILING].mean(1) > 0.35, [OPEN, *UPPER])] = 0.4
    shares = recipe.settings(PainterSettings, SMALL | BARED | {"opened": 1.0})
    samples = Samples(shares, dataclasses.replace(faces, blendshapes=wide))
    rows = samples.draw(np.random.default_rng(0), 24)
    assert any(r["asked"][OPEN] > 0.1 and r["asked"][UPPER].mean() > 0.2 for r in rows)
    for row in rows:
        assert row["relay"] and row["bared"] and not row["judged"] and row["name"].max() < 0.71
        assert row["blendshapes"][SMILING].mean() <= 0.35 and row["blendshapes"][OPEN] <= 0.1
        assert row["smile"][SMILING].mean() > 0.35 and row["asked"][SMILING].mean() <= 0.25
        assert not (row["hollow"].any() and row["asked"][UPPER].mean() > 0.2)
        smiling = moves.moved(row["points"], row["blendshapes"], row["smile"], samples.linear)
        rigged = smiling + rig.pulled(smiling, row["smile"], row["asked"])
        assert np.allclose(row["asked_points"], rigged, atol=1e-5)
        assert np.abs(row["after"]).max() > 0.005
    eyes = [n.startswith(("eye", "brow", "cheek", "nose")) for n in BLENDSHAPES]
    assert all(np.array_equal(r["asked"][eyes], r["blendshapes"][eyes]) for r in rows)
    none = Samples(recipe.settings(PainterSettings, SMALL | BARED | {"bared": 0.0}), faces)
    assert not any(r["bared"] for r in none.draw(np.random.default_rng(0), 24))


def test_bared_teeth_are_those_of_the_teacher_s_smile_moved_by_the_rig(build: Any) -> None:
    method = build(teacher=str(FREE / "painter.onnx"), **BARED)
    batch = method.sample(np.random.default_rng(1), 4, 0)
    asked: list[Any] = []
    method._teacher.register_forward_pre_hook(lambda _, given: asked.append(given))
    before = {k: v.clone() for k, v in batch.items()}
    method._answer(method._teacher, batch)
    smile = torch.cat([before["smile"] - before["blendshapes"], before["name"]], 1)
    assert torch.equal(asked[0][1], smile)
    with torch.no_grad():
        first = method._teacher(asked[0][0], smile)
        smiling = compose(asked[0][0], first, before["face"])
        moved = warp(smiling, before["after"].permute(0, 3, 1, 2) * before["face"][:, None])
    answer, source = (batch[k].permute(0, 3, 1, 2) / 255 for k in ("partner", "source"))
    assert (answer - moved).abs().mean() < 0.2 * (answer - source).abs().mean()
    assert (answer - moved).abs().mean() < 0.5 * (answer - smiling).abs().mean()


def test_strokes_on_strokes_sample_the_photo_once() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0.2, 0.7, 128).expand(1, 3, 128, 128).contiguous()
    face = torch.ones(1, 128, 128)

    def strokes(shift: float, paint: float, shade: float) -> Strokes:
        flat = [torch.full((1, n, 128, 128), v) for n, v in ((2, shift), (1, 0.5), (3, paint))]
        return Strokes(*flat, torch.full((1, 1, 128, 128), shade))

    first, then = strokes(0.02, 0.04, 0.1), strokes(-0.03, -0.06, -0.05)
    inside = np.s_[..., 10:-10, 10:-10]
    once = compose_two(ramp, first, then, face)
    twice = compose(compose(ramp, first, face), then, face)
    # of what is straight nothing is lost by sampling twice, so both ways are the same
    torch.testing.assert_close(once[inside], twice[inside], atol=1e-4, rtol=0)
    # of what is not, sampling once keeps more: noise moved by half a pixel there and back is whole
    noise = torch.rand(1, 3, 128, 128)
    there, back = strokes(0.5 / 128, 0, 0), strokes(-0.5 / 128, 0, 0)
    torch.testing.assert_close(
        compose_two(noise, there, back, face)[inside], noise[inside], atol=1e-4, rtol=0
    )
    assert (compose(compose(noise, there, face), back, face) - noise)[inside].abs().mean() > 0.05


def test_a_step_with_relays_trains(build: Any, tmp_path: Path) -> None:
    method = build(
        relays=0.5, pairs=0.25, weight_grain=1.0, labelled=0, weight_class=0.0,
        teacher=str(FREE / "painter.onnx"), steps=2, save_every=2, sheet_every=100,
    )  # fmt: skip
    loop.train(method, tmp_path)
    logged = (tmp_path / "log.jsonl").read_text()
    assert "pixels" in logged and "nan" not in logged.lower()


# --- returns: photos that are made something else first


OPEN = BLENDSHAPES.index("jawOpen")


def test_returns_lead_to_open_mouths_more_often_than_there_are(faces: FaceSet) -> None:
    shares = recipe.settings(PainterSettings, SMALL | {"returns": 1.0, "pairs": 0.0})
    samples = Samples(shares, faces)
    rows = samples.draw(np.random.default_rng(0), 60)
    assert all(r["return"] and not r["paired"] and not r["relay"] for r in rows)
    for row in rows:  # what the photo shows is asked; it is first made what it does not show
        assert np.array_equal(row["asked"], row["blendshapes"]) and not row["told"]
        away = int(row["away"][len(BLENDSHAPES) :].argmax())
        shows = row["asked"][SMILING].mean() > 0.35 or row["asked"][OPEN] > 0.1
        assert away == (NEUTRAL if shows else HAPPY)
        wanted = np.where(GAZE, row["asked"], samples.targets[away])
        assert np.allclose(row["away"][: len(BLENDSHAPES)], wanted - row["asked"], atol=1e-6)
        assert np.abs(row["points"] - row["asked_points"]).max() > 1e-3

    def opened(blend: Any) -> float:
        return float(np.mean([b[SMILING].mean() <= 0.35 and b[OPEN] > 0.1 for b in blend]))

    there = opened(faces.blendshapes[~faces.held_out & faces.is_face])
    assert 0 < there < 0.35 < opened([r["asked"] for r in rows])


def test_a_set_without_open_mouths_has_no_say_in_how_they_look(
    faces: FaceSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its critic would see none that is real."""
    shares = recipe.settings(PainterSettings, SMALL | {"pairs": 0.0, "named": 1.0, "others": 0.5})
    for alike in (True, False):
        if not alike:
            monkeypatch.setattr(mouths, "dark_inside", lambda _, rows: np.zeros(len(rows), bool))
        rows = Samples(shares, faces).draw(np.random.default_rng(0), 40)
        asks = [r["asked"][OPEN] > 0.1 and r["asked"][SMILING].mean() <= 0.35 for r in rows]
        assert any(asks) and not all(asks)
        assert [bool(r["judged"]) for r in rows] == [alike or not asked for asked in asks]


def test_what_is_not_judged_teaches_neither_painter_nor_critic(build: Any) -> None:
    method = build(pairs=1.0, labelled=0, weight_class=0.0)
    batch = method.sample(np.random.default_rng(1), 6, 0)
    networks, losses = method.networks, {}
    for judged in (False, True):
        given = batch | {"judged": torch.full((6,), judged)}
        _, parts = method.loss("painter", networks, given, 10)
        total, _ = method.loss("critic", networks, given, 10)
        losses[judged] = abs(float(parts["critic"])), float(total)
    assert losses[False] == (0, 0) and min(losses[True]) > 0


def test_a_return_begins_from_what_the_teacher_makes_and_is_answered_by_the_photo(
    build: Any,
) -> None:
    method = build(
        returns=0.5, pairs=0.5,
        teacher=str(FREE / "painter.onnx"), reader=str(FREE / "reader.onnx"),
    )  # fmt: skip
    batch = method.sample(np.random.default_rng(1), 6, 0)
    before = {k: v.clone() for k, v in batch.items()}
    returns = before["return"]
    assert returns.sum() == 3
    method._send_away(method._teacher, batch)
    assert torch.equal(batch["paired"], before["paired"] | returns)
    assert torch.equal(batch["partner"][returns], before["source"][returns])
    changed = (batch["source"].float() - before["source"].float()).abs().flatten(1).mean(1)
    assert (changed[returns] > 0.5).all() and (changed[~returns] == 0).all()
    with torch.no_grad():
        read = method._reader(batch["source"].permute(0, 3, 1, 2) / 255)
    assert torch.allclose(batch["points"][returns], read.landmarks[returns], atol=2e-2)
    assert torch.allclose(batch["blendshapes"][returns], read.blendshapes[returns], atol=5e-2)
    for key in ("points", "blendshapes"):
        assert torch.equal(batch[key][~returns], before[key][~returns])


def test_returns_without_a_teacher_or_a_reader_are_one_clear_line(build: Any) -> None:
    for given in ({}, {"teacher": "painter"}, {"reader": "reader"}):
        paths = {k: str(FREE / f"{v}.onnx") for k, v in given.items()}
        with pytest.raises(LabError, match="returns need a teacher and a reader"):
            build(returns=0.5, **paths)


def test_singles_that_open_the_mouth_are_told_its_inside(faces: FaceSet) -> None:
    rows = {}
    for opened in (0.0, 1.0):
        more = {"pairs": 0.0, "opened": opened}
        shares = recipe.settings(PainterSettings, SMALL | more)
        rows[opened] = Samples(shares, faces).draw(np.random.default_rng(0), 40)
    assert not any(r["hollow"].any() for r in rows[0.0])
    asks = [r["asked"][OPEN] > 0.1 and r["asked"][SMILING].mean() <= 0.35 for r in rows[1.0]]
    told = [bool(r["hollow"].any()) for r in rows[1.0]]
    assert np.mean(asks) > 0.5 and np.mean(told) > 0.3
    assert not any(t and not a for t, a in zip(told, asks, strict=True))
    for row in (r for r, t in zip(rows[1.0], told, strict=True) if t):
        assert row["asked"][UPPER].mean() <= 0.2  # no teeth are told
        assert (row["inside"][row["hollow"] > 0] < 0).all()  # darker than skin


def test_what_is_told_of_a_mouth_is_beside_the_face_s_own_skin() -> None:
    source = torch.full((1, 3, 128, 128), 0.6)
    hollow, inside = torch.zeros(1, 128, 128), torch.full((1, 128, 128, 3), float(np.log(0.25)))
    hollow[:, 80:90, 50:80] = 1
    batch = {"face": torch.ones(1, 128, 128), "region": torch.zeros(1, 128, 128), "inside": inside}
    right = torch.where(hollow[:, None] > 0, 0.15, source)
    assert float(_inside_loss(right, source, hollow, batch)) == pytest.approx(0, abs=1e-5)
    assert float(_inside_loss(source, source, hollow, batch)) == pytest.approx(0.45, abs=1e-5)


def test_paint_on_lips_around_a_told_inside_is_smooth(build: Any) -> None:
    """Nothing else says how it looks; of answered samples it is their answer that does."""
    method = build(pairs=0.0, opened=1.0, weight_grain=1.0, labelled=0)
    batch = method.sample(np.random.default_rng(1), 6, 0)
    told = batch["hollow"].flatten(1).any(1)
    assert told.any()
    noise = torch.rand(6, 3, 128, 128, generator=torch.Generator().manual_seed(0)) - 0.5
    lips = (batch["region"] * (1 - batch["hollow"]) * told[:, None, None])[:, None]

    def cost(paint: Any, paired: bool) -> float:
        flow, mask, shade = (torch.zeros(6, n, 128, 128) for n in (2, 1, 1))
        given = batch | {"paired": torch.full((6,), paired)}
        return float(method._restraint(Strokes(flow, mask + 1, paint, shade), given))

    flat = torch.zeros_like(noise)
    assert cost(noise * lips, False) - cost(flat, False) > 0.1
    assert abs(cost(noise * lips, True) - cost(flat, True)) < 0.05


def test_a_step_with_returns_trains(build: Any, tmp_path: Path) -> None:
    method = build(
        returns=0.4, pairs=0.2, opened=1.0, labelled=0, weight_class=0.0, steps=2, save_every=2,
        teacher=str(FREE / "painter.onnx"), reader=str(FREE / "reader.onnx"), sheet_every=100,
    )  # fmt: skip
    loop.train(method, tmp_path)
    logged = (tmp_path / "log.jsonl").read_text()
    assert "inside" in logged and "nan" not in logged.lower()


# --- what the critic sees of skin


def detail(pictures: Any, where: Any) -> float:
    """The mean square of the Laplacian of pictures [N, 3, S, S] where [N, S, S] says."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(3, 1, 3, 3)
    edges = torch.nn.functional.conv2d(pictures, kernel, padding=1, groups=3)
    return float((edges.square().mean(1) * where).sum() / where.sum())


def test_the_critic_sees_soft_skin_and_sharp_mouths_and_eyes(build: Any) -> None:
    """So that it cannot have skin sharpened: of results, of real photos and of partners alike."""
    networks = build().networks
    batches, seen = {}, {}
    for sigma in (0.0, 1.5):
        method = build(soft_skin=sigma, pairs=1.0, labelled=0)
        batches[sigma] = batch = method.sample(np.random.default_rng(3), 6, 0)
        rng = np.random.default_rng(1)
        for name in ("source", "partner", "real"):  # noise, whose detail is everywhere alike
            batch[name] = torch.from_numpy(rng.integers(0, 256, (6, 128, 128, 3), np.uint8))
        shown: list[Any] = []
        method._pyramid.register_forward_pre_hook(
            lambda _, given, kept=shown: kept.append(given[0])
        )
        method.loss("painter", networks, batch, 0)
        method.loss("critic", networks, batch, 0)
        seen[sigma] = [pictures.detach() for pictures in shown]
    batch = batches[1.5]
    assert len(seen[0.0]) == len(seen[1.5]) == 3  # the result, the partner, the real photo
    for kind, sharp, soft in zip(("", "", "real_"), *seen.values(), strict=True):
        parts = batch[f"{kind}parts"][:, None]
        skin = torch.nn.functional.max_pool2d(parts, 7, 1, 3)[:, 0] == 0
        inside = -torch.nn.functional.max_pool2d(-parts, 7, 1, 3)[:, 0] > 0
        assert skin.any() and inside.any()
        assert detail(soft, skin) < 0.1 * detail(sharp, skin)
        assert detail(soft, inside) == pytest.approx(detail(sharp, inside), rel=0.05)


def test_the_parts_are_the_mouth_and_eyes_of_either_face(build: Any) -> None:
    batch = build(pairs=0.5).sample(np.random.default_rng(3), 6, 0)
    assert set(batch["parts"].unique().tolist()) == {0.0, 1.0}
    for k in (159, 13):  # an upper lid, the upper lip
        x, y = (batch["asked_points"][:, k] * align.CROP).long().clamp(0, align.CROP - 1).T
        assert batch["parts"][torch.arange(6), y, x].all()
    assert batch["parts"].shape == batch["real_parts"].shape
    assert (batch["parts"] != batch["real_parts"]).any()
