"""Whether predictions and exports agree with evaluation, as Markdown."""

from typing import Any

WAYS = {
    "predict": "`torchbake predict`",
    "timm": "timm alone",
    "onnxruntime": "ONNX Runtime alone",
}


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """A row a run: pictures with the same label, and the largest difference of a confidence."""
    head = ["network", "pictures", *WAYS.values()]
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    for row in rows:
        cells = [row["network"], f"{row['pictures']:,}"]
        for way in WAYS:
            same = row["same_label"].get(way)
            largest = row["largest_difference_of_confidence"].get(way)
            cells.append("–" if same is None else f"{same:,} ({largest:.1g})")
        lines.append(f"| {' | '.join(cells)} |")
    note = (
        "Pictures whose label is the one that `torchbake evaluate` counts, and the largest "
        "difference of a confidence. –: not one of timm's networks."
    )
    return "\n".join([*lines, "", note])
