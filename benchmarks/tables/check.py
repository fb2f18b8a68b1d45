"""Which copies `torchbake check` finds, as a table."""

from typing import Any


def as_markdown(rows: list[dict[str, Any]]) -> str:
    settings, *copies, whole = rows
    lines = [f"| copies of {settings['images']} photographs | found % |", "|---|--:|"]
    lines += [f"| {row['copy']} | {100 * row['found']:.1f} |" for row in copies]
    note = (
        f"The whole data set ({whole['images']:,} images, {whole['bytes'] / 1e6:.0f} MB) took "
        f"{whole['seconds']:.1f} s with {whole['workers']} worker processes (median of "
        f"{settings['repeats']}). In it were found: "
        + ", ".join(f"`{kind}` {count}" for kind, count in whole["found"].items())
        + f". The closest two of its pictures that are not taken for the same have a distance of "
        f"{whole['closest_others']:.3f}."
    )
    return "\n".join([*lines, "", note])
