"""Variants of BAKE, as studied in docs/variants.md."""

from typing import Literal

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from .._shapes import Float, Tensor
from ..batch import Batch
from ..ensembling.masked import Lesson, solve_masked
from ..ensembling.plan import Solver
from ..losses.distillation import cross_entropy, distillation_loss
from ..models.average import move_towards
from ..ranges import NotNegative, NotNegativeInt, Positive, PositiveRate, Rate, Share
from .bake import BAKE
from .bake_memory import Memory
from .base import Step, Task, gather_rows

Terms = dict[str, Float[Tensor, ""]]


class BAKEVariants(BAKE):
    """BAKE with further settings, each a variant of our own.

    With their defaults it is `bake`, the paper's method (Ge et al., arXiv 2104.13298). What came
    of them: docs/variants.md.

    Args:
        partners, omega, temperature, weight, affinity_temperature, across_ranks: see `BAKE`.
        solver, gather_dtype: see `BAKE`; without effect together with `neighbours`,
            `label_share`, `memory` or `ema_decay`.
        final_affinity_temperature: T_a at the end of the run, to which it goes geometrically.
        weight_warmup: share of the run in which λ rises linearly from 0.
        omega_warmup: share of the run in which ω rises linearly from 0.
        neighbours: who teaches an image: `all`, only its `same-class`, or only `other-class`.
        label_share: share of the label in each prediction that teaches.
        memory: how many earlier images, of all ranks, teach along, by their features and
            predictions of then. No image learns from its own past. Costs D + 2 C numbers an image.
        ema_decay: the features and predictions that teach are those of an exponential moving
            average of the network with this decay, by a second forward without gradient.
    """

    updates: Tensor  # (), of the average

    def __init__(
        self,
        partners: NotNegativeInt = 3,
        omega: Rate = 0.5,
        temperature: Positive = 4.0,
        weight: NotNegative = 1.0,
        affinity_temperature: Positive = 1.0,
        across_ranks: bool = True,
        solver: Solver = "auto",
        gather_dtype: Literal["float16", "bfloat16"] | None = None,
        final_affinity_temperature: Positive | None = None,
        weight_warmup: Share = 0.0,
        omega_warmup: Share = 0.0,
        neighbours: Literal["all", "same-class", "other-class"] = "all",
        label_share: Share = 0.0,
        memory: NotNegativeInt = 0,
        ema_decay: PositiveRate | None = None,
    ) -> None:
        super().__init__(
            partners,
            omega,
            temperature,
            weight,
            affinity_temperature,
            across_ranks,
            solver,
            gather_dtype,
        )
        self.final_affinity_temperature = final_affinity_temperature
        self.weight_warmup = weight_warmup
        self.omega_warmup = omega_warmup
        self.neighbours = neighbours
        self.label_share = label_share
        self.memory_size = memory
        self.ema_decay = ema_decay
        self.memory: Memory | None = None
        self.average: nn.Module | None = None

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
        """Whether anything is other than in `bake`."""
        return (
            not self.from_batch
            or self.final_affinity_temperature is not None
            or self.omega_warmup + self.weight_warmup > 0
        )

    def setup(self, task: Task) -> None:
        super().setup(task)
        if self.memory_size:
            self.memory = Memory(self.memory_size, task.num_features, task.num_classes)
        if self.ema_decay is not None:
            self.average = task.make_network(1).requires_grad_(False)
            self.average.load_state_dict(task.network.state_dict())
            self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        if not self.varied:
            return super().forward(model, batch)
        features, logits = model(batch.images)
        teaching = logits
        if self.average is not None:
            self._update_average(model, self.average)
            with torch.no_grad():
                features, teaching = self.average(batch.images)
        terms = self._compute_terms(logits, teaching, features, batch)
        return Step(terms["cross_entropy"] + terms["distillation"], logits, terms)

    def _compute_terms(
        self,
        logits: Float[Tensor, "n c"],
        teaching: Float[Tensor, "n c"],
        features: Float[Tensor, "n d"],
        batch: Batch,
    ) -> Terms:
        """The summands of the loss; `teaching` are the logits of which the targets are made."""
        loss = self.objective
        if self.from_batch:
            terms = loss.terms(logits, batch.targets, features, **self.schedule(batch.progress))
        else:
            targets = self.compute_targets(teaching.detach(), features.detach(), batch)
            soft = distillation_loss(logits, targets, loss.temperature)
            hard = cross_entropy(logits, batch.targets)
            terms = {"cross_entropy": hard, "distillation": loss.weight * soft}
        if self.weight_warmup:
            risen = ramp(batch.progress, self.weight_warmup)
            terms["distillation"] = risen * terms["distillation"]
        return terms

    @torch.no_grad()
    def compute_targets(
        self, logits: Float[Tensor, "n c"], features: Float[Tensor, "n d"], batch: Batch
    ) -> Float[Tensor, "n c"]:
        """Q of this rank's images where not all images of the batch teach, or others do."""
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
            None if self.memory is None else self.memory.read(),
            neighbours=self.neighbours,
            omega_at_most=self.objective.omega,
            **self.schedule(batch.progress),
        )
        if self.memory is not None:
            self.memory.write(all_ranks)
        return targets[first : first + n]

    def schedule(self, progress: float | Tensor) -> dict[str, float | Tensor]:
        """ω and T_a at this point of the run; what changes is a tensor if the progress is one."""
        temperature = self.objective.affinity_temperature
        if self.final_affinity_temperature is not None:
            temperature = temperature * (self.final_affinity_temperature / temperature) ** progress
        omega = self.objective.omega * ramp(progress, self.omega_warmup)
        return {"omega": omega, "affinity_temperature": temperature}

    @torch.no_grad()
    def _update_average(self, model: nn.Module, average: nn.Module) -> None:
        """Bring the average up to the weights that the last step left.

        While it is young it remembers less, min(decay, (1 + t) / (10 + t)), so that the initial
        weights are soon forgotten.
        """
        young = (1 + self.updates) / (10 + self.updates)
        step = 1 - young.clamp(max=self.ema_decay)
        move_towards([*average.parameters()], [*model.parameters()], step)
        self.updates += 1


def ramp(progress: float | Tensor, warmup: float) -> float | Tensor:
    """Rise linearly from 0 to 1 in a share of the run, and stay there."""
    if not warmup:
        return 1.0
    if isinstance(progress, Tensor):
        return (progress / warmup).clamp(max=1.0)
    return min(1.0, progress / warmup)
