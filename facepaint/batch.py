"""Batch: the same edit on every photo under a folder, with a manifest that makes it resumable.

The manifest, OUT/manifest.jsonl, gets one line a photo when its result is whole: the hash of what
went in, the edit, the faces, the time, or the error. What it holds is not done again while photo
and edit are the same. A photo that fails is told at the end and never stops the rest.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from facepaint.credentials import Credentials
from facepaint.edit import Edit
from facepaint.errors import FacePaintError, NoFaceError, PhotoError
from facepaint.files import whole_lines
from facepaint.photo import FORMATS, Photo

if TYPE_CHECKING:
    from facepaint.painter import Painter

MANIFEST = "manifest.jsonl"
Line = dict[str, Any]
Progress = Callable[[int, int], None]
Sign = Callable[[bytes], bytes]  # from a file to the same one with a signed manifest
_AHEAD = 4  # photos handed to each worker before it asks for them


@dataclass(frozen=True)
class Job:
    """What is done to every photo; the same for each worker. weights, method, mark, detector: as
    of `Painter`, None for the defaults. credentials: to sign results with."""

    source: Path
    out: Path
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
    where a result would fall on an original.
    """
    photos = find(job.source, job.out)
    if not photos:
        raise PhotoError(f"{job.source}: no photo there ({', '.join(sorted(FORMATS))})")
    _guard(job, resume)
    job.out.mkdir(parents=True, exist_ok=True)
    wanted = plain(job.edit)
    done = {k: v for k, v in kept(job.out).items() if _still_holds(job, k, v, wanted)}
    todo = [p for p in photos if p not in done]
    count = len(photos) - len(todo)
    with (job.out / MANIFEST).open("a") as manifest:
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
        photos = (f for f in files if is_photo(f))
        names += [str((here / f).relative_to(folder)) for f in photos]
    return sorted(names)


def is_photo(name: str) -> bool:
    """Whether a file of this name is one to edit."""
    return not name.startswith(".") and _suffix(name) in FORMATS


def format_of(name: str) -> str:
    """The format that a photo of this name has."""
    return FORMATS[_suffix(name)]


def _suffix(name: str) -> str:
    return Path(name).suffix.lower().lstrip(".")


def _guard(job: Job, resume: bool) -> None:
    if job.out.resolve() == job.source.resolve():
        raise PhotoError(f"{job.out} is the folder of the photos; name another for the results")
    if (job.out / MANIFEST).exists() and not resume:
        raise PhotoError(f"{job.out} holds a batch already; --resume goes on with it")


def kept(out: Path) -> dict[str, Line]:
    """The last whole line of each photo in the manifest of `out`; a line that was cut off while it
    was written is taken away."""
    found = (json.loads(line) for line in whole_lines(out / MANIFEST))
    return {line["photo"]: line for line in found}


def _still_holds(job: Job, name: str, line: Line, wanted: Line) -> bool:
    """Whether a photo need not be done again: it went well, is the same, and so is the edit."""
    photo, result = job.source / name, job.out / name
    return (
        line["error"] is None
        and line["edit"] == wanted
        and result.is_file()
        and photo.is_file()
        and line["sha256"] == hashed(photo.read_bytes())
    )


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
    """Edit what a folder holds and, every `pause` seconds, what has come since; for ever. A file
    counts once its size has stood still for a pause."""
    sizes: dict[str, int] = {}
    resume = (job.out / MANIFEST).exists()
    while True:
        now = {p: (job.source / p).stat().st_size for p in find(job.source, job.out)}
        lines = kept(job.out)
        steady = {p for p, size in now.items() if sizes.get(p) == size}
        if any(p not in lines for p in steady):
            yield run(job, workers, resume, progress)
            resume = True
        sizes = now
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
    with ProcessPoolExecutor(count, context, _load, (job,)) as pool:
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
    except BrokenProcessPool as error:
        raise PhotoError(
            "a worker was killed (out of memory?); what is done is kept, --resume goes on"
        ) from error


_WORKER: dict[str, Any] = {}  # of this process: its job and its painter, loaded once


def _load(job: Job) -> None:
    _WORKER.update(job=job, painter=loaded(job.weights, job.method, job.mark))


def loaded(weights: str | None, method: str | None, mark: bool | None) -> Painter:
    """The painter of a process that is one worker of several."""
    import cv2

    from facepaint.painter import Painter

    cv2.setNumThreads(1)  # one worker a core
    asked: dict[str, Any] = {"weights": weights, "method": method, "mark": mark}
    return Painter(**{k: v for k, v in asked.items() if v is not None})


def _one(name: str) -> Line:
    job: Job = _WORKER["job"]

    def write(name: str, photo: Photo, sign: Sign | None) -> None:
        target = job.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        photo.save(target, overwrite=True, sign=sign)

    def read(name: str) -> bytes:
        return (job.source / name).read_bytes()

    painter = _WORKER["painter"]
    return line_of(name, job.edit, painter, job.detector, read, write, job.credentials)


def line_of(
    name: str,
    edit: Edit,
    painter: Painter,
    detector: str | None,
    read: Callable[[str], bytes],
    write: Callable[[str, Photo, Sign | None], None],
    credentials: Credentials | None = None,
) -> Line:
    """Edit one photo and write its result; whatever goes wrong with it is in the line."""
    began = time.perf_counter()
    line: Line = {"photo": name, "sha256": None, "edit": plain(edit), "faces": 0}
    line["error"] = None
    try:
        data = read(name)
        line["sha256"] = hashed(data)
        photo = Photo.read(data)
        faces = painter.faces(photo, detector)
        if not faces:
            raise NoFaceError("no face found")
        line["faces"] = len(faces)
        result = painter.repaint(photo, [(face, edit) for face in faces])
        write(name, result, credentials.signer(data, photo, result) if credentials else None)
    except (FacePaintError, OSError, MemoryError) as error:
        line["error"] = str(error) or type(error).__name__
    return line | {"seconds": round(time.perf_counter() - began, 3)}
