"""The soft targets of a batch, on one process or across ranks.

From top to bottom: the public function, its two halves, and which solver works on which rows.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist

from .._shapes import Float, Tensor
from .affinity import AffinityRows, compute_affinities, normalise_rows, weigh_symmetrically
from .exchange import Exchange
from .inputs import check_group, check_inputs
from .plan import SYMMETRIC_FROM, Solver, plan_paying_steps, plan_steps, prefer_own_rows
from .precision import choose_inner_dtype, disable_autocast
from .settings import TargetSettings
from .solvers import solve_cholesky, solve_fixed_point, solve_lu


def bake_targets(
    logits: Float[Tensor, "n c"],
    features: Float[Tensor, "n d"],
    *,
    temperature: float = 4.0,
    omega: float = 0.5,
    affinity_temperature: float = 1.0,
    group: "dist.ProcessGroup | None" = None,
    solver: Solver = "auto",
    gather_dtype: torch.dtype | None = None,
    equal_counts: bool = False,
) -> Float[Tensor, "n c"]:
    """The soft targets Q of a mini-batch (arXiv 2104.13298, section 3).

    P = softmax(logits / T); Â from the features (see `affinities`);
    Q = (1 − ω) (I − ω Â)⁻¹ P. Every row of Q is a distribution. One image alone gets Q = P.

    Inputs are detached and the work is done in float32 (float64 for float64 inputs, and within,
    where sharp affinities with ω near 1 need it), also under autocast; no gradient flows through
    the result. On batches like a network's it is within 1e-6 of the exact Q, whatever the solver;
    docs/solvers.md has what strains that.

    Args:
        logits: (n, c) class scores of any floating type.
        features: (n, d) pooled features before the classifier, of any floating type.
        temperature: T, above zero; softens the predictions. The paper uses 4.
        omega: ω in [0, 1), the share of the others in the target. The paper uses 0.5, and 0.9 on
            some small data sets.
        affinity_temperature: T_a, above zero. The paper has none (1); smaller values make the
            ensemble local.
        group: a torch.distributed process group across which the images of all ranks teach each
            other; ranks may bring different n, none too. None: this process's images alone.
        solver: "fixed_point" iterates, as often as a bound that needs no look at the data says;
            across ranks each finds its own rows, and the ranks exchange after each product.
            "direct" factorises an N×N matrix, across ranks that of all images on every rank.
            "auto" takes what is predicted to be faster.
        gather_dtype: type in which features and predictions travel between ranks, such as
            torch.float16, to send less; the result is then less exact. None: the features in
            their own type, predictions in float32.
        equal_counts: every rank brings the same n, so that the ranks need not ask each other,
            which makes the process wait for the device.

    Returns:
        (n, c) targets for this rank's images, float32 (float64 for float64 inputs).

    Raises:
        TypeError: an input is no tensor or not floating point, or `group` no process group.
        ValueError: shapes that do not fit, or a setting outside its range.
    """
    check_group(group)
    settings = TargetSettings(
        temperature, omega, affinity_temperature, solver, gather_dtype, equal_counts
    )
    return start_targets(logits, features, settings, group)()[1]


@torch.no_grad()
def start_targets(
    logits: Float[Tensor, "n c"],
    features: Float[Tensor, "n d"],
    settings: TargetSettings,
    group: "dist.ProcessGroup | None",
) -> Callable[[], tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]]:
    """Start `bake_targets`, so that other work can be done while the ranks exchange.

    Returns:
        A function that waits for the other ranks, and returns the predictions P and the targets Q.
    """
    check_inputs(logits, features, alone=group is None)
    omega = settings.omega
    kind = torch.promote_types(torch.float32, torch.promote_types(logits.dtype, features.dtype))
    inner = choose_inner_dtype(kind, logits.device.type, omega, settings.affinity_temperature)
    with disable_autocast(logits.device.type):
        predictions = (logits.to(kind) / settings.temperature).softmax(dim=1)
        if omega == 0 or group is None or group.size() == 1:
            if omega == 0 or predictions.shape[0] <= 1:
                targets = predictions.clone()
            else:
                unit = normalise_rows(features.to(inner))
                targets = _solve_alone(unit, predictions.to(inner), settings)
            return lambda: (predictions, targets.to(kind))
        equal, narrow = settings.equal_counts, settings.gather_dtype
        exchange = Exchange(group, len(logits), logits.device, equal=equal, dtype=narrow)
        if narrow is not None:
            # Narrow types cannot hold every feature, but they hold those of a row of length 1.
            features = normalise_rows(features.to(kind))
        all_features = exchange.start_gather(features)
        all_predictions = exchange.start_gather(predictions)

    def finish() -> tuple[Tensor, Tensor]:
        # Not a decorator here: compiled, one within another would leave gradients switched off.
        with torch.no_grad(), disable_autocast(logits.device.type):
            unit = normalise_rows(all_features().to(inner))
            everyone = all_predictions().to(inner)
            everyone[exchange.own] = predictions.to(inner)  # these did not travel
            targets = _solve_across(exchange, unit, everyone, settings)
            return predictions, targets.to(kind)

    return finish


def _solve_across(
    exchange: Exchange,
    unit: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    settings: TargetSettings,
) -> Float[Tensor, "own c"]:
    """This rank's rows of Q from the features (of length 1) and predictions of all n images."""
    n, c = predictions.shape
    own, omega = exchange.own, settings.omega
    if n <= 1:
        return predictions[own]
    steps = plan_steps(n, omega, settings.affinity_temperature)
    # The same on all ranks, which must agree.
    shape = n, max(exchange.counts), unit.shape[1], c
    apart = prefer_own_rows(*shape, steps.products, unit.device.type)
    if settings.solver == "direct" or (settings.solver == "auto" and not apart):
        return _solve_alone(unit, predictions, settings)[own]
    rows = AffinityRows(unit, own, settings.affinity_temperature)
    others = rows.multiply(predictions)
    mean = None
    if steps.radius:
        # πᵀP over the rows of all ranks, π being proportional to the sums.
        weighed = torch.cat([rows.sums.T @ predictions[own], rows.sums.sum().view(1, 1)], dim=1)
        exchange.sum(weighed)
        mean = weighed[:, :c] / weighed[:, c:]
    return solve_fixed_point(
        lambda x: rows.multiply(exchange.gather(x)), predictions[own], others, mean, omega, steps
    )


def _solve_alone(
    unit: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    settings: TargetSettings,
) -> Float[Tensor, "n c"]:
    """Q from the features (of length 1) and predictions of n images."""
    n, c = predictions.shape
    omega, affinity_temperature = settings.omega, settings.affinity_temperature
    steps = None
    if settings.solver == "auto":
        steps = plan_paying_steps(n, c, omega, affinity_temperature, unit.device.type)
    elif settings.solver == "fixed_point":
        steps = plan_steps(n, omega, affinity_temperature)
    if steps is None:
        return _solve_directly(unit, predictions, settings)
    rows = AffinityRows(unit, slice(0, n), affinity_temperature)
    if c > n and rows.held is not None:
        # With more classes than images it takes fewer multiplications to find each image's
        # shares in every target first, and to multiply them by P once.
        identity = torch.eye(n, dtype=unit.dtype, device=unit.device)
        mean = rows.sums.T / rows.sums.sum() if steps.radius else None
        others = rows.held / rows.sums
        return solve_fixed_point(rows.multiply, identity, others, mean, omega, steps) @ predictions
    others = rows.multiply(predictions)
    mean = rows.sums.T @ predictions / rows.sums.sum() if steps.radius else None
    return solve_fixed_point(rows.multiply, predictions, others, mean, omega, steps)


def _solve_directly(
    unit: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    settings: TargetSettings,
) -> Float[Tensor, "n c"]:
    """All rows of Q by a factorisation."""
    omega, affinity_temperature = settings.omega, settings.affinity_temperature
    # On a CPU Cholesky's takes less time than LU only for larger matrices.
    large = len(unit) >= 1024 or unit.device.type != "cpu"
    if affinity_temperature < SYMMETRIC_FROM or not large:
        return solve_lu(compute_affinities(unit, affinity_temperature), predictions, omega)
    weights = weigh_symmetrically(unit, affinity_temperature)
    return solve_cholesky(weights, weights.sum(dim=1, keepdim=True), predictions, omega)
