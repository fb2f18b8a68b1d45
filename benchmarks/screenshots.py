"""Takes the docs' pictures of the pages of a run, with Chromium.

    uv run torchbake train cifar100/resnet20-subset --baseline --training.eval_every 1 \\
        --data 'parquet:../shared/data/cifar100/*.parquet' --out runs/cifar100-20-classes
    uv run python benchmarks/screenshots.py runs/cifar100-20-classes/report.html

Writes docs/images/report.webp and docs/images/inspector.webp.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent.parent / "docs" / "images"


def main() -> None:
    report = Path(sys.argv[1]).absolute()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1120, "height": 900})
        page.goto(report.as_uri())
        end = page.locator("#knowledge").bounding_box()
        assert end is not None
        keep(page, "report", (0, 0, 1120, round(end["y"])))
        page.locator("[data-part=affinity_temperature]").fill("-1")
        # A picture that others set right: the network is wrong, its target is not.
        number = page.evaluate(
            """() => {
                const given = document.getElementById("inspector-data").textContent;
                const { labels } = JSON.parse(given);
                const best = (q) => q.indexOf(Math.max(...q));
                const wrong = [...document.querySelectorAll("[role=option].wrong")];
                const numbers = wrong.map((option) => Number(option.id.split("-")[1]));
                return numbers.find((i) => best(torchbake.target(i)) === labels[i]) ?? 0;
            }"""
        )
        page.locator(f"#picture-{number}").click()
        box = page.locator("#inspector").bounding_box()
        assert box is not None
        keep(page, "inspector", (0, round(box["y"]) - 8, 1120, round(box["y"] + box["height"]) + 8))
        browser.close()


def keep(page: Page, name: str, box: tuple[int, int, int, int]) -> None:
    """A part of the page, left, top, right and bottom in pixels."""
    whole = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    path = IMAGES / f"{name}.webp"
    whole.convert("RGB").crop(box).save(path, quality=82, method=6)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
