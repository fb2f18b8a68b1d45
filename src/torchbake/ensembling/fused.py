"""Q by one Triton kernel for all products, and for small batches for the affinities, too.

Each program multiplies some columns of P, which do not depend on each other. In a small batch it
makes Â anew, which stays in shared memory; in a larger one Â is made before, and its rows are
streamed from the cache for each product. An option, and not the default, because no card has
measured it yet.
"""

from functools import lru_cache

import torch

from .._shapes import Float, Tensor
from .affinity import AffinityRows
from .plan import Steps

try:
    import triton
    import triton.language as tl
except ImportError:  # it comes with torch for CUDA alone
    triton = None

# Images whose Â fits the shared memory of one multiprocessor, in float32.
MOST_SHARED = 128
# Images whose Â (4 MiB) stays in the cache while it is streamed.
MOST = 1024

_COLUMNS, _FEATURES = 32, 32  # of P and F̂ at a time
_ROWS = 64  # of Â at a time where it is streamed, and as many of its columns


def suits(unit: Tensor) -> bool:
    """Whether the kernel can run on these, on CUDA or in Triton's interpreter."""
    if triton is None or torch.compiler.is_compiling() or type(unit) is not Tensor:
        return False
    placed = unit.is_cuda or triton.knobs.runtime.interpret
    return placed and len(unit) <= MOST and unit.dtype == torch.float32


def solve_fused(
    unit: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    affinity_temperature: float,
    steps: Steps,
) -> Float[Tensor, "n c"]:
    """Q of n ≤ MOST images in float32 by the polynomial, as `solve_by_polynomial` computes it.

    Args:
        unit: features of length 1.
        predictions: P.
        affinity_temperature: T_a.
        steps: the polynomial.
    """
    n, c = predictions.shape
    unit, predictions = unit.contiguous(), predictions.contiguous()
    coefficients = _place(steps.coefficients, unit.device)
    if n > MOST_SHARED:
        affinity = AffinityRows(unit, slice(0, n), affinity_temperature, steps.shift).held
        return _solve_streamed(affinity, predictions, coefficients, steps.products)
    targets = torch.empty_like(predictions)
    _solve[(triton.cdiv(c, _COLUMNS),)](
        unit,
        predictions,
        targets,
        coefficients,
        n,
        unit.shape[1],
        c,
        1 / affinity_temperature,
        steps.shift,
        PRODUCTS=steps.products,
        ROWS=max(16, triton.next_power_of_2(n)),
        COLUMNS=_COLUMNS,
        FEATURES=_FEATURES,
        num_warps=8,
    )
    return targets


def _solve_streamed(
    affinity: Float[Tensor, "n n"] | None,
    predictions: Float[Tensor, "n c"],
    coefficients: Float[Tensor, " products_and_1"],
    products: int,
) -> Float[Tensor, "n c"]:
    """The same from Â − shift I."""
    assert affinity is not None  # as that of MOST images is held
    n, c = predictions.shape
    mean = predictions.mean(dim=0)
    others = predictions - mean
    scratch = others.new_empty(2, n, c)
    targets = torch.empty_like(others)
    _multiply[(triton.cdiv(c, _COLUMNS),)](
        affinity,
        others,
        mean,
        targets,
        scratch,
        coefficients,
        n,
        c,
        PRODUCTS=products,
        ROWS=_ROWS,
        COLUMNS=_COLUMNS,
        num_warps=8,
    )
    return targets


@lru_cache(maxsize=16)
def _place(coefficients: tuple[float, ...], device: torch.device) -> Tensor:
    """On the device, copied once for many batches."""
    return torch.tensor(coefficients, dtype=torch.float32, device=device)


if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator]
    def _solve(  # type: ignore[no-untyped-def]
        unit,
        predictions,
        targets,
        coefficients,
        n,
        d,
        c,
        sharpness,
        shift,
        PRODUCTS: tl.constexpr,
        ROWS: tl.constexpr,
        COLUMNS: tl.constexpr,
        FEATURES: tl.constexpr,
    ):
        rows = tl.arange(0, ROWS)
        scores = tl.zeros((ROWS, ROWS), dtype=tl.float32)
        for start in range(0, d, FEATURES):
            at = start + tl.arange(0, FEATURES)
            inside = (rows[:, None] < n) & (at[None, :] < d)
            part = tl.load(unit + rows[:, None] * d + at[None, :], mask=inside, other=0.0)
            scores += tl.dot(part, tl.trans(part), input_precision="ieee")
        itself = rows[:, None] == rows[None, :]
        barred = itself | (rows[None, :] >= n)
        scores = tl.where(barred, float("-inf"), scores * sharpness)
        weights = tl.exp(scores - tl.max(scores, axis=1)[:, None])
        affinity = weights / tl.sum(weights, axis=1)[:, None]
        affinity = tl.where(itself, -shift, affinity)

        columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
        places = rows[:, None] * c + columns[None, :]
        inside = (rows[:, None] < n) & (columns[None, :] < c)
        others = tl.load(predictions + places, mask=inside, other=0.0)
        mean = tl.sum(others, axis=0) / n
        others = tl.where(rows[:, None] < n, others - mean[None, :], 0.0)
        solution = tl.load(coefficients + PRODUCTS) * others
        for step in range(1, PRODUCTS + 1):
            product = tl.dot(affinity, solution, input_precision="ieee")
            solution = tl.load(coefficients + PRODUCTS - step) * others + product
        solution = tl.maximum(solution + mean[None, :], 0.0)
        tl.store(targets + places, solution, mask=inside)

    @triton.jit  # type: ignore[untyped-decorator]
    def _multiply(  # type: ignore[no-untyped-def]
        affinity,
        others,
        mean,
        targets,
        scratch,
        coefficients,
        n,
        c,
        PRODUCTS: tl.constexpr,
        ROWS: tl.constexpr,
        COLUMNS: tl.constexpr,
    ):
        columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
        rows = tl.arange(0, ROWS)
        last = tl.load(coefficients + PRODUCTS)
        for first in range(0, n, ROWS):
            at = first + rows
            inside = (at[:, None] < n) & (columns[None, :] < c)
            places = at[:, None] * c + columns[None, :]
            part = tl.load(others + places, mask=inside, other=0.0)
            tl.store(scratch + places, last * part, mask=inside)
        for step in range(1, PRODUCTS + 1):
            tl.debug_barrier()  # what other threads have stored is read
            before = scratch + ((step - 1) % 2) * n * c
            after = scratch + (step % 2) * n * c
            factor = tl.load(coefficients + PRODUCTS - step)
            for first in range(0, n, ROWS):
                at = first + rows
                inside = (at[:, None] < n) & (columns[None, :] < c)
                places = at[:, None] * c + columns[None, :]
                solution = factor * tl.load(others + places, mask=inside, other=0.0)
                for start in range(0, n, ROWS):
                    by = start + rows
                    both = (at[:, None] < n) & (by[None, :] < n)
                    shares = tl.load(affinity + at[:, None] * n + by[None, :], mask=both, other=0.0)
                    within = (by[:, None] < n) & (columns[None, :] < c)
                    where = by[:, None] * c + columns[None, :]
                    part = tl.load(before + where, mask=within, other=0.0)
                    solution += tl.dot(shares, part, input_precision="ieee")
                tl.store(after + places, solution, mask=inside)
        tl.debug_barrier()
        centre = tl.load(mean + columns, mask=columns < c, other=0.0)
        for first in range(0, n, ROWS):
            at = first + rows
            inside = (at[:, None] < n) & (columns[None, :] < c)
            places = at[:, None] * c + columns[None, :]
            found = tl.load(scratch + (PRODUCTS % 2) * n * c + places, mask=inside, other=0.0)
            tl.store(targets + places, tl.maximum(found + centre[None, :], 0.0), mask=inside)
