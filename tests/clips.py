"""Clips made from stills: a camera that moves over a photo, and people who move in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

RATE = 25


def write(
    path: Path,
    pictures: Iterable[np.ndarray],
    rate: Any = RATE,
    times: list[int] | None = None,
    sound: bool = False,
    codec: str = "libx264",
    format: str = "yuv420p",
    rotation: int | None = None,
    options: dict[str, str] | None = None,
    **context: Any,
) -> Path:
    """Write pictures uint8 [H, W, 3] RGB as a clip; times: of each, in the stream's time base."""
    base = Fraction(1, rate) if times is None else Fraction(1, 600)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=rate, options=options or {"crf": "12"})
        stream.pix_fmt, stream.codec_context.time_base = format, base
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        tone = _tone(out) if sound else None
        for n, picture in enumerate(pictures):
            if n == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            asked = {k: v for k, v in context.items() if k in ("colorspace", "color_range")}
            frame = frame.reformat(
                format=format,
                dst_colorspace=asked.get("colorspace"),
                dst_color_range=asked.get("color_range"),
            )
            frame.pts, frame.time_base = n if times is None else times[n], base
            out.mux(stream.encode(frame))
            if tone:
                tone(n / rate)
        out.mux(stream.encode(None))
        if tone:
            tone(None)
    return path


def _tone(out: Any) -> Callable[[float | None], None]:
    """A stream of AAC with a tone in it, written up to a time; None ends it."""
    stream = out.add_stream("aac", rate=48000)
    done = 0

    def up_to(time: float | None) -> None:
        nonlocal done
        while time is not None and done / 48000 <= time:
            wave = np.sin(np.arange(done, done + 1024) * 0.05).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2, 0), "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, done, Fraction(1, 48000)
            out.mux(stream.encode(frame))
            done += 1024
        if time is None:
            out.mux(stream.encode(None))

    return up_to


def frames(path: Path) -> list[Any]:
    """The decoded frames of a clip."""
    with av.open(str(path)) as clip:
        return list(clip.decode(video=0))


def rgb(path: Path) -> list[np.ndarray]:
    """The decoded pictures of a clip, upright or not, uint8 [H, W, 3]."""
    return [frame.to_ndarray(format="rgb24") for frame in frames(path)]


def packets(path: Path, kind: str = "audio") -> list[tuple[float, bytes]]:
    """Time and bytes of each packet of a kind."""
    with av.open(str(path)) as clip:
        (stream,) = (s for s in clip.streams if s.type == kind)
        return [
            (float(p.pts * p.time_base), bytes(p)) for p in clip.demux(stream) if p.pts is not None
        ]


def seen(
    photo: np.ndarray,
    size: tuple[int, int],
    centre: tuple[float, float],
    zoom: float = 1.0,
    turn: float = 0.0,
) -> np.ndarray:
    """What a camera sees of a photo: width and height, the photo's point in the middle, degrees."""
    matrix = cv2.getRotationMatrix2D(centre, turn, zoom)
    matrix[:, 2] += np.array(size) / 2 - centre
    return cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)


def handheld(photo: np.ndarray, count: int, size: tuple[int, int] = (320, 240)) -> Any:
    """A slow zoom, pan and turn over the head of the astronaut, and the noise of a camera."""
    random = np.random.default_rng(0)
    for n in range(count):
        t = n / RATE
        centre = (222 + 8 * np.sin(2 * t), 120 + 5 * np.cos(1.3 * t))
        picture = seen(photo, size, centre, 1 + 0.1 * t, 4 * np.sin(t))
        noise = random.normal(0, 2, picture.shape)
        yield np.clip(picture + noise, 0, 255).astype(np.uint8)


def empty(count: int, size: tuple[int, int] = (320, 240)) -> Any:
    """A wall."""
    ramp = np.linspace(90, 150, size[0], dtype=np.uint8)
    for _ in range(count):
        yield np.repeat(np.tile(ramp, (size[1], 1))[..., None], 3, -1)


def head(photo: np.ndarray) -> np.ndarray:
    """The astronaut's head with its shoulders, [200, 170, 3]."""
    return np.ascontiguousarray(photo[10:210, 140:310])


def other(person: np.ndarray) -> np.ndarray:
    """Somebody else: mirrored, darker, another colour of skin and hair, a narrower face."""
    dark = person[:, ::-1].astype(np.float32) * (0.62, 0.5, 0.55)
    return cv2.resize(dark.astype(np.uint8), None, fx=0.82, fy=1.0, interpolation=cv2.INTER_AREA)


def stage(
    people: Iterable[tuple[np.ndarray, tuple[float, float]]], size: tuple[int, int] = (480, 270)
) -> np.ndarray:
    """People before a wall, the later ones in front; each with the middle of the head, in pixels,
    which may lie outside."""
    (picture,) = empty(1, size)
    for person, at in people:
        high, wide = person.shape[:2]
        mask = np.zeros((high, wide), np.float32)
        cv2.ellipse(mask, (wide // 2, high // 2), (wide // 2 - 9, high // 2 - 9), 0, 0, 360, 1, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
        move = np.array([[1, 0, at[0] - wide / 2], [0, 1, at[1] - high / 2]], np.float32)
        cover = cv2.warpAffine(mask, move, size)[..., None]
        placed = cv2.warpAffine(person, move, size).astype(np.float32)
        picture = np.rint(picture + cover * (placed - picture)).astype(np.uint8)
    return picture
