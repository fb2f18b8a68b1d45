"""What inputs and settings of ensembling may be.

Checks of a batch read shapes, types and autograd's graph, and values only where they lie on the
CPU, so that no process waits for its device; compiled, they read no values at all.
"""

from itertools import islice
from typing import Any

import torch
import torch.distributed as dist

from ._shapes import Tensor
from .solvers import SOLVERS

_ORDER = "are the two swapped? The order is (logits, target, features)"


def check_inputs(logits: Tensor, features: Tensor, *, alone: bool) -> None:
    for name, value in (("logits", logits), ("features", features)):
        _check_tensor(name, value)
        if value.ndim != 2 or 0 in value.shape[0 if alone else 1 :]:
            raise ValueError(
                f"{name} must have two dimensions, none of them empty, got {tuple(value.shape)}"
                + (_POOLED.get(value.ndim, "") if name == "features" else "")
            )
        if not value.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {value.dtype}")
    if logits.shape[0] != features.shape[0]:
        raise ValueError(
            f"logits and features must be of the same images, got {len(logits)} rows of logits "
            f"and {len(features)} of features"
        )


# What to do with features that have positions, by their number of dimensions.
_POOLED = {
    3: ": average over the positions, such as features.mean(dim=1), or take the class token",
    4: ": average over the positions, such as features.mean(dim=(2, 3))",
    5: ": average over the positions, such as features.mean(dim=(2, 3, 4))",
}


def _check_tensor(name: str, value: Any) -> None:
    if not isinstance(value, torch.Tensor):
        part = ": pass its .logits" if name == "logits" and hasattr(value, "logits") else ""
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}{part}")


def check_batch(logits: Tensor, target: Tensor, features: Tensor, *, alone: bool) -> None:
    """Raise TypeError or ValueError for what cannot be a batch's logits, target and features."""
    check_inputs(logits, features, alone=alone)
    _check_tensor("target", target)
    n, c = logits.shape
    d = features.shape[1]
    if target.ndim == 2 and not target.is_floating_point():
        raise TypeError(f"class probabilities (n, c) must be floating point, got {target.dtype}")
    expected = (n,) if target.ndim != 2 else (n, c)
    if target.shape != expected:
        raise ValueError(
            f"target must be class numbers ({n},) or class probabilities ({n}, {c}), as there are "
            f"{n} rows and {c} columns of logits, got {tuple(target.shape)}"
            + (f"; features have {d} columns: {_ORDER}" if target.shape == (n, d) else "")
        )
    if target.ndim == 1 and target.is_floating_point():
        raise TypeError(f"class numbers (n,) must be integers, got {target.dtype}")
    if torch.compiler.is_compiling():
        return
    if target.device.type == "cpu" and n:
        _check_values(target, c, d)
    if c != d and _comes_from(features, logits):
        raise ValueError(f"features were computed from logits: {_ORDER}")


def _check_values(target: Tensor, c: int, d: int) -> None:
    if target.ndim == 2:
        sums = target.sum(dim=1, dtype=torch.float32)
        off = (sums - 1).abs()
        if not bool((off < _OFF).all()):
            raise ValueError(
                "every row of class probabilities must sum to 1, got a row that sums to "
                f"{sums[off.nan_to_num(torch.inf).argmax()].item():.4g}: BAKE is for one class an "
                "image, not for several labels"
            )
    elif (largest := int(target.max())) >= c:
        raise ValueError(
            f"target has class number {largest}, but there are only {c} columns of logits"
            + (f" and {d} of features: {_ORDER}" if largest < d else "")
        )


# How far from 1 probabilities may sum: rounded to half precision they are off by less.
_OFF = 0.01


def _comes_from(result: Tensor, source: Tensor) -> bool:
    """Whether autograd's graph leads from `result` to `source` within a few operations.

    A classifier is one, with a cast, dropout or a normalisation a few more.
    """
    if source.grad_fn is None or result.grad_fn is None or result.grad_fn is source.grad_fn:
        return False
    seen = {result.grad_fn}
    waiting = [result.grad_fn]
    # The list grows while it is gone through: breadth first.
    for node in islice(waiting, _OPERATIONS):
        for before, _ in node.next_functions:
            if before is source.grad_fn:
                return True
            if before is not None and before not in seen:
                seen.add(before)
                waiting.append(before)
    return False


_OPERATIONS = 16


def check_group(group: Any) -> None:
    """Raise TypeError for what is no process group."""
    if group is None or (dist.is_available() and isinstance(group, dist.ProcessGroup)):
        return
    raise TypeError(
        f"group must be a torch.distributed process group or None, got {group!r}; that of all "
        "ranks is torch.distributed.group.WORLD"
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
