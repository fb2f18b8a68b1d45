"""The methods that advice chooses among, and which of them are kept."""

from statistics import fmean

from ...methods.bake import BAKE
from ...methods.find import find_method
from ..compare.plan import parse_variant

BASELINE = "cross-entropy"

CUTMIX = "cross-entropy:data.cutmix=1:data.mix_probability=0.5"

NAMES = {
    BASELINE: "cross-entropy",
    "label-smoothing": "label smoothing",
    CUTMIX: "CutMix",
    "bake": "BAKE",
    "bake:partners=0": "BAKE without partners",
    "bake-plus": "BAKE+",
}
"""The variants that are tried unless others are named, and what they are called in sentences."""

FINALISTS = 2
"""Candidates that are confirmed, beside the baseline."""

Scores = dict[str, dict[int, float]]
"""Top-1 on validation images, by variant and seed."""


def is_bake(variant: str) -> bool:
    """Whether a variant is one of BAKE's."""
    return issubclass(find_method(parse_variant(variant)[0]), BAKE)


def name_in_words(variant: str) -> str:
    """What a variant is called in a sentence."""
    return NAMES.get(variant, variant)


def rank(scores: Scores) -> list[str]:
    """The variants by their mean over the seeds that all of them have, the best first.

    Of equal ones the one that was named first comes first.
    """
    shared = set.intersection(*(set(own) for own in scores.values())) if scores else set()
    if not shared:
        return list(scores)
    means = {variant: fmean(own[seed] for seed in shared) for variant, own in scores.items()}
    return sorted(scores, key=lambda variant: -means[variant])


def keep(ranked: list[str], number: int) -> list[str]:
    """The best so many, among them the best of BAKE's variants and the best of the others.

    So the question whether BAKE is worth it gets an answer, whatever else is better.
    """
    families: dict[bool, str] = {}
    for variant in ranked:
        families.setdefault(is_bake(variant), variant)
    needed = set(families.values()) if number >= len(families) else set(ranked[:1])
    for variant in ranked:
        if len(needed) < number:
            needed.add(variant)
    return [variant for variant in ranked if variant in needed]


def halve(ranked: list[str]) -> list[str]:
    """The better half, but not fewer than are confirmed."""
    return keep(ranked, max(FINALISTS, -(-len(ranked) // 2)))
