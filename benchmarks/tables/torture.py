"""Trials of faults and how they ended, as Markdown."""

from typing import Any

Rows = list[dict[str, Any]]


def as_markdown(rows: Rows, part: str) -> str:
    """A row for each case of one part of the trials."""
    chosen = [row for row in rows if row["part"] == part]
    lines = ["| case | trials | not as it should be | slowest, seconds |", "|---|--:|--:|--:|"]
    lines += [
        f"| {row['case']} | {row['trials']:,} | {row['faults']:,} | {row['slowest_seconds']:,.0f} |"
        for row in chosen
    ]
    return "\n".join(lines)
