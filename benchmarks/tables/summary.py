"""README's table: what was reproduced, what was not, and what a step costs."""

from collections.abc import Callable
from typing import Any

from benchmarks.tables.evidence_rows import ROWS

from torchbake.analysis.compare.figures import Row, compare_runs
from torchbake.analysis.compare.tables import format_gain, format_spread

Rows = list[dict[str, Any]]

PAPER = "paper/cifar100/resnet18/bake"
"""The row of the paper that stands for its figures."""


def summarise(read: Callable[[str], Rows]) -> str:
    """Three comparisons at equal images, one figure of the paper, and the cost of the loss.

    Args:
        read: the rows of a file of results by its name.
    """
    evidence = read("evidence")
    reduced = [
        row | {"variant": row["variant"].removeprefix("reduced/")}
        for row in evidence
        if row["variant"] in ("reduced/cross-entropy", "reduced/bake")
    ]
    lines = [
        "| data and network | cross-entropy, top-1 % | BAKE, top-1 % | difference (p) |",
        "|---|--:|--:|--:|",
        _compare("handwritten digits, 300 images, small network", read("digits_methods")),
        _compare("the same, 20 % of the labels wrong", read("digits_noise")),
        _compare("CIFAR-100, 20 of its classes, ResNet-8, short runs", reduced),
        _compare_with_paper(evidence),
    ]
    seeds = {f"{row.seeds}" for rows in (read("digits_methods"), reduced) for row in _pair(rows)}
    settings, baseline, *_, ours = read("overhead")
    note = (
        "Mean ± standard error of the last step, on equal numbers of images seen; "
        f"{' or '.join(sorted(seeds, key=int, reverse=True))} seeds; p of a paired t-test. "
        f"The loss adds {1e3 * ours['added_seconds']:.1f} ms "
        f"({100 * ours['added_seconds'] / baseline['seconds']:.1f} %) to a training step of "
        f"{settings['model']} on two CPU cores (batch {settings['batch_size']})."
    )
    return "\n".join([*lines, "", note])


def _pair(rows: Rows) -> list[Row]:
    """Cross-entropy and BAKE of a comparison."""
    found = {row.variant: row for row in compare_runs(rows, None, unequal=False)}
    return [found["cross-entropy"], found["bake"]]


def _compare(data: str, rows: Rows) -> str:
    baseline, bake = _pair(rows)
    figures = [format_spread(row.top1, 2) for row in (baseline, bake)]
    return f"| {data} | {' | '.join(figures)} | {format_gain(bake)} |"


def _compare_with_paper(evidence: Rows) -> str:
    """The paper's figure beside ours, if it has been run."""
    (wanted,) = (row for row in ROWS if row.name == PAPER)
    own = [row | {"variant": "bake"} for row in evidence if row["variant"] == PAPER]
    measured = "**not run yet**"
    if own:
        (row,) = compare_runs(own, "bake", unequal=True)
        measured = format_spread(row.top1, 2)
    return (
        f"| CIFAR-100, ResNet-18, the paper's protocol | | {measured} "
        f"(paper: {wanted.reported:.2f}) | |"
    )
