"""BAKE with the settings that a study of its variants came to (docs/methods/bake-plus.md)."""

from typing import Literal

from ..ensembling.plan import Solver
from .bake import BAKE


class BAKEPlus(BAKE):
    """BAKE on ordinary shuffled batches, with affinities that sharpen during the run.

    No class groups, and T_a falls geometrically from 1 to 0.05: early on all images teach alike,
    in the end those that are most alike. All else is as in the paper (Ge et al., arXiv
    2104.13298). The study that chose this: docs/variants.md. Its other variants are settings of
    `bake`.

    Args:
        partners: M, others of its class drawn beside each image; 3 or 1 in the paper.
        omega, temperature, weight, across_ranks, solver, gather_dtype: see `BAKE`.
        affinity_temperature: T_a at the start of the run, above zero; 1 throughout in the paper.
        final_affinity_temperature: T_a at its end, above zero.
    """

    def __init__(
        self,
        partners: int = 0,
        omega: float = 0.5,
        temperature: float = 4.0,
        weight: float = 1.0,
        affinity_temperature: float = 1.0,
        final_affinity_temperature: float = 0.05,
        across_ranks: bool = True,
        solver: Solver = "auto",
        gather_dtype: Literal["float16", "bfloat16"] | None = None,
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
        )
