"""A batch on its way from the data to the training objective."""

from typing import NamedTuple

from ._shapes import Float, Int, Tensor


class Batch(NamedTuple):
    """Images of one step, normalised and on their device, with their labels.

    Attributes:
        images: (n × views, ch, h, w): the first view of every image, then the second view, ….
        labels: (n,) class numbers.
        indices: (n,) positions of the images in their split.
        progress: fraction of the training that is done, from 0 to 1; in a compiled step a tensor
            () on the device of the images, since each new number would be compiled anew.
        mixed: (n, c) class probabilities of images mixed by Mixup or CutMix; None if unmixed.
    """

    images: Float[Tensor, "n_views ch h w"]
    labels: Int[Tensor, " n"]
    indices: Int[Tensor, " n"]
    progress: float | Tensor = 0.0
    mixed: Float[Tensor, "n c"] | None = None

    @property
    def targets(self) -> Tensor:
        """What cross-entropy takes: class numbers (n,), or probabilities (n, c) if mixed."""
        return self.labels if self.mixed is None else self.mixed
