"""BAKE+, with the settings that a study of variants chose (docs/methods/bake-plus.md)."""

from typing import Literal

from ..ensembling.plan import Solver
from ..ranges import NotNegative, NotNegativeInt, Positive, Rate, Share
from .bake_variants import BAKEVariants


class BAKEPlus(BAKEVariants):
    """BAKE on ordinary shuffled batches, with affinities that sharpen during the run.

    There are no class groups, and T_a falls geometrically from 1 to 0.05: early on all images
    teach alike, in the end those that look most alike. All else is as in the paper (Ge et al.,
    arXiv 2104.13298). The study that chose this: docs/variants.md. Its other variants are settings
    of `bake-variants`.

    Args:
        partners: M, how many others of its class are drawn with each image; 3 or 1 in the paper.
        omega, temperature, weight, across_ranks, solver, gather_dtype, label_smoothing: see `BAKE`.
        affinity_temperature: T_a at the start of the run, above zero; 1 throughout in the paper.
        final_affinity_temperature: T_a at the end of the run, above zero.
    """

    def __init__(
        self,
        partners: NotNegativeInt = 0,
        omega: Rate = 0.5,
        temperature: Positive = 4.0,
        weight: NotNegative = 1.0,
        affinity_temperature: Positive = 1.0,
        final_affinity_temperature: Positive = 0.05,
        across_ranks: bool = True,
        solver: Solver = "auto",
        gather_dtype: Literal["float16", "bfloat16"] | None = None,
        label_smoothing: Share = 0.0,
    ) -> None:
        super().__init__(
            partners=partners,
            omega=omega,
            temperature=temperature,
            weight=weight,
            affinity_temperature=affinity_temperature,
            final_affinity_temperature=final_affinity_temperature,
            across_ranks=across_ranks,
            solver=solver,
            gather_dtype=gather_dtype,
            label_smoothing=label_smoothing,
        )
