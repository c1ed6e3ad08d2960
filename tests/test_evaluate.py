"""Evaluation on drawn faces: what it writes, how it goes on, what compare says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.errors import FacePaintError, LabError  # noqa: E402
from facepaint.face import EXPRESSIONS  # noqa: E402
from facepaint.lab import commands, recipe  # noqa: E402
from facepaint.lab.data import drawn  # noqa: E402
from facepaint.lab.measure import evaluate  # noqa: E402
from facepaint.lab.measure import report as report_page  # noqa: E402
from facepaint.lab.measure.judge import Judge  # noqa: E402
from facepaint.methods import lookup  # noqa: E402
from facepaint.models import WEIGHTS, open_model  # noqa: E402

FACES = drawn.draw(0, people=40)


@pytest.fixture
def tools() -> evaluate.Tools:
    """A judge that only looks at how bright the mouth's place is."""

    class Bright(Judge):
        def __call__(self, pictures: Any) -> Any:
            mouth = np.array([p[84:108, 44:84].mean() / 255 for p in pictures])
            rest = np.repeat((1 - mouth)[:, None] / 6, 7, 1)
            rest[:, EXPRESSIONS.index("happy")] = mouth
            return rest

    judge = Bright("brightness", EXPRESSIONS, {"happy": 0.9}, *([None] * 4))
    return evaluate.Tools(lookup("painter")(WEIGHTS), open_model("reader"), judge, None)


def test_rows_are_kept_and_a_stopped_run_goes_on(tools: evaluate.Tools, tmp_path: Path) -> None:
    count = len(evaluate.sources_for(FACES, "happy", 3))
    assert 0 < count <= 3
    whole = evaluate.measure(FACES, tools, ("happy", "neutral"), tmp_path / "a", 3)
    rows = (tmp_path / "a" / "rows.jsonl").read_text()
    assert rows.count("\n") == sum(len(x) for x in whole.values())
    half = tmp_path / "b"
    half.mkdir()
    (half / "rows.jsonl").write_text(rows[: len(rows) // 2])  # killed while writing a line
    again = evaluate.measure(FACES, tools, ("happy", "neutral"), half, 3)
    assert again == whole
    assert sorted((half / "rows.jsonl").read_text().splitlines()) == sorted(rows.splitlines())


def test_numbers_follow_from_rows(tools: evaluate.Tools, tmp_path: Path) -> None:
    rows = evaluate.measure(FACES, tools, ("happy",), tmp_path, 4)
    numbers = evaluate.report(FACES, rows, tools, "none")["to"]["happy"]
    asked, began = EXPRESSIONS.index("happy"), EXPRESSIONS.index("neutral")
    right = [r["named_after"][asked] > r["named_after"][began] for r in rows["happy"]]
    assert numbers["rate_two_way"] == np.mean(right)
    assert numbers["greatest_change_outside"] == 0
    assert "same_person_rate" not in numbers
    assert numbers["groups"]["source"]["drawn"]["faces"] == len(rows["happy"])
    assert numbers["groups"]["worst"] is None  # too few of any


def report(rate: float, low: float, high: float) -> dict[str, Any]:
    found = {"rate_two_way": rate, "rate_two_way_interval": [low, high]}
    return {"to": {"happy": found}}


@pytest.mark.parametrize(
    ("second", "verdict"),
    [((0.9, 0.85, 0.95), "better"), ((0.55, 0.5, 0.62), "no difference"), ((0.1, 0, 0.2), "worse")],
)
def test_compare(second: tuple[float, float, float], verdict: str) -> None:
    (line,) = evaluate.compare(report(0.5, 0.4, 0.6), report(*second))
    assert line.startswith(f"to happy: {verdict} ")


def test_compare_says_the_rest_too() -> None:
    a, b = report(0.5, 0.4, 0.6), report(0.5, 0.4, 0.6)
    a["to"]["happy"] |= {"spearman_of_strength": 0.9, "round_trip_255": 1.0, "rate_named": 0.5}
    b["to"]["happy"] |= {"spearman_of_strength": 0.95, "round_trip_255": 2.0, "rate_named": 0.5}
    lines = evaluate.compare(a, b)
    assert "  spearman_of_strength: 0.900 → 0.950 better" in lines
    assert "  round_trip_255: 1.000 → 2.000 worse" in lines
    assert "  rate_named: 0.500 → 0.500" in lines


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
    found = cost.arithmetic(WEIGHTS / "painter.onnx")
    assert found["gmacs"] == pytest.approx(total[0] / 1e9, rel=0.01)
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    assert found["parameters_m"] == pytest.approx(parameters, rel=0.01)
    start = cost.cold_start()
    assert 0 < start["cold_start_s"] < 20 and start.get("peak_mb_of_loading", 100) < 900
    times = cost.of_method(lookup("painter")(WEIGHTS), repeats=1)
    assert all(v > 0 for v in times.values()) and len(times) == len(cost.FACES) + 1


def test_metrics_of_another_network_are_not_put_on_a_card(tmp_path: Path) -> None:
    from facepaint.lab.graph import network_hash
    from facepaint.models import open_file

    model = tmp_path / "painter.onnx"
    model.write_bytes((WEIGHTS / "painter.onnx").read_bytes())
    found = {"faces": 3, "rate_two_way": 0.5, "groups": {"worst": None}}
    numbers: dict[str, Any] = {
        "network": "another",
        "judge": {"features": "x", "right_on_real": {"happy": 0.9}},
        "identity": "none",
        "to": {"happy": found},
        "cost": {"gmacs": 1.0, "ms_of_the_network": 2.0},
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
    good.write_text(json.dumps(report(0.5, 0.4, 0.6)))
    assert len(commands.compare(str(good), str(good))) == 1
    for text in ("", "[]", "{}"):
        bad = tmp_path / "b.json"
        bad.write_text(text)
        with pytest.raises(LabError, match=r"b\.json: not a metrics\.json"):
            commands.compare(str(good), str(bad))


def test_the_page_has_its_pictures(tools: evaluate.Tools, tmp_path: Path) -> None:
    rows = evaluate.measure(FACES, tools, ("happy",), tmp_path, 4)
    report_page.write(tmp_path, FACES, tools, rows, evaluate.report(FACES, rows, tools, "none"))
    text = (tmp_path / "report.html").read_text()
    pictures = re.findall(r'src="([^"]+)"', text)
    assert pictures == ["happy-best.png", "happy-median.png", "happy-worst.png"]
    assert all((tmp_path / p).stat().st_size > 1000 for p in pictures)
    assert "rate_two_way" in text and "http" not in text


def test_the_command_names_what_it_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = recipe.Settings
    monkeypatch.setattr(commands, "Settings", lambda: defaults(data="drawn"))

    def asked(**changes: Any) -> dict[str, Any]:
        usual = {"method": "painter", "weights": None, "targets": ("happy",), "data": None}
        usual |= {"features": "mobilenet_v2", "embedder": "none", "limit": 2}
        return usual | changes

    cases = {
        "no expression 'glad'": asked(targets=("glad",)),
        "no embedder 'face2vec'; there are dlib and none": asked(embedder="face2vec"),
        "unknown method 'paint'": asked(method="paint"),
    }
    for said, arguments in cases.items():
        with pytest.raises(FacePaintError, match=said):
            commands.evaluate(str(tmp_path / "out"), **arguments)
    assert not (tmp_path / "out").exists()
