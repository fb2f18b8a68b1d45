"""Tables of `torchbake compare`'s figures."""

import re
from collections.abc import Callable
from inspect import signature
from typing import Any

from torchbake.analysis.compare.figures import Row, compare_runs
from torchbake.analysis.compare.tables import format_comparison, format_gain, format_spread
from torchbake.methods.bake import BAKE
from torchbake.methods.bake_variants import BAKEVariants

Rows = list[dict[str, Any]]

COMPARISONS = {
    "digits_methods": "digits",
    "digits_noise": "digits, 20 % of the labels wrong",
    "cifar_subset": "CIFAR-100, 20 classes",
}
"""Files of results, and what they are of."""

STUDIES = ("variants_digits", "variants_noise", "variants_cifar", "variants_later")
"""Files of results of docs/variants.md."""


def update_command(command: str) -> str:
    """A recorded command as it is to be given now: `bake:memory=9` is `bake-variants:memory=9`."""
    moved = set(signature(BAKEVariants).parameters) - set(signature(BAKE).parameters)

    def update(match: re.Match[str]) -> str:
        keys = {setting.partition("=")[0] for setting in match[1].split(":")}
        return f"{'bake-variants' if keys & moved else 'bake'}:{match[1]}"

    return re.sub(r"(?<=[ ,])bake:([^ ,]+)", update, command)


def whole(rows: Rows) -> str:
    """The table as `torchbake compare` prints it."""
    return format_comparison(compare_runs(rows, None, unequal=False), rows[0]["report"])


def of_study(rows: Rows) -> str:
    """All variants against cross-entropy, and against BAKE as the paper has it if it is there."""
    own = any(row["variant"] == "bake" for row in rows)
    second = "bake" if own else "label-smoothing"
    over = {row.variant: row for row in compare_runs(rows, second, unequal=False)}
    lines = [
        f"| variant | top-1 % | over cross-entropy (p) | over {second} (p) | NLL | ECE % "
        "| forwards |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    table = compare_runs(rows, None, unequal=False)
    for row in table:
        top1, gain, nll, ece = _figures(row)
        cells = [row.variant, top1, gain, format_gain(over[row.variant]), nll, ece]
        lines.append(f"| {' | '.join(cells)} | {row.forwards_per_image:g} |")
    note = (
        f"Mean ± standard error, {table[0].seeds} seeds, {table[0].images:,} images seen by each; "
        "of the last evaluation; p of a paired t-test over the seeds, not corrected for their "
        "number. forwards: for each image seen."
    )
    return "\n".join([*lines, "", note])


def of_variants(rows: Rows, names: list[str]) -> str:
    """The rows of these variants, in this order, with few columns."""
    found = {row.variant: row for row in compare_runs(rows, None, unequal=False)}
    lines = [
        "| | images seen | top-1 % | over cross-entropy (p) | NLL | ECE % | seconds |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in names:
        row = found[name]
        lines.append(
            f"| {name} | {row.images:,} | {' | '.join(_figures(row))} | {row.seconds[0]:.1f} |"
        )
    return "\n".join([*lines, "", f"Mean ± standard error over {row.seeds} seeds, last step."])


def of_method(read: Callable[[str], Rows], method: str) -> str:
    """All variants of a method (or of `cutmix` and `mixup`) in every comparison."""
    lines = [
        "| data | variant | top-1 % | over cross-entropy (p) | NLL | ECE % |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for name, data in COMPARISONS.items():
        for row in compare_runs(read(name), None, unequal=False):
            own = "data." in row.variant if method == "cutmix" else _is_of(row.variant, method)
            if own:
                lines.append(f"| {data} | {row.variant} | {' | '.join(_figures(row))} |")
    note = "Equal images seen; whole tables, machine and commands: [comparison](../comparison.md)."
    return "\n".join([*lines, "", note])


def _is_of(variant: str, method: str) -> bool:
    return variant.partition(",")[0] == method and "data." not in variant


def _figures(row: Row) -> list[str]:
    return [
        format_spread(row.top1, 2),
        format_gain(row),
        format_spread(row.nll, 3),
        format_spread(row.ece, 1),
    ]
