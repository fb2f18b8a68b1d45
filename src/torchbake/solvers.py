"""Ways to solve Q = ω Â Q + (1 − ω) P, whose work is known before it starts.

Nothing here reads a value back from the device, and no loop depends on the data. The bounds are
derived in docs/solvers.md.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch

from ._shapes import Float, Tensor

Solver = Literal["auto", "fixed_point", "direct"]

# The most by which stopping the iteration may change an entry of Q. Half of the promised 1e-6;
# the other half is for rounding.
TOLERANCE = 5e-7

# Down to this T_a, exp(S / T_a) is far inside float32 and Â is a symmetric matrix K with its rows
# scaled. Below, each row is scaled by its own maximum first.
SYMMETRIC_FROM = 0.25


class Steps(NamedTuple):
    """A fixed-point iteration as planned."""

    coefficients: tuple[tuple[float, float], ...]  # step and momentum, one pair a product with Â
    from_mean: bool  # starts from (1 − ω) P + ω 1 πᵀP, π the stationary distribution; else from P


def plain_steps(omega: float) -> Steps:
    """Enough steps Q ← ω Â Q + (1 − ω) P for any Â: the error is at most ω^(k + 1)."""
    count = max(1, math.ceil(math.log(TOLERANCE) / math.log(omega)) - 1)
    return Steps(((1.0, 0.0),) * count, from_mean=False)


def planned_steps(n: int, omega: float, affinity_temperature: float) -> Steps:
    """The fewest steps certain to be enough for n ≥ 2 images, whatever their features.

    Chebyshev's iteration on an interval that holds all but one eigenvalue of I − ω Â, or plain
    steps where the affinities are too sharp for that to help.
    """
    plain = plain_steps(omega)
    if affinity_temperature < SYMMETRIC_FROM or len(plain.coefficients) == 1:
        return plain
    # The bound falls with n, so a smaller n is as safe. A power of two, found by comparisons
    # alone, lets one compiled graph serve many n.
    at_least = 2
    while 2 * at_least <= n:
        at_least *= 2
    spread = math.exp(2 / affinity_temperature)  # of the row sums of K, largest over smallest
    low = 1 - omega * math.tanh(1 / affinity_temperature)
    high = 1 + omega * min(1.0, spread / (at_least - 1))
    centre, radius = (high + low) / 2, (high - low) / 2
    # After k steps no entry is wrong by more than this over cosh(k arcosh(centre / radius)).
    at_first = spread * math.sqrt(at_least / (at_least - 1)) * omega * (1 - omega) / (2 * low)
    excess = max(1.0, at_first / TOLERANCE)
    count = max(1, math.ceil(math.acosh(excess) / math.acosh(centre / radius)))
    if count >= len(plain.coefficients):
        return plain
    ratio = radius / centre
    coefficients = [(1 / centre, 0.0)]
    for _ in range(1, count):
        following = 1 / (2 * centre / radius - ratio)
        coefficients.append((2 * following / radius, following * ratio))
        ratio = following
    return Steps(tuple(coefficients), from_mean=True)


def fixed_point(
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
        mean: πᵀP where `steps.from_mean`, else None.
    """
    if mean is None:
        targets = predictions.clone()
        residual = others.sub_(predictions).mul_(omega)
    else:
        targets = torch.lerp(predictions, mean, omega)
        residual = others.sub_(mean).mul_(omega * (1 - omega))
    increment = residual
    for k, (step, momentum) in enumerate(steps.coefficients):
        if k > 0:
            product = multiply(increment)
            # What is left, (1 − ω) P − (I − ω Â) Q, after the last increment of Q.
            residual = residual.sub_(increment).add_(product, alpha=omega)
        if mean is None:  # plain steps: the increment is what is left
            increment = residual
        elif k == 0:
            increment = residual * step
        else:
            increment = increment.mul_(momentum).add_(residual, alpha=step)
        targets.add_(increment)
    return targets


def direct(
    weights: Float[Tensor, "n n"],
    sums: Float[Tensor, "n 1"],
    predictions: Float[Tensor, "n c"],
    omega: float,
    *,
    symmetric: bool,
) -> Float[Tensor, "n c"]:
    """Q from (D − ω K) Q = (1 − ω) D P by a factorisation, Cholesky's where K is symmetric.

    Args:
        weights: K with Â = D⁻¹ K; overwritten.
        sums: the row sums of K, D's diagonal.
        predictions: P.
        symmetric: whether K is.
    """
    system = _system(weights, sums, omega)
    # Â maps a constant column to itself, so the mean prediction passes through unchanged, and
    # solving only for what differs from it keeps float32 exact where 1 / (1 − ω) is large.
    mean = predictions.mean(dim=0)
    right = (predictions - mean).mul_(sums)
    # The system is never singular, so the checks that would wait for the device are left out.
    if symmetric:
        solved = torch.cholesky_solve(right, torch.linalg.cholesky_ex(system)[0])
    else:
        solved = torch.linalg.solve_ex(system, right)[0]
    # Rounding may leave a probability of zero a hair below it, where a logarithm is undefined.
    return torch.add(mean, solved, alpha=1 - omega).clamp_(min=0)


def shares_directly(
    weights: Float[Tensor, "n n"], sums: Float[Tensor, "n 1"], omega: float, *, symmetric: bool
) -> Float[Tensor, "n n"]:
    """(1 − ω) (I − ω Â)⁻¹: each row the shares of all images in one target.

    One product of it with P is faster than the triangular solves of `direct` where there are
    more classes than images. Arguments as there.
    """
    system = _system(weights, sums, omega)
    if symmetric:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(system)[0])
    else:
        inverse = torch.linalg.inv_ex(system)[0]
    shares = inverse.mul_(sums.T).clamp_(min=0)
    return shares.div_(shares.sum(dim=1, keepdim=True))


def _system(weights: Tensor, sums: Tensor, omega: float) -> Tensor:
    system = weights.mul_(-omega)
    system.diagonal().add_(sums[:, 0])
    return system


class _Costs(NamedTuple):
    """In multiply-adds that a matrix product does in the same time."""

    product: float  # of starting one product of the iteration
    row: float  # of a factorisation, for each row of the system
    factorisation: float  # for each n³


# For the CPU from benchmarks/ensembling.py's solvers on two cores. The others' are an estimate
# of what a GPU does, not yet measured.
_CPU_COSTS = _Costs(product=2e6, row=1e5, factorisation=0.6)
_DEVICE_COSTS = _Costs(product=2e8, row=6e7, factorisation=3.0)


def cheaper(n: int, c: int, steps: int, device_type: str) -> Literal["fixed_point", "direct"]:
    """The solver that is predicted to take less time on one device."""
    costs = _CPU_COSTS if device_type == "cpu" else _DEVICE_COSTS
    if c > n:  # both make an n×n matrix first, and then one product of it with P
        iteration = (steps - 1) * (n**3 + costs.product)
        factorisation = costs.row * n + 2 * costs.factorisation * n**3
    else:
        iteration = steps * (n * n * c + costs.product)
        factorisation = costs.row * n + costs.factorisation * n**3 + n * n * c
    return "fixed_point" if iteration <= factorisation else "direct"


def needs_float64(omega: float, affinity_temperature: float) -> bool:
    """Whether float32's rounding could change an entry of Q by more than about 1e-6.

    An error of Â reaches Q multiplied by up to ω / (1 − ω λ), and one of S by 1 / T_a more.
    """
    gain = omega / (1 - omega * math.tanh(1 / affinity_temperature))
    return gain > 3 or gain / affinity_temperature > 16
