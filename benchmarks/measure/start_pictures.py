"""Takes the pictures of docs/start.md of a report, part by part, with Chromium.

    uv run torchbake train digits/bake --baseline
    uv run torchbake report runs/digits-bake runs/digits-bake-cross-entropy
    uv run python -m benchmarks.measure.start_pictures runs/comparison/report.html

Writes start-figures.webp, start-curves.webp, start-errors.webp and start-teachers.webp into
docs/images.
"""

import shutil
import sys
from itertools import pairwise
from pathlib import Path

from benchmarks.measure.screenshots import keep
from playwright.sync_api import FloatRect, Page, sync_playwright

PARTS = {"figures": "start-figures", "curves": "start-curves", "errors": "start-errors"}
WIDTH = 1120


def main() -> None:
    (report,) = (Path(name).absolute() for name in sys.argv[1:])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        # High enough that nothing is scrolled, and nothing sticks to the window's edge.
        page = browser.new_page(viewport={"width": WIDTH, "height": 4500})
        page.goto(report.as_uri())
        for part, following in pairwise([*PARTS, "knowledge"]):
            top, bottom = (_top(page, name) for name in (part, following))
            clip = FloatRect(x=0, y=top - 8, width=WIDTH, height=bottom - top - 8)
            keep(PARTS[part], page.screenshot(full_page=True, clip=clip))
        page.locator("[data-part=affinity_temperature]").fill("-1")  # T_a = 0.1
        keep("start-teachers", page.locator("#inspector").screenshot())
        browser.close()


def _top(page: Page, name: str) -> float:
    box = page.locator(f"#{name}").bounding_box()
    assert box is not None, name
    return box["y"]


if __name__ == "__main__":
    main()
