"""The table of loops that predict JPEG files."""

from typing import Any


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """A row a loop, each beside timm's."""
    settings, *loops = rows
    cores = settings["cores"]
    lines = [
        f"| JPEG files to labels, {settings['model']}, {cores} core{'s' * (cores > 1)} | "
        "images/s of a core | over timm's loop (quartiles) | same top-1 |",
        "|---|--:|--:|--:|",
    ]
    for row in loops:
        low, middle, high = row["over_timm"]
        faster = "" if row["ordinary"] else f"{middle:.2f} ({low:.2f} to {high:.2f})"
        same = "" if row["ordinary"] else f"{100 * row['same_top1']:.1f} %"
        lines.append(f"| {row['loop']} | {row['per_core']:.1f} | {faster} | {same} |")
    note = f"Medians of {settings['blocks']} blocks of {settings['images']} photographs, in turns."
    return "\n".join([*lines, "", note])
