"""`torchbake audit`: find training images whose labels are probably wrong."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .common import add_device, add_ema, add_trust, check_least, refuse_ranks

if TYPE_CHECKING:
    from ..analysis.audit.rank import Audit


def add_parser(subcommands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subcommands.add_parser(
        "audit",
        help="find training images whose labels are probably wrong",
        description="Rank the training images of a finished run by how strongly the predictions "
        "for similar images contradict their labels. Writes the ranking as CSV and JSON, and a "
        "page on which you decide about the first images; the page makes a file for data.labels.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the results (default: RUN/audit)"
    )
    parser.add_argument(
        "--top",
        type=int,
        default=200,
        metavar="N",
        help="number of images on the page (default: 200)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=4,
        metavar="N",
        help="number of random batches that each image is scored in (default: 4)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="random seed of the batches (default: 0)"
    )
    parser.add_argument(
        "--correct",
        type=int,
        metavar="N",
        help="write labels.csv, in which the N most suspicious labels are changed as suggested "
        "(default: no)",
    )
    parser.add_argument(
        "--drop",
        type=int,
        metavar="N",
        help="write labels.csv, in which the N most suspicious images are left out (default: no)",
    )
    add_ema(parser)
    add_device(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing audit (default: no)"
    )
    add_trust(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Rank the images of a run, write what came of it, and print the first ones."""
    from rich.console import Console

    from ..analysis.audit.page import make_page
    from ..analysis.audit.rank import audit_run, count_wrong_labels, make_corrections, write_audit
    from ..training.files import check_writable
    from ..training.opened_run import open_run

    refuse_ranks("audit")
    check_least(options, 1, "top", "rounds")
    if options.correct is not None and options.drop is not None:
        raise UserError("--correct and --drop exclude each other; the page allows both")
    out = options.out or options.run / "audit"
    check_writable(out)
    _check_free(out, options)
    progress = Console(stderr=True)
    opened = open_run(options.run, ema=options.ema, device_name=options.device, console=progress)
    count = len(opened.data.source.train)
    changed = options.correct if options.drop is None else options.drop
    if changed is not None and not 1 <= changed <= count:
        name = "--correct" if options.drop is None else "--drop"
        raise UserError(f"{name}: expected a number from 1 to the {count} training images")
    audit = audit_run(
        opened, ema=options.ema, rounds=options.rounds, seed=options.seed, console=progress
    )
    corrections = []
    if changed is not None:
        corrections = make_corrections(audit, changed, drop=options.drop is not None)
    page = make_page(audit, options.top)
    _print_first(audit)
    written = write_audit(out, audit, page, corrections)
    wrong = count_wrong_labels(audit, corrections) if corrections else None
    if wrong is not None:
        print(f"wrong labels: {wrong[0]:,}, with labels.csv {wrong[1]:,}")
    print("written to " + ", ".join(map(str, written)))
    if corrections:
        print(f"train on them with --data.labels {out / 'labels.csv'}")


def _check_free(out: Path, options: argparse.Namespace) -> None:
    names = ["audit.csv", "audit.json", "audit.html"]
    if options.correct is not None or options.drop is not None:
        names.append("labels.csv")
    present = [out / name for name in names if (out / name).exists()]
    if present and not options.overwrite:
        raise UserError(
            f"{present[0]} exists: replace it with --overwrite, or choose another --out"
        )


def _print_first(audit: "Audit") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..analysis.audit.rank import list_rows

    table = Table("", "image", "label", "network says", "others say", "for the label %")
    for column in (0, 5):
        table.columns[column].justify = "right"
    for rank, index, file, given, suggested, _, network, _, others_given, _ in list_rows(audit, 10):
        share = f"{100 * float(others_given):.1f}"
        cells = (rank, file or index, given, network, suggested, share)
        table.add_row(*(Text(str(cell)) for cell in cells))
    console = Console()
    console.print(table)
    if audit.quality:
        figures = ", ".join(
            f"{name.replace('@', ' at ')} {value:.3f}" for name, value in audit.quality.items()
        )
        print(f"against the true labels: {figures}")
