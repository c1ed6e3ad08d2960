"""Files that are written whole or not at all, and lists of lines that a kill may have cut off."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

_TEMPORARY = re.compile(r"\.facepaint-[0-9a-f]{16}\.tmp")


def write_whole(path: Path, data: bytes | str, overwrite: bool = True) -> None:
    """Write a file beside its place and move it there, so that it is the new one or the old.

    Of two that write the same file one wins, whole. What an earlier process left unfinished in the
    folder, because it was killed, is removed. Raises FileExistsError where the file exists and may
    not be overwritten, OSError where the system refuses.
    """
    with temporary(path.parent) as (file, beside):
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        place(file, beside, path, overwrite)


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A new file, locked for as long as it is open, and gone afterwards unless it was moved.

    What an earlier process left unfinished in the folder, because it was killed, is removed.
    """
    _sweep(folder.resolve())
    file, path = _new(folder)
    try:
        with file:
            yield file, path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _new(folder: Path) -> tuple[IO[bytes], Path]:
    while True:
        path = folder / f".facepaint-{secrets.token_hex(8)}.tmp"
        file = path.open("xb")
        _lock(file, wait=True)
        if os.fstat(file.fileno()).st_nlink:  # else another process swept it before it was locked
            return file, path
        file.close()


def _lock(file: IO[bytes], wait: bool = False) -> bool:
    """Whether this process now holds the file; the system lets go of it when the process ends."""
    try:
        import fcntl
    except ImportError:
        return True  # Windows does not let go of an open file in the first place
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # held by another, or a file system without locks
        return False
    return True


@cache  # once a process is enough: its own are removed as it goes
def _sweep(folder: Path) -> None:
    """Remove the temporary files in a folder whose writers are dead."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name) and path.is_file():  # opening a pipe would wait
                _remove_if_dead(path)


def _remove_if_dead(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("rb") as file:
        if _lock(file):
            path.unlink()


def place(file: IO[bytes], beside: Path, target: Path, overwrite: bool = True) -> None:
    """Move a whole `temporary` file to where it belongs. Raises as `write_whole` does."""
    os.fsync(file.fileno())
    if target.exists():
        beside.chmod(stat.S_IMODE(target.stat().st_mode))
    if os.name == "nt":
        file.close()  # an open file cannot be moved there
    _move(beside, target, overwrite)


def _move(beside: Path, target: Path, overwrite: bool) -> None:
    if overwrite:
        beside.replace(target)
        return
    try:
        os.link(beside, target)  # unlike a rename, never replaces what appeared meanwhile
    except FileExistsError:
        raise
    except OSError as cause:  # some file systems have no hard links; there the check must do
        if target.exists():
            raise FileExistsError(str(target)) from cause
        beside.replace(target)


def whole_lines(path: Path) -> list[str]:
    """The whole lines of a file that is only ever appended to; none where there is no file. A last
    line that was cut off while it was written is taken out of the file. What is no UTF-8 comes as
    U+FFFD, and stays in the file as it is."""
    if not path.exists():
        return []
    *lines, cut_off = path.read_bytes().split(b"\n")
    if cut_off:
        write_whole(path, b"".join(line + b"\n" for line in lines))
    return [line.decode(errors="replace") for line in lines]
