"""`torchbake predict`: predict the labels of images."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .common import add_ema, add_trust, check_file, check_least

if TYPE_CHECKING:
    from rich.console import Console

    from ..inference.predictor import Predictor
    from ..inference.writing import TextFile, Writer

FORMATS = ("csv", "jsonl", "json", "table")


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "predict",
        help="predict the labels of images",
        description="Predict the labels of images with a finished run: the most probable classes "
        "of each, with their probabilities. Images that cannot be read are named on standard "
        "error; the others are predicted.",
        epilog="Exit status: 0 if all images were predicted, 1 if some could not be read, 2 if "
        "nothing was done because of a mistake.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "model", type=Path, metavar="RUN", help="run folder, or its model.safetensors"
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGES",
        help="image files, folders, patterns such as 'photos/**/*.jpg', or - for a list of files "
        "on standard input",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="format of the output (default: by the suffix of --out; without it, table on a "
        "terminal and csv elsewhere)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: standard output)"
    )
    parser.add_argument(
        "--top-k",
        type=int,
        default=5,
        metavar="N",
        help="number of classes written for each image (default: 5)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=64,
        metavar="N",
        help="number of images that go through the network together (default: 64)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of threads that decode images (default: one for each core, at most 16)",
    )
    add_ema(parser)
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="device to run on, such as cpu or cuda:1 (default: a GPU if there is one)",
    )
    add_trust(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Write a prediction for each image, and end with status 1 if some could not be read."""
    from rich.console import Console

    from ..inference.find_files import find_files
    from ..inference.load import load
    from ..inference.writing import WRITERS
    from ..training.files import open_text

    check_least(options, 1, "top-k", "batch-size")
    if options.workers is not None:
        check_least(options, 0, "workers")
    if options.out is not None:
        check_file(options.out)
    writer = WRITERS[_choose_format(options)]
    listed = sys.stdin.buffer.read() if "-" in options.images else None
    paths = find_files(options.images, listed)
    console = Console(stderr=True)
    predictor = load(options.model, ema=options.ema, device=options.device)
    if options.out is None:
        failed = _predict(predictor, paths, writer, sys.stdout, options, console)
    else:
        with open_text(options.out) as file:
            failed = _predict(predictor, paths, writer, file, options, console)
    done = f"predicted {len(paths) - failed:,} of {len(paths):,} images"
    if failed:
        done += f"; {failed:,} could not be read"
    if options.out is not None:
        done += f"; written to {options.out}"
    if not predictor.calibrated:
        done += "; confidences are as trained, not calibrated"
    _say(console, done)
    if failed:
        raise SystemExit(1)


def _choose_format(options: argparse.Namespace) -> str:
    if options.format is not None:
        return str(options.format)
    if options.out is None:
        return "table" if sys.stdout.isatty() else "csv"
    suffix = options.out.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise UserError(
            f"--out: the suffix of {options.out} names no format: use .csv, .jsonl or .json, or "
            "give --format"
        )
    return str(suffix)


def _predict(
    predictor: "Predictor",
    paths: list[str],
    kind: "type[Writer]",
    file: "TextFile",
    options: argparse.Namespace,
    console: "Console",
) -> int:
    """Write the predictions, and say what is wrong with the others, whose number is returned."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    predictions = predictor.predict_each(
        paths, top_k=options.top_k, batch_size=options.batch_size, workers=options.workers
    )
    writer = kind(file, predictor, options.top_k)
    unreadable: dict[str, str] = {}
    columns = ("predicting", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=len(paths))
        for path, prediction in zip(paths, predictions, strict=True):
            if isinstance(prediction, UserError):
                unreadable[path] = str(prediction)
                _say(console, str(prediction))
            else:
                writer.write(path, prediction)
            progress.advance(task)
        writer.finish(unreadable)
    return len(unreadable)


def _say(console: "Console", line: str) -> None:
    console.print(f"torchbake: {line}", markup=False, highlight=False, soft_wrap=True)
