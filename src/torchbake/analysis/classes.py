"""How a classifier does on each class, and on each image."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F

from .._shapes import Float, Int, Tensor
from ..data.sources.base import Split
from ..evaluation import count_classes
from ..inference.images import to_unicode
from ..training.files import open_text


class ImageFigures(NamedTuple):
    """Of n images: the predicted class, its probability, and the NLL of the label in nats."""

    predicted: Int[Tensor, " n"]
    confidence: Float[Tensor, " n"]
    loss: Float[Tensor, " n"]


class ClassFigures(NamedTuple):
    """Figures of a class, in percent.

    Attributes:
        precision: share of the images predicted as this class that are of it; None if there are
            none.
        recall: share of its images that are predicted as it.
        f1: harmonic mean of precision and recall.
        support: number of its images.
    """

    label: str
    precision: float | None
    recall: float
    f1: float
    support: int


def measure_images(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], temperature: float | None = None
) -> ImageFigures:
    """What a network says of each image.

    Args:
        temperature: what logits are divided by, as in prediction.
    """
    scaled = logits / (temperature or 1.0)
    confidence, predicted = scaled.softmax(dim=1).max(dim=1)
    return ImageFigures(predicted, confidence, F.cross_entropy(scaled, labels, reduction="none"))


def measure_classes(
    predicted: Int[Tensor, " n"], labels: Int[Tensor, " n"], classes: Sequence[str]
) -> list[ClassFigures]:
    """Figures of the classes that have images, in the order of the classes."""
    support, named, right = count_classes(predicted, labels, len(classes)).double()
    # Of a class that is never predicted, precision is 0 / 0.
    precision, recall, f1 = (
        100 * share for share in (right / named, right / support, 2 * right / (named + support))
    )
    columns = (column.tolist() for column in (precision, recall, f1, support.long()))
    return [
        ClassFigures(classes[k], None if math.isnan(share) else share, *others)
        for k, (share, *others) in enumerate(zip(*columns, strict=True))
        if support[k]
    ]


def count_confusion_matrix(
    predicted: Int[Tensor, " n"], labels: Int[Tensor, " n"], num_classes: int
) -> Int[Tensor, "c c"]:
    """How many images of each class (row) are predicted as each class (column)."""
    codes = labels * num_classes + predicted
    return torch.bincount(codes, minlength=num_classes**2).view(num_classes, num_classes)


def write_images(
    path: Path,
    split: Split,
    labels: Int[Tensor, " n"],
    figures: ImageFigures,
    classes: Sequence[str],
) -> None:
    """A CSV file with a row an image: `path,label,prediction,confidence,loss`.

    An image without a name has its number for a path.
    """
    with open_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "prediction", "confidence", "loss"])
        columns = (labels, figures.predicted, figures.confidence, figures.loss)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for number, (label, predicted, confidence, loss) in enumerate(rows):
            names = (split.name_of(number) or str(number), classes[label], classes[predicted])
            writer.writerow([*map(to_unicode, names), f"{confidence:.6f}", f"{loss:.6f}"])
