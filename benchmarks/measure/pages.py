"""How large the inspector's page is, how fast a browser opens it, and how fast a slider answers.

    uv run python -m benchmarks.measure.pages [--repeats 7]

Random images and predictions of 32 × 32 pixels, 512 features. Needs Chromium on the PATH.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from benchmarks.measure.provenance import write_results
from playwright.sync_api import Browser, sync_playwright

from torchbake.analysis.outputs import Outputs
from torchbake.analysis.pages.inspect import Settings, inspect_batch
from torchbake.analysis.pages.render import render

SIZES = [(128, 100), (512, 100), (512, 1000)]

# From the start of navigation to the frame after the page has drawn itself.
OPENED = """() => new Promise(done => requestAnimationFrame(() => setTimeout(
    () => done(performance.now()))))"""
# From a move of a slider to the frame after the answer.
MOVED = """([name, value]) => new Promise(done => {
    const slider = document.querySelector(`[data-part=${name}]`);
    const start = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""
SLIDERS = {"temperature": 1.5, "affinity_temperature": -1, "omega": 0.95}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    rows = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for images, classes in SIZES:
            path = Path(folder) / "page.html"
            path.write_text(page(images, classes), encoding="utf-8")
            row = measured(browser, path, repeats)
            rows.append({"images": images, "classes": classes, "repeats": repeats, **row})
            print(rows[-1])
    write_results("pages", rows)


def page(images: int, classes: int) -> str:
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(images) // 4) % classes
    features = torch.randn(classes, 512, generator=generator)[labels]
    features = (features + torch.randn(images, 512, generator=generator)).relu()
    logits = 3 * torch.randn(images, classes, generator=generator)
    coarse = torch.rand(images, 3, 8, 8, generator=generator)
    pictures = (255 * torch.nn.functional.interpolate(coarse, scale_factor=4)).byte()
    inspector = inspect_batch(
        Outputs(torch.arange(images), labels, logits, features),
        pictures,
        [f"class {number}" for number in range(classes)],
        [f"image {number}" for number in range(images)],
        Settings(4.0, 0.5, 1.0),
    )
    return render("inspect.html", name="benchmark", about="", notes=[], inspector=inspector)


def measured(browser: Browser, path: Path, repeats: int) -> dict[str, Any]:
    """Size in bytes; medians of milliseconds over fresh pages."""
    times: dict[str, list[float]] = {name: [] for name in ("open", *SLIDERS)}
    for _ in range(repeats):
        context = browser.new_context()
        opened = context.new_page()
        opened.goto(path.as_uri())
        times["open"].append(opened.evaluate(OPENED))
        for name, value in SLIDERS.items():
            times[name].append(opened.evaluate(MOVED, [name, value]))
        context.close()
    medians = {f"{name}_ms": round(statistics.median(values), 1) for name, values in times.items()}
    return {"bytes": path.stat().st_size, **medians}


if __name__ == "__main__":
    main()
