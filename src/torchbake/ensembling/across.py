"""The targets of this rank's images where the images of all ranks teach each other."""

from .._shapes import Float, Tensor
from .affinity import AffinityRows, normalise_rows
from .alone import solve_alone
from .exchange import Exchange
from .plan import plan_steps, prefer_own_rows
from .precision import choose_inner_dtype
from .settings import TargetSettings
from .solvers import solve_by_polynomial


def solve_across(
    exchange: Exchange,
    features: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n c"],
    settings: TargetSettings,
) -> Float[Tensor, "own c"]:
    """This rank's rows of Q, in the type of P, from the features and predictions of all n images.

    All ranks solve for all images, or each for its own with an exchange after each product; they
    decide alike, because they decide by what all of them know.
    """
    n, c = predictions.shape
    own, omega, sharpness = exchange.own, settings.omega, settings.affinity_temperature
    if n <= 1:
        return predictions[own]
    if settings.solver == "direct" or isinstance(omega, Tensor) or isinstance(sharpness, Tensor):
        return solve_alone(features, predictions, settings)[own]
    steps = plan_steps(n, omega, sharpness)
    shape = n, max(exchange.counts), features.shape[1], c
    if settings.solver == "auto" and not prefer_own_rows(*shape, steps.products):
        return solve_alone(features, predictions, settings)[own]
    kind = predictions.dtype
    inner = choose_inner_dtype(kind, features.device.type, omega, sharpness)
    rows = AffinityRows(normalise_rows(features.to(inner)), own, sharpness, steps.shift)
    return solve_by_polynomial(rows, predictions.to(inner), steps, exchange.gather).to(kind)
