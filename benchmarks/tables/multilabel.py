"""The table of docs/several-labels.md."""

from typing import Any

from torchbake.analysis.compare.seeds import average, compare_pairs
from torchbake.analysis.compare.tables import format_spread

Rows = list[dict[str, Any]]


def as_markdown(rows: Rows) -> str:
    """Each loss on each data set: mean average precision, its gain and p, F1 and NLL."""
    lines = [
        "| pictures | loss | mAP % | difference (p) | F1 %, threshold 0.5 | NLL |",
        "|---|---|--:|--:|--:|--:|",
    ]
    baseline = rows[0]["loss"]
    for case in dict.fromkeys(row["case"] for row in rows):
        for loss in dict.fromkeys(row["loss"] for row in rows):
            own = [row for row in rows if (row["case"], row["loss"]) == (case, loss)]
            base = [row for row in rows if (row["case"], row["loss"]) == (case, baseline)]
            cells = [
                case,
                loss,
                format_spread(average(own, "map"), 2),
                "" if loss == baseline else _describe_gain(own, base),
                format_spread(average(own, "f1"), 1),
                format_spread(average(own, "nll"), 3),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    seeds = len({row["seed"] for row in rows})
    note = (
        f"Mean ± standard error over {seeds} seeds, on equal numbers of images seen, last step. "
        "mAP: the mean over the classes of average precision. NLL: binary cross-entropy on the "
        "test pictures. p of a paired t-test."
    )
    return "\n".join([*lines, "", note])


def _describe_gain(own: Rows, base: Rows) -> str:
    pairs = [(one["map"], other["map"]) for one, other in zip(own, base, strict=True)]
    found = compare_pairs(pairs)
    if found is None:
        return ""
    mean, p = found
    return f"{mean:+.2f} ({'< 0.001' if p < 0.001 else f'{p:.3f}'})"
