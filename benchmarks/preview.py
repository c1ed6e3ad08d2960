"""How long the studio takes from a slider's move to the picture: a browser on this machine.

Usage: python benchmarks/preview.py PHOTO [MOVES]. Prints the median and the slowest of MOVES, from
the slider's input event to the frame in which the edited picture stands, in milliseconds; alone,
without a browser, the edit and its JPEG.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

import facepaint
from facepaint.web.preview import Preview

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browsing import ARGUMENTS, CHROMIUM, server

MOVE = """async (value) => {
  const frame = document.querySelector(".fp-frame");
  const slider = document.querySelector("#muscle-mouthSmile input[type=range]");
  const began = performance.now();
  const done = new Promise((resolve) => {
    const watch = new MutationObserver(() => {
      watch.disconnect();
      requestAnimationFrame(() => resolve(performance.now() - began));
    });
    watch.observe(frame, { attributes: true, attributeFilter: ["data-version"] });
  });
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  return done;
}"""


def main(photo: str, moves: int = 40) -> None:
    _tell("edit and JPEG", _alone(photo, moves))
    with server("studio", "--no-open") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1360, "height": 860})
        page.goto(address)
        page.set_input_files("#stage input.file", photo)
        page.wait_for_selector(".fp-frame[data-version]")
        page.wait_for_timeout(1000)
        page.evaluate(MOVE, 0.5)
        _tell("slider to picture", [page.evaluate(MOVE, i / moves) for i in range(moves)])
        browser.close()


def _alone(photo: str, moves: int) -> list[float]:
    painter = facepaint.load()
    read = facepaint.Photo.read(photo)
    faces = painter.faces(read)
    preview, times = Preview(painter, read, faces), []
    for i in range(moves):
        began = time.perf_counter()
        preview.jpeg({0: facepaint.Edit(set={"mouthSmile": i / moves})})
        times.append(1000 * (time.perf_counter() - began))
    return times


def _tell(what: str, times: list[float]) -> None:
    print(f"{what:<20} median {statistics.median(times):.0f} ms, slowest {max(times):.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
