"""What tests of commands share: one run as its user runs it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What `facepaint` with these arguments says and how it ends."""
    command = [sys.executable, "-m", "facepaint", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
