"""`torchbake export`: a finished run as files that others load."""

import argparse
from pathlib import Path
from typing import Any

from .common import add_ema, add_export, add_trust


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "export",
        help="write a finished run for timm, ONNX Runtime or torch.export",
        description="Write a finished run for timm, ONNX Runtime or torch.export, with a model "
        "card. The export is run on the test images and compared with the run: if it predicts "
        "another class for any of them, nothing is written and the exit status is 2.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    add_export(
        parser,
        required=True,
        help="timm: a folder that timm.create_model loads; onnx: an ONNX file; torch: a "
        "torch.export program (.pt2) (required)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: RUN/exports/FORM)"
    )
    parser.add_argument(
        "--with-preprocessing",
        action="store_true",
        help="take decoded pictures of any size and give calibrated probabilities, for onnx and "
        "torch (default: normalised images and logits)",
    )
    parser.add_argument(
        "--half",
        action="store_true",
        help="use float16; predictions that rounding changes are counted and allowed "
        "(default: float32)",
    )
    parser.add_argument(
        "--data", metavar="NAME", help="data set to check on (default: the run's data.name)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an export that is there (default: no)"
    )
    add_ema(parser)
    add_trust(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Write the export, and say where it is and how it agrees."""
    from rich.console import Console

    from ..exports.export import export_run
    from ..exports.options import Options

    out = options.out or options.run / "exports" / options.to
    agreement = export_run(
        options.run,
        out,
        Options(
            options.to,
            ema=options.ema,
            with_preprocessing=options.with_preprocessing,
            half=options.half,
            license=options.license,
        ),
        data_name=options.data,
        overwrite=options.overwrite,
        console=Console(stderr=True),
    )
    print(agreement.describe())
    print(f"written to {out}")
