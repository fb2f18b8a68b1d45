"""A memory of earlier images that teach along, for `bake-variants`."""

import torch
from torch import nn

from .._shapes import Float, Int, Tensor
from ..ensembling.masked import Lesson


class Memory(nn.Module):
    """What the last `size` images can teach; a new image takes the place of the oldest.

    Nothing is read back from the device: how many there are so far is a tensor.

    Args:
        size: how many images are kept.
        num_features: D.
        num_classes: C.
    """

    features: Float[Tensor, "k d"]
    predictions: Float[Tensor, "k c"]
    labels: Float[Tensor, "k c"]
    indices: Int[Tensor, " k"]  # −1 where there is none yet
    written: Tensor  # (), images so far

    def __init__(self, size: int, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(size, num_features))
        self.register_buffer("predictions", torch.zeros(size, num_classes))
        self.register_buffer("labels", torch.zeros(size, num_classes))
        self.register_buffer("indices", torch.full((size,), -1))
        self.register_buffer("written", torch.zeros((), dtype=torch.long))

    def read(self) -> Lesson:
        """All that is kept; rows are zeros, and their index −1, where there is nothing yet."""
        return Lesson(self.features, self.predictions, self.labels, self.indices)

    def write(self, lesson: Lesson) -> None:
        """Keep what these images can teach."""
        size = len(self.indices)
        kept = [rows[-size:] for rows in lesson]
        places = (self.written + torch.arange(len(kept[3]), device=self.written.device)) % size
        for buffer, rows in zip(
            (self.features, self.predictions, self.labels, self.indices), kept, strict=True
        ):
            buffer[places] = rows.to(buffer.dtype)
        self.written += len(places)
