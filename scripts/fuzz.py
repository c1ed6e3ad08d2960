"""Feed damaged files to everything that reads files; each case follows from its number alone.

scripts/fuzz.py 200000 --report fuzz.json      goes on where the report stopped

Three of four cases are photos and XMP packets, the fourth is for one of `parsers`: films, clips,
signed pictures, networks, manifests, recipes, and what is asked by command line and HTTP. A case
fails where anything but a FacePaintError of one line comes out, the process dies, takes more than
10 s of processor time or 1.5 GB of memory, or where what was read cannot be written, marked and
read again. Exit status 1 where any did.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from parsers import MARK, PARSERS, XMP, Parser, films, refused
from PIL import ExifTags, Image, ImageCms

from facepaint import mark, mp4
from facepaint.photo import MAX_PIXELS, Metadata, Photo

SECONDS = 10  # of processor time
MEMORY = 1.5e9  # bytes
WAIT = 3600  # seconds of the clock for a case that sleeps; on a busy machine others take long too
RARE = 997  # one case in so many is a bomb, and one of so many goes through the command line
OTHERS = 4  # one case in so many is for a parser of `parsers`


# --- files to damage


def drawing(height: int = 24, width: int = 36) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 7, y * 9, x * y], -1).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, kind, **options)  # a JPEG leaves its settings on the image
    return file.getvalue()


def exif() -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Orientation] = "Drawn", 6
    tags[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.01, ExifTags.Base.MakerNote: b"n" * 40}
    tags[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitude: (1.0, 2.0, 3.0)}
    return tags.tobytes()


@cache
def seeds() -> list[bytes]:
    """Small files of every format, in all the ways that they are stored."""
    image = drawing()
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    said = {"exif": exif(), "xmp": XMP}
    files = [saved(image.convert(m), "JPEG", icc_profile=icc, **said) for m in ("L", "RGB", "CMYK")]
    files += [saved(image, "JPEG", progressive=True, comment=b"a comment", **said)]
    files += [saved(image, "MPO", save_all=True, append_images=[drawing().rotate(180)])]
    files += [saved(image.convert(m), "PNG", exif=exif()) for m in ("1", "L", "LA", "P", "RGBA")]
    files += [saved(image, "PNG", save_all=True, append_images=[drawing().rotate(180)])]
    files += [saved(image.quantize(8), "PNG", transparency=3)]
    files += [saved(image, "WEBP", lossless=b, **said) for b in (True, False)]
    files += [
        saved(image.convert("RGBA"), "WEBP", save_all=True, append_images=[drawing().rotate(180)])
    ]
    ways = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")
    files += [
        saved(image.convert("1" if w == "group4" else "RGB"), "TIFF", compression=w) for w in ways
    ]
    files += [
        saved(image.convert(m), "TIFF", exif=exif()) for m in ("L", "CMYK", "P", "RGBA", "LAB")
    ]
    files += [saved(image, "TIFF", save_all=True, append_images=[drawing().rotate(180)])]
    files += [saved(image.convert("I;16"), "TIFF"), saved(image.convert("F"), "TIFF")]
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 4), dtype=np.uint16)
    files += [
        cv2.imencode(s, deep[..., :c])[1].tobytes() for s in (".png", ".tiff") for c in (1, 3, 4)
    ]
    files += [
        saved(drawing(*size), kind) for size in ((1, 9000), (9000, 1)) for kind in ("PNG", "JPEG")
    ]
    large = mark.merged(XMP.replace(b"FacePaint", b"x" * 70_000, 1), MARK)
    photo = Photo(np.asarray(image), metadata=Metadata(icc, exif(), XMP, (72.0, 72.0)))
    files += [photo.encode(kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    files += [Photo(photo.pixels, metadata=Metadata(xmp=large)).encode("JPEG")]
    return [
        *files,
        saved(image, "GIF"),
        saved(image, "BMP"),
        films()[0],
        b"\0\0\0\x1cftypheic" + bytes(40),
    ]


def bomb(chance: np.random.Generator) -> bytes:
    """A small file that asks for much: of pixels, scans or parts."""
    return (many_pixels, many_scans, many_parts)[chance.integers(3)](chance)


def many_pixels(chance: np.random.Generator) -> bytes:
    sides = [(60_000, 1), (1, 60_000), (60_000, 60_000), (10_900, 11_000), (2**31 - 1, 1), (0, 9)]
    width, height = sides[chance.integers(len(sides))]
    rows = zlib.compress(bytes(min(width * 3 + 1, 40_000) * min(height, 11_000)), 9)
    colour = int(chance.choice([2, 6, 0, 4]))
    head = struct.pack(">2I5B", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def many_scans(chance: np.random.Generator) -> bytes:
    side = int(chance.choice([100, 3_000, 10_000]))
    data = saved(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * int(chance.choice([9, 99, 9_999])) + b"\xff\xd9"


def many_parts(chance: np.random.Generator) -> bytes:
    parts = [b"\xff\xe1\0\2", b"\xff", b"\xff\xfe\0\3x", chunk(b"prVt", b""), chunk(b"IDAT", b"")]
    n = int(chance.integers(len(parts)))
    data, place = (saved(drawing(), "JPEG"), 2) if n < 3 else (saved(drawing(), "PNG"), 33)
    many = parts[n] * int(chance.choice([100, 100_000, 1_000_000]))
    return data[:place] + many + data[place:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# --- ways to damage them


def cut(data: bytes, chance: np.random.Generator) -> bytes:
    return data[: chance.integers(len(data) + 1)]


def flip(data: bytes, chance: np.random.Generator) -> bytes:
    out = bytearray(data)
    for place in chance.integers(0, len(out), chance.integers(1, 9)):
        out[place] ^= 1 << int(chance.integers(8))
    return bytes(out)


def number(data: bytes, chance: np.random.Generator) -> bytes:
    """A number put over another, mostly where headers are."""
    out, wide = bytearray(data), int(chance.choice([1, 2, 4, 8]))
    end = max(1, min(len(out) - wide, int(chance.choice([64, 512, len(out)]))))
    value = int(chance.choice([0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31]))
    order = "big" if chance.integers(2) else "little"
    place = int(chance.integers(end))
    out[place : place + wide] = (value % 256**wide).to_bytes(wide, order)
    return bytes(out)


def remove(data: bytes, chance: np.random.Generator) -> bytes:
    low, high = sorted(chance.integers(0, len(data) + 1, 2))
    return data[:low] + data[min(high, low + 200) :]


def repeat(data: bytes, chance: np.random.Generator) -> bytes:
    low, high = sorted(chance.integers(0, len(data) + 1, 2))
    return data[:high] + data[low:high] * int(chance.integers(1, 4)) + data[high:]


def cross(data: bytes, chance: np.random.Generator) -> bytes:
    other = seeds()[chance.integers(len(seeds()))]
    return data[: chance.integers(len(data) + 1)] + other[chance.integers(len(other)) :]


def insert(data: bytes, chance: np.random.Generator) -> bytes:
    place = chance.integers(len(data) + 1)
    return data[:place] + chance.bytes(int(chance.integers(1, 64))) + data[place:]


def with_sums(data: bytes) -> bytes:
    """A PNG with the checksums of its chunks made right, so that what is in them is looked at."""
    out, place = data[:8], 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if place + 12 + size > len(data):
            break
        out += chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + size])
        place += 12 + size
    return out + data[place:]


WAYS: list[Callable[[bytes, np.random.Generator], bytes]] = [
    *(cut, flip, flip, number, number, remove, repeat, cross, insert)
]


ODD = (
    *("null", "true", "-1", "0", "1e999", "NaN", '""', '"\\u0000"', '"\\ud800"', "[]", "{}"),
    *("9" * 400, "9" * 5000, "[" * 5000, '{"a":' * 2000, '"' + "x" * 9000 + '"'),
    *("²", "١", "1_0", "--", "-", "@", "#", ":", "=", "../../x", "\n", "\r\n"),
    *("\x1b[31m", "\u202e", "\udcff"),  # what could steer a terminal, and what is no UTF-8
)
_WORD = re.compile(rb'"[^"]*"|[\w.]+|[^\w\s]')


def odd(data: bytes, chance: np.random.Generator) -> bytes:
    """A text in which an odd value stands for a word, or for what is in front of it too."""
    words = list(_WORD.finditer(data))
    if not words:
        return data
    found = words[chance.integers(len(words))]
    value = ODD[chance.integers(len(ODD))].encode("utf-8", "surrogatepass")
    return data[: found.start()] + value + data[found.end() :]


def parser_of(index: int) -> Parser | None:
    """What a case is for, None for photos."""
    if index % OTHERS != OTHERS - 1 or index % RARE == 0:
        return None
    return PARSERS[index // OTHERS % len(PARSERS)]


def case(index: int) -> bytes:
    """The file of a case."""
    chance = np.random.default_rng([7, index])
    if index % RARE == 0:
        return bomb(chance)
    parser = parser_of(index)
    if parser is not None:
        return damaged(parser, chance)
    data = seeds()[chance.integers(len(seeds()))]
    if chance.integers(12) == 0:
        data = XMP  # a packet by itself
    for _ in range(int(chance.integers(1, 4))):
        data = WAYS[chance.integers(len(WAYS))](data, chance) or b"\0"
    return with_sums(data) if data.startswith(b"\x89PNG") and chance.integers(2) else data


def damaged(parser: Parser, chance: np.random.Generator) -> bytes:
    """A file for a parser."""
    files = parser.seeds()
    data = files[chance.integers(len(files))]
    for _ in range(int(chance.integers(1, 4))):
        way = odd if parser.text and chance.integers(2) else WAYS[chance.integers(len(WAYS))]
        data = way(data, chance) or b"\0"
    return data


# --- what must hold


def check(data: bytes, index: int) -> None:
    """Raise AssertionError, or whatever is not a FacePaintError, where a case fails."""
    parser = parser_of(index)
    if parser is not None:
        if not parser.missing:
            parser.check(data)
        return
    packets = [data if b"<" in data[:400] else None]
    with refused():
        photo = Photo.read(data)
        height, width = photo.pixels.shape[:2]
        assert photo.pixels.dtype == np.uint8 and photo.pixels.shape[2] == 3
        assert 0 < height * width <= MAX_PIXELS and photo.pixels.flags.c_contiguous
        packets.append(photo.metadata.xmp)
        if height * width < 1e6:
            written_and_read(photo, ("JPEG", "PNG", "WEBP", "TIFF")[index % 4])
    with refused():
        packets.append(mp4.read_xmp(io.BytesIO(data)))
    for packet in packets:
        mark.marks_in(packet)
        assert mark.marks_in(mark.merged(packet, MARK))
    if index % RARE == 1:
        by_command(data)


def written_and_read(photo: Photo, kind: str) -> None:
    metadata = photo.metadata
    marked = Photo(
        photo.pixels,
        photo.alpha if kind != "JPEG" else None,
        photo.format,
        photo.mode,
        Metadata(**vars(metadata) | {"xmp": mark.merged(metadata.xmp, MARK)}),
        photo.lossless,
    )
    if kind == "WEBP" and max(photo.pixels.shape) > 16_383:
        return
    again = Photo.read(marked.encode(kind))
    assert again.pixels.shape == photo.pixels.shape
    if kind in ("PNG", "TIFF"):
        assert np.array_equal(again.pixels, photo.pixels), "pixels differ"
    assert mark.marks_in(again.metadata.xmp), "the mark is gone"


def by_command(data: bytes) -> None:
    from facepaint.cli import main

    for name in ("inspect", "faces"):
        with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
            file.write(data)
            file.flush()
            out, error = io.StringIO(), io.StringIO()
            status: object = 0
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
                try:
                    main([name, file.name])
                except SystemExit as end:
                    status = end.code or 0
            said = error.getvalue()
            assert status in (0, 2), status
            assert status == 0 or (said.startswith("facepaint: ") and said.count("\n") == 1), said


# --- running them


def work(start: int, stop: int) -> None:
    """Run cases in this process; one line a case to stdout."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    sink = os.fdopen(os.dup(1), "w", buffering=1)
    for told in (1, 2):  # what is said on the way, by C libraries too
        os.dup2(os.open(os.devnull, os.O_WRONLY), told)
    for index in range(start, stop):
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        line: dict[str, object] = {"case": index}
        try:
            check(case(index), index)
        except BaseException:
            line["failure"] = traceback.format_exc()[-1500:]
        signal.setitimer(signal.ITIMER_PROF, 0)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if used > MEMORY:
            line.setdefault("failure", f"memory {used / 1e9:.2f} GB")
        sink.write(json.dumps(line) + "\n")
        if used > MEMORY:
            return  # a fresh process measures anew


def run(start: int, stop: int) -> tuple[int, dict[int, str]]:
    """Cases from start to stop in a process of their own, as far as it lives; the next case, and
    what failed."""
    command = [sys.executable, __file__, "--work", str(start), str(stop)]
    failures: dict[int, str] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        done = start
        while select.select([process.stdout], [], [], WAIT)[0]:
            text = process.stdout.readline()
            if not text:
                break
            line = json.loads(text)
            done = line["case"] + 1
            if "failure" in line:
                failures[line["case"]] = line["failure"]
        else:
            process.kill()
    if done < stop and process.returncode != 0:  # the case after the last one told killed it
        failures[done] = f"the process ended with {process.returncode} (-27: {SECONDS} s are over)"
        done += 1
    return done, failures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", type=int, nargs="?")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--work", type=int, nargs=2)
    given = parser.parse_args()
    if given.work:
        work(*given.work)
        return
    report = {"next": given.first, "failures": {}, "seconds": 0.0}
    if given.report and given.report.exists():
        report = json.loads(given.report.read_text())
    while report["next"] < given.cases:
        began = time.monotonic()
        report["next"], failures = run(report["next"], min(report["next"] + 2000, given.cases))
        report["failures"] |= {str(k): v for k, v in failures.items()}
        report["seconds"] += time.monotonic() - began
        if given.report:
            given.report.write_text(json.dumps(report, indent=1))
    for index, failure in report["failures"].items():
        print(f"case {index}: {failure.strip().splitlines()[-1]}")
    for parser in PARSERS:
        if parser.missing:
            print(f"no {parser.name} was looked at: {', '.join(parser.missing)} is not installed")
    print(f"{given.cases - given.first} cases, {len(report['failures'])} failures")
    sys.exit(bool(report["failures"]))


if __name__ == "__main__":
    main()
