"""Loss terms that methods share, and `BAKELoss` for a training loop of one's own."""

import torch
import torch.distributed as dist
from torch import nn

from .._checks import check_not_negative
from .._shapes import Float, Tensor
from ..ensembling.checks import check_group, check_settings
from ..ensembling.plan import Solver
from ..ensembling.targets import start_targets
from .checks import check_batch
from .distillation import cross_entropy
from .known_gradient import self_distillation_loss


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
        check_settings(temperature, omega, affinity_temperature, solver, gather_dtype)
        check_not_negative("weight", weight)
        check_group(group)
        self.temperature = temperature
        self.omega = omega
        self.weight = weight
        self.affinity_temperature = affinity_temperature
        self.group = group
        self.solver: Solver = solver
        self.gather_dtype = gather_dtype
        self.equal_counts = equal_counts

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
        finish = start_targets(
            logits,
            features,
            temperature=self.temperature,
            omega=self.omega if omega is None else omega,
            affinity_temperature=(
                self.affinity_temperature if affinity_temperature is None else affinity_temperature
            ),
            group=self.group,
            solver=self.solver,
            gather_dtype=self.gather_dtype,
            equal_counts=self.equal_counts,
        )
        hard = cross_entropy(logits, target)  # while the ranks exchange
        predictions, soft_targets = finish()
        soft = self_distillation_loss(logits, predictions, soft_targets, self.temperature)
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
        return (
            f"temperature={self.temperature}, omega={self.omega}, weight={self.weight}, "
            f"affinity_temperature={self.affinity_temperature}, solver={self.solver!r}, "
            f"gather_dtype={self.gather_dtype}, equal_counts={self.equal_counts}"
        )
