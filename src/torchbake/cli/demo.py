"""`torchbake demo`: a local page on which one drops a picture."""

import argparse
from pathlib import Path
from typing import Any

from .common import add_device, add_ema, add_trust, check_least


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "demo",
        help="try a finished run on your pictures in the browser",
        description="Serve a local page on which you drop a picture: it shows the prediction with "
        "its confidence, and the training images that the network finds most alike.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for others, too "
        "(default: 127.0.0.1)",
    )
    parser.add_argument(
        "--port", type=int, default=7860, metavar="N", help="port; 0 finds one (default: 7860)"
    )
    parser.add_argument(
        "--top-k", type=int, default=5, metavar="K", help="classes shown (default: 5)"
    )
    parser.add_argument(
        "--neighbours",
        type=int,
        default=12,
        metavar="N",
        help="training images shown (default: 12)",
    )
    parser.add_argument(
        "--among",
        type=int,
        default=10_000,
        metavar="N",
        help="number of training images to compare with, chosen at random (default: 10000)",
    )
    add_ema(parser)
    add_device(parser)
    add_trust(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Open the run, look at its training images, and serve the page."""
    check_least(options, 1, "top-k", "neighbours", "among")
    check_least(options, 0, "port")
    from rich.console import Console

    from ..demo.neighbours import Explorer
    from ..demo.page import make_page, serve_page
    from ..training.opened_run import open_run

    console = Console(stderr=True)
    opened = open_run(options.run, ema=options.ema, device_name=options.device, console=console)
    explorer = Explorer(opened, console, ema=options.ema, limit=options.among)
    title = f"{options.run.resolve().name}: {opened.recipe.model.name}"
    page = make_page(explorer, title, top_k=options.top_k, count=options.neighbours)
    serve_page(page, options.host, options.port)
