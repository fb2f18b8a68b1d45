"""The seam between a training objective and the training loop."""

from typing import NamedTuple

from torch import nn

from .._shapes import Float, Int, Tensor


class Task(NamedTuple):
    """What a method may need to know before training begins."""

    num_classes: int
    num_images: int  # in the training set
    num_features: int


class Batch(NamedTuple):
    """What a method is given for one step."""

    images: Float[Tensor, "n_views ch h w"]  # all images' first views, then their second, …
    labels: Int[Tensor, " n"]
    indices: Int[Tensor, " n"]  # the images' numbers in the training set
    progress: float = 0.0  # how much of the training is done, from 0 to 1


class Step(NamedTuple):
    """What one step computes."""

    loss: Float[Tensor, ""]  # to be differentiated; a mean over the batch
    logits: Float[Tensor, "n c"]  # for the training accuracy
    terms: dict[str, Float[Tensor, ""]]  # the loss's summands by name, to be logged


class Method(nn.Module):
    """A training objective.

    A subclass takes its settings as keyword arguments with types and defaults, which are the
    recipe's `method.*` keys, and raises ValueError for values out of range. It computes a step in
    `forward`, calling the model as often as it likes. What it keeps between steps are buffers
    or parameters, as of any module: checkpoints hold them, and the optimizer gets the parameters.
    """

    partners: int = 0
    """Others of its class drawn beside each image (see `ClassGroupedBatchSampler`)."""

    views: int = 1
    """Differently augmented copies of each image in a batch."""

    def __init__(self) -> None:
        super().__init__()

    def setup(self, task: Task) -> None:
        """Called once, before the optimizer is made and a checkpoint is loaded."""

    def forward(self, model: nn.Module, batch: Batch) -> Step:
        """One step: `model(images)` gives (features, logits)."""
        raise NotImplementedError
