"""Puts the tables of measured figures into README.md and docs/, from results/*.json alone.

    uv run python -m benchmarks.tables

A table stands between `<!-- results: NAME -->` and `<!-- end -->`; the keys of recipes, between
`<!-- keys: recipe -->`, `methods` or `resume` and `<!-- end -->`, come from the code itself; a
program of examples/ stands between `<!-- example: NAME -->` and `<!-- end -->`. A test holds that
all of them are what this makes.
"""

import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.tables.advise import as_markdown as advise_table
from benchmarks.tables.agreement import as_markdown as agreement_table
from benchmarks.tables.audit import as_markdown as audit_table
from benchmarks.tables.calibration import of_methods, of_sizes
from benchmarks.tables.check import as_markdown as check_table
from benchmarks.tables.comparison import (
    COMPARISONS,
    STUDIES,
    of_method,
    of_study,
    of_variants,
    update_command,
    whole,
)
from benchmarks.tables.evidence import as_markdown as evidence_table
from benchmarks.tables.inference import as_markdown as inference_table
from benchmarks.tables.keys import as_markdown as key_tables
from benchmarks.tables.launches import as_markdown as launches_table
from benchmarks.tables.multilabel import as_markdown as multilabel_table
from benchmarks.tables.recipes import as_markdown as recipe_table
from benchmarks.tables.solvers import SOLVER_TABLES
from benchmarks.tables.summary import summarise
from benchmarks.tables.torture import as_markdown as torture_table

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(<!-- (results|keys|example): ([\w:,; =.-]+) -->\n).*?(<!-- end -->)", re.DOTALL
)
LONGEST = 200
"""Characters of a command that stands beside its table."""
Rows = list[dict[str, Any]]


def main() -> None:
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if text != rendered(text):
            path.write_text(rendered(text), encoding="utf-8")
            print(f"written to {path}")


def pages() -> list[Path]:
    """The pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rendered(text: str) -> str:
    """A page with its tables made anew."""
    return BLOCK.sub(lambda match: match[1] + _fill(match[2], match[3]) + match[4], text)


def _fill(kind: str, block: str) -> str:
    if kind == "example":
        return f"```python\n{(ROOT / 'examples' / f'{block}.py').read_text(encoding='utf-8')}```\n"
    return key_tables(block) + "\n" if kind == "keys" else _table(block)


def _table(block: str) -> str:
    """The table of a file of results; of some variants in it, `digits_methods:bake;dlb`; by
    `comparison:dlb`, of a method in all comparisons; `evidence:paper`, one of its tables;
    `torture:ranks`, of one part of the trials; or `summary`, README's."""
    name, _, chosen = block.partition(":")
    if name == "comparison":
        return of_method(lambda file: _read(file)["rows"], chosen) + "\n"
    if name == "evidence":
        measured = (ROOT / "results" / "evidence.json").is_file()
        return evidence_table(_read(name)["rows"] if measured else [], chosen) + "\n"
    if name == "summary":
        return summarise(lambda file: _read(file)["rows"]) + "\n"
    if name == "advise" and not (ROOT / "results" / "advise.json").is_file():
        return advise_table([]) + "\n"
    results = _read(name)
    rows = results["rows"]
    if name == "torture":
        return f"{torture_table(rows, chosen)}\n\n{_origin(results['environment'])}\n"
    table = of_variants(rows, chosen.split(";")) if chosen else TABLES[name](rows)
    return f"{table}\n\n{_origin(results['environment'])}\n"


def _origin(environment: dict[str, Any]) -> str:
    """Machine, versions and command; a long command is folded."""
    place = (
        f"{environment['processor']}, {environment['cores']} cores, "
        f"{', '.join(environment['gpus']) or 'no GPU'}; Python {environment['python']}, "
        f"torch {environment['packages']['torch']}; commit {environment['commit']}, "
        f"{environment['started'][:10]}."
    )
    command = update_command(environment["command"])
    if len(command) <= LONGEST:
        return f"*`{command}`: {place}*"
    code = f"<code>{escape(command)}</code>"
    return f"*{place}*\n\n<details><summary>The command</summary>{code}</details>"


def _read(name: str) -> Any:
    return json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))


def _throughput(rows: Rows) -> str:
    settings, *methods, ratio = rows
    lines = [f"| CIFAR-100, {settings['model']}, batch 128 | images/s |", "|---|--:|"]
    lines += [f"| {row['method']} | {row['images_per_second']:.0f} |" for row in methods]
    low, middle, high = ratio["time_of_bake_over_cross_entropy"]
    return "\n".join(
        [
            *lines,
            "",
            f"Time of BAKE over cross-entropy: {middle:.3f} (quartiles {low:.3f} to {high:.3f} of "
            f"{settings['blocks']} alternating pairs of {settings['steps']} steps).",
        ]
    )


def _first_epoch(rows: Rows) -> str:
    lines = [
        "| ResNet-20, one epoch | images seen | training cross-entropy, first → last tenth | "
        "test top-1 % |",
        "|---|--:|--:|--:|",
    ]
    for row in rows:
        first, last = row["cross_entropy"]
        lines.append(
            f"| {row['variant']} | {row['images']:,} | {first:.2f} → {last:.2f} | "
            f"{row['top1']:.2f} |"
        )
    return "\n".join([*lines, "", "One seed."])


def _training(rows: Rows) -> str:
    settings, *loops = rows
    lines = [
        "| CIFAR-100, batch 128 | method | loop | images/s | over the ordinary loop (quartiles) | "
        "waiting for data |",
        "|---|---|---|--:|--:|--:|",
    ]
    for row in loops:
        low, middle, high = row["speedup"]
        ours = "waiting_for_data" in row
        faster = f"{middle:.2f} ({low:.2f} to {high:.2f})" if ours else ""
        waiting = f"{100 * row['waiting_for_data']:.1f} %" if ours else ""
        lines.append(
            f"| {row['model']} | {row['method']} | {row['loop']} | "
            f"{row['images_per_second']:,.0f} | {faster} | {waiting} |"
        )
    note = f"Medians of {settings['blocks']} blocks of {settings['steps']} steps, in turns."
    shares = [
        f"{row['loop']} {row['share_of_peak']:.0%}" for row in loops if "share_of_peak" in row
    ]
    if shares:
        note += f" Of {settings['peak']:.3g} operations/s: {', '.join(shares)}."
    return "\n".join([*lines, "", note])


def _decoding(rows: Rows) -> str:
    settings, *decoders = rows
    lines = ["| decoder | whole, photographs/s | at half the scale |", "|---|--:|--:|"]
    for row in decoders:
        if row["scale"] == "whole":
            half = [r for r in decoders if (r["decoder"], r["scale"]) == (row["decoder"], "half")]
            speeds = [_with_ratio(r) for r in (row, *half)] + [""] * (not half)
            lines.append(f"| {row['decoder']} {row['version']} | {' | '.join(speeds)} |")
    different = [f"{r['decoder']} ({r['scale']})" for r in decoders if not r["same_pixels"]]
    same = f"All but {' and '.join(different)} give" if different else "All give"
    blocks = f"Medians of {settings['blocks']} turns, and of the ratios to Pillow."
    return "\n".join([*lines, "", f"{same} the very pixels of Pillow. {blocks}"])


def _with_ratio(row: dict[str, Any]) -> str:
    return f"{row['images_per_second']:,.0f} ({row['speedup'][1]:.2f}×)"


def _pipeline(rows: Rows) -> str:
    settings, jpegs, packed, *loops = rows
    all_cores = max(row["cores"] for row in loops)
    lines = [
        f"| | one core, images/s | over torchvision's (quartiles) | {all_cores} cores | |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in loops:
        if row["cores"] == 1:
            more = next(r for r in loops if r["cores"] > 1 and r["loop"] == row["loop"])
            cells = [cell for part in (row, more) for cell in _speed_cells(part)]
            lines.append(f"| {row['loop']} | {' | '.join(cells)} |")
    sizes = [form["bytes"] / 1e9 for form in (jpegs, packed)]
    note = (
        f"{int(settings['images']):,} photographs, {sizes[0]:.2f} GB, packed {sizes[1]:.2f} GB, "
        f"all in the page cache. Medians of {settings['blocks']} blocks of {settings['batches']} "
        "batches of 128, in turns."
    )
    return "\n".join([*lines, "", note])


def _speed_cells(row: dict[str, Any]) -> list[str]:
    low, middle, high = row["speedup"]
    return [f"{row['images_per_second']:,.0f}", f"{middle:.2f} ({low:.2f} to {high:.2f})"]


def _sampling(rows: Rows) -> str:
    lines = ["| epoch of | partners | images | batches | seconds |", "|---|--:|--:|--:|--:|"]
    lines += [
        f"| {row['epoch']} | {row['partners']} | {row['images']:,} | {row['batches']:,} | "
        f"{row['seconds']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _pages(rows: Rows) -> str:
    lines = [
        "| images | classes | kB | ms to open | ms: T | ms: T_a | ms: ω |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        times = [row[f"{name}_ms"] for name in ("open", "temperature", "affinity_temperature")]
        cells = [f"{t:.0f}" for t in [*times, row["omega_ms"]]]
        cells = [str(row["images"]), str(row["classes"]), f"{row['bytes'] / 1000:,.0f}", *cells]
        lines.append("|".join(["", *(f" {cell} " for cell in cells), ""]))
    return "\n".join([*lines, "", f"Medians of {rows[0]['repeats']} fresh pages in Chromium."])


TABLES: dict[str, Callable[[Rows], str]] = {
    **SOLVER_TABLES,
    **dict.fromkeys(COMPARISONS, whole),
    **dict.fromkeys(STUDIES, of_study),
    "advise": advise_table,
    "agreement": agreement_table,
    "audit": audit_table,
    "calibration": of_methods,
    "check": check_table,
    "costs": recipe_table,
    "inference": inference_table,
    "decoding": _decoding,
    "first_epoch": _first_epoch,
    "multilabel": multilabel_table,
    "launches": lambda rows: launches_table(_read("launches_before")["rows"], rows),
    "pages": _pages,
    "pipeline": _pipeline,
    "sampling": _sampling,
    "temperature": of_sizes,
    "throughput": _throughput,
    "training": _training,
    "training_preact_resnet18": _training,
}


if __name__ == "__main__":
    main()
