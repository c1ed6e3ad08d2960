"""Precision: bf16 where the processor calculates in it, single precision where it would imitate it,
which takes many times as long."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from facepaint.lab.recipe import AUTO


def has_bf16(kind: str) -> bool:
    """Whether a kind of device ("cpu", "cuda", …) calculates in bf16."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast(kind: str) -> AbstractContextManager[Any]:
    """Within it, networks on a device of that kind run in bf16 where it has that."""
    return torch.autocast(kind, torch.bfloat16, enabled=has_bf16(kind))


def resolve(precision: str, accelerator: str) -> Any:
    """A precision as Lightning Fabric names it, for one so named or AUTO; its accelerator too."""
    if precision != AUTO:
        return precision
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    return "bf16-mixed" if has_bf16("cuda" if gpu else "cpu") else "32-true"
