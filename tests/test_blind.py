"""Blind sheets: who is on them, what a judge sees, and how answers are scored."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

pa = pytest.importorskip("pyarrow", reason="the lab's extra is not installed")
pytest.importorskip("torch", reason="the lab's extra is not installed")

import pyarrow.parquet as pq  # noqa: E402

from facepaint import align, cli  # noqa: E402
from facepaint.edit import Edit  # noqa: E402
from facepaint.errors import LabError  # noqa: E402
from facepaint.face import BLENDSHAPES, EXPRESSIONS, Box, Face  # noqa: E402
from facepaint.inspection import inspect  # noqa: E402
from facepaint.lab import commands  # noqa: E402
from facepaint.lab.data import drawn  # noqa: E402
from facepaint.lab.data.split import is_held_out  # noqa: E402
from facepaint.lab.measure import blind  # noqa: E402

PEOPLE = [name for n in range(400) if is_held_out(name := f"p{n}")]  # about 50
TRAINED_ON = next(name for n in range(400) if not is_held_out(name := f"p{n}"))
SIZE = 400  # pixels a side of the photos that the tests make
SHIFT = np.array([SIZE / 2 - 100, SIZE / 2 - 80], np.float32)


def _points() -> np.ndarray:
    """The landmarks of a drawn, upright face whose crop is 200 pixels wide, mouth closed."""
    made = drawn.draw(0, people=2)
    points = made.landmarks[int(np.flatnonzero(made.is_face)[0])] * 200 + SHIFT
    points[14] = points[13]
    return points.astype(np.float32)


POINTS = _points()


def record(subject: str, label: str | None, source: str = "ours", **changes: Any) -> dict[str, Any]:
    """A row of a Parquet file; the photo's grey tells people apart."""
    points = np.array(changes.get("points", POINTS))
    if label in ("happy", "surprised") and changes.get("teeth", True):
        points[14, 1] += 0.2 * np.linalg.norm(points[61] - points[291])
    blend = np.zeros(len(BLENDSHAPES), np.float32)
    for name, value in changes.get("blend", {}).items():
        blend[BLENDSHAPES.index(name)] = value
    shade = 40 + sum(map(ord, subject)) % 150
    buffer = io.BytesIO()
    Image.new("RGB", (SIZE, SIZE), (shade,) * 3).save(buffer, "PNG")
    return {
        "image": changes.get("image", buffer.getvalue()),
        "landmarks": points.ravel().tolist(),
        "blendshapes": blend.tolist(),
        "expression": label,
        "subject": subject,
        "source": source,
    }


def folder_of(home: Path, rows: list[dict[str, Any]]) -> Path:
    home.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), home / "ours.parquet")
    return home


class Inverts:
    """A painter that finds the drawn face where it is and inverts what is around it."""

    def __init__(self, misses: tuple[int, ...] = ()) -> None:
        self.misses = misses  # calls of `faces` that find nothing
        self.calls = 0
        self.edited: list[Edit] = []

    def faces(self, image: np.ndarray) -> list[Face]:
        self.calls += 1
        if self.calls - 1 in self.misses:
            return []
        box, one = Box(0, 0, 9, 9, 1), np.full(7, 1 / 7, np.float32)
        blend = np.zeros(len(BLENDSHAPES), np.float32)
        far = Face(0, box, POINTS + 90, blend, 1.0, one)
        return [far, Face(1, box, POINTS, blend, 1.0, one)]

    def paint(
        self, pixels: np.ndarray, edits: list[tuple[Face, Edit]]
    ) -> tuple[np.ndarray, list[tuple[Face, Edit]]]:
        ((face, edit),) = edits
        assert face.index == 1  # the one that the set means
        self.edited.append(edit)
        after = pixels.copy()
        after[100:300, 100:300] = 255 - after[100:300, 100:300]
        return after, edits


def drawn_of(
    home: Path, to: str, count: int, painter: Any = None, seed: int = 0
) -> list[blind.Portrait]:
    rng = np.random.default_rng(seed)
    return blind.draw(blind.candidates(home, to), painter or Inverts(), to, count, 64, rng)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people who are neutral, six who smile, and two who do both; one who was trained on."""
    rows = [record(p, "neutral") for p in PEOPLE[:6]] + [record(p, "happy") for p in PEOPLE[6:12]]
    rows += [record(p, e) for p in PEOPLE[12:14] for e in ("neutral", "happy")]
    rows += [record(TRAINED_ON, "neutral"), record(TRAINED_ON, "happy")]
    return folder_of(tmp_path_factory.mktemp("data"), rows)


def test_even_halves_of_held_out_people_and_nobody_twice(home: Path) -> None:
    for to, start in (("happy", "neutral"), ("neutral", "happy")):
        painter = Inverts()
        made = drawn_of(home, to, 100, painter)
        edited = [p for p in made if p.to]
        assert len(made) == 14 and len(edited) == 7  # of 8 and 8, two of whom are the same
        people = {p.candidate.subject for p in made}
        assert len(people) == len(made) and TRAINED_ON not in people
        assert {p.candidate.expression for p in edited} == {start}
        assert {p.candidate.expression for p in made if not p.to} == {to}
        assert painter.edited == [Edit(to)] * 7
        assert len(drawn_of(home, to, 6)) == 6


def test_only_the_edit_differs(home: Path) -> None:
    for one in drawn_of(home, "happy", 100):
        photo = one.candidate.load()
        wanted = Inverts().paint(photo, [(Inverts().faces(photo)[1], Edit("happy"))])[0]
        wanted = blind.resized(wanted if one.to else photo, one.candidate.cut, 64)
        assert one.pixels.shape == (64, 64, 3) and np.array_equal(one.pixels, wanted)


def test_a_seed_decides_everything(home: Path, tmp_path: Path) -> None:
    made = [drawn_of(home, "happy", 8, seed=seed) for seed in (5, 5, 6)]
    for name, portraits in zip("abc", made, strict=True):
        blind.write(tmp_path / name, portraits, "happy", {})
    a, b, c = ({p.name: p.read_bytes() for p in sorted((tmp_path / n).iterdir())} for n in "abc")
    assert a == b and a["key.json"] != c["key.json"]
    order = [[p.to for p in portraits] for portraits in made]
    assert order[0] != order[2] or made[0][0].candidate.subject != made[2][0].candidate.subject


def test_halves_come_from_the_same_sets_and_preferred_ones_first(tmp_path: Path) -> None:
    rows = []
    for n, source in enumerate(("utkface", "taiwan", "celebamask", "lfw")):
        some = PEOPLE[10 * n : 10 * n + 10]
        rows += [record(p, "neutral", source) for p in some[: 5 if source != "lfw" else 10]]
        rows += [record(p, "happy", source) for p in some[5:] if source != "lfw"]  # lfw: one half
    folder = folder_of(tmp_path, rows)
    for count, sets in ((6, {"celebamask": 3}), (14, {"celebamask": 5, "taiwan": 2})):
        made = drawn_of(folder, "happy", count)
        for half in (True, False):
            sources = [p.candidate.source for p in made if bool(p.to) is half]
            assert {s: sources.count(s) for s in sources} == sets
    assert {p.candidate.source for p in drawn_of(folder, "happy", 100)} == {
        "celebamask",
        "taiwan",
        "utkface",
    }


def test_small_faces_and_sets_of_last_resort_come_last() -> None:
    def rank(source: str, side: float) -> tuple[bool, bool, int]:
        frame = align.IDENTITY * np.float32(side)
        at = ("neutral", "x", source, "f", 1, frame, blind.Square(0, 0, 9), lambda: POINTS)
        return blind.Candidate(*at).rank

    order = [("celebamask", 400), ("london", 400), ("ours", 400), ("celebamask", 200)]
    order += [("taiwan", 299), ("fei", 400), ("lfw", 100), ("utkface", 290)]
    ranks = [rank(*which) for which in order]
    assert ranks == sorted(ranks)


def test_faces_of_very_different_size_are_no_pair(tmp_path: Path) -> None:
    centre = POINTS.mean(0)
    small = (POINTS - centre) * 0.6 + centre
    rows = [record(PEOPLE[0], "neutral"), record(PEOPLE[1], "happy", points=small)]
    with pytest.raises(LabError, match=r"1 held-out neutral photos, 1 happy ones"):
        drawn_of(folder_of(tmp_path, rows), "happy", 2)


@pytest.mark.parametrize(
    ("label", "blend", "gap", "shown"),
    [
        ("sad", {}, 0.0, "sad"),
        ("neutral", {}, 0.0, "neutral"),
        ("neutral", {}, 0.2, None),  # a mouth that talks
        (None, {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.5}, 0.0, "happy"),
        (None, {"mouthSmileLeft": 0.3, "mouthSmileRight": 0.3}, 0.0, None),
        (None, {"mouthSmileLeft": 0.1, "mouthSmileRight": 0.05}, 0.0, "neutral"),
        (None, {"jawOpen": 0.2}, 0.0, None),
        (None, {"jawOpen": np.nan, "mouthSmileLeft": np.nan}, 0.0, None),
    ],
)
def test_what_a_face_shows(
    label: str | None, blend: dict[str, float], gap: float, shown: str | None
) -> None:
    points, values = POINTS.copy(), np.zeros(len(BLENDSHAPES), np.float32)
    points[14, 1] += gap * np.linalg.norm(points[61] - points[291])
    assert blind.mouth_gap(points) == pytest.approx(gap, abs=1e-4)
    for name, value in blend.items():
        values[BLENDSHAPES.index(name)] = value
    place = -1 if label is None else EXPRESSIONS.index(label)
    assert blind.shown_by(place, points, values) == shown


def test_who_is_left_out(tmp_path: Path) -> None:
    turned = POINTS.copy()
    turned[1, 0] += 0.4 * (POINTS[454, 0] - POINTS[234, 0])
    cut_off = POINTS + np.float32(SIZE / 2)
    rows = [record(PEOPLE[0], "neutral"), record(PEOPLE[1], "sad")]
    rows += [record(PEOPLE[2], "neutral", points=p) for p in (turned, cut_off)]
    rows += [record(PEOPLE[3], "happy", teeth=False), record(PEOPLE[4], "happy")]
    folder = folder_of(tmp_path, rows)
    found = {to: blind.candidates(folder, to) for to in ("happy", "neutral", "sad")}
    assert [c.row for c in found["happy"]] == [1, 6]
    assert [c.row for c in found["neutral"]] == [1, 5, 6]  # a closed smile may be edited away
    assert [c.row for c in found["sad"]] == [1, 2]
    assert found["happy"][0].file == "ours.parquet"


def test_other_layouts_and_scenes(tmp_path: Path, portrait: np.ndarray) -> None:
    for part, label in (("train", "happy"), ("test", "happy")):
        (tmp_path / part / label).mkdir(parents=True)
        Image.fromarray(portrait).save(tmp_path / part / label / "a.png")
    (found,) = blind.candidates(tmp_path, "neutral")
    assert (found.file, found.expression) == ("test/happy/a.png", "happy")
    assert np.array_equal(found.load(), portrait)
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    row = {"image": b"", "name": "x", "boxes": [], "landmarks": []}
    pq.write_table(pa.Table.from_pylist([row]), scenes / "scenes.parquet")
    assert blind.candidates(scenes, "happy") == []


def test_a_face_that_is_not_found_is_in_neither_half(home: Path) -> None:
    for misses in range(6):
        made = drawn_of(home, "happy", 8, Inverts((misses,)))
        assert len(made) == 8 and sum(bool(p.to) for p in made) == 4
    with pytest.raises(LabError, match="no two people of one set"):
        drawn_of(home, "happy", 8, Inverts(tuple(range(1000))))


def test_an_edit_that_changes_nothing_is_no_edit(home: Path) -> None:
    class Idle(Inverts):
        def paint(self, pixels: Any, edits: Any) -> Any:
            return pixels.copy(), []

    with pytest.raises(LabError, match="no two people"):
        drawn_of(home, "happy", 8, Idle())


@pytest.mark.parametrize("shape", [(500, 700), (700, 300), (90, 90)])
def test_a_portrait_shows_nothing_beside_the_photo(shape: tuple[int, int]) -> None:
    for x, y in ((0, 0), (150, 200), (600, 10), (-50, 480)):
        frame = np.array([[200, 0, x], [0, 200, y]], np.float32)
        cut = blind.square_around(frame, shape)
        assert cut.side == min(300, *shape)
        assert 0 <= cut.x <= shape[1] - cut.side and 0 <= cut.y <= shape[0] - cut.side
    cut = blind.square_around(np.array([[200, 0, 200], [0, 200, 150]], np.float32), (500, 700))
    assert cut == (150, 100, 300)  # around the crop's centre where there is room


def test_a_sheet_has_a_number_above_each_portrait() -> None:
    portraits = [np.full((96, 96, 3), 30 * n, np.uint8) for n in range(6)]
    page = blind.sheet(portraits, 9)
    size, gap = 96, 4
    assert page.shape == (2 * (22 + size + gap), gap + 4 * (size + gap), 3)
    for n, pixels in enumerate(portraits):
        x, y = gap + n % 4 * (size + gap), n // 4 * (22 + size + gap)
        assert np.array_equal(page[y + 22 : y + 22 + size, x : x + size], pixels)
        ink = page[y : y + 22, x : x + size].min(2) < 128
        assert 10 < ink.sum() < 400 and not ink[0].any() and not ink[-1].any()
        assert abs(np.nonzero(ink)[1].mean() - size / 2) < 4


def test_the_files(home: Path, tmp_path: Path) -> None:
    made = drawn_of(home, "happy", 14)
    key = blind.write(tmp_path / "out", made, "happy", {"seed": 3})
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["answers.csv-template", "key.json", "sheet-1.png", "sheet-2.png"]
    assert json.loads((tmp_path / "out" / "key.json").read_text()) == key
    assert (key["seed"], key["to"], key["from"]) == (3, "happy", "neutral")
    rows = key["portraits"]
    assert [r["number"] for r in rows] == list(range(1, 15))
    assert [r["sheet"] for r in rows] == ["sheet-1.png"] * 12 + ["sheet-2.png"] * 2
    for row, one in zip(rows, made, strict=True):
        assert row["edited"] == bool(one.to) and row["to"] == one.to
        assert row["from"] == one.candidate.expression and row["subject"] == one.candidate.subject
        assert (row["set"], row["file"]) == ("ours", "ours.parquet")
    table = pq.read_table(home / "ours.parquet").to_pylist()
    assert all(table[r["row"] - 1]["subject"] == r["subject"] for r in rows)
    template = (tmp_path / "out" / "answers.csv-template").read_text().splitlines()
    assert template == ["number,answer", *(f"{n}," for n in range(1, 15))]
    page = cv2.imread(str(tmp_path / "out" / "sheet-1.png"))
    assert np.array_equal(page[..., ::-1], blind.sheet([p.pixels for p in made[:12]], 1))
    # every sheet says that parts of it are edited, whichever they are
    assert inspect(tmp_path / "out" / "sheet-2.png").marks[0].faces == ()
    with pytest.raises(LabError, match="already holds blind sheets"):
        blind.check_new(tmp_path / "out")


# --- scoring


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Ten portraits, the odd ones edited."""
    rows = [{"number": n, "edited": n % 2 == 1} for n in range(1, 11)]
    (tmp_path / "key.json").write_text(json.dumps({"portraits": rows}))
    return tmp_path / "key.json"


RIGHT = {n: "edited" if n % 2 else "untouched" for n in range(1, 11)}


def answers_of(home: Path, said: dict[int, str], form: str = "csv") -> Path:
    path = home / f"answers.{form}"
    text = "number,answer\n" + "".join(f"{n},{a}\n" for n, a in said.items())
    path.write_text(json.dumps(said) if form == "json" else text)
    return path


@pytest.mark.parametrize("form", ["csv", "json"])
def test_scores(key: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = RIGHT | {1: "untouched", 2: "edited", 4: "edited"}
    score = blind.score(str(key), str(answers_of(tmp_path, said, form)))
    assert score == blind.Score(edited=5, found=4, untouched=5, taken=2)
    assert (score.count, score.right) == (10, 7)
    cli.main(["blind-score", str(key), str(answers_of(tmp_path, said, form))])
    assert capsys.readouterr().out.splitlines() == [
        "right calls: 7 of 10, 70% (95% interval 40% to 89%; guessing gives 50%)",
        "edited, found: 4 of 5, 80%",
        "untouched, taken for edited: 2 of 5, 40%",
    ]


def test_what_spreadsheets_write_is_read(key: Path, tmp_path: Path) -> None:
    rows = [f'"{n}", {a.upper()} ' for n, a in RIGHT.items()]
    path = tmp_path / "a.csv"
    path.write_bytes("\r\n".join(["Number,Answer", *rows, "", ","]).encode("utf-8-sig"))
    assert blind.score(str(key), str(path)).right == 10
    path.write_text("\n".join(f"{n},{a}" for n, a in RIGHT.items()))  # no heading
    assert blind.score(str(key), str(path)).right == 10


@pytest.mark.parametrize(("right", "count"), [(5, 10), (0, 10), (48, 48), (31, 48), (1, 1)])
def test_wilson(right: int, count: int) -> None:
    """By definition the shares p from which the observed one is z standard errors of p away."""
    low, high = blind.wilson(right, count)
    share = right / count
    for end in (low, high):
        away = blind.Z_95 * (end * (1 - end) / count) ** 0.5
        assert abs(share - end) == pytest.approx(away, abs=1e-7)
    assert low <= share <= high and low < high


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("number,answer\n1,edited\n", "no answer for 2, 3, 4, 5, 6 and 4 more; answer every"),
        ("1,edted", "row 1: unknown answer 'edted'; did you mean edited?"),
        ("1,untuched", "did you mean untouched?"),
        ("1,42", "unknown answer '42'; choose from edited, untouched"),
        ("1,edited\n1,edited", "row 2: portrait 1 is answered twice"),
        ("one,edited", "row 1: 'one' is no portrait's number"),
        ("²,edited", "row 1: '²' is no portrait's number"),
        ("1;edited", "row 1: not like 1,edited"),
        ("1,edited,sure", "row 1: not like 1,edited"),
        ("11,edited\n12,edited", "number 11, 12 is on no sheet"),
        ("", "no answer for 1, 2, 3, 4, 5 and 5 more"),
        ('{"1": "edited"', "not whole JSON"),
        ('{"1": true}', 'not like {"1": "edited"} at \'1\''),
        ('{"1": {"a": 1}}', 'not like {"1": "edited"}'),
        ('{"1": "edited", "1": "untouched"}', "portrait 1 is answered twice"),
        ("{}", "no answer for 1, 2"),
        (b"\xff\xfe1", "not a text file"),
        (b"1,\0edited", "a.csv"),
    ],
)
def test_answers_that_cannot_be_scored_are_one_line(
    text: str | bytes, said: str, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SystemExit) as end:
        cli.main(["blind-score", str(key), str(path)])
    shown = capsys.readouterr()
    assert end.value.code == 2 and shown.out == "" and shown.err.count("\n") == 1
    assert said in shown.err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"portraits": []}',
        '{"portraits": {}}',
        '{"portraits": [{"number": 1}]}',
        '{"portraits": [{"number": "1", "edited": true}]}',
        '{"portraits": [{"number": 1, "edited": 1}]}',
        '{"portraits": [{"number": [], "edited": true}]}',
        '{"portraits": [{"number": 1, "edited": true}, {"number": 1, "edited": false}]}',
        "[" * 100_000,
        "number,answer\n1,edited\n",
    ],
)
def test_what_is_no_key_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "k.json").write_text(text)
    with pytest.raises(LabError, match=r"k\.json: not the key\.json of"):
        blind.read_key(str(tmp_path / "k.json"))


def test_files_that_cannot_be_read(key: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(LabError, match="cannot be read"):
            blind.read_answers(str(path))
    with pytest.raises(LabError, match="not a text file"):
        blind.read_key("a\0b")


def test_no_bytes_end_in_a_traceback(key: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = [answers_of(tmp_path, RIGHT, f).read_bytes() for f in ("csv", "json")]
    whole.append(key.read_bytes())
    for n in range(600):
        data = bytearray(whole[n % 3])
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        (tmp_path / "x").write_bytes(data)
        for read in (blind.read_answers, blind.read_key):
            try:
                read(str(tmp_path / "x"))
            except LabError as error:
                assert "\n" not in str(error)


# --- from end to end


def test_the_command_line_asks_for_what_it_was_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def stand_in(what: Any, out: str, listen: Any) -> Any:
        asked.append((what, out))
        return {"to": what.to, "portraits": [None] * 12}

    monkeypatch.setattr(commands, "blind", stand_in)
    line = "--blind o --method cyclegan --weights w --to sad --count 14 --size 99 --seed 7 --data d"
    cli.main(["evaluate", *line.split()])
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "facepaint: only 12 of 14 portraits: too few held-out people in the data"
    assert shown[1] == "o: 12 portraits, 6 of them edited to sad"
    assert shown[2].endswith("facepaint blind-score o/key.json ANSWERS")
    cli.main(["evaluate", "x.onnx", "--blind", "o"])
    every = commands.Blind(None, "cyclegan", "w", "sad", "d", 14, 99, 7)
    assert asked == [(every, "o"), (commands.Blind(model="x.onnx"), "o")]
    monkeypatch.setattr(commands, "evaluate", stand_in)
    for wrong, said in (
        ("--blind o --limit 3", "--limit does not apply to --blind"),
        ("--blind o --report r", "--report does not apply to --blind"),
        ("--blind o --judge fer", "--judge does not apply to --blind"),
        ("--count 4", "--count does not apply to an evaluation without --blind"),
        ("--seed 0", "--seed does not apply"),
        ("--blind o --to sad --to happy", "sheets are of one expression: give --to once"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["evaluate", *wrong.split()])
        assert said in capsys.readouterr().err


def test_the_help_says_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["evaluate", "--help"])
    said, default = " ".join(capsys.readouterr().out.split()), commands.Blind()
    assert f"Portraits on them; {default.count} by default." in said
    assert f"Side of one in pixels; else {default.size}." in said
    assert f"Decides who is on them; {default.seed} by default." in said


def test_what_cannot_be_made_is_said_before_any_work(tmp_path: Path) -> None:
    for asked, said in (
        ({"count": 5}, "5 portraits have no two halves; give an even count"),
        ({"to": "glad"}, "repaint cannot make a face 'glad'; choose from neutral, happy"),
        ({"to": "sad", "weights": "open"}, "cannot make a face 'sad'; choose from neutral, happy"),
    ):
        with pytest.raises(Exception, match=said):
            commands.blind(commands.Blind(data=str(tmp_path), **asked), str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def test_a_photo_is_edited_by_what_ships(
    tmp_path: Path, astronaut: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two "people" of one photo, one of whom passes for neutral: they differ by the edit alone."""
    import facepaint

    face = facepaint.load().faces(astronaut)[0]
    buffer = io.BytesIO()
    Image.fromarray(astronaut).save(buffer, "PNG")
    closed = face.landmarks.copy()
    closed[14] = closed[13]
    rows = [record(PEOPLE[0], "happy", points=face.landmarks, image=buffer.getvalue())]
    rows.append(record(PEOPLE[1], "neutral", points=closed, image=buffer.getvalue()))
    data, out = folder_of(tmp_path / "data", rows), tmp_path / "out"
    line = f"evaluate --blind {out} --to neutral --data {data} --size 128 --count 4"
    cli.main(line.split())
    assert "only 2 of 4 portraits" in capsys.readouterr().err
    made = json.loads((out / "key.json").read_text())
    assert set(made["networks"]) >= {"reader", "mouth"}
    assert all(len(v) == 64 for v in made["networks"].values())
    page = np.asarray(Image.open(out / "sheet-1.png").convert("RGB"))
    cut = blind.square_around(align.align(face.landmarks), astronaut.shape)
    plain, before = blind.resized(astronaut, cut, 128), 0
    for n, row in enumerate(made["portraits"]):
        seen = page[22 : 22 + 128, 5 + n * 133 : 5 + n * 133 + 128]
        same = np.array_equal(seen, plain)
        assert same != row["edited"]
        before += same
    assert before == 1
    answers = {str(r["number"]): "edited" for r in made["portraits"]}
    (out / "a.json").write_text(json.dumps(answers))
    cli.main(["blind-score", str(out / "key.json"), str(out / "a.json")])
    assert capsys.readouterr().out.startswith("right calls: 1 of 2, 50%")


def test_a_set_of_the_data_pack(tmp_path: Path, shared_data: Path) -> None:
    """London's held-out people alone, who are all both neutral and happy."""
    whole = shared_data / "london.parquet"
    if not whole.is_file():
        pytest.skip(f"no london.parquet at {shared_data}")
    table = pq.read_table(whole)
    kept = [i for i, s in enumerate(table["subject"].to_pylist()) if is_held_out(s)]
    pq.write_table(table.take(kept), tmp_path / "london.parquet")
    asked = commands.Blind(to="neutral", data=str(tmp_path), count=4, size=96)
    rows = commands.blind(asked, str(tmp_path / "o"))["portraits"]
    assert len({r["subject"] for r in rows}) == len(rows) == 4
    assert sum(r["edited"] for r in rows) == 2
    assert all(is_held_out(r["subject"]) and r["set"] == "london" for r in rows)
