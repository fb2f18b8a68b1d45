"""Loss terms that methods share, and `BAKELoss` for a training loop of one's own."""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from ._shapes import Float, Tensor
from .checks import check_batch, check_group, check_not_negative, check_settings
from .propagation import start_targets, without_autocast
from .solvers import Solver


def distillation_loss(
    logits: Float[Tensor, "n c"], soft_targets: Float[Tensor, "n c"], temperature: float = 4.0
) -> Float[Tensor, ""]:
    """T² KL(Q ‖ softmax(Z / T)), the mean over the batch (arXiv 2104.13298, section 3).

    T² keeps the gradient's size independent of the temperature (Hinton et al., 1503.02531).
    Computed in float32 or wider whatever the logits' type; Q may hold zeros.

    Args:
        logits: (n, c) class scores; the gradient flows here alone.
        soft_targets: (n, c), every row a distribution.
        temperature: T, above zero, that of the soft targets.
    """
    with without_autocast(logits.device.type):
        log_probabilities = (_widened(logits) / temperature).log_softmax(dim=1)
        soft_targets = soft_targets.to(log_probabilities.dtype)
        divergence = F.kl_div(log_probabilities, soft_targets, reduction="batchmean")
    return divergence * temperature**2


def cross_entropy(
    logits: Float[Tensor, "n c"], target: Tensor, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Cross-entropy with class numbers (n,) or class probabilities (n, c), in float32 or wider.

    Zero for no images, as a rank may have none.
    """
    with without_autocast(logits.device.type):
        if logits.shape[0] == 0:
            return _widened(logits).sum()
        return F.cross_entropy(_widened(logits), target, label_smoothing=label_smoothing)


def _widened(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(torch.float32, logits.dtype))


def self_distillation_loss(
    logits: Float[Tensor, "n c"],
    predictions: Float[Tensor, "n c"],
    soft_targets: Float[Tensor, "n c"],
    temperature: float,
) -> Float[Tensor, ""]:
    """`distillation_loss` where P = softmax(Z / T) is known: its gradient is T (P − Q) / n.

    Less memory traffic than autograd's way: no pass back through a softmax, and on the CPU what
    lies between stays in the cache. create_graph=True and torch.func.grad are refused.

    Args:
        logits: (n, c) Z; the gradient flows here alone.
        predictions: (n, c) P in float32 or wider; overwritten.
        soft_targets: (n, c) Q.
        temperature: T, above zero.
    """
    n, c = logits.shape
    with torch.no_grad(), without_autocast(logits.device.type):
        divergence = predictions.new_zeros(())
        # Some rows at a time, so that what lies between stays in the processor's cache.
        rows = max(1, _CACHED // c) if logits.device.type == "cpu" else n
        rows = n if torch.compiler.is_compiling() else rows
        for z, q in zip(logits.detach().split(rows), soft_targets.split(rows), strict=True):
            log_p = (z.to(q.dtype) / temperature).log_softmax(dim=1)
            log_q = q.clamp_min(torch.finfo(q.dtype).tiny).log_()  # 0 log 0 = 0
            divergence += log_q.sub_(log_p).mul_(q).sum()
        gradient = predictions.sub_(soft_targets)
    images = max(n, 1)  # a rank may have none
    value: Tensor = _KnownGradient.apply(
        logits, divergence * (temperature**2 / images), gradient, temperature / images
    )
    return value


# Entries of a block of rows in `self_distillation_loss`: 512 KiB in float32.
_CACHED = 2**17


class _KnownGradient(torch.autograd.Function):
    """A value of `logits` whose gradient, up to a factor, is known already."""

    @staticmethod
    def forward(logits: Tensor, value: Tensor, gradient: Tensor, factor: float) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        logits, _, gradient, factor = inputs
        ctx.save_for_backward(gradient)
        ctx.factor = factor
        ctx.dtype = logits.dtype

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the distillation term of BAKELoss has no second derivative, and no gradient by "
                "torch.func or with create_graph=True"
            )
        (gradient,) = ctx.saved_tensors
        return (gradient * (upstream * ctx.factor)).to(ctx.dtype), None, None, None


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
