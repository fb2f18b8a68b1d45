"""An advice as tables, and the command that follows from it."""

import math
import shlex
import statistics

from ..compare.figures import Row
from ..compare.plan import parse_variant
from ..compare.tables import format_spread
from .advise import Advice
from .candidates import BASELINE, Scores, name_in_words
from .runs import HELD_OUT, Pairs
from .verdict import Difference

CORRECTION = "corrected by Holm for all differences that were tested"


def format_selection(advice: Advice) -> str:
    """The rounds that chose on validation images: one row a candidate, the best first."""
    record, scores = advice.diary.record, advice.chosen_by
    if not any(scores.values()):
        return ""
    finalists = record.finalists or []
    kept = record.kept or finalists
    lines = ["| method | validation top-1 % | seeds | chosen |", "|---|--:|--:|---|"]
    for variant in sorted(
        scores, key=lambda v: (v not in finalists, v not in kept, -_mean(scores, v))
    ):
        values = list(scores[variant].values())
        stage = "no"
        if variant in finalists:
            stage = "for the confirmation"
        elif variant in record.dropped:
            stage = "failed"
        elif len(values) > record.first_seeds:
            stage = "for the second round"
        spread = format_spread(_spread(values), 2) if values else ""
        lines.append(f"| {name_in_words(variant)} | {spread} | {len(values)} | {stage} |")
    held = (
        "the recipe's validation images"
        if advice.runs.holds_out
        else f"a random {HELD_OUT:.0%} of the training images, other ones for each seed"
    )
    note = (
        f"Chosen on {held}. The best of BAKE's variants and the best of the others are confirmed; "
        "no test image took part in the choice."
    )
    return "\n".join([*lines, "", note])


def format_confirmation(advice: Advice) -> str:
    """The differences that were tested on the test images."""
    lines = ["| difference | points of top-1 | p | p, corrected | seeds |", "|---|--:|--:|--:|--:|"]
    for d in advice.differences:
        name = f"{name_in_words(d.variant)} − {name_in_words(d.other)}"
        p = [f"{value:.3f}" if value >= 0.001 else "< 0.001" for value in (d.p, d.corrected)]
        lines.append(f"| {name} | {d.mean:+.2f} ± {d.error:.2f} | {p[0]} | {p[1]} | {d.seeds} |")
    trained = "all training images"
    if advice.runs.holds_out:
        trained = "the training images without the validation images"
    note = (
        f"On {advice.test_images:,} test images, which took no part in any choice; fresh seeds, "
        f"trained on {trained}; ± is the standard error over the seeds, p of a paired "
        f"t-test, {CORRECTION}. Other test images would add an error of their own, of up to "
        f"{_bound_error(advice):.1f} points."
    )
    return "\n".join([*lines, "", note])


def correct_rows(
    rows: list[Row], differences: list[Difference], names: dict[str, str]
) -> list[Row]:
    """Rows of a comparison with the corrected p-values.

    Args:
        names: the variants by their names in the comparison.
    """
    found = {d.variant: (d.mean, d.corrected) for d in differences if d.other == BASELINE}
    return [row._replace(difference=found.get(names.get(row.variant, ""))) for row in rows]


def write_command(what: str, keys: Pairs, variant: str) -> str:
    """The command that trains a variant in full.

    Args:
        what, keys: the recipe or the photos, and the keys that were given.
    """
    method, settings = parse_variant(variant)
    words = ["torchbake", "train", what, "--method", method]
    given = [(key, value) for key, value in keys if key not in ("method", "method.name")]
    if any(key in ("method", "method.name") and value != method for key, value in keys):
        given = [(key, value) for key, value in given if not key.startswith("method.")]
    for key, value in [*settings, *given]:
        words += [f"--{key}", value]
    return shlex.join(words)


def _bound_error(advice: Advice) -> float:
    """Standard error of a difference for want of test images, in points, as if errors were apart.

    Two networks err on the same images mostly, so it is less in truth.
    """
    variance = 0.0
    for own in sorted((_mean(advice.confirmed, v) for v in advice.confirmed), key=_noise)[-2:]:
        variance += _noise(own) / advice.test_images
    return math.sqrt(variance)


def _noise(top1: float) -> float:
    return top1 * (100 - top1)


def _mean(scores: Scores, variant: str) -> float:
    values = list(scores[variant].values())
    return statistics.fmean(values) if values else 0.0


def _spread(values: list[float]) -> tuple[float, float]:
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.fmean(values), error
