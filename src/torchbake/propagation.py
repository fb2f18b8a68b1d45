"""The soft targets of a batch, on one process or across ranks: which solver, on which rows."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist

from ._shapes import Float, Tensor
from .affinity import AffinityRows, scores, symmetric_weights, unit_rows
from .checks import check_inputs, check_settings
from .ranks import Exchange
from .solvers import (
    SYMMETRIC_FROM,
    Solver,
    by_cholesky,
    by_lu,
    fixed_point,
    needs_float64,
    own_rows_pay,
    planned_steps,
    steps_that_pay,
)


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
    check_settings(temperature, omega, affinity_temperature, solver, gather_dtype)
    kind = torch.promote_types(torch.float32, torch.promote_types(logits.dtype, features.dtype))
    # Apple's devices have no float64: less exact there, rather than an error.
    exact = needs_float64(omega, affinity_temperature) and logits.device.type != "mps"
    inner = torch.float64 if exact else kind
    with without_autocast(logits.device.type):
        predictions = (logits.to(kind) / temperature).softmax(dim=1)
        if omega == 0 or group is None or group.size() == 1:
            if omega == 0 or predictions.shape[0] <= 1:
                targets = predictions.clone()
            else:
                unit = unit_rows(features.to(inner))
                targets = _alone(unit, predictions.to(inner), omega, affinity_temperature, solver)
            return lambda: (predictions, targets.to(kind))
        exchange = Exchange(
            group, len(logits), logits.device, equal=equal_counts, dtype=gather_dtype
        )
        if gather_dtype is not None:
            # Narrow types cannot hold every feature, but they hold those of a row of length 1.
            features = unit_rows(features.to(kind))
        all_features = exchange.start_gather(features)
        all_predictions = exchange.start_gather(predictions)

    def finish() -> tuple[Tensor, Tensor]:
        # Not a decorator here: compiled, one within another would leave gradients switched off.
        with torch.no_grad(), without_autocast(logits.device.type):
            unit = unit_rows(all_features().to(inner))
            everyone = all_predictions().to(inner)
            everyone[exchange.own] = predictions.to(inner)  # these did not travel
            targets = _across(exchange, unit, everyone, omega, affinity_temperature, solver)
            return predictions, targets.to(kind)

    return finish


def without_autocast(device_type: str) -> "AbstractContextManager[None]":
    """Products in the types of their factors (autocast's own context takes long to enter)."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def _alone(
    unit: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    omega: float,
    affinity_temperature: float,
    solver: Solver,
) -> Float[Tensor, "n c"]:
    """Q from the features (of length 1) and predictions of n images."""
    n, c = predictions.shape
    steps = None
    if solver == "auto":
        steps = steps_that_pay(n, c, omega, affinity_temperature, unit.device.type)
    elif solver == "fixed_point":
        steps = planned_steps(n, omega, affinity_temperature)
    if steps is None:
        return _directly(unit, predictions, omega, affinity_temperature)
    rows = AffinityRows(unit, slice(0, n), affinity_temperature)
    if c > n and rows.held is not None:
        # With more classes than images it takes fewer multiplications to find each image's
        # shares in every target first, and to multiply them by P once.
        identity = torch.eye(n, dtype=unit.dtype, device=unit.device)
        mean = rows.sums.T / rows.sums.sum() if steps.radius else None
        others = rows.held / rows.sums
        return fixed_point(rows.multiply, identity, others, mean, omega, steps) @ predictions
    others = rows.multiply(predictions)
    mean = rows.sums.T @ predictions / rows.sums.sum() if steps.radius else None
    return fixed_point(rows.multiply, predictions, others, mean, omega, steps)


def _across(
    exchange: Exchange,
    unit: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    omega: float,
    affinity_temperature: float,
    solver: Solver,
) -> Float[Tensor, "own c"]:
    """This rank's rows of Q from the features (of length 1) and predictions of all n images."""
    n, c = predictions.shape
    own = exchange.own
    if n <= 1:
        return predictions[own]
    steps = planned_steps(n, omega, affinity_temperature)
    # The same on all ranks, which must agree.
    shape = n, max(exchange.counts), unit.shape[1], c
    apart = own_rows_pay(*shape, steps.products, unit.device.type)
    if solver == "direct" or (solver == "auto" and not apart):
        return _alone(unit, predictions, omega, affinity_temperature, solver)[own]
    rows = AffinityRows(unit, own, affinity_temperature)
    others = rows.multiply(predictions)
    mean = None
    if steps.radius:
        # πᵀP over the rows of all ranks, π being proportional to the sums.
        weighed = torch.cat([rows.sums.T @ predictions[own], rows.sums.sum().view(1, 1)], dim=1)
        exchange.sum(weighed)
        mean = weighed[:, :c] / weighed[:, c:]
    return fixed_point(
        lambda x: rows.multiply(exchange.gather(x)), predictions[own], others, mean, omega, steps
    )


def _directly(
    unit: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    omega: float,
    affinity_temperature: float,
) -> Float[Tensor, "n c"]:
    """All rows of Q by a factorisation."""
    # On a CPU Cholesky's takes less time than LU only for larger matrices.
    large = len(unit) >= 1024 or unit.device.type != "cpu"
    if affinity_temperature < SYMMETRIC_FROM or not large:
        affinity = scores(unit, unit, 0, affinity_temperature).softmax(dim=1)
        return by_lu(affinity, predictions, omega)
    weights = symmetric_weights(unit, affinity_temperature)
    return by_cholesky(weights, weights.sum(dim=1, keepdim=True), predictions, omega)
