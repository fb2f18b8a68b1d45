"""In which floating types targets are computed."""

import math
from contextlib import AbstractContextManager, nullcontext

import torch

from .._shapes import Tensor


def needs_float64(omega: "float | Tensor", affinity_temperature: "float | Tensor") -> bool:
    """Whether float32's rounding could change an entry of Q by much more than 1e-6.

    An error of Â reaches Q multiplied by up to ω / (1 − ω λ), and one of S by 1 / T_a more.
    Tensors are not read, so they may hold what needs it.
    """
    if isinstance(omega, Tensor) or isinstance(affinity_temperature, Tensor):
        return True
    gain = omega / (1 - omega * math.tanh(1 / affinity_temperature))
    return gain > 3 or gain / affinity_temperature > 12


def choose_inner_dtype(
    dtype: torch.dtype,
    device_type: str,
    omega: "float | Tensor",
    affinity_temperature: "float | Tensor",
) -> torch.dtype:
    """The type in which to solve for a Q that is returned as `dtype`."""
    # Apple's devices have no float64: the result is less exact there, rather than an error.
    exact = needs_float64(omega, affinity_temperature) and device_type != "mps"
    return torch.float64 if exact else dtype


def disable_autocast(device_type: str) -> "AbstractContextManager[None]":
    """Let products have the types of their factors.

    Autocast's own context takes long to enter, so it is entered only where there is need.
    """
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
