"""Takes the docs' pictures of the pages of a run, with Chromium.

    uv run torchbake train cifar100/resnet20-subset --baseline --training.eval_every 1 \\
        --training.compile true --data 'parquet:../shared/data/cifar100/*.parquet' \\
        --out runs/cifar100-20-classes
    uv run torchbake train cifar100/resnet20-subset --data.label_noise 0.2 \\
        --data 'parquet:../shared/data/cifar100/*.parquet' --data.classes null \\
        --data.images_per_class null --method cross-entropy --training.epochs 4 \\
        --training.batch_size 128 --training.eval_every 1 --training.compile true \\
        --schedule one-cycle --out runs/cifar100-noisy
    uv run torchbake audit runs/cifar100-noisy
    uv run python -m benchmarks.measure.screenshots runs/cifar100-20-classes/report.html \\
        runs/cifar100-noisy/audit/audit.html

Writes report.webp, inspector.webp and audit.webp into docs/images.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, sync_playwright

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def main() -> None:
    report, audit = (Path(name).absolute() for name in sys.argv[1:])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        # High enough that nothing is scrolled, and nothing sticks to the window's edge.
        page = browser.new_page(viewport={"width": 1120, "height": 4500})
        page.goto(report.as_uri())
        end = page.locator("#knowledge").bounding_box()
        assert end is not None
        clip = FloatRect(x=0, y=0, width=1120, height=end["y"])
        keep("report", page.screenshot(full_page=True, clip=clip))
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
        keep("inspector", page.locator("#inspector").screenshot())
        page = browser.new_page(viewport={"width": 1120, "height": 800})
        page.goto(audit.as_uri())
        page.keyboard.press("c")
        keep("audit", page.screenshot())
        browser.close()


def keep(name: str, png: bytes) -> None:
    path = IMAGES / f"{name}.webp"
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=82, method=6)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
