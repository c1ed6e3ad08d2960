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
from facepaint.lab import commands, drawn, evaluate, evaluate_page, recipe  # noqa: E402
from facepaint.lab.judge import Judge  # noqa: E402
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
    numbers = evaluate.report(rows, tools, "none")["to"]["happy"]
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
    evaluate_page.write(tmp_path, FACES, tools, rows, evaluate.report(rows, tools, "none"))
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
