"""`torchbake push`: upload a finished run to the Hugging Face hub."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .common import add_ema, add_export, add_trust


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "push",
        help="upload a run or an export to the Hugging Face hub",
        description="Upload a finished run, or a folder that torchbake export wrote, to the "
        "Hugging Face hub as one commit. The token is that of HF_TOKEN or of 'hf auth login', the "
        "address that of HF_ENDPOINT.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or an export's folder")
    parser.add_argument("repository", metavar="USER/NAME", help="repository on the hub")
    add_export(parser, default="timm", help="form in which a run is exported first (default: timm)")
    parser.add_argument(
        "--private", action="store_true", help="make a new repository private (default: no)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="list what would be uploaded, and upload nothing (default: no)",
    )
    add_ema(parser)
    add_trust(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Export where needed, list the files, and upload them."""
    from ..exports.hub import check_repository

    check_repository(options.repository)
    if (options.run / "agreement.json").is_file():
        _push(options.run, options)
        return
    from rich.console import Console

    from ..exports.export import export_run
    from ..exports.options import Options

    with TemporaryDirectory() as temporary:
        out = Path(temporary) / options.to
        made = Options(options.to, ema=options.ema, license=options.license)
        print(export_run(options.run, out, made, console=Console(stderr=True)).describe())
        _push(out, options)


def _push(folder: Path, options: argparse.Namespace) -> None:
    from ..exports.hub import list_files, push_folder

    for name, size in list_files(folder):
        print(f"{size:>14,}  {name}")
    if options.dry_run:
        print(f"nothing was uploaded to {options.repository} (--dry-run)")
        return
    message = f"Upload from torchbake ({options.run.resolve().name})"
    address = push_folder(folder, options.repository, private=options.private, message=message)
    print(f"uploaded: {address}")
