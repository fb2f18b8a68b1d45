"""The table of the paper's recipes, of results/costs.json."""

from typing import Any

from torchbake.training.named_recipes import find_named
from torchbake.training.recipe_notes import format_reported, round_digits


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """A row a network and data set: settings, the reported figure, and both forms beside it."""
    lines = [
        "| recipe | reported top-1 % | N | M | ω | M parameters | G multiply-adds | paper: images, "
        "FLOPs | equal: images, FLOPs |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    by_name = {row["recipe"]: row for row in rows}
    for name, equal in by_name.items():
        paper = by_name.get(f"{name}-paper")
        if paper is None:
            continue
        cells = [
            f"`{name}`",
            format_reported(find_named()[paper["recipe"]]),
            str(equal["batch_size"]),
            str(equal["partners"]),
            str(equal["omega"]),
            f"{equal['parameters'] / 1e6:.1f}",
            round_digits(equal["multiply_adds"] / 1e9),
            _cost(paper),
            _cost(equal),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cost(row: dict[str, Any]) -> str:
    name, unit = ("E", 1e18) if row["operations"] >= 1e18 else ("P", 1e15)
    return f"{round_digits(row['images'] / 1e6)} M, {round_digits(row['operations'] / unit)} {name}"
