"""Ways to solve Q = ω Â Q + (1 − ω) P, whose work is known before it starts.

Where rounding or stopping leaves a probability a hair below zero, Q is clamped: logarithms need
that.

Nothing here reads a value back from the device, and no loop depends on the data. The bounds are
derived in docs/solvers.md.
"""

from collections.abc import Callable

import torch

from .._shapes import Float, Tensor
from .affinity import AffinityRows
from .plan import Steps, count_doublings, count_plain_products


def solve_by_polynomial(
    rows: AffinityRows,
    predictions: Float[Tensor, "n c"],
    steps: Steps,
    gather: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> Float[Tensor, "r c"]:
    """The own rows of Q by Horner's rule: each product is one operation.

    Args:
        rows: of Â − shift I, those that are wanted.
        predictions: P of all images.
        steps: the polynomial.
        gather: makes all rows of own rows, where other processes have the rest.
    """
    *lower, second, highest = steps.coefficients
    mean, others = _centre(predictions)
    own = others[rows.own]
    targets = rows.add_product(own, second, others, highest)
    for coefficient in reversed(lower):
        targets = rows.add_product(own, coefficient, gather(targets))
    return targets.add_(mean).clamp_(min=0)


def solve_by_shares(
    affinity: Float[Tensor, "n n"], predictions: Float[Tensor, "n c"], steps: Steps
) -> Float[Tensor, "n c"]:
    """Q where there are more classes than images: by each image's share in every target.

    Args:
        affinity: Â − shift I.
        predictions: P.
        steps: the polynomial.
    """
    *lower, second, highest = steps.coefficients
    identity = torch.eye(len(affinity), dtype=affinity.dtype, device=affinity.device)
    shares = affinity * highest
    shares.diagonal().add_(second)
    for coefficient in reversed(lower):
        shares = torch.addmm(identity, affinity, shares, beta=coefficient)
    return _normalise_rows(shares) @ predictions


def solve_by_series(
    affinity: Float[Tensor, "n n"],
    predictions: Float[Tensor, "n c"],
    omega: "float | Tensor",
    omega_at_most: float,
) -> Float[Tensor, "n c"]:
    """Q by the power series of ω Â, whatever Â, in the type of P.

    An Â in float64 and a P in float32 ask for more than float32's precision: the solution is
    corrected once by what is left of the equation, which alone is computed in float64.

    Args:
        affinity: Â.
        predictions: P.
        omega: ω, a number or a tensor ().
        omega_at_most: no smaller than ω; decides how many terms are summed.
    """
    n, c = predictions.shape
    kind = predictions.dtype
    system = affinity.to(kind) * omega
    doublings, products = count_doublings(omega_at_most), count_plain_products(omega_at_most)
    if 2 * (doublings - 1) * n + c <= products * c:
        total = sum_series(system, doublings)

        def solve(right: Tensor) -> Tensor:
            return total @ right
    else:

        def solve(right: Tensor) -> Tensor:
            solution = right
            for _ in range(products):
                solution = torch.addmm(right, system, solution)
            return solution

    mean, others = _centre(predictions)
    right = others * (1 - omega)
    targets = solve(right)
    if affinity.dtype != kind:
        wide = targets.to(affinity.dtype)
        left = (affinity @ wide).mul_(omega).sub_(wide).add_(right)
        targets = targets.add_(solve(left.to(kind)))
    return targets.add_(mean).clamp_(min=0)


def sum_series(system: Float[Tensor, "n n"], doublings: int) -> Float[Tensor, "n n"]:
    """I + A + A² + … of 2^doublings terms, by two products for each doubling but the first."""
    total = system.clone()
    total.diagonal().add_(1)
    for _ in range(doublings - 1):
        system = system @ system
        total = torch.addmm(total, system, total)
    return total


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
