"""Memory and load: a 100-megapixel photo with 50 faces, 1,000 edits in a process, 8 threads.

benchmarks/load.py large | edits [N] | threads        each prints what it measured
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

import facepaint

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))


def portrait() -> np.ndarray:
    """The astronaut's head, uint8 [256, 256, 3]."""
    from figures import astronaut

    return np.ascontiguousarray(facepaint.Photo.read(astronaut()).pixels[:256, 96:352])


def now() -> float:
    """Memory in use, MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def large() -> None:
    """`facepaint edit` on 11,600 × 8,700 pixels with 5 × 10 faces of some 400 pixels."""
    photo = np.full((8_700, 11_600, 3), 128, np.uint8)
    head = np.asarray(Image.fromarray(portrait()).resize((1_100, 1_100)))
    for row in range(5):
        for column in range(10):
            y, x = 100 + row * 1_720, 20 + column * 1_150
            photo[y : y + 1_100, x : x + 1_100] = head
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jpg"
        Image.fromarray(photo).save(path, quality=90)
        del photo, head
        command = [sys.executable, "-m", "facepaint", "edit", str(path), "--to", "neutral"]
        # a small process between: a new one inherits the peak of the one that starts it
        told = "import resource as r; print(r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss / 1e6)"
        between = f"import subprocess; subprocess.run({command!r}, check=True); {told}"
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", between], capture_output=True, text=True, check=True
        )
        seconds = time.perf_counter() - began
    print(f"{done.stderr.strip().split(': ')[-1]}; {float(done.stdout):.2f} GB, {seconds:.0f} s")


def edits(count: int) -> None:
    painter, photo = facepaint.load(), portrait()
    for n in range(1, count + 1):
        painter.edit(np.roll(photo, n % 16, 1), to="neutral", strength=0.5 + n % 2 / 2)
        if n in (2, 20) or n % (count // 10) == 0:
            print(f"{n} edits: {now():.1f} MB", flush=True)


def threads() -> None:
    painter, photo = facepaint.load(), portrait()
    jobs = [(np.roll(photo, n, 1), to) for n in range(8) for to in ("happy", "neutral")]

    def edited(job: tuple[np.ndarray, str]) -> str:
        return hashlib.sha256(painter.edit(job[0], to=job[1]).tobytes()).hexdigest()

    alone = [edited(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(edited, jobs))
    print(f"{len(jobs)} edits, 8 threads: {'the same' if alone == together else 'OTHER'} pixels")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    {"large": large, "threads": threads}[what]() if not rest and what != "edits" else edits(
        int(rest[0]) if rest else 1000
    )
