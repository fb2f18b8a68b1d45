"""What advice said, and how it kept its time, as a table."""

from typing import Any


def as_markdown(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "Not measured yet."
    lines = [
        "| data | minutes asked for | used | images a run, of a whole one | seeds: choosing + "
        "confirming | verdict |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        share = f"{row['images']:,} ({row['share_of_a_whole_run']:.0%})"
        seeds = f"{row['seeds_for_choosing']} + {row['seeds_for_confirming']}"
        lines.append(
            f"| {row['case']} | {row['asked_minutes']:g} | {row['used_minutes']:.1f} | {share} | "
            f"{seeds} | {row['verdict']} |"
        )
    return "\n".join(lines)
