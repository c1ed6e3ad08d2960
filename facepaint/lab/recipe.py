"""Recipes: short TOML files of one flat table, checked against the dataclass of their method."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from facepaint.errors import LabError
from facepaint.lab.data.split import SPLIT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).with_name("recipes")
AUTO = "auto"
# What the settings of any method, where they have such a key, must be at least.
_LEAST: dict[str, float] = {
    **dict.fromkeys(("steps", "batch", "devices", "workers", "save_every", "sheet_every"), 1),
    **dict.fromkeys(("size", "width", "channels", "box_channels", "attention", "critic_steps"), 1),
    **dict.fromkeys(("rate", "warmup", "floor", "decay", "beta1", "beta2", "clip", "ema"), 0),
    **dict.fromkeys(("seed", "blocks", "pool", "critic_from"), 0),
}
_BELOW_ONE = ("beta1", "beta2")
# As Lightning Fabric names them.
_NAMES = {
    "precision": (
        *(AUTO, "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"),
        *("32", "bf16", "16", "64", "transformer-engine", "transformer-engine-float16"),
    ),
    "accelerator": (AUTO, "cpu", "gpu", "cuda", "mps", "tpu"),
}


def channels(widths: str) -> tuple[int, ...]:
    """A setting of channels at each size, such as "32,64,96", as numbers.

    Raises:
        LabError: if it is none.
    """
    try:
        return tuple(int(w) for w in widths.split(","))
    except ValueError as error:
        raise LabError(f"widths={widths!r} is not like 32,64,96") from error


@dataclass(frozen=True)
class Settings:
    """What every method is trained with; a method's own settings derive from this.

    method: name in the registry of methods.
    steps, batch: optimizer steps, and samples in each over all devices.
    rate, warmup, floor: learning rate, steps to reach it, share of it left at the end (linear).
    decay: weight decay of AdamW (0: Adam). beta1, beta2: shares of its running means.
    clip: largest norm of a gradient.
    ema: share of the running mean of weights kept each step.
    seed: of weights, data order and augmentation.
    precision: as Lightning Fabric names it, or AUTO (`facepaint.lab.precision`).
    accelerator, devices: as Fabric names them.
    workers: threads of each process that make batches ahead.
    compile: through torch.compile; a minute at the start, and it needs a C++ compiler on the CPU.
    save_every, sheet_every: steps between checkpoints and between sample sheets.
    split: the rule by which people are held out for measuring; there is this one.
    data: "photos" for the labelled sets, "drawn" for drawn faces that need no data.
    start: a run, a checkpoint or an exported .onnx whose weights are the first ones, "" for fresh
        ones.
    """

    method: str = ""
    steps: int = 1000
    batch: int = 16
    rate: float = 5e-4
    warmup: int = 200
    floor: float = 0.02
    decay: float = 1e-2
    beta1: float = 0.9
    beta2: float = 0.99
    clip: float = 1.0
    ema: float = 0.998
    seed: int = 0
    precision: str = AUTO
    accelerator: str = AUTO
    devices: int = 1
    workers: int = 1
    compile: bool = False
    save_every: int = 500
    sheet_every: int = 500
    split: str = SPLIT
    data: str = "photos"
    start: str = ""


AUGMENT = ("host", "device")


@dataclass(frozen=True)
class Augmented(Settings):
    """What methods are trained with besides that see faces in other light each time.

    sources: sets to take, separated by commas, "" for all.
    augment: where pictures are cut, lit and blurred: by the "host" that draws samples, or by the
        "device" that trains, for which the host only draws numbers and copies wide crops.
    """

    sources: str = ""
    augment: str = "host"

    def __post_init__(self) -> None:
        if self.augment not in AUGMENT:
            raise LabError(f"no augment={self.augment!r}; there are {' and '.join(AUGMENT)}")

    @property
    def on_device(self) -> bool:
        return self.augment == "device"


S = TypeVar("S", bound=Settings)


def read(name: str, changes: tuple[str, ...] = ()) -> dict[str, Any]:
    """The table of a recipe, by name or path, with `key=value` changes applied."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise LabError(f"no recipe {name}; there are {known}, or give a path that ends in .toml")
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise LabError(f"{path}: not valid TOML: {error}") from error
    return changed(table, changes)


def changed(table: dict[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    """A table with `key=value` changes applied."""
    return table | dict(_change(c) for c in changes)


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise LabError(f"{text!r} is no key=value")
    try:
        return key, tomllib.loads(f"v = {value}")["v"]
    except (ValueError, RecursionError):
        return key, value  # a bare word is a string


def settings(kind: type[S], table: dict[str, Any]) -> S:
    """`table` as settings of `kind`; an unknown key, a value of another type or one that cannot
    work is an error."""
    hints = get_type_hints(kind)
    for key, value in table.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1)
            raise LabError(f"no setting {key}" + (f"; did you mean {near[0]}?" if near else ""))
        if hints[key] is float and isinstance(value, int) and not isinstance(value, bool):
            table = table | {key: float(value)}
        elif not isinstance(value, hints[key]) or isinstance(value, bool) != (hints[key] is bool):
            raise LabError(f"setting {key}={value!r} should be of type {hints[key].__name__}")
    made = kind(**table)
    _check(as_table(made))
    return made


def _check(table: dict[str, Any]) -> None:
    """LabError for a value too small, or a name that there is not."""
    for key, value in table.items():
        least = _LEAST.get(key)
        if least is not None and not value >= least:  # nor nan
            raise LabError(f"setting {key}={value!r} should be at least {least:g}")
        if key in _BELOW_ONE and value >= 1:
            raise LabError(f"setting {key}={value!r} should be below 1")
        if key in _NAMES and value not in _NAMES[key]:
            raise LabError(f"no {key}={value!r}; there are {', '.join(_NAMES[key])}")


def as_table(settings: Any) -> dict[str, Any]:
    """A dataclass of settings as plain values."""
    return dataclasses.asdict(settings)
