"""How a batch's target is made: all that does not depend on the batch and its ranks."""

from dataclasses import dataclass

import torch

from .checks import check_omega, check_positive
from .plan import Solver, check_solver


@dataclass(frozen=True)
class TargetSettings:
    """The settings of `bake_targets`, where they are explained.

    Raises:
        ValueError: a setting outside its range.
    """

    temperature: float = 4.0
    omega: float = 0.5
    affinity_temperature: float = 1.0
    solver: Solver = "auto"
    gather_dtype: torch.dtype | None = None
    equal_counts: bool = False

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        check_omega(self.omega)
        check_positive("affinity_temperature", self.affinity_temperature)
        check_solver(self.solver)
        if self.gather_dtype is not None and not self.gather_dtype.is_floating_point:
            raise ValueError(f"gather_dtype must be a floating type, got {self.gather_dtype}")
