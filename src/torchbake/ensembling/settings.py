"""How a batch's target is made: all that does not depend on the batch and its ranks."""

from dataclasses import dataclass

import torch

from .._shapes import Tensor
from .checks import check_omega, check_positive
from .plan import Solver, check_solver

# What a scheduled ω that is only known to the device is taken to be at most, unless more is said.
_OMEGA_AT_MOST = 0.99


@dataclass(frozen=True)
class TargetSettings:
    """The settings of `bake_targets`, where they are explained.

    Raises:
        TypeError: a setting is a tensor that is no floating scalar.
        ValueError: a setting outside its range.
    """

    temperature: float = 4.0
    omega: float | Tensor = 0.5
    affinity_temperature: float | Tensor = 1.0
    solver: Solver = "auto"
    gather_dtype: torch.dtype | None = None
    equal_counts: bool = False
    omega_at_most: float | None = None
    """No smaller than ω; needed of a tensor alone, whose value is not read."""
    multi_label: bool = False
    """Whether every class has a probability of its own, rather than all of them one together."""

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        if isinstance(self.omega, Tensor):
            _check_scalar("omega", self.omega)
        else:
            check_omega(self.omega)
        if isinstance(self.affinity_temperature, Tensor):
            _check_scalar("affinity_temperature", self.affinity_temperature)
        else:
            check_positive("affinity_temperature", self.affinity_temperature)
        check_solver(self.solver)
        if self.gather_dtype is not None and not self.gather_dtype.is_floating_point:
            raise ValueError(f"gather_dtype must be a floating type, got {self.gather_dtype}")
        if self.solver == "direct" and not self.known:
            raise ValueError(
                "solver='direct' needs omega and affinity_temperature as numbers, got a tensor: "
                "take solver='auto'"
            )

    @property
    def known(self) -> bool:
        """Whether ω and T_a are numbers, rather than tensors of values that only a device knows."""
        return not isinstance(self.omega, Tensor) and not isinstance(
            self.affinity_temperature, Tensor
        )

    @property
    def largest_omega(self) -> float:
        """ω, or what it is at most."""
        if not isinstance(self.omega, Tensor):
            return self.omega
        return _OMEGA_AT_MOST if self.omega_at_most is None else self.omega_at_most


def _check_scalar(name: str, value: Tensor) -> None:
    """Raise TypeError for what is no floating scalar; its value is left unread."""
    if value.ndim or not value.is_floating_point():
        raise TypeError(
            f"{name} must be a number or a floating tensor without dimensions, got shape "
            f"{tuple(value.shape)} and {value.dtype}"
        )
