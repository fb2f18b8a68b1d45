"""Which solver to use, and how many products the fixed point takes."""

import math
from typing import Literal, NamedTuple, get_args

Solver = Literal["auto", "fixed_point", "direct"]

SOLVERS = get_args(Solver)

# The most by which stopping the iteration may change an entry of Q. Half of the promised 1e-6;
# the other half is for rounding.
TOLERANCE = 5e-7

# Down to this T_a, exp(S / T_a) is far inside float32 and Â is a symmetric matrix K with its rows
# scaled. Below, each row is scaled by its own maximum first.
SYMMETRIC_FROM = 0.25

# The most entries of an N×N matrix that are held unasked (1 GiB in float32).
HELD = 2**28


class Steps(NamedTuple):
    """A fixed-point iteration as planned.

    With a radius, Chebyshev's for eigenvalues of I − ω Â within `radius` of `centre`, from
    (1 − ω) P + ω 1 πᵀP, π the stationary distribution of Â. Without, the plain one, from P.
    """

    products: int  # with Â
    centre: float = 1.0
    radius: float = 0.0


def plan_plain_steps(omega: float) -> Steps:
    """Enough steps Q ← ω Â Q + (1 − ω) P for any Â: the error is at most ω^(k + 1)."""
    return Steps(max(1, math.ceil(math.log(TOLERANCE) / math.log(omega)) - 1))


def plan_steps(n: int, omega: float, affinity_temperature: float) -> Steps:
    """Steps that are certain to be enough for n ≥ 2 images, whatever their features."""
    plain = plan_plain_steps(omega)
    if affinity_temperature < SYMMETRIC_FROM or plain.products == 1:
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
    return Steps(count, centre, radius) if count < plain.products else plain


class _Costs(NamedTuple):
    """In multiply-adds that a matrix product does in the same time."""

    product: float  # of starting one product of the iteration
    row: float  # of a factorisation, for each row of the system
    factorisation: float  # for each n³
    message: float  # of one message to all other ranks


# The CPU's from measurements on two cores (benchmarks/ensembling.py, benchmarks/ranks.py with
# gloo). The other is an estimate of what a GPU with NCCL does, not yet measured.
_CPU_COSTS = _Costs(product=2e6, row=1e5, factorisation=0.6, message=5e8)
_DEVICE_COSTS = _Costs(product=2e8, row=6e7, factorisation=3.0, message=6e8)


def _choose_costs(device_type: str) -> _Costs:
    return _CPU_COSTS if device_type == "cpu" else _DEVICE_COSTS


def predict_costs(n: int, c: int, products: int, device_type: str) -> tuple[float, float]:
    """What the fixed point and what a factorisation take for n images, on one device."""
    costs = _choose_costs(device_type)
    if c > n:  # both make an n×n matrix first, and then one product of it with P
        iteration = (products - 1) * (n**3 + costs.product)
        factorisation = costs.row * n + 2 * costs.factorisation * n**3
        return iteration + n * n * c, factorisation + n * n * c
    iteration = products * (n * n * c + costs.product)
    return iteration, costs.row * n + costs.factorisation * n**3 + n * n * c


def plan_paying_steps(
    n: int, c: int, omega: float, affinity_temperature: float, device_type: str
) -> Steps | None:
    """The planned steps where they take less time than a factorisation, or less memory."""
    if n * n > HELD:
        return plan_steps(n, omega, affinity_temperature)
    if n <= 256 and device_type == "cpu":  # where even planning takes longer than it saves
        return None
    steps = plan_steps(n, omega, affinity_temperature)
    iteration, factorisation = predict_costs(n, c, steps.products, device_type)
    return steps if iteration <= factorisation else None


def prefer_own_rows(n: int, own: int, d: int, c: int, products: int, device_type: str) -> bool:
    """Whether ranks with up to `own` of n images do better to exchange after each product.

    The other way is that each solves for all n images, and exchanges no more than the inputs.
    """
    if n * n > HELD:
        return True
    costs = _choose_costs(device_type)
    whole = n * n * d + min(predict_costs(n, c, products, device_type))
    parts = own * n * (d + products * c) + products * (costs.product + costs.message)
    return parts < whole


def check_solver(solver: str) -> None:
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {solver!r}")
