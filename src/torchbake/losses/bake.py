"""`BAKELoss`, for your own training loop."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from .._shapes import Float, Tensor
from ..ensembling.checks import check_not_negative, check_omega, check_positive, check_share
from ..ensembling.inputs import check_group
from ..ensembling.plan import Solver
from ..ensembling.settings import TargetSettings
from ..ensembling.targets import start_targets
from .checks import check_batch, check_class_weights
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
        weight: λ ≥ 0, of the distillation term. 1 in the paper. A tensor's value is not checked.
        affinity_temperature: T_a, above zero. 1 is the paper's; smaller is more local.
        group: a process group whose ranks ensemble together. `torch.distributed.group.WORLD` is
            None, that is each rank alone, until `init_process_group` has been called.
        label_smoothing: ε in [0, 1], for which the labels y become (1 − ε) y + ε / C in the
            cross-entropy; the soft targets stay as they are.
        class_weights: (c,) what each class counts in the cross-entropy (see
            `torchbake.losses.cross_entropy`); a buffer that no state dict holds.
        solver, gather_dtype, equal_counts: see `bake_targets`.
        compile: compile the loss by itself, whatever the network; on CUDA it is recorded as a
            graph, so that its many small operations start as one. The first call takes seconds,
            on a CPU a C++ compiler. Across ranks nothing is compiled.
    """

    temperature = _expose_setting("temperature")
    class_weights: Tensor | None
    omega = _expose_setting("omega")
    affinity_temperature = _expose_setting("affinity_temperature")
    solver = _expose_setting("solver")
    gather_dtype = _expose_setting("gather_dtype")
    equal_counts = _expose_setting("equal_counts")

    def __init__(
        self,
        temperature: float = 4.0,
        omega: float = 0.5,
        weight: float | Tensor = 1.0,
        affinity_temperature: float = 1.0,
        group: "dist.ProcessGroup | None" = None,
        *,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
        solver: Solver = "auto",
        gather_dtype: torch.dtype | None = None,
        equal_counts: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(weight, Tensor):
            check_not_negative("weight", weight)
        check_share("label_smoothing", label_smoothing)
        check_class_weights(class_weights)
        check_group(group)
        self.settings = TargetSettings(
            temperature, omega, affinity_temperature, solver, gather_dtype, equal_counts
        )
        self.weight = weight
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.group = group
        self.compiled = compile

    def terms(
        self,
        logits: Float[Tensor, "n c"],
        target: Tensor,
        features: Float[Tensor, "n d"],
        *,
        omega: float | Tensor | None = None,
        affinity_temperature: float | Tensor | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The summands of the loss by name: `cross_entropy` and `distillation` (λ included).

        Args:
            logits, target, features: as for the call.
            omega, affinity_temperature: in place of the loss's own, for a schedule of them. A
                number, or a tensor without dimensions on the device of the logits, whose value
                is not read; an ω that is a tensor must be at most the loss's own.
        """
        check_batch(logits, target, features, alone=self.group is None)
        check_class_weights(self.class_weights, logits.shape[1])
        settings = self.settings
        compiled = self.compiled and (self.group is None or self.group.size() == 1)
        if omega is not None:
            at_most = settings.largest_omega
            if not isinstance(omega, Tensor):
                check_omega(omega)
                at_most = max(at_most, omega)
                if compiled:  # each number would be compiled anew
                    omega = torch.full((), float(omega), device=logits.device)
            settings = replace(settings, omega=omega, omega_at_most=at_most)
        if affinity_temperature is not None:
            if compiled and not isinstance(affinity_temperature, Tensor):
                check_positive("affinity_temperature", affinity_temperature)
                affinity_temperature = torch.full(
                    (), float(affinity_temperature), device=logits.device
                )
            settings = replace(settings, affinity_temperature=affinity_temperature)
        hard = (self.label_smoothing, self.class_weights)
        if not compiled or torch.compiler.is_compiling():
            return _compute_terms(
                logits, target, features, settings, self.weight, self.group, *hard
            )
        compute = _compile_terms(logits.device.type)
        terms = compute(logits, target, features, settings, self.weight, None, *hard)
        if logits.device.type == "cuda":  # the next call writes where this one did
            return {name: term.clone() for name, term in terms.items()}
        return terms

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
                "label_smoothing",
                "solver",
                "gather_dtype",
                "equal_counts",
                "compiled",
            )
        )


def _compute_terms(
    logits: Tensor,
    target: Tensor,
    features: Tensor,
    settings: TargetSettings,
    weight: "float | Tensor",
    group: "dist.ProcessGroup | None",
    label_smoothing: float,
    class_weights: Tensor | None,
) -> dict[str, Tensor]:
    finish = start_targets(logits, features, settings, group)
    hard = cross_entropy(logits, target, label_smoothing, class_weights)  # while the ranks exchange
    predictions, soft_targets = finish()
    soft = self_distillation_loss(logits, predictions, soft_targets, settings.temperature)
    return {"cross_entropy": hard, "distillation": weight * soft}


@lru_cache
def _compile_terms(device_type: str) -> Callable[..., dict[str, Tensor]]:
    # Not kept by the loss, so that a loss can still be copied and pickled.
    mode = "reduce-overhead" if device_type == "cuda" else None
    return torch.compile(_compute_terms, mode=mode)
