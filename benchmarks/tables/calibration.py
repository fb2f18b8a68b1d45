"""Tables of docs/calibration.md."""

from typing import Any

from torchbake.analysis.compare.figures import Row, compare_runs
from torchbake.analysis.compare.tables import format_spread

Rows = list[dict[str, Any]]

HELD_OUT = "data.validation="
"""What stands before the share of the training images in a variant's name."""


def of_methods(rows: Rows) -> str:
    """Methods as trained and after scaling, by the images that temperatures are fitted on."""
    lines = [
        "| method | temperature fitted on | top-1 % | NLL | ECE % | NLL, scaled | ECE %, scaled |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    found = compare_runs(rows, None, unequal=False)
    methods = list(dict.fromkeys(_split_name(row)[0] for row in found))
    for method in methods:
        own = [row for row in found if _split_name(row)[0] == method]
        for row in sorted(own, key=lambda row: _split_name(row)[1]):
            cells = [
                method,
                _describe_images(row),
                format_spread(row.top1, 2),
                format_spread(row.nll, 3),
                format_spread(row.ece, 1),
                format_spread(row.nll_scaled, 3),
                format_spread(row.ece_scaled, 1),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    note = (
        f"Mean ± standard error over {found[0].seeds} seeds, {found[0].images:,} images seen by "
        "each; last step."
    )
    return "\n".join([*lines, "", note])


def of_sizes(rows: Rows) -> str:
    """The figures of temperatures that few images give."""
    priors = sorted({row["prior"] for row in rows if "prior" in row})
    lines = [
        f"| method | images | {' | '.join(f'spread {p:g}: NLL | worst | ECE %' for p in priors)} |",
        f"|---|--:|{'--:|' * 3 * len(priors)}",
    ]
    for row in rows:
        if row.get("prior") != priors[0]:
            continue
        cells = [row["method"], str(row["images"])]
        for prior in priors:
            (own,) = (
                other
                for other in rows
                if [other.get(k) for k in ("method", "images", "prior")]
                == [row["method"], row["images"], prior]
            )
            cells += [f"{own['nll']:.3f}", f"{own['worst_nll']:.3f}", f"{own['ece']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    trained = [row for row in rows if "trained" in row]
    texts = [
        f"{row['method']} {row['trained']['nll']:.3f} and {row['trained']['ece']:.1f} %"
        for row in trained
    ]
    note = (
        "spread: how many images the labels that are spread over all classes amount to. NLL and "
        f"ECE of the other test images, means over {trained[0]['draws']} draws, and the worst NLL. "
        f"As trained, of all {trained[0]['test_images']:,}: {'; '.join(texts)}. One network each."
    )
    return "\n".join([*lines, "", note])


def _split_name(row: Row) -> tuple[str, float]:
    """A variant's method, and the share of the training images that it holds out."""
    method, _, share = row.variant.partition(f", {HELD_OUT}")
    return method, float(share or 0)


def _describe_images(row: Row) -> str:
    share = _split_name(row)[1]
    return f"{100 * share:g} % of the training images" if share else "halves of the test images"
