"""The example of docs/add-a-method.md, as it stands there, under the contracts of every method."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab's extra is not installed")

from facepaint.lab import commands, loop, recipe  # noqa: E402
from facepaint.lab.data import drawn  # noqa: E402
from facepaint.lab.methods import METHODS  # noqa: E402

PAGE = Path(__file__).resolve().parents[1] / "docs" / "add-a-method.md"
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def colourist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's code as a module, and its line in the registry."""
    module = ModuleType("colourist")
    monkeypatch.setitem(sys.modules, "colourist", module)
    exec(compile(blocks("python")[0], str(PAGE), "exec"), module.__dict__)
    (line,) = blocks("text")
    assert line.strip() == '"colourist": colourist.ENTRY,'
    monkeypatch.setitem(METHODS, "colourist", module.ENTRY)


@pytest.mark.usefixtures("colourist")
def test_the_example_trains_resumes_and_shows_itself(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    path = tmp_path / "colourist.toml"
    path.write_text(blocks("toml")[0])
    small = ("data=drawn", "batch=4", "size=32", "save_every=4", "precision=32-true")
    commands.train(str(path), (*small, "steps=8"), str(tmp_path / "whole"), False, None)
    commands.train(str(path), (*small, "steps=4", "floor=1.0"), str(tmp_path / "half"), False, None)
    states = [loop.read_checkpoint(tmp_path / n) for n in ("whole", "half")]
    assert [s["step"] for s in states] == [8, 4]
    assert (tmp_path / "whole" / "sheet-000008.png").is_file()
    table = {"method": "colourist", "data": "drawn", "size": 32}
    entry = METHODS["colourist"]
    method = entry.build(recipe.settings(entry.settings, table), drawn.draw(0))
    one, two = (method.sample(np.random.default_rng(1), 4, 0) for _ in range(2))
    assert torch.equal(one["crops"], two["crops"])
    before = float(method.loss("colourist", method.networks, one, 0)[0])
    method.networks["colourist"].load_state_dict(states[0]["networks"]["colourist"])
    assert float(method.loss("colourist", method.networks, one, 0)[0]) < before
