"""Batch: the same edit on every photo under a folder, with a manifest that makes it resumable.

The manifest, OUT/manifest.jsonl, gets one line a photo when its result is whole: the hash of what
went in, the edit, other options, the networks, the faces, the time, or the error. What it holds is
not done again while photo, edit, options and networks are the same. A photo that fails is told at
the end and never stops the rest.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, fields
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from facepaint.credentials import Credentials
from facepaint.detect import default_detector
from facepaint.edit import Edit
from facepaint.encode import write
from facepaint.errors import FacePaintError, NoFaceError, PhotoError
from facepaint.files import whole_lines
from facepaint.models import folder_of, taking_part
from facepaint.photo import FORMATS, Photo

if TYPE_CHECKING:
    from facepaint.painter import Painter

MANIFEST = "manifest.jsonl"
Line = dict[str, Any]
Progress = Callable[[int, int], None]
_AHEAD = 4  # photos handed to each worker before it asks for them


@dataclass(frozen=True)
class Job:
    """What is done to every photo; the same for each worker. source, out: folders; for
    `facepaint.cluster` they may be URLs. weights, method, mark, detector: as of `Painter`, None for
    the defaults. credentials: to sign results with."""

    source: Path | str
    out: Path | str
    edit: Edit
    weights: str | None = None
    method: str | None = None
    detector: str | None = None
    mark: bool | None = None
    credentials: Credentials | None = None


def run(
    job: Job, workers: int = 1, resume: bool = False, progress: Progress | None = None
) -> list[Line]:
    """Edit every photo under job.source into job.out, under the same relative names.

    Returns the manifest's line of each photo, in the order of their names. Raises PhotoError where
    the folder holds no photo, where job.out already holds a batch and `resume` is not asked, or
    where a result would fall on an original, or, in a folder that holds no batch yet, on any file.
    """
    photos = find(Path(job.source), Path(job.out))
    if not photos:
        raise PhotoError(f"{job.source}: no photo there ({', '.join(sorted(FORMATS))})")
    _guard(job, resume)
    _check_targets(job, photos)
    return _run(job, photos, workers, progress)


def _run(job: Job, photos: list[str], workers: int, progress: Progress | None) -> list[Line]:
    source, out = Local(Path(job.source)), Local(Path(job.out))
    out.root.mkdir(parents=True, exist_ok=True)
    before = kept(out.root)
    done = {p: before[p] for p in photos if still_holds(p, before.get(p), job, source, out)}
    todo = [p for p in photos if p not in done]
    count = len(done)
    with (out.root / MANIFEST).open("a") as manifest:
        for line in _edited(job, todo, workers):
            _append(manifest, line)
            done[line["photo"]] = line
            count += 1
            if progress:
                progress(count, len(photos))
    return [done[p] for p in photos]


def find(folder: Path, out: Path | None = None) -> list[str]:
    """Relative names of the photos under `folder`, by suffix, sorted; `out` inside it is passed
    over, and so is what begins with a dot."""
    if not folder.is_dir():
        raise PhotoError(f"{folder}: no folder there")
    own = out.resolve() if out else None
    names = []
    for home, folders, files in os.walk(folder):
        here = Path(home)
        kept = (d for d in folders if not d.startswith(".") and (here / d).resolve() != own)
        folders[:] = sorted(kept)
        photos = (f for f in files if is_photo(f) and not _is_pipe(here / f))
        names += [str((here / f).relative_to(folder)) for f in photos]
    return sorted(names)


def _is_pipe(path: Path) -> bool:
    """Whether it is there and no file: reading it might wait for ever."""
    return path.exists() and not path.is_file()


def is_photo(name: str) -> bool:
    """Whether a file of this name is one to edit."""
    return not name.startswith(".") and _suffix(name) in FORMATS


def format_of(name: str) -> str:
    """The format that a photo of this name has."""
    return FORMATS[_suffix(name)]


def _suffix(name: str) -> str:
    return Path(name).suffix.lower().lstrip(".")


def _guard(job: Job, resume: bool) -> None:
    out = Path(job.out)
    if out.resolve() == Path(job.source).resolve():
        raise PhotoError(f"{out} is the folder of the photos; name another for the results")
    if (out / MANIFEST).exists() and not resume:
        raise PhotoError(f"{out} holds a batch already; --resume goes on with it")


def _check_targets(job: Job, photos: list[str]) -> None:
    """PhotoError where a result would replace an original, or what no batch has written."""
    out = Path(job.out)
    apart(photos, Local(Path(job.source)), Local(out))
    if out.is_dir() and not (out / MANIFEST).exists():
        unowned(photos, find(out), job)


def unowned(photos: Iterable[str], there: Iterable[str], job: Job) -> None:
    """PhotoError for the first of the photos that job.out, without a manifest, holds already."""
    for name in sorted(set(photos) & set(there)):
        raise PhotoError(f"{job.out}/{name} is there already; name another folder for the results")


def apart(photos: Iterable[str], source: Files, out: Files) -> None:
    """PhotoError where the result of one of the photos would fall on one of them."""
    originals = {source.real(name): name for name in photos}
    for name in photos:
        if (hit := originals.get(out.real(name))) is not None:
            raise PhotoError(
                f"the result of {name} would replace {hit}, a photo; name another folder for them"
            )


def kept(out: Path) -> dict[str, Line]:
    """The last whole line of each photo in the manifest of `out`; a line that was cut off while it
    was written is taken away, one that is none of ours is passed over."""
    return by_photo(whole_lines(out / MANIFEST))


def by_photo(texts: Iterable[str]) -> dict[str, Line]:
    """The last line of each photo; what is no line of ours is passed over."""
    return {line["photo"]: line for text in texts for line in _parsed(text)}


def _parsed(text: str) -> list[Line]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return []
    ours = isinstance(line, dict) and isinstance(line.get("photo"), str)
    return [line] if ours else []


class Files(Protocol):
    """The files of a folder by their relative names, wherever it is."""

    def has(self, name: str) -> bool: ...
    def real(self, name: str) -> str:
        """One and the same for one and the same file, whatever leads to it."""

    def read(self, name: str) -> bytes: ...
    def write(self, name: str, data: bytes) -> None:
        """Wholly or not at all, with the folders above it."""


@dataclass(frozen=True)
class Local:
    """The files of a folder on this machine."""

    root: Path

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def real(self, name: str) -> str:
        return os.path.realpath(self.root / name)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        target = Path(self.real(name))  # a symbolic link stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target, data, overwrite=True)


def still_holds(name: str, line: Line | None, job: Job, source: Files, out: Files) -> bool:
    """Whether a photo need not be done again: its line says that it went well, it is the same, and
    so is what is asked. One that cannot be read now is done again, so that its line says so."""
    with suppress(OSError, PhotoError):
        return _still_holds(name, line, job, source, out)
    return False


def _still_holds(name: str, line: Line | None, job: Job, source: Files, out: Files) -> bool:
    return (
        line is not None
        and line.get("error", "unknown") is None
        and all(line.get(k) == v for k, v in _asked(job).items())
        and line.get("networks") == _networks(job)
        and out.has(name)
        and line.get("sha256") == hashed(source.read(name))
    )


def _asked(job: Job) -> Line:
    """What of a job decides how a result looks, as values that JSON holds."""
    options = {n: getattr(job, n) for n in ("weights", "method", "mark")}
    options["detector"] = job.detector or default_detector()
    options = {n: v for n, v in options.items() if v is not None}
    if job.credentials:
        options["certificate"] = hashed(job.credentials.certificate)
    return {"edit": plain(job.edit), "options": options}


def _networks(job: Job) -> dict[str, str]:
    """By name the sha256 of the networks with which a job would be done now."""
    return taking_part(folder_of(job.weights), job.method)


def hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _append(manifest: IO[str], line: Line) -> None:
    manifest.write(json.dumps(line) + "\n")
    manifest.flush()
    os.fsync(manifest.fileno())


def plain(edit: Edit) -> Line:
    """An edit as values that JSON holds; a copied face as its blendshapes."""
    values = {f.name: getattr(edit, f.name) for f in fields(edit)}
    if edit.like is not None:
        values["like"] = [round(float(v), 4) for v in edit.like.blendshapes]
    return values | {"set": dict(edit.set), "regions": list(edit.regions)}


def watch(
    job: Job, workers: int = 1, progress: Progress | None = None, pause: float = 1.0
) -> Iterator[list[Line]]:
    """Edit what a folder holds and, every `pause` seconds, what has come or changed since; for
    ever. A file counts once its size has stood still for a pause. Gives the lines of each round."""
    source, out = Path(job.source), Path(job.out)
    _guard(job, resume=True)
    sizes: dict[str, int] = {}  # a pause ago
    done: dict[str, tuple[int, int]] = {}  # size and time of each photo that was looked at
    while True:
        now = {}
        for photo in find(source, out):
            with suppress(OSError):  # gone again
                found = (source / photo).stat()
                now[photo] = (found.st_size, found.st_mtime_ns)
        new = [p for p, state in now.items() if sizes.get(p) == state[0] and done.get(p) != state]
        if new:
            _check_targets(job, new)
            yield _run(job, new, workers, progress)
            done |= {p: now[p] for p in new}
        sizes = {p: size for p, (size, _) in now.items()}
        time.sleep(pause)


# --- the work


def _edited(job: Job, names: list[str], workers: int) -> Iterator[Line]:
    """The line of each photo as soon as it is done, by this process or by several."""
    if workers <= 1 or len(names) < 2:
        _load(job)
        yield from (_one(name) for name in names)
        return
    # spawned, not forked: a forked ONNX Runtime hangs
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(names))
    with ProcessPoolExecutor(count, context, _begin, (job,)) as pool:
        yield from _drained(pool, names, count * _AHEAD)


def _drained(pool: ProcessPoolExecutor, names: Iterable[str], ahead: int) -> Iterator[Line]:
    """Results in the order in which they come, never more than `ahead` photos in flight."""
    rest, flying = iter(names), set[Future[Line]]()
    try:
        while True:
            while len(flying) < ahead and (name := next(rest, None)) is not None:
                flying.add(pool.submit(_one, name))
            if not flying:
                return
            finished, flying = wait(flying, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    except BaseException as error:
        pool.shutdown(cancel_futures=True)  # or what was handed out would all be done first
        if not isinstance(error, BrokenProcessPool):
            raise
        raise PhotoError(
            "a worker was killed (out of memory?); what is done is kept, --resume goes on"
        ) from error


_WORKER: dict[str, Any] = {}  # of this process: its job and its painter, loaded once


def _begin(job: Job) -> None:
    """In a process of its own, which must not outlive the one that started it: killed, that cannot
    tell it, and it would wait for photos for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _load(job)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _load(job: Job) -> None:
    _WORKER.update(job=job, painter=loaded(job))


def loaded(job: Job) -> Painter:
    """The painter of a process that is one worker of several."""
    import cv2

    from facepaint.painter import Painter

    cv2.setNumThreads(1)  # one worker a core
    asked: dict[str, Any] = {"weights": job.weights, "method": job.method, "mark": job.mark}
    return Painter(**{k: v for k, v in asked.items() if v is not None})


def _one(name: str) -> Line:
    job: Job = _WORKER["job"]
    return line_of(name, job, _WORKER["painter"], Local(Path(job.source)), Local(Path(job.out)))


def line_of(name: str, job: Job, painter: Painter, source: Files, out: Files) -> Line:
    """Edit one photo and write its result; whatever goes wrong with it is in the line."""
    began = time.perf_counter()
    line: Line = {"photo": name, "sha256": None} | _asked(job)
    line |= {"networks": painter.models, "faces": 0, "error": None}
    try:
        data = source.read(name)
        line["sha256"] = hashed(data)
        photo = Photo.read(data)
        faces = painter.faces(photo, job.detector)
        if not faces:
            raise NoFaceError("no face found")
        line["faces"] = len(faces)
        result = painter.repaint(photo, [(face, job.edit) for face in faces])
        encoded = result.encode(format_of(name))
        if job.credentials:
            encoded = job.credentials.signer(data, photo, result)(encoded)
        out.write(name, encoded)
    except (FacePaintError, OSError, MemoryError) as error:
        line["error"] = str(error) or type(error).__name__
    return line | {"seconds": round(time.perf_counter() - began, 3)}
