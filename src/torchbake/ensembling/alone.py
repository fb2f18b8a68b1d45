"""The targets of n images whose features and predictions are all here, by the solver that suits."""

from .._shapes import Float, Tensor
from .affinity import (
    AffinityRows,
    compute_affinities,
    compute_affinities_precisely,
    normalise_rows,
)
from .direct import solve_directly
from .plan import HELD, plan_steps, prefer_direct
from .precision import choose_inner_dtype
from .settings import TargetSettings
from .solvers import solve_by_polynomial, solve_by_series, solve_by_shares


def solve_alone(
    features: Float[Tensor, "n d"], predictions: Float[Tensor, "n c"], settings: TargetSettings
) -> Float[Tensor, "n c"]:
    """Q of n ≥ 2 images, in the type of P.

    Raises:
        ValueError: settings that only the device knows, and too many images to hold Â.
    """
    omega, sharpness = settings.omega, settings.affinity_temperature
    if isinstance(omega, Tensor) or isinstance(sharpness, Tensor):
        if len(features) ** 2 > HELD:
            raise ValueError(
                f"omega and affinity_temperature must be numbers for more than {int(HELD**0.5)} "
                f"images, got a tensor and {len(features)} images"
            )
        return _solve_any(features, predictions, settings)
    n, c = predictions.shape
    kind, device = predictions.dtype, predictions.device.type
    if settings.solver == "direct" or (
        settings.solver == "auto" and prefer_direct(n, c, omega, sharpness, device)
    ):
        return solve_directly(features, predictions, omega, sharpness)
    steps = plan_steps(n, omega, sharpness)
    inner = choose_inner_dtype(kind, device, omega, sharpness)
    held = n * n <= HELD
    if held and (steps.plain or inner != kind):
        return _solve_any(features, predictions, settings)
    unit = normalise_rows(features.to(inner))
    rows = AffinityRows(unit, slice(0, n), sharpness, steps.shift)
    if rows.held is not None and c > n:
        # With more classes than images it takes fewer multiplications to find each image's
        # shares in every target first, and to multiply them by P once.
        return solve_by_shares(rows.held, predictions, steps)
    return solve_by_polynomial(rows, predictions.to(inner), steps).to(kind)


def _solve_any(
    features: Float[Tensor, "n d"], predictions: Float[Tensor, "n c"], settings: TargetSettings
) -> Float[Tensor, "n c"]:
    """Q for whatever affinities, sharp ones and unknown ones among them."""
    omega, sharpness = settings.omega, settings.affinity_temperature
    kind, device = predictions.dtype, predictions.device.type
    if choose_inner_dtype(kind, device, omega, sharpness) == kind:
        affinity = compute_affinities(normalise_rows(features), sharpness)
    else:
        affinity = compute_affinities_precisely(features, sharpness)
    return solve_by_series(affinity, predictions, omega, settings.largest_omega)
