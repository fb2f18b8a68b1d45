"""What several commands share."""

import argparse
import os
from pathlib import Path
from typing import Any

from ..errors import UserError

DEFAULT_RECIPE = "digits/bake"


def name_run(recipe: str, seed: int | None = None) -> str:
    """The name of a run folder: a recipe's name, or that of its file, and the seed if given."""
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        name = path.stem
    elif path.exists():
        name = path.resolve().stem  # of photos
    else:
        name = recipe.strip("/").replace("/", "-").replace(":", "-")
    return name if seed is None else f"{name}-seed{seed}"


def refuse_ranks(command: str) -> None:
    """Raise UserError under torchrun, for a command that runs as one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"{command} runs as a single process: start it without torchrun")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device to a command that opens a finished run."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="device to run on, such as cpu or cuda:1 (default: the run's training.device)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add --trust to a command that opens what may come from elsewhere."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="import the code that the run folder names as module:object (default: no)",
    )


def add_ema(parser: argparse.ArgumentParser) -> None:
    """Add --ema to a command that opens a finished run."""
    parser.add_argument(
        "--ema", action="store_true", help="use the moving average of the weights (default: no)"
    )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add --jobs to a command that does several runs."""
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="number of runs at a time, spread over the GPUs (default: 1)",
    )


def add_export(parser: argparse.ArgumentParser, **to: Any) -> None:
    """Add --to and --license to a command that exports a run.

    Args:
        to: further settings of --to.
    """
    parser.add_argument("--to", choices=("timm", "onnx", "torch"), **to)
    parser.add_argument(
        "--license",
        metavar="ID",
        help="licence for the model card of a run, such as apache-2.0 (default: none)",
    )


def check_least(options: argparse.Namespace, least: int, *names: str) -> None:
    """Raise UserError unless these options are at least that number."""
    for name in names:
        if getattr(options, name.replace("-", "_")) < least:
            raise UserError(f"--{name}: expected a number of at least {least}")


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add --size to a command that shows a batch."""
    parser.add_argument(
        "--size",
        type=int,
        default=128,
        metavar="N",
        help="number of images in the batch shown (default: 128)",
    )


def check_file(path: Path, option: str = "--out") -> Path:
    """The path of a file to write; UserError if it is a folder, or nothing can be written there."""
    from ..training.files import check_writable

    if path.is_dir():
        raise UserError(f"{option}: {path} is a folder; expected a file's name")
    check_writable(path.parent)
    return path


def print_notes(notes: list[str], out: Path) -> None:
    """Print what had to be left out of a page, and where the page is."""
    for line in (*notes, f"written to {out} ({out.stat().st_size / 1000:,.0f} kB)"):
        print(line.encode("utf-8", "replace").decode())  # a file's name may not be Unicode
