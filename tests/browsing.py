"""What tests of the web share: a server of ours in its own process, and where chromium is."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def start(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """A server of `facepaint ARGUMENTS` on a free port, and its address once it answers."""
    command = [sys.executable, "-m", "facepaint", *arguments, "--port", "0"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=os.environ | environment, **pipes)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    if not address:
        raise RuntimeError(process.communicate()[1])
    return process, address.rstrip("/")


def stop(process: subprocess.Popen[str]) -> str:
    """Ask the server to end; what it said on stderr."""
    process.terminate()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    return said


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[str]:
    """The address of a server that runs meanwhile and must have nothing to complain of."""
    process, address = start(*arguments)
    try:
        yield address
    finally:
        said = stop(process)
    assert "Traceback" not in said, said
