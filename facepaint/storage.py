"""Storage: a folder of photos and results, on this machine or behind any URL.

pyarrow knows file, s3, gs, hdfs and others; what it does not know, fsspec may. A folder on this
machine has one manifest that grows; where files cannot grow, as in object stores, it has parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import fs

from facepaint.batch import MANIFEST, Line, by_photo, find, is_photo, kept
from facepaint.errors import PhotoError
from facepaint.files import write_whole

PART = 10_000  # lines of the manifest in one part


def is_url(place: str) -> bool:
    return "://" in place


class Folder:
    """A folder at a path or a URL such as s3://bucket/photos."""

    def __init__(self, place: str) -> None:
        """Raises PhotoError where no installed package knows the URL."""
        self.place = place
        self.local = not is_url(place)
        self._files, self._root = _opened(place)

    def names(self, out: Folder | None = None) -> list[str]:
        """Relative names of the photos in it, sorted; what begins with a dot is passed over, and so
        is `out` inside it. PhotoError where there is no such folder."""
        if self.local:
            here = out is not None and isinstance(out._files, fs.LocalFileSystem)
            return find(self.path(), out.path() if out and here else None)
        if not self.exists():
            raise PhotoError(f"{self.place}: no folder there")
        with self._told():
            found = self._files.get_file_info(fs.FileSelector(self._root, recursive=True))
        own = out._root if out and out._files.equals(self._files) else None
        paths = (i.path for i in found if i.is_file and is_photo(i.base_name))
        paths = (p for p in paths if own is None or not p.startswith(f"{own}/"))
        names = (str(PurePosixPath(p).relative_to(self._root)) for p in paths)
        return sorted(n for n in names if not any(x.startswith(".") for x in n.split("/")))

    def exists(self) -> bool:
        with self._told():
            found = self._files.get_file_info(self._root).type
        return bool(found == fs.FileType.Directory)

    def is_same(self, other: Folder) -> bool:
        return self._root == other._root and self._files.equals(other._files)

    def real(self, name: str) -> str:
        path = self._path(name)
        return os.path.realpath(path) if self.local else f"{self._files.type_name}:{path}"

    def has(self, name: str) -> bool:
        return bool(self._files.get_file_info(self._path(name)).is_file)

    def read(self, name: str) -> bytes:
        with self._told(name), self._files.open_input_stream(self._path(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, with the folders above it."""
        path = self._path(name)
        with self._told(name):
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
            if isinstance(self._files, fs.LocalFileSystem):
                write_whole(Path(path), data)
                return
            with self._files.open_output_stream(path) as stream:  # there when it is closed
                stream.write(data)

    def lines(self) -> dict[str, Line]:
        """The last line of each photo in the manifest; none where there is no manifest."""
        if self.local:
            return kept(Path(self._root))
        texts = (self.read(name).decode(errors="replace") for name in self._parts())
        return by_photo(line for text in texts for line in text.splitlines())

    @contextmanager
    def manifest(self) -> Iterator[Manifest]:
        """Lines go to the manifest as they are given; what is given is kept, however it ends."""
        opened = Manifest(self, len(self._parts()))
        try:
            yield opened
        finally:
            opened.close()

    def _parts(self) -> list[str]:
        selector = fs.FileSelector(self._root, allow_not_found=True)
        with self._told():
            names = sorted(i.base_name for i in self._files.get_file_info(selector))
        stem, suffix = MANIFEST.split(".")
        return [n for n in names if n.startswith(f"{stem}.") and n.endswith(f".{suffix}")]

    def has_manifest(self) -> bool:
        return bool(self._parts())

    def path(self) -> Path:
        """Where it is on this machine."""
        return Path(self._root)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _told(self, name: str = "") -> Iterator[None]:
        """What goes wrong, as a PhotoError of one line."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            where = f"{self.place}/{name}" if name else self.place
            raise PhotoError(" ".join(f"{where}: {why}".split())) from error


class Manifest:
    """The manifest of a folder while it is written."""

    def __init__(self, folder: Folder, parts: int) -> None:
        self._folder, self._part, self._lines = folder, parts, list[str]()
        self._file: Any = None
        if folder.local:
            folder.path().mkdir(parents=True, exist_ok=True)
            self._file = (folder.path() / MANIFEST).open("a")

    def append(self, line: Line) -> None:
        text = json.dumps(line) + "\n"
        if self._file is None:
            self._lines.append(text)
            if len(self._lines) == PART:
                self._flush()
            return
        self._file.write(text)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        elif self._lines:
            self._flush()

    def _flush(self) -> None:
        stem, suffix = MANIFEST.split(".")
        name = f"{stem}.{self._part:06}.{suffix}"
        self._folder.write(name, "".join(self._lines).encode())
        self._part += 1
        self._lines.clear()


def _opened(place: str) -> tuple[Any, str]:
    """The file system of a path or URL, and the folder in it."""
    if not is_url(place):
        return fs.LocalFileSystem(), str(Path(place).resolve())
    try:
        files, root = fs.FileSystem.from_uri(place)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        files, root = _by_fsspec(place)
    return files, root.rstrip("/")


def _by_fsspec(place: str) -> tuple[Any, str]:
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError, OSError) as error:
        raise PhotoError(" ".join(f"{place}: {error}".split())) from error
    return fs.PyFileSystem(fs.FSSpecHandler(files)), root
