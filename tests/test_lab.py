"""The lab: contracts that every method keeps, exact resume, export and reload, on drawn faces."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.errors import LabError  # noqa: E402
from facepaint.lab import commands, loop, recipe  # noqa: E402
from facepaint.lab.data import drawn, named  # noqa: E402
from facepaint.lab.data.faces import FaceSet  # noqa: E402
from facepaint.lab.graph import read_weights  # noqa: E402
from facepaint.lab.methods import METHODS, lookup  # noqa: E402
from facepaint.models import open_file  # noqa: E402

# What Fabric and the exporter say of their own future is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SMALL = {"data": "drawn", "width": 8, "batch": 4, "steps": 8, "warmup": 2, "precision": "32-true"}
SMALL |= {"accelerator": "cpu", "save_every": 4, "sheet_every": 1000}
# what makes each method small, or lets it begin at once
OWN: dict[str, dict[str, Any]] = {
    "reader": {},
    "painter": {"critic_from": 0},
    "mouth": {"part": "mouth", "size": 32, "widths": "32,32"},
    "eye": {"part": "eye", "size": 32, "widths": "32,32"},
    "visibility": {"fine": 8, "coarse": 8},
    "maskrcnn": {"size": 64, "channels": 16, "box_channels": 16, "mask_layers": 1},
    "sagan": {"size": 32, "sources": "", "attention": 8},
    "cyclegan": {"size": 32, "sources": "", "blocks": 1, "pool": 4},
}


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    return drawn.draw(0, people=12)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def table_of(name: str, **changes: Any) -> dict[str, Any]:
    """The settings of a small run; what the method does not know is left out."""
    known = {f.name for f in dataclasses.fields(lookup(name).settings)}
    table = SMALL | {"method": name} | OWN.get(name, {}) | changes
    return {k: v for k, v in table.items() if k in known}


def build(name: str, faces: FaceSet, **changes: Any) -> loop.Method:
    entry = lookup(name)
    settings = recipe.settings(entry.settings, table_of(name, **changes))
    seen = faces if entry.data is named.faces else entry.data(settings, None)
    return entry.build(settings, seen)


def losses_of(method: loop.Method, steps: int = 1) -> dict[str, float]:
    """The loss of each phase at fixed samples."""
    batch = method.sample(np.random.default_rng(7), 8, 0)
    return {p: float(method.loss(p, method.networks, batch, 0)[0].detach()) for p in method.phases}


# every method as its recipe has it, and those that can with their pictures made by the device
STEPPED = [n for n in METHODS if lookup(n).build is not None]  # the others are solved at once
WAYS = [pytest.param(n, {}, id=n) for n in STEPPED]
WAYS += [pytest.param(n, {"augment": "device"}, id=f"{n}-device") for n in ("reader", "painter")]


@pytest.mark.parametrize(("name", "extra"), WAYS)
def test_samples_follow_from_the_generator(
    name: str, extra: dict[str, Any], faces: FaceSet
) -> None:
    method = build(name, faces, **extra)
    one, two, other = (method.sample(np.random.default_rng(s), 4, 0) for s in (1, 1, 2))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k].nan_to_num(), two[k].nan_to_num()) for k in one)
    assert any(not torch.equal(one[k].nan_to_num(), other[k].nan_to_num()) for k in one)
    assert all(v.shape[0] == 4 for v in one.values())


@pytest.mark.parametrize("name", ["reader", "painter"])
def test_host_and_device_make_the_same_samples(name: str, faces: FaceSet) -> None:
    """The same faces in the same light; all else, masks and landmarks too, bit for bit."""
    from facepaint.lab.data.render import render

    here, there = (
        build(name, faces, augment=a).sample(np.random.default_rng(3), 32, 0)
        for a in ("host", "device")
    )
    assert not any(k.endswith("_wide") for k in here) and any(k.endswith("_wide") for k in there)
    quiet = there["look"][:, -1] == 0  # noise is drawn by other generators
    assert quiet.any()
    render(there)
    views = {"reader": ["crop"], "painter": ["source", "partner", "real"]}[name]
    for k in here.keys() - set(views):
        assert torch.equal(here[k].nan_to_num(), there[k].nan_to_num()), k
    for k in views:
        assert here[k].shape == there[k].shape and there[k].dtype == torch.uint8
        apart = (here[k].float() - there[k].float()).abs().mean((1, 2, 3))
        assert apart[quiet].max() < 3 and apart[quiet].mean() < 1, k
        assert apart.max() < 12
        other = (here[k].float() - there[k].roll(1, 0).float()).abs().mean()
        assert other > 10


@pytest.mark.parametrize(("name", "extra"), WAYS)
def test_every_trained_part_gets_a_gradient(
    name: str, extra: dict[str, Any], faces: FaceSet
) -> None:
    """Within three steps: what starts behind a zero is reached when that has moved."""
    method = build(name, faces, **extra)
    reached: set[str] = set()
    for step in range(3):
        batch = method.sample(np.random.default_rng(step), 8, step)
        for phase, names in method.phases.items():
            for network in method.networks.values():
                network.zero_grad()
            method.loss(phase, method.networks, batch, step)[0].backward()
            for n in names:
                for key, parameter in method.networks[n].named_parameters():
                    if parameter.grad is not None and parameter.grad.abs().sum() > 0:
                        reached.add(f"{n}.{key}")
                    if parameter.grad is not None:
                        parameter.data -= 0.01 * parameter.grad / (1 + parameter.grad.norm())
    wanted = {f"{n}.{k}" for n, m in method.networks.items() for k, _ in m.named_parameters()}
    assert wanted == reached


@pytest.mark.parametrize("name", STEPPED)
def test_some_steps_lower_the_loss(name: str, faces: FaceSet, tmp_path: Path) -> None:
    # without its critic, whose voice is no loss that falls
    method = build(name, faces, steps=40, batch=8, rate=2e-3, critic_from=1000)
    before = losses_of(method)
    loop.train(method, tmp_path / "run")
    after = losses_of(method)
    # the sum: of two that work against each other one may have to give way
    assert sum(after.values()) < 0.93 * sum(before.values())


def weights(run: Path) -> dict[str, Any]:
    state = loop.read_checkpoint(run)
    return {
        f"{part}.{n}.{k}": v
        for part in ("networks", "ema")
        for n, tensors in state[part].items()
        for k, v in tensors.items()
    }


@pytest.mark.parametrize(("name", "extra"), WAYS)
def test_four_steps_and_four_more_are_eight(
    name: str, extra: dict[str, Any], faces: FaceSet, tmp_path: Path
) -> None:
    extra = extra | ({"critic_from": 2} if name == "painter" else {})  # a phase that joins later
    loop.train(build(name, faces, **extra), tmp_path / "whole")
    half, sample = build(name, faces, **extra), type(build(name, faces)).sample

    def stop(self: Any, rng: np.random.Generator, count: int, step: int) -> loop.Batch:
        if step == 6:  # after the checkpoint of step 4
            raise KeyboardInterrupt
        return sample(self, rng, count, step)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(half), "sample", stop)
        loop.train(half, tmp_path / "halves")
    assert loop.read_checkpoint(tmp_path / "halves")["step"] == 4
    loop.train(build(name, faces, **extra), tmp_path / "halves", resume=True)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_killed_at_any_moment_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """SIGKILL and SIGTERM in the midst of the steps, or of a checkpoint's writing; --resume."""
    table = table_of("cyclegan", steps=60, save_every=1)
    (tmp_path / "small.toml").write_text(
        "\n".join(f"{k} = {json.dumps(v)}" for k, v in table.items())
    )
    command = [sys.executable, "-m", "facepaint", "train", str(tmp_path / "small.toml"), "--run"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, str(whole)], check=True, env=environment, **quiet)
    file, seen, resume = killed / loop.CHECKPOINT, 0.0, list[str]()
    for sent in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen([*command, str(killed), *resume], env=environment, **quiet)
        while not file.exists() or file.stat().st_mtime <= seen:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(sent)
        assert process.wait() == (-sent if sent == signal.SIGKILL else 128 + sent)
        assert loop.read_checkpoint(killed)["step"] < 60
        seen, resume = file.stat().st_mtime, ["--resume"]
    subprocess.run([*command, str(killed), "--resume"], check=True, env=environment, **quiet)
    one, two = weights(whole), weights(killed)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not [p for p in killed.rglob("*") if p.suffix == ".tmp"]


TWO = """
import json, sys
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from facepaint.lab import loop, recipe
from facepaint.lab.data import drawn
from facepaint.lab.methods import lookup

name, run, devices, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
table = json.loads(sys.argv[5]) | {"devices": devices, "steps": steps}
entry = lookup(name)
method = entry.build(recipe.settings(entry.settings, table), drawn.draw(0, people=12))
sample, counts = method.sample, []

def part(rng, count, step):
    # this process's share of what a single one would see
    counts.append(count)
    rank = int(__import__("os").environ.get("LOCAL_RANK", 0))
    whole = sample(np.random.default_rng([7, step]), table["batch"], step)
    return {k: v[rank * count:][:count] for k, v in whole.items()}

method.sample = part
loop.train(method, run, resume=(run / loop.CHECKPOINT).exists())
weights = {n: {k: v.double().sum().item() for k, v in m.state_dict().items() if "pool" not in k}
           for n, m in method.networks.items()}
rank = int(__import__("os").environ.get("LOCAL_RANK", 0))
run.with_name(f"{run.name}.{rank}.json").write_text(json.dumps([counts, weights]))
"""


def test_two_processes_are_as_one(tmp_path: Path) -> None:
    """Half of the batch each, the same weights in both, those that one process comes to; and a run
    goes on with another number of processes."""
    script = tmp_path / "train.py"
    script.write_text(TWO)
    table = table_of("cyclegan", pool=0, clip=1e9, save_every=2)

    def train(run: str, devices: int, steps: int) -> dict[str, Any]:
        asked = ["cyclegan", tmp_path / run, devices, steps, json.dumps(table)]
        command = [sys.executable, str(script), *map(str, asked)]
        here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=here)
        assert done.returncode == 0, done.stderr[-2000:]
        return dict(loop.read_checkpoint(tmp_path / run)["networks"])

    settings = recipe.settings(lookup("cyclegan").settings, table)
    fresh = lookup("cyclegan").build(settings, drawn.draw(0, people=12)).networks

    def apart(a: dict[str, Any], b: dict[str, Any]) -> float:
        """How far from each other, by how far they have come; Adam makes much of rounding."""
        keys = [(n, k) for n in a for k, v in fresh[n].named_parameters()]
        start = {(n, k): v.detach() for n in a for k, v in fresh[n].named_parameters()}
        far = sum(float((a[n][k] - b[n][k]).abs().sum()) for n, k in keys)
        return far / sum(float((b[n][k] - start[n, k]).abs().sum()) for n, k in keys)

    two, one = train("two", 2, 4), train("one", 1, 4)
    first, second = (json.loads((tmp_path / f"two.{rank}.json").read_text()) for rank in (0, 1))
    assert first == second and first[0] == [table["batch"] // 2] * 4
    assert apart(two, one) < 0.05
    assert apart(train("start", 1, 2), one) > 0.2
    assert apart(train("start", 2, 4), one) < 0.05


def test_the_command_trains_on_two_processes_and_goes_on_with_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "facepaint", "train", "reader", "--run", str(tmp_path / "run")]
    command += ["data=drawn", "batch=4", "width=8", "compile=false", "sheet_every=9"]
    for flags in (["devices=2", "steps=2"], ["devices=1", "steps=4", "--resume"]):
        done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stderr.count("trained") == 1
    assert loop.read_checkpoint(tmp_path / "run")["step"] == 4
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 4 and 0 <= last["waiting_for_data"] < 1


def test_a_batch_that_cannot_be_divided_is_named_before_others_start(
    faces: FaceSet, tmp_path: Path
) -> None:
    with pytest.raises(LabError, match="batch=3 cannot be divided over 2 processes"):
        loop.train(build("reader", faces, batch=3, devices=2), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_few_faces_of_a_class_are_named(faces: FaceSet, tmp_path: Path) -> None:
    few = dataclasses.replace(
        faces, expressions=np.where(faces.expressions == 1, 2, faces.expressions)
    )
    settings = recipe.settings(lookup("cyclegan").settings, table_of("cyclegan"))
    with pytest.raises(LabError, match="0 happy faces in the data; at least 8 are needed"):
        lookup("cyclegan").build(settings, few)
    settings = recipe.settings(lookup("sagan").settings, table_of("sagan", sources="jaffe"))
    with pytest.raises(LabError, match="jaffe: 0 labelled faces; two expressions at least"):
        lookup("sagan").build(settings, faces)
    for name, wrong in (("sagan", "objective"), ("cyclegan", "adversarial")):
        settings = recipe.settings(lookup(name).settings, table_of(name, **{wrong: "hope"}))
        with pytest.raises(LabError, match="'hope'; there are"):
            lookup(name).build(settings, faces)


@pytest.mark.parametrize("objective", ["wasserstein", "softmax_extra"])
def test_the_gans_other_objectives_train_and_resume(
    objective: str, faces: FaceSet, tmp_path: Path
) -> None:
    options = {"objective": objective, "critic_steps": 2}
    loop.train(build("sagan", faces, **options), tmp_path / "run")
    lines = build("sagan", faces, steps=20, **options)
    loop.train(lines, tmp_path / "run", resume=True)
    logged = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert all(np.isfinite(v) for v in logged.values())
    assert ("penalty" in logged) == (objective == "wasserstein")


def test_attention_is_nothing_at_first_and_then_sees_everywhere() -> None:
    from facepaint.lab.methods.sagan import SelfAttention

    torch.manual_seed(0)
    layer = SelfAttention(16, False).double()
    x = torch.randn(1, 16, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gate.fill_(1)
    layer(x)[0, :, 0, 0].sum().backward()
    assert x.grad is not None and (x.grad[0].abs().sum(0) > 0).all()
    with torch.no_grad():  # the loops that the paper writes
        q, k, v = (f(x).flatten(2)[0] for f in (layer.query, layer.key, layer.value))
        weights = torch.softmax(q.T @ k, -1)
        seen = torch.stack([sum(weights[j, i] * v[:, i] for i in range(25)) for j in range(25)], 1)
        wanted = x + layer.out(seen.view(1, -1, 5, 5))
    assert torch.allclose(layer(x), wanted)


def test_pooling_by_products_is_torchvisions() -> None:
    torchvision = pytest.importorskip("torchvision")
    from facepaint.lab.methods.maskrcnn import RoIAlign

    draw = torch.Generator().manual_seed(0)
    names, shapes = ["0", "1", "2"], [(640, 640)] * 3
    maps = {
        n: torch.randn(3, 8, s, s, generator=draw) for n, s in zip(names, (80, 40, 20), strict=True)
    }
    maps = {n: m.requires_grad_(True) for n, m in maps.items()}
    middle = torch.rand(3, 60, 2, generator=draw) * 640
    half = torch.rand(3, 60, 2, generator=draw) ** 3 * 300  # of all sizes, so of all levels
    every = torch.cat([middle - half, middle + half], 2).clamp(0, 640)
    boxes = [every[0], every[1][:7], every[2][:0]]
    for size in (7, 14):
        ours = RoIAlign(names, size, 2)(maps, boxes, shapes)
        theirs = torchvision.ops.MultiScaleRoIAlign(names, size, 2)(maps, boxes, shapes)
        assert ours.shape == (67, 8, size, size)
        assert torch.allclose(ours, theirs, atol=1e-4)
        wanted = torch.randn(ours.shape, generator=draw)
        for a, b in zip(
            torch.autograd.grad(ours, list(maps.values()), wanted),
            torch.autograd.grad(theirs, list(maps.values()), wanted),
            strict=True,
        ):
            assert torch.allclose(a, b, atol=1e-3)
    nothing = RoIAlign(names, 7, 2)(maps, [every[0][:0]], shapes)
    assert nothing.shape == (0, 8, 7, 7)


def test_halving_is_the_convolution_in_single_precision() -> None:
    from facepaint.lab.networks import Halving

    torch.manual_seed(0)
    layer, x = Halving(8, 8, 3, 2, 1, groups=8), torch.randn(2, 8, 16, 16)
    exact = torch.nn.functional.conv2d(x, layer.weight, layer.bias, 2, 1, groups=8)
    wanted = torch.autograd.grad(exact.square().sum(), layer.weight)[0]
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(x)
    assert torch.allclose(made, exact, atol=1e-6)
    made = torch.autograd.grad(made.square().sum(), layer.weight)[0]
    assert torch.allclose(made, wanted, rtol=1e-4)


def test_a_gradient_comes_back_through_frozen_features(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    from facepaint.lab.features import Pyramid

    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v2().state_dict(), tmp_path / "random.pth")
    pyramid = Pyramid(tmp_path / "random.pth")
    pictures = torch.rand(2, 3, 64, 64, requires_grad=True)
    maps = pyramid(pictures)
    assert [m.shape[1:] for m in maps] == [
        (c, 16 // 2**i, 16 // 2**i) for i, c in enumerate(pyramid.CHANNELS)
    ]
    for m in maps:
        (slope,) = torch.autograd.grad(m.square().sum() + m.sum(), pictures, retain_graph=True)
        assert slope.isfinite().all() and slope.abs().sum() > 0


def test_compile_is_asked_of_every_network_and_done_without_where_it_cannot_be(
    faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: asked.append(type(self).__name__))

    def end(run: str) -> Any:
        table = table_of("cyclegan", steps=1, compile=True)
        settings = recipe.settings(lookup("cyclegan").settings, table)
        loop.train(lookup("cyclegan").build(settings, faces), tmp_path / run)
        return loop.read_checkpoint(tmp_path / run)["networks"]["to_happy"]

    with_one = end("with")
    assert sorted(asked) == ["Generator"] * 2 + ["PatchCritic"] * 2
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.warns(UserWarning, match="needs a C\\+\\+ compiler"):
        without = end("without")
    assert len(asked) == 4
    assert all(torch.equal(v, without[k]) for k, v in with_one.items())


@pytest.mark.parametrize("name", METHODS)
def test_export_is_the_network_and_reloads(name: str, faces: FaceSet, tmp_path: Path) -> None:
    run = tmp_path / "run"
    table = table_of(name, steps=4)
    (tmp_path / "small.toml").write_text(
        "\n".join(f"{k} = {json.dumps(v)}" for k, v in table.items())
    )
    commands.train(str(tmp_path / "small.toml"), (), str(run), False, None)
    if lookup(name).graph is None:
        with pytest.raises(LabError, match="cannot be exported"):
            commands.export(str(run), str(tmp_path / f"{name}.onnx"), None)
        return
    target = tmp_path / f"{name}.onnx"
    assert commands.export(str(run), str(target), None) < 1e-3
    model = open_file(target)
    assert model.card["name"] == name and model.card["steps"] == 4
    assert model.card["data"] and model.card["what"] and model.card["limits"]
    assert bool(model.card.get("measured")) == (lookup(name).measure is not None)
    commands.adopt(str(target), str(tmp_path / "weights"))
    manifest = json.loads((tmp_path / "weights" / "manifest.json").read_text())
    assert manifest[name]["sha256"] == model.sha256
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("name", [n for n in METHODS if n not in STEPPED])
def test_what_is_solved_at_once_is_solved_alike(name: str) -> None:
    entry = lookup(name)
    assert entry.build is None and entry.solve is not None
    settings = recipe.settings(entry.settings, table_of(name))
    found = entry.data(settings, None)
    one, two = (entry.solve(settings, found)[name].state_dict() for _ in range(2))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert all(v.any() for k, v in one.items() if v.is_floating_point()), one.keys()


def test_a_mover_is_held_at_the_3d_model_and_its_card_has_its_numbers() -> None:
    from facepaint.face import BLENDSHAPES
    from facepaint.face_model import moves_3d

    entry = lookup("mover")
    assert entry.solve is not None
    settings = recipe.settings(entry.settings, table_of("mover"))
    found = entry.data(settings, None)
    one = entry.solve(settings, found)["mover"].state_dict()
    extra = entry.extra(settings, found)
    assert {"neutral", "happy"} <= set(extra["expressions"])
    assert np.allclose(extra["gap"], one["gap"], atol=1e-5)
    assert np.allclose(extra["lids"], one["lids"], atol=1e-4)
    strong = recipe.settings(entry.settings, table_of("mover", ridge=1e9))
    held = entry.solve(strong, found)["mover"].state_dict()["moves"]
    for muscle in ("jawOpen", "mouthPucker", "browInnerUp"):  # each as the model, but for its size
        i = BLENDSHAPES.index(muscle)
        wanted = moves_3d()[i, :, :2].ravel()
        along = float(held[i] @ wanted) / float(np.linalg.norm(held[i]) * np.linalg.norm(wanted))
        assert along > 0.99, muscle
    assert not np.allclose(one["moves"], held, atol=1e-3)


def test_no_change_paints_nothing(faces: FaceSet) -> None:
    from facepaint.lab.methods.painter import compose
    from facepaint.lab.networks import to_float

    method = build("painter", faces)
    painter = method.networks["painter"]
    for parameter in painter.parameters():  # as if trained
        torch.nn.init.normal_(parameter, std=0.05)
    batch = method.sample(np.random.default_rng(0), 4, 0)
    source = to_float(batch["source"])
    strokes = painter(source, torch.zeros(4, 59))
    assert not strokes.flow.any() and not strokes.mask.any() and not strokes.shade.any()
    kept = compose(source, strokes, batch["face"])
    assert torch.allclose(kept, source, atol=1e-5)


def test_a_name_changes_nothing_until_it_is_learned_and_then_alone_is_enough() -> None:
    from facepaint.lab.networks import Painter

    torch.manual_seed(0)
    painter = Painter(8)
    for name, parameter in painter.named_parameters():  # as if trained before there were names
        if name != "name.weight":
            torch.nn.init.normal_(parameter, std=0.05)
    source, change = torch.rand(7, 3, 128, 128), torch.zeros(7, 59)
    change[:, :52] = torch.rand(7, 52) * torch.tensor([0.0, *[0.04, 0.4] * 3])[:, None]
    with_name = change.clone()
    with_name[:, 52:] = torch.eye(7)
    with torch.no_grad():
        before = painter(source, change)
        assert all(map(torch.equal, before, painter(source, with_name)))
        torch.nn.init.normal_(painter.name.weight)
        assert all(map(torch.equal, before, painter(source, change)))
        after = painter(source, with_name)
    for old, new in zip(before, after, strict=True):
        assert ((old - new).flatten(1).abs().amax(1) > 1e-4).all()
    assert after.flow[0].any() and after.mask[0].any()  # no change of blendshapes there


def test_the_lab_and_the_runtime_compose_alike(faces: FaceSet) -> None:
    """At the crop's own size the runtime does to the photo what training saw."""
    from facepaint import align
    from facepaint.composite import composite
    from facepaint.lab.methods.painter import compose
    from facepaint.lab.networks import Strokes as Tensors
    from facepaint.methods import Strokes
    from facepaint.segment import face_mask

    rng = np.random.default_rng(0)
    size = align.CROP
    i = int(np.flatnonzero(faces.is_face)[0])
    crop = align.crop(faces.crops[i], np.array([[140, 0, 42], [0, 140, 42]], np.float32))
    mask = face_mask(faces.landmarks[i])

    def smooth(channels: int, scale: float) -> np.ndarray:
        import cv2

        coarse = rng.normal(0, scale, (6, 6, channels)).astype(np.float32)
        out = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        return out.reshape(size, size, channels)

    flow, cover = smooth(2, 0.02), np.clip(smooth(1, 0.5), 0, 1)
    paint, shade = smooth(3, 0.1), smooth(1, 0.1)
    tensors = [torch.from_numpy(a).permute(2, 0, 1)[None] for a in (flow, cover, paint, shade)]
    source = torch.from_numpy(crop).permute(2, 0, 1)[None] / 255
    wanted = compose(source, Tensors(*tensors), torch.from_numpy(mask)[None])[0]
    got = crop.copy()
    frame = np.array([[size, 0, 0], [0, size, 0]], np.float32)
    composite(got, frame, Strokes(flow, cover[..., 0], paint, shade[..., 0]), mask)
    difference = np.abs(got - wanted.permute(1, 2, 0).numpy() * 255)
    assert difference.mean() < 1.0  # the runtime interpolates by cubics
    assert np.abs(got.astype(float) - crop).mean() > 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("stepz=3",), "did you mean steps"),
        (("steps=many",), "should be of type int"),
        (("augment=gpu",), "there are host and device"),
        (("workers=0",), "setting workers=0 should be at least 1"),
        (("save_every=0",), "setting save_every=0 should be at least 1"),
        (("sheet_every=0",), "setting sheet_every=0 should be at least 1"),
        (("batch=0",), "setting batch=0 should be at least 1"),
        (("width=0",), "setting width=0 should be at least 1"),
        (("steps=0",), "setting steps=0 should be at least 1"),
        (("devices=0",), "setting devices=0 should be at least 1"),
        (("method=cyclegan", "size=0"), "setting size=0 should be at least 1"),
        (("rate=-1",), "setting rate=-1.0 should be at least 0"),
        (("rate=nan",), "setting rate=nan should be at least 0"),
        (("seed=-1",), "setting seed=-1 should be at least 0"),
        (("beta2=1",), "setting beta2=1.0 should be below 1"),
        (("precision=half",), "no precision='half'; there are auto, 32-true, bf16-mixed"),
        (("accelerator=npu",), "no accelerator='npu'; there are auto, cpu, gpu"),
        (("steps",), "no key=value"),
        (('data="elsewhere"',), "neither"),
        (('method="dreamer"',), "there are reader, painter, mover, mouth"),
        (('reader="/nowhere"', 'data="drawn"', 'method="painter"'), "no checkpoint at"),
    ],
)
def test_a_wrong_recipe_is_one_clear_line(
    changes: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(LabError, match=said) as error:
        commands.train("reader", changes, str(tmp_path / "run"), False, str(tmp_path))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_precisions_and_accelerators_are_fabrics() -> None:
    from typing import get_args

    from lightning_fabric.accelerators import ACCELERATOR_REGISTRY
    from lightning_fabric.plugins.precision import precision

    known = [v for kind in get_args(precision._PRECISION_INPUT) for v in get_args(kind)]
    names = recipe._NAMES
    assert set(names["precision"]) == {recipe.AUTO, *(v for v in known if isinstance(v, str))}
    theirs = {*ACCELERATOR_REGISTRY.available_accelerators(), "gpu"}
    assert set(names["accelerator"]) == {recipe.AUTO, *theirs}


def test_a_method_needs_no_small_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OWN, "cyclegan")
    assert table_of("cyclegan")["width"] == SMALL["width"] and "pool" not in table_of("cyclegan")


@pytest.mark.parametrize("name", ["reader", "cyclegan", "maskrcnn"])
def test_data_without_held_out_people_have_a_sheet(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of people trained on."""
    from facepaint.lab.data import scenes

    monkeypatch.setattr(scenes, "is_held_out", lambda name: False)
    faces = drawn.draw(0, people=12)
    method = build(name, dataclasses.replace(faces, held_out=np.zeros(len(faces), bool)))
    with torch.no_grad():
        sheet = method.sheet({n: m.eval() for n, m in method.networks.items()})
    assert sheet.dtype == np.uint8 and sheet.std() > 10


def test_recipes_and_data_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACEPAINT_DATA", raising=False)
    with pytest.raises(LabError, match="there are cyclegan-colour, cyclegan-cpu"):
        recipe.read("raeder")
    for data in (b"\xff", b"[" * 100_000, b"steps ="):
        (tmp_path / "x.toml").write_bytes(data)
        with pytest.raises(LabError, match="not valid TOML"):
            recipe.read(str(tmp_path / "x.toml"))
    with pytest.raises(LabError, match="set FACEPAINT_DATA"):
        commands.train("reader", (), str(tmp_path / "run"), False, None)
    with pytest.raises(LabError, match="no photos in a layout that is known"):
        commands.train("reader", (), str(tmp_path / "run"), False, str(tmp_path))
    (tmp_path / "x.parquet").write_bytes(b"nonsense")
    with pytest.raises(LabError, match=r"x\.parquet: not a Parquet file"):
        commands.train("reader", (), str(tmp_path / "run"), False, str(tmp_path))


def test_a_run_is_not_started_over_nor_a_damaged_one_resumed(
    faces: FaceSet, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    loop.train(build("reader", faces, steps=2), run)
    kept = (run / loop.CHECKPOINT).read_bytes()
    with pytest.raises(LabError, match="holds a run already"):
        loop.train(build("reader", faces, steps=2), run)
    assert (run / loop.CHECKPOINT).read_bytes() == kept
    with pytest.raises(LabError, match="a run of reader, not of painter"):
        loop.train(build("painter", faces, steps=2), run, resume=True)
    with pytest.raises(LabError, match="built otherwise"):
        loop.train(build("reader", faces, steps=4, width=16), run, resume=True)
    torch.save({"weight": torch.zeros(3)}, run / loop.CHECKPOINT)
    with pytest.raises(LabError, match="not the checkpoint of a run"):
        loop.train(build("reader", faces, steps=4), run, resume=True)
    (run / loop.CHECKPOINT).write_bytes(kept[: len(kept) // 2])
    with pytest.raises(LabError, match="damaged"):
        loop.train(build("reader", faces, steps=4), run, resume=True)


def test_a_checkpoint_is_whole_or_the_old_one(faces: FaceSet, tmp_path: Path) -> None:
    method = build("reader", faces)
    path = tmp_path / loop.CHECKPOINT
    loop.save(path, 1, method.settings, method.networks, method.networks, {})
    before = path.read_bytes()

    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))  # as a full disk
    try:
        with pytest.raises(OSError, match="too large"):
            loop.save(path, 2, method.settings, method.networks, method.networks, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [loop.CHECKPOINT]


def test_a_run_can_start_from_anothers_weights(faces: FaceSet, tmp_path: Path) -> None:
    loop.train(build("reader", faces, steps=4), tmp_path / "first")
    again = build("reader", faces, steps=1, rate=0.0, decay=0.0, start=str(tmp_path / "first"))
    loop.train(again, tmp_path / "second")
    one, two = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert all(torch.allclose(one[k], two[k], atol=1e-6) for k in one if k.startswith("ema."))
    with pytest.raises(LabError, match="holds no network like painter"):
        wrong = build("painter", faces, steps=1, start=str(tmp_path / "first"))
        loop.train(wrong, tmp_path / "third")


def test_a_run_can_start_from_weights_of_before_a_part_was_added(
    faces: FaceSet, tmp_path: Path
) -> None:
    """A new part stays fresh; weights of another shape, or with a part too many, are not taken."""
    loop.train(build("painter", faces, steps=2), tmp_path / "first")
    state = loop.read_checkpoint(tmp_path / "first")
    state["ema"]["painter"].pop("name.weight")
    torch.save(state, tmp_path / "old.pt")
    options: dict[str, Any] = {"steps": 1, "rate": 0.0, "decay": 0.0}
    again = build("painter", faces, start=str(tmp_path / "old.pt"), **options)
    loop.train(again, tmp_path / "second")
    made = loop.read_checkpoint(tmp_path / "second")["ema"]["painter"]
    for key, value in state["ema"]["painter"].items():
        assert torch.allclose(made[key], value, atol=1e-6), key
    assert not made["name.weight"].any()
    state["ema"].pop("critic")  # whose width is another's, so that it would be alike
    torch.save(state, tmp_path / "old.pt")
    state["ema"]["painter"]["newer.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "newer.pt")
    for start, width in (("old.pt", 16), ("newer.pt", 8)):
        wrong = build("painter", faces, width=width, start=str(tmp_path / start), **options)
        with pytest.raises(LabError, match="holds no network like painter"):
            loop.train(wrong, tmp_path / "third")


@pytest.mark.parametrize("name", ["reader", "painter"])
def test_a_run_can_start_from_what_ships(name: str, faces: FaceSet, tmp_path: Path) -> None:
    """Every weight comes back as the file holds it; a run that does not learn keeps them."""
    from facepaint.models import WEIGHTS

    shipped = WEIGHTS / ("open" if name == "painter" else "") / f"{name}.onnx"
    method = build(name, faces, width=16, steps=1, rate=0.0, decay=0.0, start=str(shipped))
    fresh = {k: v.clone() for k, v in method.networks[name].state_dict().items()}
    loop.train(method, tmp_path / "run")
    kind, saved = read_weights(shipped)
    state = loop.read_checkpoint(tmp_path / "run")["ema"][name]
    assert kind == name and saved.keys() >= state.keys()
    assert all(torch.allclose(state[k], saved[k], atol=1e-6) for k in state)
    assert any(not torch.equal(state[k], fresh[k]) for k in state)
    (tmp_path / "x.onnx").write_bytes(b"nonsense")
    with pytest.raises(LabError, match=r"x\.onnx: not an exported network"):
        loop.train(build(name, faces, start=str(tmp_path / "x.onnx")), tmp_path / "other")


def test_the_log_is_json_lines_and_sheets_are_pictures(faces: FaceSet, tmp_path: Path) -> None:
    from PIL import Image

    loop.train(build("painter", faces, steps=20, batch=2, sheet_every=20), tmp_path / "run")
    lines = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 20 and lines[-1]["flow"] > 0
    with Image.open(tmp_path / "run" / "sheet-000020.png") as sheet:
        assert min(sheet.size) > 100


def test_the_log_of_a_run_that_was_killed_holds_each_step_once(
    faces: FaceSet, tmp_path: Path
) -> None:
    loop.train(build("reader", faces, steps=20), tmp_path)
    with (tmp_path / "log.jsonl").open("a") as log:  # steps after the checkpoint, and half a line
        log.write('{"step": 40, "loss": 1.0}\n{"step": 60, "lo')
    loop.train(build("reader", faces, steps=40), tmp_path, resume=True)
    lines = [json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines] == [20, 40] and "samples_a_second" in lines[1]
