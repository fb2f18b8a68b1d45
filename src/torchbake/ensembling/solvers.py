"""Ways to solve Q = ω Â Q + (1 − ω) P, whose work is known before it starts.

Where rounding or stopping leaves a probability a hair below zero, Q is clamped: logarithms need
that.

Nothing here reads a value back from the device, and no loop depends on the data. The bounds are
derived in docs/solvers.md.
"""

from collections.abc import Callable

import torch

from .._shapes import Float, Tensor
from .plan import Steps


def solve_fixed_point(
    multiply: Callable[[Tensor], Tensor],
    predictions: Float[Tensor, "n c"],
    others: Float[Tensor, "n c"],
    mean: "Float[Tensor, '#n c'] | None",
    omega: float,
    steps: Steps,
) -> Float[Tensor, "n c"]:
    """Q by the planned steps.

    Args:
        multiply: X → Â X, called once a step but the first.
        predictions: P.
        others: Â P, the first product; overwritten.
        mean: πᵀP where the steps have a radius, else None.
    """
    if mean is None:
        targets = predictions.clone()
        increment = others.sub_(predictions).mul_(omega)
    else:
        targets = torch.lerp(predictions, mean, omega)
        residual = others.sub_(mean).mul_(omega * (1 - omega))
        increment = residual / steps.centre
    targets.add_(increment)
    ratio = steps.radius / steps.centre
    for _ in range(1, steps.products):
        if mean is None:
            increment = multiply(increment).mul_(omega)
        else:
            # What is left, (1 − ω) P − (I − ω Â) Q, and Chebyshev's three-term recurrence.
            residual.sub_(increment).add_(multiply(increment), alpha=omega)
            momentum, ratio = ratio, 1 / (2 * steps.centre / steps.radius - ratio)
            increment.mul_(momentum * ratio).add_(residual, alpha=2 * ratio / steps.radius)
        targets.add_(increment)
    return targets.clamp_(min=0)


def solve_lu(
    affinity: Float[Tensor, "n n"], predictions: Float[Tensor, "n c"], omega: float
) -> Float[Tensor, "n c"]:
    """Q by a factorisation of I − ω Â, for any Â; which is overwritten."""
    n, c = predictions.shape
    system = affinity.mul_(-omega)
    system.diagonal().add_(1)
    # The system is never singular, so the checks that would wait for the device are left out.
    if c > n:
        # One product with the inverse is faster than two triangular solves of many columns.
        return _normalise_rows(torch.linalg.inv_ex(system)[0]) @ predictions
    mean, others = _centre(predictions)
    solved = torch.linalg.solve_ex(system, others)[0]
    return torch.add(mean, solved, alpha=1 - omega).clamp_(min=0)


def solve_cholesky(
    weights: Float[Tensor, "n n"],
    sums: Float[Tensor, "n 1"],
    predictions: Float[Tensor, "n c"],
    omega: float,
) -> Float[Tensor, "n c"]:
    """Q from (D − ω K) Q = (1 − ω) D P, where K is symmetric.

    Args:
        weights: K with Â = D⁻¹ K; overwritten.
        sums: the row sums of K, D's diagonal.
        predictions: P.
    """
    n, c = predictions.shape
    system = weights.mul_(-omega)
    system.diagonal().add_(sums[:, 0])
    factor, _ = torch.linalg.cholesky_ex(system)
    if c > n:
        return _normalise_rows(torch.cholesky_inverse(factor).mul_(sums.T)) @ predictions
    mean, others = _centre(predictions)
    solved = torch.cholesky_solve(others.mul_(sums), factor)
    return torch.add(mean, solved, alpha=1 - omega).clamp_(min=0)


def _normalise_rows(shares: Tensor) -> Tensor:
    # Scales by 1 − ω, too, and more exactly. Not in place: `propagate` may need the gradient.
    shares = shares.clamp(min=0)
    return shares / shares.sum(dim=1, keepdim=True)


def _centre(predictions: Tensor) -> tuple[Tensor, Tensor]:
    # Â maps a constant column to itself, so the mean prediction passes through unchanged, and
    # solving only for what differs from it keeps float32 exact where 1 / (1 − ω) is large.
    mean = predictions.mean(dim=0)
    return mean, predictions - mean
