"""Clip: frames and sound out of a file, and into another one.

Sound and subtitles are copied as they are, packet by packet. Frames keep their time stamps, the
frame rate, colour space and range, the shape of pixels, and the matrix that turns them upright.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import av
from av.packet import Packet as _Packet
from av.video.frame import VideoFrame

from facepaint import matroska, mp4
from facepaint.errors import ClipError, PhotoError
from facepaint.files import place, temporary
from facepaint.mark import Mark, merged
from facepaint.video import planes

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

Packet: TypeAlias = "_Packet[Any]"

# What a file of each suffix is, by FFmpeg's names; the first is taken where a source has another.
CONTAINERS = {
    ".mp4": "mp4",
    ".mov": "mov",
    ".m4v": "mp4",
    ".mkv": "matroska",
    ".webm": "webm",
}
# What is read, by the same names. Others are no clips but lists of files and addresses (HLS, DASH,
# concat), which would have whatever they name opened.
READ = (*CONTAINERS.values(), "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "gif")
_MP4 = ("mp4", "mov")  # of these, those of boxes
_XMP = matroska.NAME.decode()  # the tag is written anew
FALLBACK = ".mkv"  # holds every kind of sound
MAX_PIXELS = 8192 * 4352  # of a frame: 8K
QUALITY = 18  # constant rate factor of x264: hardly to be told from the source


@dataclass(frozen=True)
class Codec:
    """An encoder, its format of samples and its options."""

    name: str
    format: str
    options: dict[str, str]


_H264 = Codec("libx264", "yuv420p", {"crf": str(QUALITY), "preset": "fast"})
# the same quality by their own scales, as their authors say
_HEVC = Codec(
    "libx265",
    "yuv420p10le",
    {"crf": str(QUALITY + 4), "preset": "fast", "x265-params": "log-level=error"},
)
_VP9 = Codec("libvpx-vp9", "yuv420p", {"crf": str(QUALITY + 8), "row-mt": "1", "cpu-used": "4"})


class DamagedError(ClipError):
    """A clip that cannot be read any further."""


class Source:
    """A clip to read. `dropped` says which of its streams cannot be taken along."""

    def __init__(self, path: Path) -> None:
        """Raises ClipError where it is no clip."""
        self.path = path
        if not path.is_file():
            raise ClipError(f"{path}: no file there")
        with told(f"{path}: cannot be read as a clip"):
            self.container: InputContainer = av.open(
                f"file:{path}",  # or a name with a colon is taken for an address
                container_options={
                    "format_whitelist": ",".join(READ),
                    "protocol_whitelist": "file",
                },
                metadata_errors="replace",
            )
        try:
            self.video = self._pictures()
        except ClipError:
            self.close()
            raise
        self.copied = [s for s in self.container.streams if s.type in ("audio", "subtitle")]
        self.dropped: list[str] = [
            s.type for s in self.container.streams if s is not self.video and s not in self.copied
        ]
        self._rate = self.video.guessed_rate or self.video.average_rate or Fraction(25)
        self.matrix: tuple[int, ...] | None = None  # of the first frame: what turns it upright
        self._pts: int | None = None

    def _pictures(self) -> VideoStream:
        """The first stream of pictures, ready to be decoded; ClipError where there is none."""
        if not self.container.streams.video:
            raise ClipError(f"{self.path}: no pictures in it")
        video = self.container.streams.video[0]
        if video.codec_context is None:
            raise ClipError(f"{self.path}: its pictures are of a kind that cannot be read")
        self._check_size(video.width * video.height)
        # a frame may say otherwise than its file
        video.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        video.thread_type = "AUTO"
        return video

    def _check_size(self, pixels: int) -> None:
        if pixels > MAX_PIXELS:
            limit = f"{MAX_PIXELS / 1e6:.0f} megapixels"
            raise ClipError(f"{self.path}: its frames have more than {limit}; make them smaller")

    @property
    def rate(self) -> Fraction:
        """Frames a second, on average."""
        return Fraction(self._rate)

    @property
    def frames(self) -> int:
        """About how many there are; 0 where the file does not say."""
        if self.video.frames:
            return self.video.frames
        length = self.container.duration
        return int(length / 1_000_000 * self.rate) if length else 0

    def __iter__(self) -> Iterator[VideoFrame | Packet]:
        """Decoded frames with strictly rising time stamps, and packets to copy, as they come."""
        with told(f"{self.path}: damaged", DamagedError):
            for packet in self.container.demux([self.video, *self.copied]):
                if packet.stream is self.video:
                    yield from (self._stamped(frame) for frame in self.video.decode(packet))
                elif packet.dts is not None:  # the packet that only ends its stream has none
                    yield packet
        if _cut_off(self.path):
            raise DamagedError(f"{self.path}: cut off; its end is missing")

    def _stamped(self, frame: VideoFrame) -> VideoFrame:
        if self._pts is None:
            self.matrix = matrix(frame)
        base = self.video.time_base or 1 / self.rate
        step = max(1, round(1 / (self.rate * base)))
        if self._pts is not None and (frame.pts is None or frame.pts <= self._pts):
            frame.pts = self._pts + step
        self._pts = frame.pts = frame.pts or 0
        frame.time_base = base
        return frame

    def close(self) -> None:
        self.container.close()


def _cut_off(path: Path) -> bool:
    """Whether the end of an MP4, a MOV, an MKV or a WebM is missing; they say how long they are."""
    with path.open("rb") as file:
        head = file.read(12)
        if mp4.is_mp4(head):
            return mp4.is_cut_off(file)
        return matroska.is_matroska(head) and matroska.is_cut_off(file)


def matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The display matrix of a frame, as FFmpeg's 9 integers; None where it has none."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    return tuple(memoryview(bytes(data)).cast("i")) if data is not None else None


class Target:
    """A clip to write, under a temporary name until it is `keep`t."""

    def __init__(self, path: Path, source: Source) -> None:
        """Raises ClipError for a suffix that is no clip's."""
        self.path, self._source = path, source
        self._kind = kind(path)
        self._copied: dict[int, Any] = {}
        self._stream: Any = None
        self._waiting: list[Packet] = []
        self._frames = 0
        with told(f"{path}: cannot be written"), ExitStack() as stack:
            self._xmp = _xmp(source.path)
            self._file, self._temporary = stack.enter_context(temporary(path.parent))
            self._container: OutputContainer = av.open(
                f"file:{self._temporary}", "w", format=self._kind, options=self._options()
            )
            self._stack = stack.pop_all()

    def _options(self) -> dict[str, str]:
        """What the container is told; in Matroska a mark needs room that was left for it."""
        if self._kind in _MP4:
            return {"movflags": "+faststart"}
        return {"metadata_header_padding": str(len(self._xmp or b"") + matroska.PADDING)}

    def write(self, frame: VideoFrame) -> None:
        """Encode a planar frame; the first one says what the clip is like."""
        with told(f"{self.path}: cannot be written"):
            if self._stream is None:
                self._begin(frame)
            self._frames += 1
            self._container.mux(self._stream.encode(self._fitting(frame)))

    def copy(self, packet: Packet) -> None:
        """Take a packet of sound or subtitles along, once the first frame is known."""
        if self._stream is None:
            self._waiting.append(packet)
            return
        packet.stream = self._copied[packet.stream.index]
        with told(f"{self.path}: cannot be written"):
            self._container.mux(packet)

    def keep(self, path: Path | None = None, mark: Mark | None = None) -> Path:
        """Finish the file, mark it, and give it its name or another one; the source's XMP stays."""
        with told(f"{self.path}: cannot be written"):
            if self._stream is None:
                raise ClipError(f"{self._source.path}: no frame in it can be read")
            self._container.mux([self._timed(packet) for packet in self._stream.encode(None)])
            self._container.close()
            if mark is not None or self._xmp is not None:
                self._mark(mark)
            place(self._file, self._temporary, path or self.path)
            self._stack.close()
        return path or self.path

    def _timed(self, packet: Packet) -> Packet:
        """One of the last packets. Of a clip of one or two frames x265 makes up when they are to be
        decoded (its issue 781); they are in order."""
        if self._frames < 3 and self._stream.codec_context.name == _HEVC.name:
            packet.dts = packet.pts
        return packet

    def _mark(self, mark: Mark | None) -> None:
        """Add the mark, if there is one, to what XMP the source has."""
        with self._temporary.open("r+b") as file:
            if self._kind in _MP4:
                mp4.write_xmp(file, self._packet(mark))
                return
            while not matroska.write_xmp(file, self._packet(mark)) and mark and mark.faces:
                mark = replace(mark, faces=mark.faces[: len(mark.faces) // 2])  # too many people

    def _packet(self, mark: Mark | None) -> bytes:
        return merged(self._xmp, mark) if mark else self._xmp or b""

    def drop(self) -> None:
        """Leave nothing behind of what was not kept."""
        with suppress(OSError, ValueError):  # it may be what went wrong
            self._container.close()
        self._stack.close()

    def _begin(self, frame: VideoFrame) -> None:
        """Set up the streams; encoders are told all that the frame and its stream say."""
        source = self._source.video
        codec = _codec(self._kind, frame)
        stream: Any = self._container.add_stream(
            codec.name, rate=self._source.rate, options=codec.options
        )
        first = planes.even(frame)
        stream.width, stream.height = first.width, first.height
        stream.pix_fmt = _format(codec, frame)
        context = stream.codec_context
        context.time_base = frame.time_base
        context.sample_aspect_ratio = source.sample_aspect_ratio or Fraction(0)  # 0: not said
        for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(context, name, int(getattr(frame, name)))
        stream.time_base = frame.time_base
        if codec is _HEVC and self._kind != "matroska":
            context.codec_tag = "hvc1"  # without it Apple's players show nothing
        stream.set_display_matrix(self._source.matrix)
        stream.metadata.update(source.metadata)
        for old in self._source.copied:
            self._copied[old.index] = self._copy_of(old)
        tags = self._source.container.metadata
        self._container.metadata.update({k: v for k, v in tags.items() if k != _XMP})
        self._container.set_chapters(self._source.container.chapters())
        self._stream = stream
        for packet in self._waiting:
            self.copy(packet)
        self._waiting.clear()

    def _copy_of(self, old: Any) -> Any:
        try:
            new = self._container.add_stream_from_template(old)
        except (ValueError, av.FFmpegError) as error:
            kind = old.codec_context.name if old.codec_context else "unknown"
            what = f"{old.type} of kind {kind}"
            raise ClipError(
                f"{self.path}: a {self.path.suffix} cannot hold {what}; name another OUT, .mkv"
            ) from error
        new.metadata.update(old.metadata)
        new.disposition = old.disposition  # which sound is played first, which titles are forced
        return new

    def _fitting(self, frame: VideoFrame) -> VideoFrame:
        """The frame as the encoder was told it would be."""
        context, kind = self._stream.codec_context, frame.format.name
        if kind != context.pix_fmt:
            frame = planes.reformatted(frame, context.pix_fmt)
        frame = planes.even(frame)
        if (frame.width, frame.height) != (context.width, context.height):
            frame = planes.reformatted(frame, context.pix_fmt, context.width, context.height)
        frame.pict_type = 0  # which frames stand alone is the encoder's choice
        return frame


def _xmp(path: Path) -> bytes | None:
    """The XMP of a clip; None where it has none, or is damaged."""
    with path.open("rb") as file, suppress(PhotoError):
        head = file.read(16)
        if mp4.is_mp4(head):
            return mp4.read_xmp(file)
        if matroska.is_matroska(head):
            return matroska.read_xmp(file)
    return None


def kind(path: Path) -> str:
    """What a clip of this name is, by FFmpeg's names; ClipError where it is none."""
    found = CONTAINERS.get(path.suffix.lower())
    if found is None:
        raise ClipError(f"{path}: a clip's name ends in {', '.join(CONTAINERS)}")
    return found


def _codec(kind: str, frame: VideoFrame) -> Codec:
    if kind == "webm":
        return _VP9
    return _HEVC if frame.format.components[0].bits > 8 else _H264


def _format(codec: Codec, frame: VideoFrame) -> str:
    """The encoder's format; samples that use all values have a name of their own at 8 bits."""
    return "yuvj420p" if codec is _H264 and planes.is_full(frame) else codec.format


@contextmanager
def told(what: str, error_class: type[ClipError] = ClipError) -> Iterator[None]:
    """FFmpeg's errors, and the system's, as a ClipError of one line."""
    try:
        yield
    except av.FFmpegError as error:
        full = error.errno == errno.ENOSPC
        why = "the disk is full" if full else str(error.strerror or error).split(":")[0]
        raise error_class(" ".join(f"{what} ({why})".split())) from error
    except OSError as error:
        raise error_class(f"{what} ({error.strerror or error})") from error
