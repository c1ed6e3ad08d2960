"""Blind sheets: can a person tell edited portraits from untouched ones?

`write` makes sheets of numbered portraits of held-out people. Half of them are edited to an
expression, the other half really show it, and nobody is on them twice. Both halves take the same
road (decode, cut, resize, PNG) and come in pairs of the same set and a similar size in the photo,
so that nothing but the edit can give a portrait away. `score` compares a judge's answers with the
key.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint._version import __version__
from facepaint.edit import Edit
from facepaint.errors import LabError
from facepaint.face import (
    BLENDSHAPES,
    EXPRESSIONS,
    FACE_OVAL,
    LANDMARKS,
    Face,
    FloatArray,
    head_turn,
)
from facepaint.files import write_whole
from facepaint.lab import loop
from facepaint.lab.data import datasets
from facepaint.lab.data.split import SPLIT, is_held_out
from facepaint.lab.data.topology import SMILING
from facepaint.lab.measure.evaluate import start_of
from facepaint.mark import Mark, packet
from facepaint.photo import Metadata, Photo

Pixels = npt.NDArray[np.uint8]

KEY, TEMPLATE = "key.json", "answers.csv-template"
EDITED, UNTOUCHED = "edited", "untouched"  # the two answers

COLUMNS, ROWS = 4, 3  # portraits of a sheet
# Sets from the first choice to the last; a set of the user's own comes after PREFERRED.
PREFERRED = ("celebamask", "london", "kdef", "radiate", "taiwan", "clips")
LAST_RESORT = ("fei", "yawn", "jaffe", "lfw", "utkface")  # grey, watermarked or small
SMALL_BELOW = 300.0  # side of the face's crop in photo pixels; smaller faces are the last choice
CUT = 1.5  # side of a portrait in sides of the face's crop, where the photo is large enough
ALIKE = math.log(1.25)  # threshold on |ln(ratio)| of the sizes of a pair's faces and cuts

SMILE_ABOVE = 0.5  # mean of the two mouthSmile blendshapes; for photos without a label
SMILE_BELOW = 0.08  # likewise: a neutral face
JAW_OPEN_BELOW = 0.1  # jawOpen of a neutral face without a label
# Gap of the inner lips over the mouth's width: below it for every neutral face, above it for
# untouched smiles. An edit to happy shows teeth, so that a closed mouth would give an untouched
# portrait away.
CLOSED_BELOW = 0.05
TURN_ABOVE = 0.6  # `face.head_turn`, about 30 degrees; such heads are left out
_JAW_OPEN = BLENDSHAPES.index("jawOpen")
_LIPS, _CORNERS = (13, 14), (61, 291)  # landmarks: middle of the inner lips; mouth corners

Z_95 = 1.959964  # quantile of the standard normal distribution for a two-sided 95 % interval
_SHOWN = 5  # numbers that a message lists at most


class Paints(Protocol):
    """What the sheets need of `facepaint.painter.Painter`."""

    def faces(self, image: Pixels) -> list[Face]: ...

    def paint(
        self, pixels: Pixels, edits: list[tuple[Face, Edit]]
    ) -> tuple[Pixels, list[tuple[Face, Edit]]]: ...


class Square(NamedTuple):
    """A square of whole pixels of a photo: its left and upper edge and its side."""

    x: int
    y: int
    side: int


@dataclass(frozen=True, eq=False)
class Candidate:
    """A photo of a held-out person that a portrait can be cut from.

    Attributes:
        expression: What the face shows in the photo, one of EXPRESSIONS.
        subject: Name of the person.
        source: Name of the set.
        file: Name of the file within the data folder.
        row: Place in that file, from 1.
        frame: float32 [2, 3], from crop units to photo pixels (`facepaint.align`).
        cut: What of the photo the portrait shows.
        load: Gives the photo, uint8 [H, W, 3] RGB.
    """

    expression: str
    subject: str
    source: str
    file: str
    row: int
    frame: FloatArray
    cut: Square
    load: Callable[[], Pixels]

    @property
    def crop_side(self) -> float:
        """Side of the face's crop in photo pixels."""
        return align.side_of(self.frame)

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """Sort key: preferred sets first, within these large faces first."""
        last = self.source in LAST_RESORT
        order = LAST_RESORT if last else PREFERRED
        place = order.index(self.source) if self.source in order else len(order)
        return last, self.crop_side < SMALL_BELOW, place


# --- who can be on the sheets


def candidates(folder: Path, to: str, listen: loop.Listener | None = None) -> list[Candidate]:
    """Find the photos of a folder that portraits can be cut from.

    Args:
        folder: The data folder, in any layout that `datasets` knows.
        to: The expression that the sheets are about, one of EXPRESSIONS.
        listen: Told how many photos were looked at; their total is unknown and given as 0.

    Returns:
        Photos of held-out people that show `to`, or the expression that faces are edited from. The
        head is turned by less than 30 degrees, and the whole face is within the portrait. If `to`
        is happy, photos that show it also show teeth.

    Raises:
        LabError: The folder has no known layout, or one of its photos or tables cannot be read.
    """
    wanted = (start_of(to), to)
    found = []
    for n, (seen, held_out) in enumerate(_photos(folder), 1):
        if listen and n % 64 == 0:
            listen(n, 0, {})
        if not held_out:
            continue
        expression = shown_by(seen.label, seen.landmarks, seen.blendshapes)
        if expression not in wanted or abs(head_turn(seen.landmarks)) > TURN_ABOVE:
            continue
        if expression == to == "happy" and mouth_gap(seen.landmarks) < CLOSED_BELOW:
            continue
        frame = align.align(seen.landmarks)
        cut = square_around(frame, seen.load().shape)
        if _holds_face(cut, seen.landmarks):
            at = (seen.subject, seen.source, seen.file, seen.row)
            found.append(Candidate(expression, *at, frame, cut, seen.load))
    return found


class _Seen(NamedTuple):
    """A photo with what its set says of it; label is a place in EXPRESSIONS, -1 for none."""

    label: int
    subject: str
    source: str
    file: str
    row: int
    landmarks: FloatArray
    blendshapes: FloatArray
    load: Callable[[], Pixels]


def _photos(folder: Path) -> Iterator[tuple[_Seen, bool]]:
    """All portraits of a folder and whether the person is held out; nothing is decoded of Parquet
    files."""
    layout = datasets.layout_of(folder)
    for file in layout.files(folder):
        name = file.relative_to(folder).as_posix()
        found = _of_parquet(file, name) if file.suffix == ".parquet" else _of_photo(file, folder)
        yield from found


def _of_parquet(file: Path, name: str) -> Iterator[tuple[_Seen, bool]]:
    for row, (where, record) in enumerate(datasets.records(file), 1):
        if "boxes" in record:  # scenes name no people
            return
        datasets.check(record, where, datasets.PORTRAIT)
        label = record["expression"]
        seen = _Seen(
            -1 if label is None else EXPRESSIONS.index(label),
            record["subject"],
            record["source"],
            name,
            row,
            np.array(record["landmarks"], np.float32).reshape(LANDMARKS, 2),
            np.array(record["blendshapes"], np.float32),
            _decoder(record["image"], where),
        )
        yield seen, is_held_out(seen.subject)


def _decoder(data: bytes, where: str) -> Callable[[], Pixels]:
    return lambda: datasets.decode(data, where)


def _of_photo(file: Path, folder: Path) -> Iterator[tuple[_Seen, bool]]:
    """The faces of a photo without landmarks of its own, which the runtime reads."""
    name = file.relative_to(folder).as_posix()
    for row, found in enumerate(datasets.layout_of(folder).faces(file, folder), 1):
        if found.landmarks is None or found.blendshapes is None:
            continue
        at = (found.expression, found.subject, found.source, name, row)
        seen = _Seen(*at, found.landmarks, found.blendshapes, lambda: Photo.read(file).pixels)
        held_out = found.held_out
        yield seen, is_held_out(found.subject) if held_out is None else held_out


def shown_by(label: int, landmarks: FloatArray, blendshapes: FloatArray) -> str | None:
    """Tell what a face shows, by its label or else by its blendshapes.

    Args:
        label: Place in EXPRESSIONS, -1 where there is none.
        landmarks: float32 [478, 2] in pixels.
        blendshapes: float32 [52], 0 to 1; NaN where unknown.

    Returns:
        One of EXPRESSIONS. None where it cannot be said, and for a "neutral" face whose lips are
        apart, since labels call many a talking mouth neutral.
    """
    smile = float(blendshapes[SMILING].mean())
    if label >= 0:
        shown: str | None = EXPRESSIONS[label]
    elif smile > SMILE_ABOVE:
        shown = "happy"
    elif smile < SMILE_BELOW and blendshapes[_JAW_OPEN] < JAW_OPEN_BELOW:
        shown = "neutral"
    else:
        shown = None
    return None if shown == "neutral" and mouth_gap(landmarks) > CLOSED_BELOW else shown


def mouth_gap(landmarks: FloatArray) -> float:
    """Measure how far a mouth is open.

    Args:
        landmarks: float32 [478, 2] in pixels.

    Returns:
        The gap between the inner lips over the distance of the mouth's corners, 0 or more.
    """
    gap, width = (float(np.linalg.norm(landmarks[a] - landmarks[b])) for a, b in (_LIPS, _CORNERS))
    return gap / max(width, 1e-6)


def square_around(frame: FloatArray, shape: tuple[int, ...]) -> Square:
    """Choose what of a photo a portrait shows: the head, and nothing that is not in the photo.

    Args:
        frame: float32 [2, 3], from crop units to photo pixels.
        shape: Height and width of the photo in pixels.

    Returns:
        A square of CUT times the crop's side, or the largest that the photo holds. It is centred
        on the crop, and moved as little as it takes to lie inside the photo.
    """
    height, width = shape[:2]
    side = max(1, min(round(CUT * align.side_of(frame)), height, width))
    x, y = (align.apply(frame, np.array([[0.5, 0.5]], np.float32))[0] - side / 2).tolist()
    return Square(min(max(round(x), 0), width - side), min(max(round(y), 0), height - side), side)


def _holds_face(cut: Square, landmarks: FloatArray) -> bool:
    """Whether the outline of the face, from hair line to chin, lies inside."""
    inside = landmarks[list(FACE_OVAL)] - np.array([cut.x, cut.y], np.float32)
    return bool((inside >= 0).all() and (inside <= cut.side).all())


# --- portraits


def portrait(candidate: Candidate, painter: Paints, to: str | None, size: int) -> Pixels | None:
    """Make one portrait.

    Args:
        candidate: The photo.
        painter: Finds the face, and edits it in the photo's full size.
        to: Expression to edit it to; None leaves the photo as it is.
        size: Side of the portrait in pixels.

    Returns:
        uint8 [size, size, 3] RGB. None where the painter does not find the face, or where its edit
        changes nothing. A face that it does not find is left out of both halves.
    """
    pixels = candidate.load()
    face = _same_face(painter.faces(pixels), candidate.frame)
    if face is None:
        return None
    if to is not None:
        after, _ = painter.paint(pixels, [(face, Edit(to))])
        if np.array_equal(after, pixels):
            return None
        pixels = after
    return resized(pixels, candidate.cut, size)


def _same_face(found: Sequence[Face], frame: FloatArray) -> Face | None:
    """The face that lies where `frame` does, at about the same size."""
    centre, side = np.array([[0.5, 0.5]], np.float32), align.side_of(frame)
    at = align.apply(frame, centre)

    def distance(face: Face) -> float:
        own = align.align(face.landmarks)
        moved = float(np.linalg.norm(align.apply(own, centre) - at)) / side
        return max(moved, abs(math.log(max(align.side_of(own), 1e-6) / side)))

    nearest = min(found, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) < 0.3 else None


def resized(pixels: Pixels, cut: Square, size: int) -> Pixels:
    """Cut a square out of a photo and bring it to a size.

    Args:
        pixels: uint8 [H, W, 3], which holds all of `cut`.
        cut: What to cut out.
        size: Side of the result in pixels.

    Returns:
        uint8 [size, size, 3], shrunk by area or enlarged by Lanczos.
    """
    part = pixels[cut.y : cut.y + cut.side, cut.x : cut.x + cut.side]
    how = cv2.INTER_AREA if size < cut.side else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(part, (size, size), interpolation=how), np.uint8)


class Portrait(NamedTuple):
    """A portrait of a sheet, uint8 [size, size, 3] RGB; to: what it was edited to, if it was."""

    candidate: Candidate
    to: str | None
    pixels: Pixels


def draw(
    found: Sequence[Candidate],
    painter: Paints,
    to: str,
    count: int,
    size: int,
    rng: np.random.Generator,
    listen: loop.Listener | None = None,
) -> list[Portrait]:
    """Draw people at random and make their portraits, half of them edited.

    An edited and an untouched portrait are drawn together: of the same set, of a similar size in
    the photo (ALIKE), of two people who are on no other portrait.

    Args:
        found: The photos, as of `candidates`.
        painter: Edits them.
        to: Expression, one of EXPRESSIONS.
        count: Portraits wanted, an even number.
        size: Side of a portrait in pixels.
        rng: Decides who is drawn, and the order.
        listen: Told how many portraits are made.

    Returns:
        At most `count` portraits in random order, as many of one kind as of the other; at least
        two.

    Raises:
        LabError: No two people can stand side by side.
    """
    mixed = [found[i] for i in rng.permutation(len(found))]
    halves = [[c for c in mixed if c.expression == e] for e in (start_of(to), to)]
    starts, shows = ({c.subject for c in half} for half in halves)
    # who fits into one half only comes first, so that the others are left for where they are needed
    edited, untouched = (sorted(half, key=lambda c: c.subject in starts & shows) for half in halves)
    edited.sort(key=lambda c: c.rank)
    used: set[str] = set()
    made: list[Portrait] = []

    def of(candidate: Candidate, asked: str | None) -> Portrait | None:
        pixels = portrait(candidate, painter, asked, size)
        return None if pixels is None else Portrait(candidate, asked, pixels)

    for candidate in edited:
        if len(made) + 2 > count:
            break
        partners = _partners(candidate, untouched, used)
        one = of(candidate, to) if partners else None
        if one is None:
            continue
        for partner in partners:
            other = of(partner, None)
            if other is not None:
                made += [one, other]
                used |= {candidate.subject, partner.subject}
                break
            untouched.remove(partner)  # the painter cannot find it: not tried again
        if listen:
            listen(len(made), count, {})
    if not made:
        held = f"{len(edited)} held-out {start_of(to)} photos, {len(untouched)} {to} ones"
        raise LabError(f"no two people of one set to put side by side ({held}); add photos")
    return [made[i] for i in rng.permutation(len(made))]


def _partners(
    candidate: Candidate, untouched: Sequence[Candidate], used: set[str]
) -> list[Candidate]:
    """Who can be the untouched one beside an edited one, in the order of `untouched`."""
    if candidate.subject in used:
        return []
    taken = used | {candidate.subject}
    fit = [c for c in untouched if c.source == candidate.source and c.subject not in taken]
    return [c for c in fit if _unlike(c, candidate) <= ALIKE]


def _unlike(a: Candidate, b: Candidate) -> float:
    """How different two faces are in size: the larger |ln(ratio)| of their crops and their cuts."""
    return max(abs(math.log(a.crop_side / b.crop_side)), abs(math.log(a.cut.side / b.cut.side)))


# --- sheets


def sheet(portraits: Sequence[Pixels], first: int) -> Pixels:
    """Lay portraits out in rows, each under its number.

    Args:
        portraits: uint8 [size, size, 3] each, at most COLUMNS * ROWS, at least one.
        first: Number of the first; the others count on from it.

    Returns:
        uint8 [H, W, 3] RGB, on white.
    """
    size = len(portraits[0])
    gap, label = max(4, size // 24), max(22, size // 8)
    rows = -(-len(portraits) // COLUMNS)
    page = np.full((rows * (label + size + gap), gap + COLUMNS * (size + gap), 3), 255, np.uint8)
    for i, pixels in enumerate(portraits):
        x, y = gap + i % COLUMNS * (size + gap), i // COLUMNS * (label + size + gap)
        page[y + label : y + label + size, x : x + size] = pixels
        _write_number(page[y : y + label, x : x + size], first + i)
    return page


def _write_number(strip: Pixels, number: int) -> None:
    """A number in black in the middle of a white strip, in place."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, len(strip) / 36  # its digits are 22 pixels high at 1
    thickness = max(1, round(2 * scale))
    (width, height), _ = cv2.getTextSize(str(number), font, scale, thickness)
    at = ((strip.shape[1] - width) // 2, (len(strip) + height) // 2)
    cv2.putText(strip, str(number), at, font, scale, (0, 0, 0), thickness, cv2.LINE_AA)


def write(
    out: Path, portraits: Sequence[Portrait], to: str, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the sheets, the key and a template for answers.

    Args:
        out: Folder, made where it is missing; it holds no key yet (`check_new`).
        portraits: As of `draw`, at least one.
        to: The expression that the sheets are about.
        about: What else the key says, such as seed and hashes of the networks.

    Returns:
        The key as it is written: beside `about`, for each portrait its number, sheet, set, file,
        row, subject, whether it is edited, from which expression, to which, and sizes in pixels.

    Raises:
        PhotoError, OSError: The system refuses to write.
    """
    out.mkdir(parents=True, exist_ok=True)
    each = COLUMNS * ROWS
    rows = []
    # a sheet says of itself that parts of it were edited, and not which
    mark = Metadata(xmp=packet(Mark((), ())))
    for n in range(0, len(portraits), each):
        name = f"sheet-{n // each + 1}.png"
        page = sheet([p.pixels for p in portraits[n : n + each]], n + 1)
        replace(Photo.read(page), metadata=mark).save(out / name, overwrite=True)
        rows += [_row(k, name, p) for k, p in enumerate(portraits[n : n + each], n + 1)]
    numbers = "".join(f"{row['number']},\n" for row in rows)
    write_whole(out / TEMPLATE, f"number,answer\n{numbers}")
    made_with = f"facepaint {__version__}"
    key = {"made_with": made_with, "split": SPLIT, "to": to, "from": start_of(to)} | dict(about)
    key["portraits"] = rows
    write_whole(out / KEY, json.dumps(key, indent=1) + "\n")
    return key


def _row(number: int, name: str, one: Portrait) -> dict[str, Any]:
    found = one.candidate
    return {
        "number": number,
        "sheet": name,
        "set": found.source,
        "file": found.file,
        "row": found.row,
        "subject": found.subject,
        "edited": one.to is not None,
        "from": found.expression,
        "to": one.to,
        "crop_side": round(found.crop_side, 1),
        "cut_side": found.cut.side,
    }


def check_new(out: Path) -> None:
    """Check that a folder holds no sheets yet, so that no key is lost that answers wait for.

    Args:
        out: The folder; it need not exist.

    Raises:
        LabError: It holds a key.
    """
    if (out / KEY).exists():
        raise LabError(f"{out} already holds blind sheets and their key; give another folder")


# --- scoring


@dataclass(frozen=True)
class Score:
    """How well a judge told edited portraits from untouched ones.

    Attributes:
        edited: Edited portraits.
        found: Those of them that were called edited.
        untouched: Untouched portraits.
        taken: Those of them that were called edited.
    """

    edited: int
    found: int
    untouched: int
    taken: int

    @property
    def count(self) -> int:
        """Portraits in all."""
        return self.edited + self.untouched

    @property
    def right(self) -> int:
        """Portraits that were called what they are."""
        return self.found + self.untouched - self.taken

    def lines(self) -> list[str]:
        """Say it in words, one line for each number."""
        low, high = wilson(self.right, self.count)
        return [
            f"right calls: {_of(self.right, self.count)} "
            f"(95% interval {low:.0%} to {high:.0%}; guessing gives 50%)",
            f"edited, found: {_of(self.found, self.edited)}",
            f"untouched, taken for edited: {_of(self.taken, self.untouched)}",
        ]


def _of(part: int, count: int) -> str:
    return f"{part} of {count}" + (f", {part / count:.0%}" if count else "")


def wilson(right: int, count: int, z: float = Z_95) -> tuple[float, float]:
    """Compute the Wilson score interval of a share (Wilson 1927).

    Args:
        right: Successes, 0 to `count`.
        count: Trials, 1 or more.
        z: Quantile of the standard normal distribution.

    Returns:
        Lower and upper end, 0 to 1.
    """
    share, square = right / count, z * z
    middle = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count * count)
    half = z * math.sqrt(spread) / (1 + square / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def score(key: str, answers: str) -> Score:
    """Compare a judge's answers with the key.

    Args:
        key: Path of a key.json.
        answers: Path of a CSV file (number,answer) or of JSON ({"1": "edited"}).

    Returns:
        The counts.

    Raises:
        LabError: A file cannot be read or is something else, a number is missing, unknown or given
            twice, or an answer is neither "edited" nor "untouched".
    """
    truth, said = read_key(key), read_answers(answers)
    strange = [n for n in said if n not in truth]
    if strange:
        raise LabError(f"{answers}: number {_listed(strange)} is on no sheet of {key}")
    missing = [n for n in truth if n not in said]
    if missing:
        raise LabError(f"{answers}: no answer for {_listed(missing)}; answer every portrait")
    calls = [(edited, said[n] == EDITED) for n, edited in truth.items()]
    edited = [call for is_one, call in calls if is_one]
    untouched = [call for is_one, call in calls if not is_one]
    return Score(len(edited), sum(edited), len(untouched), sum(untouched))


def _listed(numbers: Sequence[int]) -> str:
    more = len(numbers) - _SHOWN
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown


def read_key(path: str) -> dict[int, bool]:
    """Read which portraits are edited.

    Args:
        path: Path of a key.json.

    Returns:
        By number whether it is edited; at least one.

    Raises:
        LabError: It is not a key of blind sheets, or cannot be read.
    """
    text = _text(path)
    try:
        rows = json.loads(text)["portraits"]
        truth = {row["number"]: row["edited"] for row in rows}
    except (ValueError, KeyError, TypeError, RecursionError):
        rows, truth = [], {}
    whole = all(type(n) is int and type(edited) is bool for n, edited in truth.items())
    if not truth or len(truth) != len(rows) or not whole:
        raise LabError(f"{path}: not the {KEY} of `facepaint evaluate --blind`")
    return truth


def read_answers(path: str) -> dict[int, str]:
    """Read a judge's answers.

    Args:
        path: Path of a CSV file (number,answer; the heading may be missing) or of a JSON object
            ({"1": "edited"}). Upper case and spaces do not matter.

    Returns:
        By number EDITED or UNTOUCHED.

    Raises:
        LabError: It cannot be read, a number is given twice or is none, or an answer is neither.
    """
    text = _text(path)
    pairs = _of_json(path, text) if text.lstrip().startswith("{") else _of_csv(path, text)
    said: dict[int, str] = {}
    for where, number, answer in pairs:
        known = number.strip()
        if not (known.isascii() and known.isdigit() and len(known) < 10):
            raise LabError(f"{where}: {number[:40]!r} is no portrait's number")
        if int(known) in said:
            raise LabError(f"{where}: portrait {int(known)} is answered twice")
        word = answer.strip().lower()
        if word:
            said[int(known)] = _answer(where, word)
    return said


def _answer(where: str, word: str) -> str:
    if word in (EDITED, UNTOUCHED):
        return word
    near = get_close_matches(word, (EDITED, UNTOUCHED), 1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {EDITED}, {UNTOUCHED}"
    raise LabError(f"{where}: unknown answer {word[:40]!r}; {hint}")


def _of_csv(path: str, text: str) -> Iterator[tuple[str, str, str]]:
    """Of each row where it is, the number and the answer."""
    try:
        for n, row in enumerate(csv.reader(io.StringIO(text, newline="")), 1):
            cells = [cell.strip() for cell in row]
            if not any(cells) or (n == 1 and [c.lower() for c in cells] == ["number", "answer"]):
                continue
            if len(cells) != 2:
                raise LabError(f"{path}, row {n}: not like 1,{EDITED}")
            yield f"{path}, row {n}", cells[0], cells[1]
    except csv.Error as error:
        raise LabError(f"{path}: not a CSV file ({error})") from error


def _of_json(path: str, text: str) -> Iterator[tuple[str, str, str]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)  # a dict would hide numbers given twice
    except (ValueError, RecursionError) as error:
        raise LabError(f"{path}: not whole JSON ({error})") from error
    for number, answer in pairs:
        if not isinstance(answer, str):
            raise LabError(f'{path}: not like {{"1": "{EDITED}"}} at {number[:40]!r}')
        yield path, number, answer


def _text(path: str) -> str:
    """What a text file holds, UTF-8 with or without a byte order mark."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # no UTF-8, or a name with a NUL in it
        raise LabError(f"{path}: not a text file") from error
