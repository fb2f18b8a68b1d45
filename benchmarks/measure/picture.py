"""Draws README's picture from a real batch: who teaches whom, and what comes of it.

    uv run python -m benchmarks.measure.picture

Trains digits/bake for ten epochs, takes a class-grouped batch, and writes docs/images/bake.svg.
"""

import base64
import io
from html import escape
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console

from torchbake import affinities, bake_targets
from torchbake.batch import Batch
from torchbake.data.loading.open_data import show_opening
from torchbake.training.distributed import Ranks
from torchbake.training.meters import Meters
from torchbake.training.recipe_files import load_recipe
from torchbake.training.setup import Setup, set_up
from torchbake.training.step import update

AFFINITY_TEMPERATURE = 0.1
SHOWN = 12
CELL = 34
STEPS = 40
"""Updates before the picture: the network knows something, but not all."""


def main() -> None:
    recipe = load_recipe(
        "digits/bake", [("method.affinity_temperature", str(AFFINITY_TEMPERATURE))]
    )
    ranks = Ranks(0, 1, torch.device("cpu"))
    setup = set_up(recipe, show_opening(recipe.data, Console(quiet=True)), ranks)
    meters = Meters(ranks)
    for number in range(STEPS):
        epoch, first = divmod(number, len(setup.sampler))
        batch = next(setup.loader.batches(epoch, first))
        update(setup, batch, recipe.optimizer.lr, number, meters)
    drawn = _drawn(setup, next(setup.loader.batches(STEPS // len(setup.sampler))))
    path = Path(__file__).parents[2] / "docs" / "images" / "bake.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(drawn, encoding="utf-8")
    print(f"written to {path}")


@torch.no_grad()
def _drawn(setup: Setup, batch: Batch) -> str:
    features, logits = setup.model(batch.images)
    features, logits = features[:SHOWN], logits[:SHOWN]
    predictions = (logits / 4).softmax(dim=1)
    affinity = affinities(features, AFFINITY_TEMPERATURE)
    targets = bake_targets(logits, features, affinity_temperature=AFFINITY_TEMPERATURE)
    labels = batch.labels[:SHOWN].tolist()
    # The image whose label gains most from the others.
    gains = targets - predictions
    chosen = int(gains[torch.arange(SHOWN), batch.labels[:SHOWN]].argmax())
    pixels = setup.data.source.train.pixels
    assert pixels is not None
    pictures = [_picture(pixels[index, 0]) for index in batch.indices[:SHOWN].tolist()]

    left, top = 60, 70
    rows = []
    for row in range(SHOWN):
        y = top + row * CELL
        rows.append(_image(pictures[row], left - 38, y + 2))
        rows.append(_image(pictures[row], left + row * CELL + 2, top - 38))
        for column in range(SHOWN):
            weight = float(affinity[row, column] / affinity.max())
            rows.append(
                f'<rect x="{left + column * CELL}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" '
                f'fill="#b4430f" fill-opacity="{weight:.3f}" stroke="#8885"/>'
            )
    y = top + chosen * CELL
    rows.append(
        f'<rect x="{left - 40}" y="{y - 1}" width="{SHOWN * CELL + 41}" height="{CELL + 1}" '
        'fill="none" stroke="#1f77b4" stroke-width="2.5"/>'
    )
    right = left + SHOWN * CELL + 70
    rows.append(_text(left - 38, 20, "A batch, in groups of a class: who listens to whom (Â)"))
    rows.append(_text(right, 20, f"A “{labels[chosen]}” before and after listening"))
    for index, (name, values) in enumerate(
        (
            ("its own prediction (P)", predictions[chosen]),
            ("what the others predict (ÂP)", (affinity @ predictions)[chosen]),
            ("its soft target (Q)", targets[chosen]),
        )
    ):
        rows.append(_bars(right, top + index * 145, name, values.tolist(), labels[chosen]))
    width, height = right + 250, top + SHOWN * CELL + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="15" fill="#555">\n'
        f"<title>{escape('Batch knowledge ensembling on twelve digits')}</title>\n"
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(rows) + "\n</svg>\n"
    )


def _bars(x: int, y: int, name: str, values: list[float], label: int) -> str:
    scale = 90 / 0.4
    parts = [_text(x, y + 5, name)]
    for number, value in enumerate(values):
        height = value * scale
        colour = "#b4430f" if number == label else "#999"
        parts.append(
            f'<rect x="{x + number * 24}" y="{y + 105 - height:.1f}" width="19" '
            f'height="{height:.1f}" fill="{colour}"/>'
        )
        parts.append(_text(x + number * 24 + 5, y + 120, str(number), 13))
    return "".join(parts)


def _text(x: int, y: int, text: str, size: int = 15) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}">{escape(text)}</text>'


def _image(data: str, x: int, y: int) -> str:
    return (
        f'<image x="{x}" y="{y}" width="30" height="30" href="{data}" '
        'style="image-rendering:pixelated"/>'
    )


def _picture(pixels: torch.Tensor) -> str:
    buffer = io.BytesIO()
    Image.fromarray(255 - pixels.numpy()).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
