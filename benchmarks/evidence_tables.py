"""The tables of docs/reproduction.md, for `tables.py`: what is reported, and what was measured."""

import statistics
from typing import Any

from evidence_rows import ROWS, Wanted

Records = list[dict[str, Any]]


def as_markdown(records: Records, table: str) -> str:
    """One table of `evidence_rows.ROWS`, with empty cells where nothing is measured yet."""
    lines = [
        "| row | reported top-1 % | ours, top-1 % | last step | seeds | images seen | hardware | "
        "hours |",
        "|---|--:|--:|--:|--:|--:|---|--:|",
    ]
    for wanted in ROWS:
        if wanted.table == table:
            own = [record for record in records if record["row"] == wanted.name]
            lines.append(f"| {_label(wanted)} | {' | '.join(_cells(wanted, own))} |")
    lines += ["", _note(table)]
    origins = _origins([r for r in records if r["row"].partition("/")[0] == table])
    return "\n".join([*lines, "", *origins] if origins else lines)


def _label(wanted: Wanted) -> str:
    return wanted.name.partition("/")[2].replace(":", ", ")


def _cells(wanted: Wanted, own: Records) -> list[str]:
    reported = "" if wanted.reported is None else f"{wanted.reported:.2f}"
    if not own:
        return [reported, *[""] * 6]
    best = own[0]["report"] == "best-on-test"
    gpus = own[0]["gpus"]
    return [
        reported,
        _spread([record["best_on_test" if best else "top1"] for record in own]),
        _spread([record["top1"] for record in own]),
        str(len(own)),
        f"{own[0]['images']:,}",
        gpus[0] if gpus else f"{own[0]['cores']} CPU cores",
        f"{statistics.fmean(record['seconds'] for record in own) / 3600:.2f}",
    ]


def _spread(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.2f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.2f}"


def _note(table: str) -> str:
    chosen = (
        "Ours is of the best epoch on the test set, as what is reported; the last step beside it."
        if table == "paper"
        else "Ours is of the last step."
    )
    return f"{chosen} Mean ± standard error over the seeds; hours of training for one seed."


def _origins(records: Records) -> list[str]:
    """Where the figures come from."""
    places = {
        f"{', '.join(r['gpus']) or r['processor']}, torch {r['torch']}, {r['precision']}, "
        f"commit {r['commit']}"
        for r in records
    }
    table = records[0]["row"].partition("/")[0] if records else ""
    return [f"*`python benchmarks/evidence.py '{table}/*'`: {'; '.join(sorted(places))}.*"] * bool(
        records
    )
