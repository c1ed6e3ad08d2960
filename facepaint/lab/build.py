"""Build: all networks that an edit takes, each from its recipe into a folder of weights, in stages.

What has been made of the same settings and inputs is not made again. Settings of a training are
told by its checkpoint; all else by notes beside it (build.json), which hold hashes of what a stage
was made from and of what it gave. A note is written when its stage is through, so that a stage
which was killed counts as not begun; a training goes on from its checkpoint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from facepaint.errors import LabError
from facepaint.files import write_whole
from facepaint.lab import commands, loop, recipe
from facepaint.lab.data.faces import cached, data_folder
from facepaint.lab.graph import network_hash
from facepaint.lab.methods import lookup, of_run
from facepaint.lab.recipe import Settings, as_table
from facepaint.models import MANIFEST, NETWORKS, read_manifest
from facepaint.names import DEFAULT_METHOD

NAMES = ("reader", *NETWORKS[DEFAULT_METHOD])  # in the order in which they are made
STAGES = ("train", "export", "evaluate", "adopt")
DONE, STOPPED, TO_DO, REFUSED = "done", "stopped", "to do", "refused"
NOTES = "build.json"
# Settings that say how a training is run and not what comes of it; they may change at any time.
_FREE = ("accelerator", "devices", "workers", "compile", "save_every", "sheet_every")


@dataclass(frozen=True)
class Job:
    """What to build.

    Attributes:
        out: Folder of weights that is filled.
        runs: Folder of the runs, one by the name of each network.
        data: Folder of photos; None for the environment's.
        asked: Names of networks, () for all of NAMES; and changes of settings, `key=value` for all
            networks that have such a key, `network.key=value` for one.
    """

    out: Path
    runs: Path = Path("runs")
    data: str | None = None
    asked: tuple[str, ...] = ()


class State(NamedTuple):
    """How far a stage is, of DONE, STOPPED, TO_DO and REFUSED, and what more there is to say."""

    word: str
    detail: str = ""


def plan(job: Job) -> list[str]:
    """The lines of a table of all stages and how far each is; nothing is made. Raises LabError for
    what there is not."""
    states = [(n.name, stage, n.state(stage)) for n in _networks(job) for stage in STAGES]
    return [f"{name:<11} {s:<9} {x.word:<8} {x.detail}".rstrip() for name, s, x in states]


def build(job: Job, listen: loop.Listener | None = None) -> Iterator[str]:
    """Make what is not made yet; yields a line before each stage, also of those that are skipped.

    Raises:
        LabError: Something is asked that there is not, or a run was trained with other settings or
            on other data; before anything is made.
    """
    networks = _networks(job)
    for network in networks:
        state = network.state("train")
        if state.word == REFUSED:
            raise LabError(f"{state.detail}; remove it, or name other --runs")
    job.out.mkdir(parents=True, exist_ok=True)
    for network in networks:
        for stage in STAGES:
            state = network.state(stage)
            word = {DONE: "done before", STOPPED: "goes on"}.get(state.word, "begins")
            yield ", ".join(x for x in (f"{network.name}: {stage}: {word}", state.detail) if x)
            if state.word != DONE:
                network.make(stage, listen)


@dataclass(frozen=True)
class _Network:
    """One network of a job, with the changes of its recipe, and what it is given (`_given`)."""

    name: str
    job: Job
    changes: tuple[str, ...]
    settings: Settings
    given: dict[str, str | None]

    @property
    def home(self) -> Path:
        return self.job.runs / self.name

    @property
    def files(self) -> dict[str, Path]:
        """What each stage gives."""
        return {
            "train": self.home / loop.CHECKPOINT,
            "export": self.home / f"{self.name}.onnx",
            "evaluate": self.home / "measured" / "metrics.json",
            "adopt": self.job.out / f"{self.name}.onnx",
        }

    def state(self, stage: str) -> State:
        """How far a stage is."""
        if stage == "train":
            return self._trained()
        there = _hash(self.files[stage])
        made = self._notes().get(stage) == {"from": self._inputs(stage), "made": there}
        if made and stage == "adopt":  # the manifest may name another file
            made = _manifest(self.job.out).get(self.name, {}).get("sha256") == there
        return State(DONE if made else TO_DO)

    def _trained(self) -> State:
        s, file = self.settings, self.files["train"]
        if not file.exists():
            return State(TO_DO, self._time(0))
        state = loop.read_checkpoint(file)
        try:
            held, wanted = as_table(of_run(state)[0]), as_table(s)
        except LabError as error:  # from before a setting was taken away
            return State(REFUSED, f"{self.home} was trained with what there is no more ({error})")
        other = [k for k in wanted if k not in _FREE and held.get(k) != wanted[k]]
        if other:
            was, now = (", ".join(f"{k}={x.get(k)!r}" for k in other) for x in (held, wanted))
            return State(REFUSED, f"{self.home} was trained with {was}, and now {now} is asked")
        note = self._notes().get("train")
        if note is not None and note["from"] != self.given:
            return State(REFUSED, f"{self.home} was trained on other data, or begun from others")
        unsure = "" if note else "; not begun by build: on which data is not known"
        if state["step"] < s.steps:
            return State(STOPPED, self._time(state["step"]) + unsure)
        return State(DONE, unsure.removeprefix("; "))

    def _time(self, step: int) -> str:
        """How much is left from a step on, and how long it takes if all goes as fast as before."""
        s = self.settings
        if lookup(self.name).solve is not None:
            return "solved at once"
        log = self.home / "log.jsonl"
        lines = log.read_text().split("\n")[:-1] if step and log.exists() else []  # whole ones
        samples = (s.steps - step) * s.batch
        left = f"{s.steps - step:,} steps of {s.batch}, {samples:,} samples"
        if not lines:
            return left
        minutes = round(samples / json.loads(lines[-1])["samples_a_second"] / 60)
        return left + f", about {minutes // 60} h {minutes % 60} min"

    def make(self, stage: str, listen: loop.Listener | None) -> None:
        """Make what a stage gives, and note from what."""
        files, data = self.files, self.job.data
        if stage == "train":
            resume = files["train"].exists()
            if not resume:  # before it begins: what was stopped is to be known, too
                self._note(stage, {"from": self.given})
            commands.train(self.name, self.changes, str(self.home), resume, data, listen)
            return
        model, inputs = str(files["export"]), self._inputs(stage)
        if stage == "export":
            commands.export(str(self.home), model, data)
        elif stage == "evaluate":
            asked = commands.Evaluation(model, data=data, changes=self.changes)
            commands.evaluate(asked, str(files["evaluate"].parent), listen)
        else:
            commands.adopt(model, str(self.job.out), str(files["evaluate"]))
        self._note(stage, {"from": inputs, "made": _hash(files[stage])})

    def _inputs(self, stage: str) -> dict[str, str | None]:
        """Hashes of all from which a stage after the training makes something."""
        model = self.files["export"]
        if stage == "export":
            return {"checkpoint": _hash(self.files["train"])} | self.given
        if stage == "evaluate":  # of the network alone: times on its card are others each time
            whole = self.state("export").word == DONE
            return {"network": network_hash(model) if whole else None} | self.given
        return {"model": _hash(model), "metrics": _hash(self.files["evaluate"])}

    def _notes(self) -> dict[str, Any]:
        try:
            notes: dict[str, Any] = json.loads((self.home / NOTES).read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise LabError(f"{self.home / NOTES}: damaged; remove it") from error
        return notes

    def _note(self, stage: str, note: dict[str, Any]) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        write_whole(self.home / NOTES, json.dumps(self._notes() | {stage: note}, indent=2))


def _networks(job: Job) -> list[_Network]:
    """What is asked, checked: in the order of NAMES, each with its changes."""
    _manifest(job.out)  # WeightsError where it is damaged
    names = [a for a in job.asked if "=" not in a]
    of_all = [a for a in job.asked if "=" in a and "." not in a.partition("=")[0]]
    of_one = [a.partition(".")[::2] for a in job.asked if "=" in a and a not in of_all]
    for name in (*names, *(n for n, _ in of_one)):
        if name not in NAMES:
            raise LabError(f"no network {name!r} to build; there are {', '.join(NAMES)}")
    chosen = [n for n in NAMES if n in (names or NAMES)]
    idle = [f"{n}.{c}" for n, c in of_one if n not in chosen]
    if idle:
        raise LabError(f"{idle[0]} is of a network that is not built")
    keys = {n: {f.name for f in dataclasses.fields(lookup(n).settings)} for n in chosen}
    everywhere = set().union(*keys.values())
    found = []
    for name in chosen:
        own = [c for c in of_all if (k := c.partition("=")[0]) in keys[name] or k not in everywhere]
        changes = (*own, *(c for n, c in of_one if n == name))
        settings = recipe.settings(lookup(name).settings, recipe.read(name, changes))
        if settings.method != name:
            raise LabError(f"method={settings.method} cannot be asked: a recipe's own is built")
        if settings.devices > 1:
            by_hand = f"facepaint train {name} devices={settings.devices} --run {job.runs / name}"
            raise LabError(f"one process builds; first run {by_hand}, then build without devices")
        found.append(_Network(name, job, changes, settings, _given(settings, job.data)))
    return found


def _given(s: Settings, folder: str | None) -> dict[str, str | None]:
    """What a training is given besides its settings: the photos, and what it begins from."""
    photos = s.data == Settings.data
    data = cached(data_folder(folder), Path(), NOTES).name if photos else s.data
    start = Path(s.start) / loop.CHECKPOINT if Path(s.start).is_dir() else Path(s.start)
    if s.start and not start.is_file():
        raise LabError(f"start={s.start}: nothing there to begin from")
    return {"data": data, "start": _hash(start) if s.start else None}


def _manifest(folder: Path) -> dict[str, dict[str, str]]:
    return read_manifest(folder) if (folder / MANIFEST).exists() else {}


def _hash(path: Path) -> str | None:
    """The sha256 of a file; None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
