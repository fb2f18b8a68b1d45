"""`torchbake evaluate`: measure a finished run on its test images."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import add_device, add_ema, add_trust, check_file

if TYPE_CHECKING:
    from ..analysis.classes import ClassFigures


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "evaluate",
        help="measure a finished run on its test images",
        description="Measure a finished run on its test images: top-1, top-5, balanced accuracy, "
        "macro-F1, and negative log-likelihood (NLL) and expected calibration error (ECE) as "
        "trained and after temperature scaling. Training images need not be there.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="data set to measure on, whose classes are found by their names; imagefolder:PATH "
        "may also name a folder of class folders (default: the run's data.name)",
    )
    parser.add_argument(
        "--split", metavar="NAME", help="split to measure on (default: the run's data.test_split)"
    )
    parser.add_argument(
        "--per-class",
        action="store_true",
        help="also print precision, recall, F1 and number of images of each class (default: no)",
    )
    parser.add_argument(
        "--per-image",
        type=Path,
        metavar="FILE",
        help="write a CSV file with path, label, prediction, confidence and loss of each image "
        "(default: no)",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="format of what is printed (default: text)",
    )
    add_ema(parser)
    add_device(parser)
    add_trust(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Print the figures of the run, one a line, and what else is asked for."""
    from rich.console import Console

    from ..analysis.classes import (
        measure_classes,
        measure_images,
        write_images,
    )
    from ..training.opened_run import evaluate_opened, open_run

    if options.per_image is not None:
        check_file(options.per_image, "--per-image")
    opened = open_run(
        options.run,
        ema=options.ema,
        data_name=options.data,
        test_split=options.split,
        device_name=options.device,
        console=Console(stderr=True),
        test_only=True,
    )
    evaluation = evaluate_opened(opened, ema=options.ema)
    figures, classes = evaluation.figures, opened.data.source.classes
    temperature = figures.get("temperature")
    images = measure_images(evaluation.logits, evaluation.labels, temperature)
    by_class: list[ClassFigures] = []
    if options.per_class:
        by_class = measure_classes(images.predicted, evaluation.labels, classes)
    if options.per_image is not None:
        test = opened.data.source.test
        write_images(options.per_image, test, evaluation.labels, images, classes)
    if options.format == "json":
        per_class = {"classes": [row._asdict() for row in by_class]} if by_class else {}
        text = json.dumps({**figures, **per_class}, indent=1, ensure_ascii=False)
        print(text.encode("utf-8", "backslashreplace").decode())
        return
    for name, value in figures.items():
        print(f"{name} {value:.4f}")
    by = (
        "fitted on the run's validation images"
        if temperature is not None
        else "cross-fitted, for each half of the test images on the other half, because the run "
        "has no validation images (data.validation)"
    )
    print(f"nll_scaled and ece_scaled: by a temperature {by}", file=sys.stderr)
    if by_class:
        _print_classes(by_class)


def _print_classes(by_class: "list[ClassFigures]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..inference.images import to_line

    table = Table("class")
    for title in ("precision %", "recall %", "F1 %", "images"):
        table.add_column(title, justify="right")
    for row in by_class:
        precision = "–" if row.precision is None else f"{row.precision:.2f}"
        cells = (to_line(row.label), precision, f"{row.recall:.2f}", f"{row.f1:.2f}")
        table.add_row(*map(Text, cells), f"{row.support:,}")
    Console().print(table)
