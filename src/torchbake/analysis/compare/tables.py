"""A comparison as Markdown, CSV and JSON."""

import csv
import io
import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

from ...training.files import write_text
from .figures import BY_CLASS, FIGURES, SCALED, Row
from .seeds import Record

MARK = "‡"
UNCORRECTED = "not corrected for their number"
SCALINGS = {
    "validation": "on the validation images",
    "halves": "for each half of the test images on the other half",
}
"""How temperatures are fitted, by `Row.scaled_by`."""


def format_comparison(rows: list[Row], report: str, correction: str = UNCORRECTED) -> str:
    """The table, and what is to be known about it; `correction` of the p-values."""
    scaled = any(row.scaled_by for row in rows)
    unbalanced = any(_is_unbalanced(row) for row in rows)
    head = [
        ("method", "---"),
        (title_top1(report), "--:"),
        *[("balanced accuracy %", "--:")] * unbalanced,
        ("over baseline (p)", "--:"),
        ("NLL", "--:"),
        ("ECE %", "--:"),
        *[("NLL, scaled", "--:"), ("ECE %, scaled", "--:")] * scaled,
        ("images seen", "--:"),
        ("forwards / image", "--:"),
        ("seconds", "--:"),
        ("peak MiB", "--:"),
        ("parameters", "--:"),
    ]
    lines = ["|".join(["", *(f" {name} " for name, _ in head), ""])]
    lines.append("|".join(["", *(rule for _, rule in head), ""]))
    for row in rows:
        cells = [
            format_variant(row),
            format_spread(row.top1, 2),
            *[format_spread(row.balanced_accuracy, 2)] * unbalanced,
            format_gain(row),
            format_spread(row.nll, 3),
            format_spread(row.ece, 1),
            *[format_spread(row.nll_scaled, 3), format_spread(row.ece_scaled, 1)] * scaled,
            format_images(row),
            f"{row.forwards_per_image:.2g}",
            f"{row.seconds[0]:.1f}",
            f"{row.peak_memory / 2**20:,.0f}",
            f"{row.trained_parameters:,}",
        ]
        lines.append("|".join(["", *(f" {cell} " for cell in cells), ""]))
    return "\n".join([*lines, "", " ".join(list_remarks(rows, report, correction))])


def _is_unbalanced(row: Row) -> bool:
    """Whether classes differ so much in size or accuracy that balanced accuracy tells more."""
    return row.balanced_accuracy is not None and abs(row.balanced_accuracy[0] - row.top1[0]) >= 1


def title_top1(report: str) -> str:
    """The title of the column of top-1, by the recipe's `training.report`."""
    return "top-1 %" + ", best epoch on test" * (report != "last")


def format_variant(row: Row) -> str:
    """A variant's name, marked where it is not on equal terms."""
    return row.variant + f" {MARK}" * row.unequal


def format_images(row: Row) -> str:
    """Images seen, and those that teachers had seen before."""
    return f"{row.images:,}" + f" + {row.teacher_images:,}" * bool(row.teacher_images)


def list_remarks(rows: list[Row], report: str, correction: str = UNCORRECTED) -> list[str]:
    """What is to be known about a comparison, a sentence or part of one each."""
    seeds = sorted({row.seeds for row in rows})
    counts = "one seed" if seeds == [1] else f"{' or '.join(map(str, seeds))} seeds"
    told = [f"Mean ± standard error, {counts};"]
    if report != "last":
        told.append("of the evaluation with the best top-1, chosen on the test set;")
    elif rows and all(row.selected for row in rows):
        told.append("of the evaluation that is best on the validation images;")
    elif any(row.selected for row in rows):
        told.append("of the last evaluation, or of the best on validation images where named so;")
    else:
        told.append("of the last evaluation;")
    told.append(f"p of a paired t-test over the seeds, {correction}.")
    ways = {way for row in rows for way in row.scaled_by}
    if ways:
        texts = [text for way, text in SCALINGS.items() if way in ways]
        told.append(f"Scaled: by a temperature fitted {' or '.join(texts)}.")
    if any(row.teacher_images for row in rows):
        told.append("“+”: images that teachers had seen before.")
    if any(row.unequal for row in rows):
        told.append(f"{MARK}: another number of images than the baseline; not on equal terms.")
    return told


def format_spread(value: tuple[float, float] | None, digits: int) -> str:
    """A mean and its standard error, if there is one; nothing where there is no mean."""
    if value is None:
        return ""
    mean, error = value
    return f"{mean:.{digits}f}" + ("" if math.isnan(error) else f" ± {error:.{digits}f}")


def format_gain(row: Row) -> str:
    """By how much top-1 is over the baseline's, and p; nothing where that is not known."""
    if row.difference is None:
        return ""
    mean, p = row.difference
    return f"{mean:+.2f} ({p:.3f})" if p >= 0.001 else f"{mean:+.2f} (< 0.001)"


def write_comparison(
    folder: Path,
    records: list[Record],
    rows: list[Row],
    environment: dict[str, Any],
    picture: str,
    correction: str = UNCORRECTED,
) -> list[Path]:
    """Write `comparison.md`, `.csv`, `.json` and, of a picture that is drawn already, `.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"comparison.{suffix}" for suffix in ("md", "csv", "json", "svg")]
    write_text(paths[0], format_comparison(rows, records[0]["report"], correction) + "\n")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(flatten_row(rows[0]))
    writer.writerows(flatten_row(row).values() for row in rows)
    write_text(paths[1], text.getvalue())
    environment = environment | {
        "command": shlex.join(["torchbake", *sys.argv[1:]]),
        "commit": ", ".join(sorted({str(record["commit"]) for record in records})),
    }
    whole = {"environment": environment, "rows": records}
    write_text(paths[2], json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    write_text(paths[3], picture)
    return paths


_SPREADS = {*FIGURES, *SCALED, *BY_CLASS, "seconds"}


def flatten_row(row: Row) -> dict[str, Any]:
    """A row with one value a column."""
    flat: dict[str, Any] = {}
    for name, value in row._asdict().items():
        if name in _SPREADS:
            mean, error = value or (None, None)
            flat |= {name: mean, f"{name}_standard_error": error}
        elif name == "scaled_by":
            flat[name] = " ".join(value)
        elif name == "difference":
            difference, p = value or (None, None)
            flat |= {"top1_over_baseline": difference, "p": p}
        else:
            flat[name] = value
    return flat
