"""Batch knowledge ensembling (Ge et al., arXiv 2104.13298), and variants of it."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from .._checks import check_positive, check_share
from .._shapes import Float, Tensor
from ..batch import Batch
from ..ensembling.masked import Lesson, solve_masked
from ..ensembling.plan import Solver
from ..losses.bake import BAKELoss
from ..losses.distillation import cross_entropy, distillation_loss
from .bake_variants import Memory
from .base import Method, Step, Task, gather_rows

Terms = dict[str, Float[Tensor, ""]]


class BAKE(Method):
    """Cross-entropy plus the distance to the batch's ensembled predictions (see `BAKELoss`).

    The first group of settings is the paper's; each of the second is a variant of our own, whose
    default leaves the paper's method as it is. What they do: docs/variants.md.

    Args:
        partners: M, others of its class drawn beside each image; 3 on CIFAR-100, 1 on ImageNet
            in the paper.
        omega: ω in [0, 1), the share of the other images in the target.
        temperature: T, above zero.
        weight: λ ≥ 0, of the distillation term.
        affinity_temperature: T_a, above zero. 1 is the paper's.
        across_ranks: ensemble over the images of all ranks, as the paper does on ImageNet, not
            only over those of each rank.
        solver: how the soft targets are solved for (see `bake_targets`).
        gather_dtype: the type in which features and predictions travel between ranks; by default
            features in their own, predictions in float32.
        final_affinity_temperature: T_a at the end of the run, to which it goes geometrically.
        weight_warmup: share of the run in which λ rises linearly from 0.
        omega_warmup: share of the run in which ω rises linearly from 0.
        neighbours: who teaches an image: `all`, only its `same-class`, or only `other-class`.
        label_share: in [0, 1], of the label in each prediction that teaches.
        memory: earlier images, of all ranks, whose features and predictions of then teach along;
            not an earlier self. Costs (D + 2 C) numbers an image.
        ema_decay: features and predictions that teach are those of an exponential moving average
            of the network with this decay; a second forward without gradient.

    Images of Mixup and CutMix teach each other like any others: affinities, predictions and
    targets are those of the mixed images, and whole class groups are mixed (see `data.mixing`).
    """

    mixes = True

    updates: Tensor  # (), of the average

    def __init__(
        self,
        partners: int = 3,
        omega: float = 0.5,
        temperature: float = 4.0,
        weight: float = 1.0,
        affinity_temperature: float = 1.0,
        across_ranks: bool = True,
        solver: Solver = "auto",
        gather_dtype: Literal["float16", "bfloat16"] | None = None,
        final_affinity_temperature: float | None = None,
        weight_warmup: float = 0.0,
        omega_warmup: float = 0.0,
        neighbours: Literal["all", "same-class", "other-class"] = "all",
        label_share: float = 0.0,
        memory: int = 0,
        ema_decay: float | None = None,
    ) -> None:
        super().__init__()
        for name, count in (("partners", partners), ("memory", memory)):
            if count < 0:
                raise ValueError(f"{name} must be at least 0, got {count}")
        if final_affinity_temperature is not None:
            check_positive("final_affinity_temperature", final_affinity_temperature)
        check_share("weight_warmup", weight_warmup)
        check_share("omega_warmup", omega_warmup)
        check_share("label_share", label_share)
        if ema_decay is not None and not 0 < ema_decay < 1:
            raise ValueError(f"ema_decay must be above 0 and below 1, got {ema_decay}")
        self.partners = partners
        self.across_ranks = across_ranks
        self.final_affinity_temperature = final_affinity_temperature
        self.weight_warmup = weight_warmup
        self.omega_warmup = omega_warmup
        self.neighbours = neighbours
        self.label_share = label_share
        self.memory_size = memory
        self.ema_decay = ema_decay
        self.memory: Memory | None = None
        self.average: nn.Module | None = None
        self._uncompiled: Callable[..., Terms] = self._varied
        self.objective = BAKELoss(
            temperature,
            omega,
            weight,
            affinity_temperature,
            solver=solver,
            gather_dtype=getattr(torch, gather_dtype) if gather_dtype else None,
            equal_counts=True,  # the trainer gives every rank as many images
        )

    @property
    def from_batch(self) -> bool:
        """Whether the targets are those of `bake_targets`, with settings that may change."""
        return (
            not (self.label_share or self.memory_size)
            and self.neighbours == "all"
            and self.ema_decay is None
        )

    @property
    def varied(self) -> bool:
        """Whether anything is other than in the paper, but for the values of its settings."""
        return (
            not self.from_batch
            or self.final_affinity_temperature is not None
            or self.omega_warmup + self.weight_warmup > 0
        )

    def setup(self, task: Task) -> None:
        if self.across_ranks and dist.is_available() and dist.is_initialized():
            self.objective.group = dist.group.WORLD
        if self.varied:
            # A compiled graph cannot hold settings that change from step to step.
            self._uncompiled = torch.compiler.disable(self._varied)  # slow to import
        if self.memory_size:
            self.memory = Memory(self.memory_size, task.num_features, task.num_classes)
        if self.ema_decay is not None:
            self.average = task.make_network(1).requires_grad_(False)
            self.average.load_state_dict(task.network.state_dict())
            self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        features, logits = model(batch.images)
        if not self.varied:
            terms = self.objective.terms(logits, batch.targets, features)
        elif self.average is None:
            terms = self._uncompiled(logits, logits, features, batch)
        else:
            self._follow(model, self.average)
            with torch.no_grad():
                features, teaching = self.average(batch.images)
            terms = self._uncompiled(logits, teaching, features, batch)
        return Step(terms["cross_entropy"] + terms["distillation"], logits, terms)

    def _varied(
        self,
        logits: Float[Tensor, "n c"],
        teaching: Float[Tensor, "n c"],
        features: Float[Tensor, "n d"],
        batch: Batch,
    ) -> Terms:
        """The summands of the loss; `teaching` are the logits of which the targets are made."""
        if self.from_batch:
            now = self._now(batch.progress)
            terms = self.objective.terms(logits, batch.targets, features, **now)
        else:
            targets = self._targets(teaching.detach(), features.detach(), batch)
            soft = distillation_loss(logits, targets, self.objective.temperature)
            hard = cross_entropy(logits, batch.targets)
            terms = {"cross_entropy": hard, "distillation": self.objective.weight * soft}
        if self.weight_warmup:
            risen = _risen(batch.progress, self.weight_warmup)
            terms["distillation"] = risen * terms["distillation"]
        return terms

    @torch.no_grad()
    def _targets(
        self, logits: Float[Tensor, "n c"], features: Float[Tensor, "n d"], batch: Batch
    ) -> Float[Tensor, "n c"]:
        """Q of this rank's images."""
        kind = torch.promote_types(torch.float32, logits.dtype)
        predictions = (logits.to(kind) / self.objective.temperature).softmax(dim=1)
        labels = batch.mixed
        if labels is None:
            labels = F.one_hot(batch.labels, logits.shape[1])
        labels = labels.to(kind)
        predictions = predictions.lerp(labels, self.label_share)
        own = Lesson(features.to(kind), predictions, labels, batch.indices)
        n = len(predictions)
        all_ranks = Lesson(*map(gather_rows, own))
        first = 0
        if self.objective.group is not None:
            own, first = all_ranks, dist.get_rank() * n
        targets = solve_masked(
            own,
            None if self.memory is None else self.memory.lesson(),
            neighbours=self.neighbours,
            **self._now(batch.progress),
        )
        if self.memory is not None:
            self.memory.write(all_ranks)
        return targets[first : first + n]

    def _now(self, progress: float) -> dict[str, float]:
        """ω and T_a at this point of the run."""
        temperature = self.objective.affinity_temperature
        if self.final_affinity_temperature is not None:
            temperature *= (self.final_affinity_temperature / temperature) ** progress
        omega = self.objective.omega * _risen(progress, self.omega_warmup)
        return {"omega": omega, "affinity_temperature": temperature}

    @torch.no_grad()
    def _follow(self, model: nn.Module, average: nn.Module) -> None:
        """Bring the average up to the weights that the last step left.

        While it is young it remembers less, min(decay, (1 + t) / (10 + t)), so that the initial
        weights are soon forgotten.
        """
        young = (1 + self.updates) / (10 + self.updates)
        step = 1 - young.clamp(max=self.ema_decay)
        for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(weight, step.to(mean.dtype))
        self.updates += 1


def _risen(progress: float, warmup: float) -> float:
    """How far something has risen that rises from 0 to 1 in a share of the run."""
    return min(1.0, progress / warmup) if warmup else 1.0
