"""What inputs and settings of ensembling may be."""

import torch

from ._shapes import Tensor
from .solvers import SOLVERS


def check_inputs(logits: Tensor, features: Tensor, *, alone: bool) -> None:
    for name, value in (("logits", logits), ("features", features)):
        if value.ndim != 2 or 0 in value.shape[0 if alone else 1 :]:
            raise ValueError(
                f"{name} must have two dimensions, none of them empty, got {tuple(value.shape)}"
            )
        if not value.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {value.dtype}")
    if logits.shape[0] != features.shape[0]:
        raise ValueError(
            f"logits and features must be of the same images, got {len(logits)} rows of logits "
            f"and {len(features)} of features"
        )


def check_settings(
    temperature: float,
    omega: float,
    affinity_temperature: float,
    solver: str,
    gather_dtype: torch.dtype | None,
) -> None:
    """Raise ValueError for a setting outside its range."""
    check_positive("temperature", temperature)
    check_positive("affinity_temperature", affinity_temperature)
    check_omega(omega)
    check_solver(solver)
    if gather_dtype is not None and not gather_dtype.is_floating_point:
        raise ValueError(f"gather_dtype must be a floating type, got {gather_dtype}")


def check_solver(solver: str) -> None:
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {solver!r}")


def check_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0 and finite, got {value}")


def check_omega(omega: float) -> None:
    if not 0 <= omega < 1:
        raise ValueError(f"omega must be in [0, 1), got {omega}")


def check_not_negative(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be at least 0 and finite, got {value}")


def check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
