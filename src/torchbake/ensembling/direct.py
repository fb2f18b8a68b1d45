"""Q by a factorisation, and outside of CUDA graphs.

cuSOLVER's factorisations cannot be recorded in a CUDA graph: they allocate, and some fail or give
wrong results when replayed (pytorch issues 96632 and 195731). So a graph that is being recorded by
hand refuses them, and one that a compiler records is cut around them.
"""

import torch

from .._shapes import Float, Tensor
from .affinity import compute_affinities, normalise_rows, score_all
from .plan import SYMMETRIC_FROM
from .precision import choose_inner_dtype
from .solvers import solve_cholesky, solve_lu


def solve_directly(
    features: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    omega: float,
    affinity_temperature: float,
) -> Float[Tensor, "n c"]:
    """Q of n ≥ 2 images by a factorisation of an n×n matrix, in the type of P.

    Raises:
        RuntimeError: while a CUDA graph is recorded.
    """
    refuse_capture(features.device.type)
    if may_be_captured(features.device.type):
        return _solve_uncaptured(features, predictions, omega, affinity_temperature)
    return _solve(features, predictions, omega, affinity_temperature)


def refuse_capture(device_type: str) -> None:
    """Raise RuntimeError while a CUDA graph is recorded."""
    if device_type != "cuda" or torch.compiler.is_compiling():
        return
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "solver='direct' factorises a matrix, which a CUDA graph cannot record: take "
            "solver='auto' or solver='fixed_point'"
        )


def may_be_captured(device_type: str) -> bool:
    """Whether a compiler is at work that may record what it compiles."""
    return torch.compiler.is_compiling() and device_type != "cpu"


def _solve(features: Tensor, predictions: Tensor, omega: float, sharpness: float) -> Tensor:
    kind = predictions.dtype
    inner = choose_inner_dtype(kind, features.device.type, omega, sharpness)
    unit = normalise_rows(features.to(inner))
    predictions = predictions.to(inner)
    if sharpness < SYMMETRIC_FROM:
        return solve_lu(compute_affinities(unit, sharpness), predictions, omega).to(kind)
    weights = score_all(unit, sharpness).exp_()
    sums = weights.sum(dim=1, keepdim=True)
    return solve_cholesky(weights, sums, predictions, omega).to(kind)


@torch.library.custom_op(
    "torchbake::solve_directly", mutates_args=(), tags=[torch.Tag.cudagraph_unsafe]
)
def _solve_uncaptured(
    features: torch.Tensor, predictions: torch.Tensor, omega: float, affinity_temperature: float
) -> torch.Tensor:
    # Solvers return columns side by side, or rows; the compiler is promised rows.
    return _solve(features, predictions, omega, affinity_temperature).contiguous()


@_solve_uncaptured.register_fake
def _(
    features: torch.Tensor, predictions: torch.Tensor, omega: float, affinity_temperature: float
) -> torch.Tensor:
    return torch.empty_like(predictions, memory_format=torch.contiguous_format)
