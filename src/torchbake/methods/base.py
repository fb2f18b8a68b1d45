"""The seam between a training objective and the training loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch.distributed as dist
from torch import nn

from .._shapes import Float, Int, Tensor
from ..batch import Batch


@dataclass(frozen=True, eq=False)
class Task:
    """What a method may need to know before training begins.

    Attributes:
        num_classes: C.
        num_images: in the training set.
        num_features: D, of the network.
        image_shape: channels, height, width.
        batch_size: images that `Method.forward` is given at once, on this rank.
        network: the one that is trained.
        make_network: another one of its kind, freshly initialised from the run's seed and a number;
            to be kept as a submodule.
        load_network: the trained network of a run folder, frozen and in evaluation mode; not to
            be kept as a submodule, since checkpoints need not hold it.
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
    """What one step computes."""

    loss: Float[Tensor, ""]  # to be differentiated; a mean over the batch
    logits: Float[Tensor, "k c"]  # for the training accuracy
    terms: dict[str, Float[Tensor, ""]]  # the loss's summands by name, to be logged
    labels: Int[Tensor, " k"] | None = None  # of the logits, if not of all images of the batch


class Method(nn.Module):
    """A training objective.

    A subclass takes its settings as keyword arguments with types and defaults, which are the
    recipe's `method.*` keys, and raises ValueError for values out of range. It computes a step in
    `forward`, calling the model as often as it likes. What it keeps between steps are buffers
    or parameters, as of any module: checkpoints hold them, the optimizer gets the parameters, and
    ranks share the parameters' gradients. Buffers must be alike on all ranks (see
    `gather_rows`), but for those named in `rank_rows`.
    """

    partners: int = 0
    """Others of its class drawn beside each image (see `ClassGroupedBatchSampler`)."""

    views: int = 1
    """Differently augmented copies of each image in a batch."""

    mixes: bool = False
    """Whether it takes images of Mixup and CutMix, whose labels are `Batch.targets`."""

    rank_rows: tuple[str, ...] = ()
    """Buffers whose rows are of this rank's batch: a checkpoint holds those of all ranks."""

    def __init__(self) -> None:
        super().__init__()

    def setup(self, task: Task) -> None:
        """Called once, before the optimizer is made and a checkpoint is loaded."""

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        """One step: `model(images)` gives (features, logits)."""
        raise NotImplementedError


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (r, …) of all ranks, in rank order, where there are several; each has as many."""
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    gathered = rows.new_empty(dist.get_world_size() * len(rows), *rows.shape[1:])
    dist.all_gather_into_tensor(gathered, rows.contiguous())
    return gathered
