"""The soft targets of a batch, on one process or across ranks.

The public function and its two halves; `alone` and `across` have which solver works on which rows.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist

from .._shapes import Float, Tensor
from .across import solve_across
from .affinity import normalise_rows
from .alone import solve_alone
from .exchange import Exchange
from .inputs import check_group, check_inputs
from .plan import Solver
from .precision import disable_autocast
from .settings import TargetSettings


def bake_targets(
    logits: Float[Tensor, "n c"],
    features: Float[Tensor, "n d"],
    *,
    temperature: float = 4.0,
    omega: float | Tensor = 0.5,
    affinity_temperature: float | Tensor = 1.0,
    group: "dist.ProcessGroup | None" = None,
    solver: Solver = "auto",
    gather_dtype: torch.dtype | None = None,
    equal_counts: bool = False,
    multi_label: bool = False,
) -> Float[Tensor, "n c"]:
    """The soft targets Q of a mini-batch (arXiv 2104.13298, section 3).

    P = softmax(logits / T); Â from the features (see `affinities`);
    Q = (1 − ω) (I − ω Â)⁻¹ P. Every row of Q is a distribution. One image alone gets Q = P.

    Inputs are detached and the work is done in float32 (float64 for float64 inputs, and within,
    as far as sharp affinities with ω near 1 need it), also under autocast; no gradient flows
    through the result. On batches like a network's it is within 1e-6 of the exact Q, whatever the
    solver; docs/solvers.md has what strains that.

    Args:
        logits: (n, c) class scores of any floating type.
        features: (n, d) pooled features before the classifier, of any floating type.
        temperature: T, above zero; softens the predictions. The paper uses 4.
        omega: ω in [0, 1), the share of the others in the target. The paper uses 0.5, and 0.9 on
            some small data sets.
        affinity_temperature: T_a, above zero. The paper has none (1); smaller values make the
            ensemble local. It and ω may be tensors without dimensions on the inputs' device, for
            a schedule: their values are not read, so that a compiled or recorded graph serves
            all of them. ω must then be at most 0.99.
        group: a torch.distributed process group across which the images of all ranks teach each
            other; ranks may bring different n, none too. None: this process's images alone.
        solver: "fixed_point" iterates, as often as a bound that needs no look at the data says;
            across ranks each finds its own rows, and the ranks exchange after each product.
            "direct" factorises an N×N matrix, across ranks that of all images on every rank;
            a CUDA graph cannot record that.
            "auto" takes what is faster on a CPU, and elsewhere never factorises.
            "triton" is one kernel for up to 1,024 images in float32, where T_a ≥ 0.25, on CUDA with
            Triton and not compiled; otherwise it is "auto". No card has measured it yet.
        gather_dtype: type in which features and predictions travel between ranks, such as
            torch.float16, to send less; the result is then less exact. None: the features in
            their own type, predictions in float32.
        equal_counts: every rank brings the same n, so that the ranks need not ask each other,
            which makes the process wait for the device.
        multi_label: P = sigmoid(logits / T), for several labels an image. Each class of Q is then
            a probability of its own, and no row need sum to one.

    Returns:
        (n, c) targets for this rank's images, float32 (float64 for float64 inputs).

    Raises:
        TypeError: an input is no tensor or not floating point, or `group` no process group.
        ValueError: shapes that do not fit, or a setting outside its range.
        RuntimeError: solver="direct" while a CUDA graph is recorded.
    """
    check_group(group)
    settings = TargetSettings(
        *(temperature, omega, affinity_temperature, solver, gather_dtype, equal_counts),
        multi_label=multi_label,
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
    kind = torch.promote_types(torch.float32, torch.promote_types(logits.dtype, features.dtype))
    unmixed = not isinstance(settings.omega, Tensor) and settings.omega == 0
    with disable_autocast(logits.device.type):
        softened = logits.to(kind) / settings.temperature
        predictions = softened.sigmoid() if settings.multi_label else softened.softmax(dim=1)
        if unmixed or group is None or group.size() == 1:
            if unmixed or predictions.shape[0] <= 1:
                targets = predictions.clone()
            else:
                targets = _limit(solve_alone(features.to(kind), predictions, settings), settings)
            return lambda: (predictions, targets)
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
            everyone = all_predictions()
            everyone[exchange.own] = predictions  # these did not travel
            targets = solve_across(exchange, all_features().to(kind), everyone, settings)
            return predictions, _limit(targets, settings)

    return finish


def _limit(targets: Float[Tensor, "n c"], settings: TargetSettings) -> Float[Tensor, "n c"]:
    """Targets without what rounding left above one, where their rows need not sum to one."""
    return targets.clamp_(max=1) if settings.multi_label else targets
