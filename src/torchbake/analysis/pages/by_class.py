"""The classes of a run on a page: figures of each, and which are taken for which."""

from collections.abc import Sequence
from typing import Any

from ..._shapes import Float, Int, Tensor
from ...evaluation import average_classes, count_classes
from ..classes import count_confusion_matrix, measure_classes
from .diagnosis import predict


def describe_classes(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], classes: Sequence[str]
) -> dict[str, Any]:
    """What the page shows of the classes that have test images or are predicted.

    Returns:
        `by_class`, the figures of each class that has images; `class_means`, their means;
        `confusion_matrix`, the names of the classes and its cells that are not zero, as label,
        prediction and images.
    """
    predicted = predict(logits)[1]
    figures = measure_classes(predicted, labels, classes)
    cells = count_confusion_matrix(predicted, labels, logits.shape[1]).to_sparse()
    places, counts = cells.indices().T.tolist(), cells.values().tolist()
    shown = sorted({number for place in places for number in place})
    position = {number: place for place, number in enumerate(shown)}
    return {
        "by_class": figures,
        "class_means": average_classes(count_classes(predicted, labels, len(classes))),
        "confusion_matrix": {
            "classes": [classes[number] for number in shown],
            "cells": [
                [position[label], position[guess], count]
                for (label, guess), count in zip(places, counts, strict=True)
            ],
        },
    }
