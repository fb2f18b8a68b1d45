"""What a step asks of a GPU, before and after, as Markdown."""

from typing import Any

Rows = list[dict[str, Any]]
KINDS = ("launches", "copies", "reads")


def as_markdown(before: Rows, after: Rows) -> str:
    """A row a part: of methods those in bf16."""
    known = {row["part"]: row for row in before}
    lines = [
        "| | launches | blocking copies | host reads |",
        "|---|--:|--:|--:|",
    ]
    for row in after:
        name = row["part"].removeprefix("method: ")
        if name != row["part"]:
            name, _, precision = name.rpartition(": ")
            if precision != "bf16":
                continue
        cells = [_compare(known.get(row["part"], row), row, kind) for kind in KINDS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _compare(before: dict[str, Any], after: dict[str, Any], kind: str) -> str:
    now = f"{after[kind]:,}"
    if "error" in before:
        return f"failed → {now}" if kind == KINDS[0] else now
    return now if before[kind] == after[kind] else f"{before[kind]:,} → {now}"
