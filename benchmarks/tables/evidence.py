"""The tables of docs/reproduction.md: what is reported, and what was measured."""

from typing import Any

from benchmarks.tables.evidence_rows import ROWS, Wanted

from torchbake.analysis.compare.figures import Row, compare_runs
from torchbake.analysis.compare.tables import MARK, format_gain, format_spread, format_variant

Records = list[dict[str, Any]]

COLUMNS = (
    "row",
    "reported top-1 %",
    "ours, top-1 %",
    "last step",
    "over cross-entropy (p)",
    "NLL",
    "ECE %",
    "seeds",
    "images seen",
    "hardware",
    "hours",
)


def as_markdown(records: Records, table: str) -> str:
    """One table of `evidence_rows.ROWS`, with empty cells where nothing is measured yet."""
    wanted = [row for row in ROWS if row.table == table]
    columns = list(COLUMNS)
    if all(row.reported is None for row in wanted):
        columns.remove("reported top-1 %")
    if table != "paper":
        columns.remove("last step")
    lines = [f"| {' | '.join(columns)} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    for row in wanted:
        cells = _cells(row, records)
        lines.append(f"| {' | '.join(cells.get(column, '') for column in columns)} |")
    own = [record for record in records if record["variant"].partition("/")[0] == table]
    return "\n\n".join(["\n".join(lines), _note(table), *_origin(own, table)])


def _cells(wanted: Wanted, records: Records) -> dict[str, str]:
    """What is known of a row, by column."""
    cells = {"row": wanted.name.partition("/")[2].replace(":", ", ")}
    if wanted.reported is not None:
        cells["reported top-1 %"] = f"{wanted.reported:.2f}"
    own = [record for record in records if record["variant"] == wanted.name]
    if not own:
        return cells
    row = _against_baseline(own, records, wanted)
    last = _against_baseline([r | {"top1": r["last_top1"]} for r in own], [], wanted)
    return cells | {
        "row": format_variant(row._replace(variant=cells["row"])),
        "ours, top-1 %": format_spread(row.top1, 2),
        "last step": format_spread(last.top1, 2),
        "over cross-entropy (p)": format_gain(row),
        "NLL": format_spread(row.nll, 3),
        "ECE %": format_spread(row.ece, 1),
        "seeds": str(row.seeds),
        "images seen": f"{row.images:,}",
        "hardware": own[0]["gpus"][0] if own[0]["gpus"] else f"{own[0]['cores']} CPU cores",
        "hours": f"{row.seconds[0] / 3600:.2f}",
    }


def _against_baseline(own: Records, records: Records, wanted: Wanted) -> Row:
    """A row's figures, and their difference from the baseline's if that is among the records."""
    baseline = [r for r in records if r["variant"] == wanted.baseline != wanted.name]
    rows = compare_runs([*baseline, *own], (baseline or own)[0]["variant"], unequal=True)
    return next(row for row in rows if row.variant == wanted.name)


def _note(table: str) -> str:
    chosen = (
        "Ours is of the epoch that is reported: the best on the test set, on ImageNet the last."
        if table == "paper"
        else "Ours is of the last step."
    )
    return (
        f"{chosen} Mean ± standard error over the seeds; p of a paired t-test over them, not "
        f"corrected for their number; hours of training for one seed. {MARK}: another number of "
        "images than cross-entropy, not on equal terms."
    )


def _origin(records: Records, table: str) -> list[str]:
    """Where the figures come from, if there are any."""
    places = {
        f"{', '.join(r['gpus']) or r['processor']}, torch {r['torch']}, {r['precision']}, "
        f"commit {r['commit']}"
        for r in records
    }
    told = f"*`python -m benchmarks.measure.evidence '{table}/*'`: {'; '.join(sorted(places))}.*"
    return [told] if places else []
