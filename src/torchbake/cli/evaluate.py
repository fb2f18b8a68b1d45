"""`torchbake evaluate`: measure a finished run on its test images."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .common import add_device, add_ema


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "evaluate",
        help="measure a finished run on its test images",
        description="Measure a finished run on its test images: top-1, top-5, negative "
        "log-likelihood (NLL) and expected calibration error (ECE), as trained and after "
        "temperature scaling.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--data", metavar="NAME", help="data set to measure on (default: the run's data.name)"
    )
    add_ema(parser)
    add_device(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Print the figures of the run, one a line."""
    from rich.console import Console

    from ..training.opened_run import evaluate_run

    figures = evaluate_run(
        options.run,
        ema=options.ema,
        data_name=options.data,
        device_name=options.device,
        console=Console(stderr=True),
    )
    for name, value in figures.items():
        print(f"{name} {value:.4f}")
    by = (
        "fitted on the run's validation images"
        if "temperature" in figures
        else "cross-fitted, for each half of the test images on the other half, because the run "
        "has no validation images (data.validation)"
    )
    print(f"nll_scaled and ece_scaled: by a temperature {by}", file=sys.stderr)
