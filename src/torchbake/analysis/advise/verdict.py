"""What the confirmation says: differences, corrected p-values, and a sentence to act on."""

import math
import statistics
from itertools import combinations
from typing import NamedTuple

from ..compare.seeds import compare_pairs
from .candidates import BASELINE, Scores, name_in_words

LEVEL = 0.05
"""Largest corrected p-value of a difference that is taken for one."""


class Difference(NamedTuple):
    """Top-1 of one variant over another one's, paired by seed.

    Attributes:
        mean, error: in points, and the standard error over the seeds.
        p: of a two-sided paired t-test.
        corrected: p after Holm's correction for all differences that are tested.
        seeds: pairs.
    """

    variant: str
    other: str
    mean: float
    error: float
    p: float
    corrected: float
    seeds: int

    @property
    def is_shown(self) -> bool:
        """Whether it is taken for a difference."""
        return self.corrected <= LEVEL


class Verdict(NamedTuple):
    """The method to use, and the sentence that says why."""

    variant: str
    sentence: str


def correct_holm(values: list[float]) -> list[float]:
    """p-values after Holm's step-down correction (Holm 1979), which keeps the chance of any error.

    The k-th smallest of m is multiplied by m − k + 1; none is less than a smaller one, nor above 1.
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    corrected, largest = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = largest
    return corrected


def compare_candidates(scores: Scores) -> list[Difference]:
    """Each candidate against the baseline, then the candidates against each other.

    Args:
        scores: test top-1 by variant and seed, the baseline first. Pairs of which there are fewer
            than two seeds are left out.
    """
    pairs = [(variant, BASELINE) for variant in scores if variant != BASELINE]
    pairs += list(combinations([variant for variant in scores if variant != BASELINE], 2))
    found = []
    for variant, other in pairs:
        seeds = sorted(scores[variant].keys() & scores[other].keys())
        both = [(scores[variant][seed], scores[other][seed]) for seed in seeds]
        tested = compare_pairs(both)
        if tested is None:
            continue
        differences = [own - base for own, base in both]
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        found.append(Difference(variant, other, tested[0], error, tested[1], 1.0, len(seeds)))
    corrected = correct_holm([difference.p for difference in found])
    return [d._replace(corrected=p) for d, p in zip(found, corrected, strict=True)]


def decide(differences: list[Difference], ranked: list[str]) -> Verdict:
    """What to use, and why.

    The test images decide only whether there are differences. Among candidates that are ahead of
    the baseline and cannot be told apart, the one that was best on the validation images is taken.

    Args:
        differences: see `compare_candidates`.
        ranked: the candidates by their validation images, the best first.
    """
    over = {d.variant: d for d in differences if d.other == BASELINE}
    candidates = sorted(over, key=lambda variant: -over[variant].mean)
    parts = [_describe(over[variant]) for variant in candidates]
    ahead = [v for v in ranked if v in over and over[v].is_shown and over[v].mean > 0]
    if not ahead:
        what = "no difference that this many images can show: use plain cross-entropy"
        if any(over[variant].is_shown for variant in candidates):
            what = "nothing is ahead of cross-entropy: use plain cross-entropy"
        return Verdict(BASELINE, f"{what} ({'; '.join(parts)})" if parts else what)
    best = ahead[0]
    for d in differences:
        if d.other == BASELINE or not {d.variant, d.other} & set(ahead):
            continue
        first, second = name_in_words(d.variant), name_in_words(d.other)
        if not d.is_shown:
            parts.append(f"{first} and {second} are level ({_tell_p(d.corrected)})")
            continue
        better, worse = (d.variant, d.other) if d.mean > 0 else (d.other, d.variant)
        best = better if len(ahead) > 1 else best
        parts.append(
            f"{name_in_words(better)} is ahead of {name_in_words(worse)} by "
            f"{abs(d.mean):.1f} ± {d.error:.1f} ({_tell_p(d.corrected)})"
        )
    return Verdict(best, f"{'; '.join(parts)}; use {name_in_words(best)}")


def _describe(difference: Difference) -> str:
    """A candidate against the baseline, in words."""
    name, other = name_in_words(difference.variant), name_in_words(difference.other)
    told = f"{_tell_p(difference.corrected)}, {difference.seeds} seeds"
    if not difference.is_shown:
        points = f"{difference.mean:+.1f} ± {difference.error:.1f} points"
        return f"{name} is level with {other} ({points}, {told})"
    side = "ahead of" if difference.mean > 0 else "behind"
    return (
        f"{name} is {side} {other} by {abs(difference.mean):.1f} ± {difference.error:.1f} points "
        f"({told})"
    )


def _tell_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
