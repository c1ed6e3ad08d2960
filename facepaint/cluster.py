"""Cluster: a batch on Ray, from and to a folder or URL that all its machines can reach.

Ray Data (Moritz et al. 2018, "Ray") hands the photos out, holds back when workers cannot keep up,
starts a worker anew that was killed and gives it its photos again. Each worker loads the networks
once and writes its results itself; only lines of the manifest come back.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from facepaint import batch
from facepaint.batch import Job, Line, Progress
from facepaint.errors import PhotoError
from facepaint.storage import Folder

_BLOCK = 16  # photos that a worker takes at once, and does again if it is killed
_STARTS = 3  # of a Ray of our own: where a machine is busy, parts of it miss times that are fixed
_STORE = 120_000_000  # bytes of shared memory for a Ray of our own: only names and lines go through


def run(
    job: Job,
    workers: int = 1,
    resume: bool = False,
    address: str | None = None,
    progress: Progress | None = None,
) -> list[Line]:
    """Edit every photo in job.source into job.out, under the same relative names.

    address: of a running Ray, as of `ray.init`; None starts one on this machine and ends it.
    Returns the manifest's line of each photo, in the order of their names, as `batch.run` does, and
    raises what it raises. Without Ray, ModuleNotFoundError.
    """
    source, out = Folder(str(job.source)), Folder(str(job.out))
    if source.is_same(out):
        raise PhotoError(f"{job.out} is the folder of the photos; name another for the results")
    names = source.names(out)
    if not names:
        raise PhotoError(f"{job.source}: no photo there")
    if out.has_manifest() and not resume:
        raise PhotoError(f"{job.out} holds a batch already; --resume goes on with it")
    batch.apart(names, source, out)
    if not out.has_manifest() and out.exists():
        batch.unowned(names, out.names(), job)
    done = out.lines()
    with _ray(workers, address), out.manifest() as manifest:
        for count, (name, line) in enumerate(_edited(job, names, done, workers), 1):
            if line is not None:
                manifest.append(line)
                done[name] = line
            if progress:
                progress(count, len(names))
    return [done[name] for name in names]


class Worker:
    """What runs in each of Ray's actors: a painter, loaded once."""

    def __init__(self, job: Job) -> None:
        self._job, self._painter = job, batch.loaded(job)
        self._source, self._out = Folder(str(job.source)), Folder(str(job.out))

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """From {name, before} to {name, line}: lines of the manifest as JSON, "" for none; none
        comes back for a photo that need not be done again."""
        name, before = row["name"], json.loads(row["before"]) if row["before"] else None
        if batch.still_holds(name, before, self._job, self._source, self._out):
            return {"name": name, "line": ""}
        line = batch.line_of(name, self._job, self._painter, self._source, self._out)
        return {"name": name, "line": json.dumps(line)}


def _edited(
    job: Job, names: list[str], done: dict[str, Line], workers: int
) -> Iterator[tuple[str, Line | None]]:
    """Each photo's name and line as soon as it is done; None for one that was done before."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    rows = [{"name": n, "before": json.dumps(done[n]) if n in done else ""} for n in names]
    blocks = max(min(len(rows), 2 * workers), -(-len(rows) // _BLOCK))
    worker: Any = Worker
    lines = ray.data.from_items(rows, override_num_blocks=blocks).map(
        worker,
        fn_constructor_kwargs={"job": job},
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        max_restarts=-1,
        max_task_retries=-1,
    )
    for row in lines.iter_rows():
        yield row["name"], json.loads(row["line"]) if row["line"] else None


@contextmanager
def _ray(workers: int, address: str | None) -> Iterator[None]:
    """A Ray to work on: quiet, and telling nobody that it is used."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    # one more than workers: Ray's own tasks need a place too
    own = {"num_cpus": workers + 1, "object_store_memory": _STORE, "include_dashboard": False}
    _start({"address": address} if address else own, 1 if address else _STARTS)
    try:
        yield
    finally:
        ray.shutdown()


def _start(options: dict[str, Any], tries: int) -> None:
    """Start a Ray, or join one; PhotoError where none comes up."""
    import ray

    for left in reversed(range(tries)):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            return
        except Exception as error:  # a Ray that does not start in time raises no other
            ray.shutdown()
            if not left:
                where = options.get("address", "this machine")
                raise PhotoError(" ".join(f"no Ray at {where}: {error}".split())) from error
