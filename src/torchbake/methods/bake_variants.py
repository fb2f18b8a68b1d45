"""Variants of BAKE, as studied in docs/variants.md."""

import torch
from torch import nn

from .._shapes import Float, Int, Tensor
from ..ensembling.masked import Lesson


class Memory(nn.Module):
    """The lessons of the last `size` images, the oldest being overwritten.

    Nothing is read back from the device: how many there are so far is a tensor.
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

    def lesson(self) -> Lesson:
        """All that is kept, with rows of zeros where nothing is yet."""
        return Lesson(self.features, self.predictions, self.labels, self.indices)

    def write(self, lesson: Lesson) -> None:
        """Keep these images' lessons, too."""
        size = len(self.indices)
        kept = [rows[-size:] for rows in lesson]
        places = (self.written + torch.arange(len(kept[3]), device=self.written.device)) % size
        for buffer, rows in zip(
            (self.features, self.predictions, self.labels, self.indices), kept, strict=True
        ):
            buffer[places] = rows.to(buffer.dtype)
        self.written += len(places)
