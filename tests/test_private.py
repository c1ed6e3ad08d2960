"""Nothing is told to anyone: the libraries that could are asked not to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_onnxruntime_is_told_to_be_silent(tmp_path: Path) -> None:
    """It leaves the file of its telemetry in the temporary folder where it is not (from 1.29)."""
    code = "import os, facepaint; facepaint.load(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    plain = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment = plain | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout == b"1\n", done.stderr
    assert list(tmp_path.iterdir()) == []
