"""`BAKELoss`, for your own training loop."""

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from .._shapes import Float, Tensor
from ..ensembling.checks import check_not_negative
from ..ensembling.inputs import check_group
from ..ensembling.plan import Solver
from ..ensembling.settings import TargetSettings
from ..ensembling.targets import start_targets
from .checks import check_batch
from .distillation import cross_entropy
from .known_gradient import self_distillation_loss


def _expose_setting(name: str) -> Any:
    """An attribute that reads and replaces one of `settings`, which are checked then."""

    def read(loss: "BAKELoss") -> Any:
        return getattr(loss.settings, name)

    def write(loss: "BAKELoss", value: Any) -> None:
        loss.settings = replace(loss.settings, **{name: value})

    return property(read, write)


class BAKELoss(nn.Module):
    """Cross-entropy plus λ T² KL(Q ‖ softmax(Z / T)), Q the batch's ensembled predictions.

    The total objective of arXiv 2104.13298, section 3. Draw batches with
    `ClassGroupedBatchSampler`, so that each image finds others of its class in its batch.

    >>> criterion = BAKELoss()
    >>> loss = criterion(logits, labels, features)

    Args:
        temperature: T, above zero, for predictions and loss. The paper uses 4.
        omega: ω in [0, 1), the share of the other images in the target. 0.5 in the paper.
        weight: λ ≥ 0, of the distillation term. 1 in the paper.
        affinity_temperature: T_a, above zero. 1 is the paper's; smaller is more local.
        group: a process group whose ranks ensemble together. `torch.distributed.group.WORLD` is
            None, that is each rank alone, until `init_process_group` has been called.
        solver, gather_dtype, equal_counts: see `bake_targets`.
    """

    temperature = _expose_setting("temperature")
    omega = _expose_setting("omega")
    affinity_temperature = _expose_setting("affinity_temperature")
    solver = _expose_setting("solver")
    gather_dtype = _expose_setting("gather_dtype")
    equal_counts = _expose_setting("equal_counts")

    def __init__(
        self,
        temperature: float = 4.0,
        omega: float = 0.5,
        weight: float = 1.0,
        affinity_temperature: float = 1.0,
        group: "dist.ProcessGroup | None" = None,
        *,
        solver: Solver = "auto",
        gather_dtype: torch.dtype | None = None,
        equal_counts: bool = False,
    ) -> None:
        super().__init__()
        check_not_negative("weight", weight)
        check_group(group)
        self.settings = TargetSettings(
            temperature, omega, affinity_temperature, solver, gather_dtype, equal_counts
        )
        self.weight = weight
        self.group = group

    def terms(
        self,
        logits: Float[Tensor, "n c"],
        target: Tensor,
        features: Float[Tensor, "n d"],
        *,
        omega: float | None = None,
        affinity_temperature: float | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The summands of the loss by name: `cross_entropy` and `distillation` (λ included).

        Args:
            logits, target, features: as for the call.
            omega, affinity_temperature: in place of the loss's own, for a schedule of them.
        """
        check_batch(logits, target, features, alone=self.group is None)
        settings = self.settings
        if omega is not None:
            settings = replace(settings, omega=omega)
        if affinity_temperature is not None:
            settings = replace(settings, affinity_temperature=affinity_temperature)
        finish = start_targets(logits, features, settings, self.group)
        hard = cross_entropy(logits, target)  # while the ranks exchange
        predictions, soft_targets = finish()
        soft = self_distillation_loss(logits, predictions, soft_targets, settings.temperature)
        return {"cross_entropy": hard, "distillation": self.weight * soft}

    def forward(
        self, logits: Float[Tensor, "n c"], target: Tensor, features: Float[Tensor, "n d"]
    ) -> Float[Tensor, ""]:
        """The loss, a scalar.

        Args:
            logits: (n, c) class scores.
            target: (n,) class numbers, or (n, c) class probabilities, whose rows sum to one.
            features: (n, d) pooled features before the classifier.

        Logits and features are both (n, number), so that no shape tells when they are swapped.
        It is noticed where features were computed from logits, by autograd's graph, and where the
        target does not fit; not under torch.compile, without gradients, or for detached features.
        Values are looked at on the CPU alone: on other devices the rows of class probabilities
        are taken as they are.

        Raises:
            TypeError: an input is no tensor, or of a type that does not fit.
            ValueError: shapes or values that do not fit, or logits and features swapped.
        """
        terms = self.terms(logits, target, features)
        return terms["cross_entropy"] + terms["distillation"]

    def extra_repr(self) -> str:
        return ", ".join(
            f"{name}={getattr(self, name)!r}"
            for name in (
                "temperature",
                "omega",
                "weight",
                "affinity_temperature",
                "solver",
                "gather_dtype",
                "equal_counts",
            )
        )
