"""What the logits, target and features of a batch may be.

Checks read shapes, types and autograd's graph, and values only where they lie on the CPU, so that
no process waits for its device; compiled, they read no values at all.
"""

from itertools import islice

import torch

from .._shapes import Tensor
from ..ensembling.inputs import check_inputs, check_tensor

_ORDER = "are the two swapped? The order is (logits, target, features)"


def check_batch(logits: Tensor, target: Tensor, features: Tensor, *, alone: bool) -> None:
    """Raise TypeError or ValueError for what cannot be a batch's logits, target and features."""
    check_inputs(logits, features, alone=alone)
    check_tensor("target", target)
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


def check_class_weights(class_weights: Tensor | None, num_classes: int | None = None) -> None:
    """Raise TypeError or ValueError for what cannot be the weights of so many classes."""
    if class_weights is None:
        return
    if num_classes is not None:
        if class_weights.shape != (num_classes,):
            raise ValueError(
                f"class_weights must be ({num_classes},), as there are {num_classes} columns of "
                f"logits, got {tuple(class_weights.shape)}"
            )
        return
    check_tensor("class_weights", class_weights)
    if class_weights.ndim != 1 or not class_weights.is_floating_point():
        raise ValueError(
            "class_weights must be floating point, one a class, got shape "
            f"{tuple(class_weights.shape)} of {class_weights.dtype}"
        )
    if class_weights.device.type == "cpu" and not bool(
        (class_weights.isfinite() & (class_weights >= 0)).all()
    ):
        raise ValueError("class_weights must be at least 0 and finite")


def _check_values(target: Tensor, c: int, d: int) -> None:
    if target.ndim == 2:
        sums = target.sum(dim=1, dtype=torch.float32)
        off = (sums - 1).abs()
        if not bool((off < _OFF).all()):
            raise ValueError(
                "every row of class probabilities must sum to 1, got a row that sums to "
                f"{sums[off.nan_to_num(torch.inf).argmax()].item():.4g}: for several labels an "
                "image, take MultiLabelBAKELoss"
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
