"""Which training images a network finds most alike, by the affinities of BAKE."""

from typing import NamedTuple

import torch
from rich.console import Console
from torch.nn import functional as F

from .._shapes import Float, Int, Tensor, UInt8
from ..analysis.outputs import compute_outputs, restore_pictures
from ..data.preprocessing import Preprocessing
from ..inference.images import ImageLike, read_image
from ..randomness import make_generator
from ..training.network import read_temperature
from ..training.opened_run import OpenedRun


class Neighbour(NamedTuple):
    """A training image.

    Attributes:
        similarity: cosine of the angle between the features, from −1 to 1.
    """

    picture: UInt8[Tensor, "ch h w"]
    label: str
    similarity: float


class Answer(NamedTuple):
    """What a network says of a picture: probabilities by class, and the images most alike."""

    probabilities: dict[str, float]
    neighbours: list[Neighbour]


class Explorer:
    """A finished run's network, and the features of its training images.

    Args:
        ema: whether the averaged weights were opened.
        limit: how many training images to compare with; of more, random ones.
    """

    def __init__(
        self, opened: OpenedRun, console: Console, *, ema: bool = False, limit: int = 10_000
    ) -> None:
        self.opened = opened
        self.temperature = read_temperature(opened.run, ema=ema)
        train = opened.data.source.train
        generator = make_generator("demo", opened.recipe.seed)
        chosen = torch.randperm(len(train), generator=generator)[:limit].sort().values
        outputs = compute_outputs(opened, train, chosen, console)
        self.indices: Int[Tensor, " n"] = outputs.indices
        self.labels: Int[Tensor, " n"] = outputs.labels
        self.features: Float[Tensor, "n d"] = F.normalize(outputs.features, dim=1)

    @property
    def preprocessing(self) -> Preprocessing:
        """What pictures go through."""
        return self.opened.data.preprocessing

    @torch.inference_mode()
    def ask(self, picture: ImageLike, count: int) -> Answer:
        """Predict a picture's class, and find the training images most alike.

        Args:
            count: how many of them.

        Raises:
            UserError: it cannot be read.
        """
        opened, classes = self.opened, self.opened.data.source.classes
        pixels = read_image(picture, self.preprocessing)[None].to(opened.device)
        precision = opened.precision
        with torch.autocast(opened.device.type, dtype=precision, enabled=precision is not None):
            features, logits = opened.model(self.preprocessing.normalise(pixels))
        probabilities = (logits[0].float().cpu() / (self.temperature or 1.0)).softmax(dim=0)
        similarities = self.features @ F.normalize(features[0].float().cpu(), dim=0)
        best = similarities.topk(min(count, len(similarities)))
        pictures = restore_pictures(opened, opened.data.source.train, self.indices[best.indices])
        labels = [classes[label] for label in self.labels[best.indices].tolist()]
        return Answer(
            dict(zip(classes, probabilities.tolist(), strict=True)),
            [
                Neighbour(*found)
                for found in zip(pictures, labels, best.values.tolist(), strict=True)
            ],
        )
