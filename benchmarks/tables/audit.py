"""The table of `audit.py`'s figures."""

import math
import statistics
from typing import Any

Rows = list[dict[str, Any]]
DATA = {
    "digits": "digits",
    "cifar_subset": "CIFAR-100, 20 classes",
    "cifar100": "CIFAR-100",
}


def as_markdown(rows: Rows) -> str:
    """Each ranking's figures over the seeds."""
    lines = [
        "| data | run | ranked by | probabilities | AUROC | precision at k % | at k / 10 % |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    groups: dict[tuple[str, ...], Rows] = {}
    for row in rows:
        key = (row["data"], row["method"], row["ranking"], row["of"])
        groups.setdefault(key, []).append(row)
    places = {name: place for place, name in enumerate(DATA)}
    for (data, method, ranking, of), of_seeds in sorted(
        groups.items(), key=lambda group: (places[group[0][0]], group[0][1] != "cross-entropy")
    ):
        figures = (
            _spread([row["auroc"] for row in of_seeds], 3),
            _spread([100 * row["precision"] for row in of_seeds], 1),
            _spread([100 * row["precision_of_tenth"] for row in of_seeds], 1),
        )
        cells = (DATA[data], method, ranking, of, *figures)
        lines.append(f"| {' | '.join(cells)} |")
    seeds = {
        data: len({row["seed"] for row in rows if row["data"] == data})
        for data in DATA
        if any(row["data"] == data for row in rows)
    }
    counts = ", ".join(
        f"{DATA[data]} {count} seed{'s' * (count > 1)}" for data, count in seeds.items()
    )
    note = (
        "A fifth of the labels flipped; k is their number. Mean ± standard error "
        f"({counts}). “Loss” ranks as cleanlab's `self_confidence` does, “normalized margin” is "
        "cleanlab's; out of sample: by five more trainings, each without a fifth of the images."
    )
    return "\n".join([*lines, "", note])


def _spread(values: list[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values) / math.sqrt(len(values)):.{digits}f}"
