"""Damaged files: a bounded run of scripts/fuzz.py, and what longer runs have found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facepaint
from facepaint.photo import MAX_WEBP, Photo

ROOT = Path(__file__).resolve().parents[1]
CASES = 2500


def fuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "fuzz.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_damaged_files_are_read_or_refused() -> None:
    done = fuzz(CASES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{CASES} cases, 0 failures" in done.stdout


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert fuzz(20, "--first", 10, "--report", report).returncode == 0
    assert '"next": 20' in report.read_text()
    assert fuzz(30, "--report", report).returncode == 0
    assert '"next": 30' in report.read_text()


@pytest.mark.parametrize("case", [887, 7028, 66387])
def test_cases_that_failed_once(case: int) -> None:
    done = fuzz(case + 1, "--first", case)
    assert done.returncode == 0, done.stdout


def measured(code: str, path: Path) -> float:
    """Peak memory in GB of a process of its own."""
    tail = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)"
    # a process inherits the peak of the one that starts it, so a small one stands between
    command = [sys.executable, "-c", f"{code}\n{tail}", str(path)]
    between = f"import subprocess; subprocess.run({command!r}, check=True)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    out = subprocess.run([sys.executable, "-c", between], stdout=subprocess.PIPE, env=environment)
    return float(out.stdout.split()[-1])


@pytest.mark.parametrize("mode", ["RGBA", "CMYK"])
def test_the_largest_photos_fit_into_the_memory(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    how = {"compression": "tiff_adobe_deflate"} if mode == "CMYK" else {"compress_level": 1}
    Image.new(mode, (10_900, 11_000)).save(path, **how)
    code = "import sys; from facepaint.photo import Photo; print(Photo.read(sys.argv[1]).format)"
    assert measured(code, path) < 1.5


def test_a_large_webp_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Photo.read(np.zeros((30, 40, 3), np.uint8)).encode("WEBP")
    assert Photo.read(data).pixels.shape == (30, 40, 3)
    monkeypatch.setattr("facepaint.photo.MAX_WEBP", 30 * 40 - 1)
    with pytest.raises(facepaint.PhotoError, match="megapixels"):
        Photo.read(data)
    assert MAX_WEBP == 70_000_000
