"""Take the pictures of docs/studio.md: the page with the astronaut (NASA, public domain)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browsing import ARGUMENTS, CHROMIUM, server

OUT = Path("docs/images")
DESK = {"viewport": {"width": 1360, "height": 850}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True}
WINDOWS: dict[str, tuple[dict[str, Any], int]] = {  # and how far the divider is moved
    "studio": (DESK, 21),
    "studio-dark": (DESK | {"color_scheme": "dark"}, 21),
    "studio-phone": (PHONE, 0),
}


def main() -> None:
    with server("studio", "--no-open") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for name, (window, steps) in WINDOWS.items():
            page = browser.new_context(**window).new_page()
            page.goto(address)
            take(page, OUT / f"{name}.jpg", steps)
        browser.close()


def take(page: Any, path: Path, steps: int) -> None:
    page.get_by_role("button", name="Try the astronaut").click()
    page.wait_for_selector(".fp-frame[data-version]")
    page.locator("#to").get_by_label("neutral", exact=True).check()
    page.wait_for_timeout(800)
    for _ in range(steps):
        page.get_by_role("slider", name="Divider").press("ArrowRight")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(800)
    page.screenshot(path=path, type="jpeg", quality=82)
    print(f"{path}  {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
