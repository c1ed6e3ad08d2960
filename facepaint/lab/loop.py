"""The training loop: one for every method, on Lightning Fabric.

The loop owns optimizers, devices, ranks, logs and files; a method owns networks and losses. All
chance comes from (seed, step, rank), so a run that was stopped goes on exactly where it was.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from facepaint.errors import LabError
from facepaint.files import whole_lines, write_whole
from facepaint.lab import precision
from facepaint.lab.graph import read_weights
from facepaint.lab.recipe import Settings, as_table

Batch = dict[str, Tensor]
Networks = dict[str, nn.Module]
Phases = dict[str, tuple[str, ...]]  # a phase and the names of the networks that it trains
CHECKPOINT = "checkpoint.pt"
_KEYS = {"step", "settings", "networks", "ema", "optimizers"}  # of a checkpoint


def stacked(rows: Sequence[Mapping[str, npt.NDArray[Any]]]) -> Batch:
    """A batch of samples that have the same keys and shapes."""
    return {k: torch.from_numpy(np.stack([r[k] for r in rows])) for k in rows[0]}


class Method(Protocol):
    """What the loop needs of a method."""

    networks: Networks
    phases: Phases  # in their order

    @property
    def settings(self) -> Settings: ...

    def sample(self, rng: np.random.Generator, count: int, step: int) -> Batch:
        """`count` samples, a pure function of the generator's state and the step."""

    def loss(
        self, phase: str, networks: Networks, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a phase and what of it is worth logging. `batch` may carry on to the next."""

    def sheet(self, networks: Networks) -> npt.NDArray[np.uint8]:
        """A picture that shows how far the method is, uint8 [H, W, 3] RGB."""


Listener = Callable[[int, int, dict[str, float]], None]  # step, steps, values


def train(method: Method, run: Path, resume: bool = False, listen: Listener | None = None) -> int:
    """Train until settings.steps; returns the last step. `run` receives log, sheets, checkpoint."""
    s = method.settings
    strategy = _Alike() if s.devices > 1 else "auto"
    fabric = Fabric(
        accelerator=s.accelerator,
        devices=s.devices,
        precision=precision.resolve(s.precision, s.accelerator),
        strategy=strategy,
    )
    if s.batch % fabric.world_size:
        raise LabError(f"batch={s.batch} cannot be divided over {fabric.world_size} processes")
    fabric.launch()
    networks, optimizers = _set_up(fabric, method)
    ema = {n: deepcopy(method.networks[n]).to(fabric.device).eval() for n in networks}
    first = _load(run, fabric, networks, ema, optimizers, s) if resume else _fresh(run)
    if s.start and not resume:
        _start(Path(s.start), networks, ema)
    run.mkdir(parents=True, exist_ok=True)
    if fabric.is_global_zero:  # the one that writes it
        _forget(run / "log.jsonl", first)
    with (run / "log.jsonl").open("a") as log:
        _train(method, fabric, (networks, ema, optimizers), first, run, log, listen)
    return s.steps


def _train(
    method: Method,
    fabric: Fabric,
    state: tuple[Networks, Networks, dict[str, torch.optim.Optimizer]],
    first: int,
    run: Path,
    log: IO[str],
    listen: Listener | None,
) -> None:
    s, (networks, ema, optimizers) = method.settings, state
    began, waited = time.perf_counter(), 0.0
    for step, batch, waiting in _batches(method, fabric, first):
        waited += waiting
        torch.manual_seed((s.seed * 1_000_003 + step) * 1_009 + fabric.global_rank)
        values: dict[str, Tensor] = {}
        for phase, names in method.phases.items():
            loss, shown = method.loss(phase, networks, batch, step)
            _update(fabric, loss, {n: (networks[n], optimizers[n]) for n in names}, s, step)
            values |= shown
        _average(ema, networks, min(s.ema, (1 + step) / (10 + step)))
        done = step + 1
        if fabric.is_global_zero:
            passed = time.perf_counter() - began
            if done % 20 == 0 or done == s.steps:
                numbers = {k: float(v.detach()) for k, v in values.items()} | {
                    "samples_a_second": (done - first) * s.batch / passed,
                    "waiting_for_data": waited / passed,
                }
                log.write(json.dumps({"step": done} | _rounded(numbers)) + "\n")
                log.flush()
                if listen:
                    listen(done, s.steps, numbers)
            if done % s.save_every == 0 or done == s.steps:
                save(run / CHECKPOINT, done, s, networks, ema, optimizers)
            if done % s.sheet_every == 0 or done == s.steps:
                with torch.no_grad():
                    _write_png(run / f"sheet-{done:06d}.png", method.sheet(ema))


class _Alike(DDPStrategy):
    """Processes that hold the same networks and take the mean of their gradients: gloo between
    CPUs, nccl between GPUs. Not torch's wrapper, which wants every weight in every backward pass,
    where a critic's are left out while it judges.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        return module


def _set_up(fabric: Fabric, method: Method) -> tuple[Networks, dict[str, torch.optim.Optimizer]]:
    """Networks and optimizers under Fabric, each by its own name: wrapped children of a wrapped
    parent save but do not load."""
    s = method.settings
    networks: Networks = {}
    optimizers: dict[str, torch.optim.Optimizer] = {}
    compiled = s.compile and _can_compile()
    for name, network in method.networks.items():
        network.to(memory_format=torch.channels_last)
        if compiled:
            network.compile()
        # not fused: that takes weights and gradients for alike in memory, which they need not be
        optimizer = torch.optim.AdamW(
            network.parameters(), s.rate, (s.beta1, s.beta2), weight_decay=s.decay
        )
        networks[name], optimizers[name] = fabric.setup(network, optimizer)
    return networks, optimizers


def _can_compile() -> bool:
    """Whether torch.compile has what it needs: on the CPU that is a C++ compiler. Without one the
    training is slower, not other."""
    found = bool(os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++"))
    if not found:
        warnings.warn("compile=true needs a C++ compiler (g++); going on without", stacklevel=2)
    return found


def _batches(method: Method, fabric: Fabric, first: int) -> Iterator[tuple[int, Batch, float]]:
    """(step, batch, seconds waited for it) from `first` on; as many batches as there are workers
    are made ahead while one is trained on."""
    s = method.settings
    count = s.batch // fabric.world_size

    def make(step: int) -> Batch:
        rng = np.random.default_rng([s.seed, step, fabric.global_rank])
        return method.sample(rng, count, step)

    with ThreadPoolExecutor(s.workers) as ahead:
        steps = iter(range(first, s.steps))
        coming = deque((step, ahead.submit(make, step)) for step in islice(steps, s.workers))
        while coming:
            step, batch = coming.popleft()
            began = time.perf_counter()
            made = batch.result()
            waiting = time.perf_counter() - began
            coming.extend((n, ahead.submit(make, n)) for n in islice(steps, 1))
            yield step, fabric.to_device(made), waiting


def rate_at(step: int, s: Settings) -> float:
    """Learning rate: linear warm-up, then linear to `floor` of it at the end."""
    rise = min(1.0, (step + 1) / max(1, s.warmup))
    left = max(0.0, 1 - max(0, step - s.warmup) / max(1, s.steps - s.warmup))
    return s.rate * rise * (s.floor + (1 - s.floor) * left)


def _update(
    fabric: Fabric,
    loss: Tensor,
    trained: dict[str, tuple[nn.Module, torch.optim.Optimizer]],
    s: Settings,
    step: int,
) -> None:
    for _, optimizer in trained.values():
        optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    for network, optimizer in trained.values():
        _share_gradients(fabric, network)
        fabric.clip_gradients(network, optimizer, max_norm=s.clip, error_if_nonfinite=False)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, s)
        optimizer.step()


def _share_gradients(fabric: Fabric, network: nn.Module) -> None:
    """Give every process the mean of all processes' gradients, in one message."""
    if fabric.world_size == 1:
        return
    trained = [p for p in network.parameters() if p.requires_grad]
    flat = torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in trained]
    )
    mean = torch.as_tensor(fabric.all_reduce(flat, reduce_op="mean"))
    for p, part in zip(trained, torch.split(mean, [p.numel() for p in trained]), strict=True):
        p.grad = part.view_as(p).clone()


@torch.no_grad()
def _average(ema: Networks, networks: Networks, keep: float) -> None:
    for name, network in networks.items():
        for mean, now in zip(ema[name].parameters(), network.parameters(), strict=True):
            mean.lerp_(now.detach().to(mean.dtype), 1 - keep)
        for kept, new in zip(ema[name].buffers(), network.buffers(), strict=True):
            kept.copy_(new)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {k: float(f"{v:.5g}") for k, v in values.items()}


def _write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))


def _forget(log: Path, step: int) -> None:
    """Take out of a log what comes after a step, and a line that was cut off: a run that was killed
    goes on from its checkpoint, and does the steps since then again."""
    lines = whole_lines(log)
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    if len(kept) < len(lines):
        write_whole(log, "".join(f"{line}\n" for line in kept))


def _fresh(run: Path) -> int:
    if (run / CHECKPOINT).exists():
        raise LabError(f"{run} holds a run already; give --resume, or another folder")
    return 0


def save(
    path: Path,
    step: int,
    settings: Settings,
    networks: Networks,
    ema: Networks,
    optimizers: dict[str, torch.optim.Optimizer],
) -> None:
    """Everything that a run needs to go on, written beside and then renamed."""
    state = {
        "step": step,
        "settings": as_table(settings),
        "networks": {n: m.state_dict() for n, m in networks.items()},
        "ema": {n: m.state_dict() for n, m in ema.items()},
        "optimizers": {n: o.state_dict() for n, o in optimizers.items()},
    }
    buffer = io.BytesIO()  # not into the file: on a full disk torch raises what is no OSError
    torch.save(state, buffer)
    write_whole(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's state, on the CPU; only tensors and plain values are ever loaded."""
    if path.is_dir():
        path = path / CHECKPOINT
    if not path.is_file():
        raise LabError(f"no checkpoint at {path}")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise LabError(f"{path}: not a checkpoint, or a damaged one") from error
    if not isinstance(state, dict) or not state.keys() >= _KEYS:
        raise LabError(f"{path}: tensors, but not the checkpoint of a run")
    return state


def _start(checkpoint: Path, networks: Networks, ema: Networks) -> None:
    """First weights from another run's averaged ones, of every network that is built alike, or
    from an exported network. A network may have newer parts: they stay fresh."""
    if checkpoint.suffix == ".onnx":
        name, weights = read_weights(checkpoint)
        wanted = ema[name].state_dict() if name in ema else {}
        averaged = {name: {k: v for k, v in weights.items() if k in wanted}}
    else:
        averaged = read_checkpoint(checkpoint)["ema"]
    alike = [n for n in averaged if n in ema and _fits(averaged[n], ema[n].state_dict())]
    if not alike:
        raise LabError(f"{checkpoint} holds no network like {', '.join(networks)} to start from")
    for name in alike:
        networks[name].load_state_dict(averaged[name], strict=False)
        ema[name].load_state_dict(averaged[name], strict=False)


def _fits(weights: dict[str, Tensor], state: dict[str, Tensor]) -> bool:
    """Whether all of some weights, if there are any, have their place in a network's state."""
    places = {k: v.shape for k, v in state.items()}
    return bool(weights) and all(places.get(k) == v.shape for k, v in weights.items())


def _load(
    run: Path,
    fabric: Fabric,
    networks: Networks,
    ema: Networks,
    optimizers: dict[str, torch.optim.Optimizer],
    s: Settings,
) -> int:
    state = read_checkpoint(run)
    if state["settings"]["method"] != s.method:
        raise LabError(f"{run} holds a run of {state['settings']['method']}, not of {s.method}")
    try:
        for name, network in networks.items():
            network.load_state_dict(state["networks"][name])
            ema[name].load_state_dict(state["ema"][name])
            optimizers[name].load_state_dict(state["optimizers"][name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise LabError(f"{run} holds networks that are built otherwise ({error})") from error
    return int(state["step"])
