"""Which solver to use, and how many products the iteration takes."""

import math
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import torch

from .precision import needs_float64

Solver = Literal["auto", "fixed_point", "direct"]

SOLVERS = get_args(Solver)

# The most by which stopping the iteration may change an entry of Q. Half of the promised 1e-6;
# the other half is for rounding.
TOLERANCE = 5e-7

# Down to this T_a, exp(S / T_a) is far inside float32, and Â is a symmetric matrix with its rows
# scaled. Below, bounds on its eigenvalues are too weak to be of use.
SYMMETRIC_FROM = 0.25

# The most entries of an N×N matrix that are held unasked (1 GiB in float32).
HELD = 2**28

# The most by which a polynomial's coefficients may multiply what rounding leaves.
_GROWTH_FLOAT32, _GROWTH_FLOAT64 = 8.0, 1e6

# Longer polynomials grow by more than that, whatever the settings.
_LONGEST = 40

# On two cores a factorisation of n rows takes as long as a product of n×n with so many times n
# columns (results/auto.json), and where there are few rows it is always as fast.
_FACTORISATION = 0.6
_FEW = 256

# Multiply-adds that a processor does while ranks exchange one message. Measured on two cores with
# gloo (results/ranks.json); it is about as much for GPUs with NCCL, by estimate.
_MESSAGE = 5e8


class Steps(NamedTuple):
    """A polynomial in Â − shift I that turns P into Q, from the constant coefficient upwards.

    At Â = 1 it is one, so that what is the same for all images stays as it is.
    """

    coefficients: tuple[float, ...]
    shift: float = 0.0
    plain: bool = False  # whether it is the beginning of the power series, which fits any Â

    @property
    def products(self) -> int:
        """How many products with Â it takes."""
        return len(self.coefficients) - 1


def count_plain_products(omega: float) -> int:
    """Enough steps Q ← ω Â Q + (1 − ω) P for any Â: the error is at most ω^(k + 1)."""
    return max(1, math.ceil(math.log(TOLERANCE) / math.log(omega)) - 1) if omega else 1


def count_doublings(omega: float) -> int:
    """How often to double the number of terms of the power series until they are enough."""
    return max(1, math.ceil(math.log2(count_plain_products(omega) + 1)))


def plan_steps(n: int, omega: float, affinity_temperature: float) -> Steps:
    """Steps that are certain to be enough for n ≥ 2 images, whatever their features."""
    # The bound falls with n, so a smaller n is as safe. A power of two, found by comparisons
    # alone, lets one compiled graph serve many n.
    at_least = 2
    while 2 * at_least <= n:
        at_least *= 2
    if torch.compiler.is_compiling():
        return _plan(at_least, omega, affinity_temperature)
    return _plan_once(at_least, omega, affinity_temperature)


def _plan(n: int, omega: float, affinity_temperature: float) -> Steps:
    plain = count_plain_products(omega)
    powers = [(1 - omega) * omega**j for j in range(plain)]
    series = Steps((*powers, omega**plain), plain=True)
    if affinity_temperature < SYMMETRIC_FROM or plain == 1:
        return series
    # The eigenvalues of Â lie in [−below, above], but for 1 (docs/solvers.md).
    spread = math.exp(2 / affinity_temperature)  # of the row sums of K, largest over smallest
    below = min(1.0, spread / (n - 1))
    above = math.tanh(1 / affinity_temperature)
    centre, width = (above - below) / 2, (above + below) / 2
    outside = (1 / omega - centre) / width  # where I − ω Â would be singular
    # After k products with Chebyshev's polynomial no entry is wrong by more than this over
    # cosh(k arcosh(outside)). One product more makes the polynomial exact at the eigenvalue 1.
    first = spread * math.sqrt(n / (n - 1)) * omega**2 * (1 + below) / (2 + 2 * omega * below)
    degree = math.ceil(math.acosh(max(1.0, first / TOLERANCE)) / math.acosh(outside))
    degree = max(1, degree)
    if degree + 1 >= plain or degree > _LONGEST:
        return series
    precise = needs_float64(omega, affinity_temperature)
    most = _GROWTH_FLOAT64 if precise else _GROWTH_FLOAT32
    for shift in (0.0, centre):
        coefficients = _expand(degree, omega, centre - shift, width, shift)
        reach = max(width + abs(centre - shift), 1 - shift)
        if sum(abs(c) * reach**j for j, c in enumerate(coefficients)) <= most:
            return Steps(coefficients, shift)
    return series


_plan_once = lru_cache(_plan)


def _expand(
    degree: int, omega: float, centre: float, width: float, shift: float
) -> tuple[float, ...]:
    """The coefficients of (1 − ω) (1 − ρ(x)) / (1 − ω x) by powers of x − shift.

    ρ = c x (1 − x) T((x − shift − centre) / width) is what is left of the error, T being
    Chebyshev's polynomial of this degree and c such that ρ(1 / ω) = 1, where the division is
    exact. All factors are in y = x − shift.
    """
    before, last = [1.0], [-centre / width, 1 / width]
    for _ in range(degree - 1):
        following = _multiply([-2 * centre / width, 2 / width], last)
        for power, value in enumerate(before):
            following[power] -= value
        before, last = last, following
    left = _multiply(_multiply([shift, 1.0], [1 - shift, -1.0]), last)
    at = 1 / omega - shift
    scale = 1 / sum(value * at**power for power, value in enumerate(left))
    rest = [-scale * value for value in left]
    rest[0] += 1
    # Divided by 1 − ω x = ω (at − y), which leaves nothing.
    coefficients, quotient = [], 0.0
    for value in rest[:-1]:
        quotient = (value / omega + quotient) / at
        coefficients.append((1 - omega) * quotient)
    return tuple(coefficients)


def _multiply(one: list[float], other: list[float]) -> list[float]:
    product = [0.0] * (len(one) + len(other) - 1)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            product[i + j] += a * b
    return product


def prefer_direct(
    n: int, c: int, omega: float, affinity_temperature: float, device_type: str
) -> bool:
    """Whether a factorisation takes less time than the planned products.

    Only on the CPU: elsewhere products are fast, factorisations are many small operations, and
    CUDA graphs cannot record them. None of a matrix that is too large to hold.
    """
    if device_type != "cpu" or n * n > HELD:
        return False
    if n <= _FEW:
        return True
    return plan_steps(n, omega, affinity_temperature).products * c > _FACTORISATION * n


def prefer_own_rows(n: int, own: int, d: int, c: int, products: int) -> bool:
    """Whether ranks with up to `own` of n images do better to exchange after each product.

    The other way is that each solves for all n images, and exchanges no more than the inputs.
    """
    if n * n > HELD:
        return True
    whole = n * n * (d + min(products * c, n))
    parts = own * n * (d + products * c) + products * _MESSAGE
    return parts < whole


def check_solver(solver: str) -> None:
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {solver!r}")
