"""Limits: what the service takes on. Flags and their help are derived from the fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _limit(default: int, flag: str, help: str) -> Any:
    return field(default=default, metadata={"flag": flag, "help": help})


@dataclass(frozen=True)
class Limits:
    """What one request may bring, and how many requests are taken at a time.

    bytes: of a whole request. pixels: of each picture in it. faces: found in a picture. workers:
    edits that run at the same time, one thread each. waiting: requests that may wait for one.
    """

    bytes: int = _limit(50_000_000, "--max-bytes", "Bytes that one request may have.")
    pixels: int = _limit(50_000_000, "--max-pixels", "Pixels that a picture may have.")
    faces: int = _limit(64, "--max-faces", "Faces that a picture may show.")
    workers: int = _limit(2, "--workers", "Edits that run at the same time.")
    waiting: int = _limit(32, "--max-waiting", "Requests that may wait while others run.")
