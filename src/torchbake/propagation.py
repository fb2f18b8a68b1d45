"""The soft targets of a batch, on one process or across ranks: which solver, on which rows."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch.nn import functional as F

from ._shapes import Float, Tensor
from .affinity import AffinityRows, symmetric_weights
from .checks import check_inputs, check_settings
from .ranks import Exchange
from .solvers import (
    SYMMETRIC_FROM,
    Solver,
    Steps,
    cheaper,
    direct,
    fixed_point,
    needs_float64,
    planned_steps,
    shares_directly,
)

# The most products that "auto" takes across ranks: each is a message to all others.
MOST_MESSAGES = 64


@torch.no_grad()
def start_targets(
    logits: Float[Tensor, "n c"],
    features: Float[Tensor, "n d"],
    *,
    temperature: float,
    omega: float,
    affinity_temperature: float,
    group: "dist.ProcessGroup | None",
    solver: Solver,
    gather_dtype: torch.dtype | None,
    equal_counts: bool,
) -> Callable[[], tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]]:
    """`bake_targets`, in two halves: other work can be done while the ranks exchange.

    Returns:
        A function that waits for the other ranks and returns the predictions P and Q.
    """
    check_inputs(logits, features, alone=group is None)
    check_settings(temperature, omega, affinity_temperature, solver)
    dtype = torch.promote_types(torch.float32, torch.promote_types(logits.dtype, features.dtype))
    with torch.autocast(logits.device.type, enabled=False):
        predictions = (logits.detach().to(dtype) / temperature).softmax(dim=1)
        if omega == 0:
            return lambda: (predictions, predictions.clone())
        exchange = Exchange(
            group, len(logits), logits.device, equal=equal_counts, dtype=gather_dtype
        )
        # Narrow types could not hold every feature, but they hold those of a row of length 1.
        sent = features.detach()
        sent = sent if gather_dtype is None else F.normalize(sent.to(dtype), dim=1)
        all_features = exchange.start_gather(sent)
        all_predictions = exchange.start_gather(predictions)

    @torch.no_grad()
    def finish() -> tuple[Tensor, Tensor]:
        with torch.autocast(logits.device.type, enabled=False):
            # Every exchange that was started is waited for.
            everyone = all_features(), all_predictions()
            if exchange.total == 1:
                return predictions, predictions.clone()
            inner = torch.float64 if needs_float64(omega, affinity_temperature) else dtype
            unit = F.normalize(everyone[0].to(inner), dim=1)
            targets = _ensemble(
                exchange, unit, everyone[1].to(inner), omega, affinity_temperature, solver
            )
            return predictions, targets.to(dtype)

    return finish


def _ensemble(
    exchange: Exchange,
    unit: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    omega: float,
    affinity_temperature: float,
    solver: Solver,
) -> Float[Tensor, "own c"]:
    """This rank's rows of Q from the features (of length 1) and predictions of all n images."""
    n, c = predictions.shape
    steps = None
    if solver != "direct":
        steps = planned_steps(n, omega, affinity_temperature)
        count = len(steps.coefficients)
        if solver == "auto" and exchange.group is None:
            steps = steps if cheaper(n, c, count, unit.device.type) == "fixed_point" else None
        elif solver == "auto":
            steps = steps if count <= MOST_MESSAGES else None
    if steps is None:
        return _solve_directly(unit, predictions, omega, affinity_temperature)[exchange.own]
    rows = AffinityRows(unit, exchange.own, affinity_temperature)
    if c > n and exchange.group is None and rows.held is not None:
        return _shares(rows, rows.held, omega, steps) @ predictions
    others = rows.multiply(predictions)
    own = predictions[exchange.own]
    mean = None
    if steps.from_mean:
        # πᵀP over the rows of all ranks, π being proportional to the sums.
        weighed = exchange.sum(torch.cat([rows.sums.T @ own, rows.sums.sum().view(1, 1)], dim=1))
        mean = weighed[:, :c] / weighed[:, c:]
    targets = fixed_point(
        lambda x: rows.multiply(exchange.gather(x)), own, others, mean, omega, steps
    )
    # Rounding may leave a probability of zero a hair below it, where a logarithm is undefined.
    return targets.clamp_(min=0)


def _shares(
    rows: AffinityRows, weights: Float[Tensor, "n n"], omega: float, steps: Steps
) -> Float[Tensor, "n n"]:
    """(1 − ω) (I − ω Â)⁻¹ by iteration: cheaper than one on P where there are more classes."""
    one_hot = torch.eye(len(rows.unit), dtype=rows.unit.dtype, device=rows.unit.device)
    mean = rows.sums.T / rows.sums.sum() if steps.from_mean else None
    affinity = weights / rows.sums
    return fixed_point(rows.multiply, one_hot, affinity, mean, omega, steps).clamp_(min=0)


def _solve_directly(
    unit: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    omega: float,
    affinity_temperature: float,
) -> Float[Tensor, "n c"]:
    """All rows of Q by a factorisation."""
    n, c = predictions.shape
    weights = symmetric_weights(unit, affinity_temperature)
    sums = weights.sum(dim=1, keepdim=True)
    symmetric = affinity_temperature >= SYMMETRIC_FROM
    if c > n:
        return shares_directly(weights, sums, omega, symmetric=symmetric) @ predictions
    return direct(weights, sums, predictions, omega, symmetric=symmetric)
