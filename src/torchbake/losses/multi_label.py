"""`MultiLabelBAKELoss`, where an image has several labels or none."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from .._shapes import Float, Tensor
from ..ensembling.checks import check_not_negative
from ..ensembling.inputs import check_group, check_inputs, check_tensor
from ..ensembling.plan import Solver
from ..ensembling.precision import disable_autocast
from ..ensembling.settings import TargetSettings
from ..ensembling.targets import start_targets


class MultiLabelBAKELoss(nn.Module):
    """Binary cross-entropy plus λ T² KL(Q ‖ sigmoid(Z / T)), each class by itself.

    The paper has one class an image. This carries its propagation over to independent classes:

        P = sigmoid(Z / T)
        Q = (1 − ω) (I − ω Â)⁻¹ P                    Â as in `BAKELoss`
        loss = BCE(Z, Y) + λ T² mean of KL(Bernoulli(Q) ‖ Bernoulli(P))

    Both terms are means over the images and the classes, as `BCEWithLogitsLoss` is. The rows of
    (1 − ω) (I − ω Â)⁻¹ are weights that sum to one, so that every entry of Q is a probability.

    >>> criterion = MultiLabelBAKELoss()
    >>> loss = criterion(logits, targets, features)

    Args:
        temperature: T, above zero, for predictions and loss.
        omega: ω in [0, 1), the share of the other images in the target.
        weight: λ ≥ 0, of the distillation term.
        affinity_temperature: T_a, above zero; smaller is more local.
        group: a process group whose ranks ensemble together (see `BAKELoss`).
        pos_weight: (c,), the weight of present labels in the binary cross-entropy of each class.
        solver, gather_dtype, equal_counts: see `bake_targets`.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        temperature: float = 4.0,
        omega: float = 0.5,
        weight: float = 1.0,
        affinity_temperature: float = 1.0,
        group: "dist.ProcessGroup | None" = None,
        *,
        pos_weight: Tensor | None = None,
        solver: Solver = "auto",
        gather_dtype: torch.dtype | None = None,
        equal_counts: bool = False,
    ) -> None:
        super().__init__()
        check_not_negative("weight", weight)
        check_group(group)
        self.settings = TargetSettings(
            *(temperature, omega, affinity_temperature, solver, gather_dtype, equal_counts),
            multi_label=True,
        )
        self.weight = weight
        self.group = group
        self.register_buffer("pos_weight", pos_weight)

    def terms(
        self,
        logits: Float[Tensor, "n c"],
        target: Tensor,
        features: Float[Tensor, "n d"],
    ) -> dict[str, Float[Tensor, ""]]:
        """The summands of the loss by name: `cross_entropy` and `distillation` (λ included)."""
        check_inputs(logits, features, alone=self.group is None)
        _check_target(target, logits)
        finish = start_targets(logits, features, self.settings, self.group)
        with disable_autocast(logits.device.type):
            logits = logits.to(torch.promote_types(torch.float32, logits.dtype))
            if len(logits) == 0:  # a rank may have none
                finish()
                return {"cross_entropy": logits.sum(), "distillation": logits.sum()}
            hard = F.binary_cross_entropy_with_logits(
                logits, target.to(logits.dtype), pos_weight=self.pos_weight
            )
            soft = _diverge(logits, finish()[1].to(logits.dtype), self.settings.temperature)
        return {"cross_entropy": hard, "distillation": self.weight * soft}

    def forward(
        self, logits: Float[Tensor, "n c"], target: Tensor, features: Float[Tensor, "n d"]
    ) -> Float[Tensor, ""]:
        """The loss, a scalar.

        Args:
            logits: (n, c) class scores.
            target: (n, c), 1 where a label is present, else 0; soft labels, such as those of
                Mixup, lie between.
            features: (n, d) pooled features before the classifier.

        Raises:
            TypeError: an input is no tensor, or of a type that does not fit.
            ValueError: shapes or, on the CPU, values that do not fit.
        """
        terms = self.terms(logits, target, features)
        return terms["cross_entropy"] + terms["distillation"]

    def extra_repr(self) -> str:
        settings = self.settings
        return (
            f"temperature={settings.temperature}, omega={settings.omega}, weight={self.weight}, "
            f"affinity_temperature={settings.affinity_temperature}"
        )


def _diverge(
    logits: Float[Tensor, "n c"], soft_targets: Float[Tensor, "n c"], temperature: float
) -> Float[Tensor, ""]:
    """T² KL(Bernoulli(Q) ‖ Bernoulli(sigmoid(Z / T))), the mean over images and classes."""
    crossed = F.binary_cross_entropy_with_logits(logits / temperature, soft_targets)
    entropy = torch.special.entr(soft_targets) + torch.special.entr(1 - soft_targets)
    return (crossed - entropy.mean()) * temperature**2


def _check_target(target: Tensor, logits: Tensor) -> None:
    check_tensor("target", target)
    if target.shape != logits.shape:
        raise ValueError(
            f"target must be {tuple(logits.shape)}, one column a class, as the logits are, got "
            f"{tuple(target.shape)}"
            + (": for one class number an image, take BAKELoss" if target.ndim == 1 else "")
        )
    if target.is_complex():
        raise TypeError(f"target must be real, got {target.dtype}")
    if torch.compiler.is_compiling() or target.device.type != "cpu" or not len(target):
        return
    least, most = target.aminmax()
    if not (least >= 0 and most <= 1):
        raise ValueError(
            f"target must be in [0, 1], got values from {least.item():g} to {most.item():g}"
        )
