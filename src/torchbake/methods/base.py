"""The seam between a training objective and the training loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch.distributed as dist
from torch import nn

from .._shapes import Float, Int, Tensor
from ..batch import Batch
from ..losses.distillation import cross_entropy
from .settings import check_arguments


@dataclass(frozen=True, eq=False)
class Task:
    """What a method may need to know before training begins.

    Attributes:
        num_classes: C.
        num_images: images in the training set.
        num_features: D, the features of the network.
        image_shape: channels, height, width.
        batch_size: images that `Method.forward` is given at once, on this rank.
        network: the network that is trained.
        make_network: makes another network of its kind, initialised from the run's seed and a
            number. Keep it as a submodule.
        load_network: loads the trained network of a run folder, frozen and in evaluation mode. Do
            not keep it as a submodule: checkpoints need not hold it.
    """

    num_classes: int
    num_images: int
    num_features: int
    image_shape: tuple[int, int, int]
    batch_size: int
    network: nn.Module
    make_network: Callable[[int], nn.Module]
    load_network: Callable[[str], nn.Module]


class Step(NamedTuple):
    """What one step computes.

    Attributes:
        loss: to be differentiated; a mean over the batch.
        logits: (k, c), for the training accuracy.
        terms: the summands of the loss by name, to be logged.
        labels: (k,) class numbers of the logits; None: those of the batch.
    """

    loss: Float[Tensor, ""]
    logits: Float[Tensor, "k c"]
    terms: dict[str, Float[Tensor, ""]]
    labels: Int[Tensor, " k"] | None = None


class Method(nn.Module):
    """A training objective.

    A subclass takes its settings as keyword arguments with types and defaults, which are the
    recipe's `method.*` keys. A value that the annotation excludes raises ValueError, from a recipe
    and from Python alike; `torchbake.ranges` has annotations for numbers in a range. The subclass
    computes a step in `forward`, and may call the model as often as it likes. What it keeps
    between steps are buffers or parameters, as of any module: checkpoints hold them, the optimizer
    gets the parameters, and ranks share the parameters' gradients. Buffers must be alike on all
    ranks (see `gather_rows`), except for those named in `rank_rows`.
    """

    partners: int = 0
    """How many others of its class are drawn with each image (see `ClassGroupedBatchSampler`)."""

    views: int = 1
    """How many differently augmented copies of each image a batch has."""

    mixes: bool = False
    """Whether it can train on images of Mixup and CutMix, whose labels are `Batch.targets`."""

    weighs_classes: bool = False
    """Whether it heeds `class_weights`; `compute_cross_entropy` does."""

    rank_rows: tuple[str, ...] = ()
    """Buffers whose rows are of this rank's batch: a checkpoint holds those of all ranks."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = check_arguments(cls.__init__)  # type: ignore[method-assign]

    class_weights: Tensor | None
    """(c,) what images of each class count in the term with the labels, 1 on average over the
    training images; None where all count alike. Set before `setup`; checkpoints do not hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("class_weights", None, persistent=False)

    def compute_cross_entropy(
        self, logits: Float[Tensor, "n c"], target: Tensor, label_smoothing: float = 0.0
    ) -> Float[Tensor, ""]:
        """`torchbake.losses.cross_entropy` with the class weights, if there are any."""
        return cross_entropy(logits, target, label_smoothing, self.class_weights)

    def setup(self, task: Task) -> None:
        """Make what is kept between steps; called once, before the optimizer is made."""

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        """Compute one step. `model(images)` returns (features, logits)."""
        raise NotImplementedError


def gather_rows(rows: Tensor) -> Tensor:
    """Gather the rows (r, …) of all ranks, in rank order; every rank must have as many rows.

    Without a process group, these are the rows themselves.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    gathered = rows.new_empty(dist.get_world_size() * len(rows), *rows.shape[1:])
    dist.all_gather_into_tensor(gathered, rows.contiguous())
    return gathered
