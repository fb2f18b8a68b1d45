"""BAKE with the settings that a study of its variants came to (docs/methods/bake-plus.md)."""

from typing import Literal

from ..solvers import Solver
from .bake import BAKE


class BAKEPlus(BAKE):
    """BAKE on ordinary shuffled batches, whose images listen to few others that are most like them.

    No class groups and sharper affinities than the paper's (Ge et al., arXiv 2104.13298); all else
    is as there. The study that chose them: docs/variants.md. Its other variants are settings of
    `bake`.

    Args:
        partners: M, others of its class drawn beside each image; 3 or 1 in the paper.
        omega, temperature, weight, across_ranks, solver, gather_dtype: see `BAKE`.
        affinity_temperature: T_a, above zero; 1 in the paper.
    """

    def __init__(
        self,
        partners: int = 0,
        omega: float = 0.5,
        temperature: float = 4.0,
        weight: float = 1.0,
        affinity_temperature: float = 0.1,
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
            across_ranks=across_ranks,
            solver=solver,
            gather_dtype=gather_dtype,
        )
