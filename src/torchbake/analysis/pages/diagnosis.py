"""How a classifier errs on test images: its confidence, and which classes it confuses."""

from typing import NamedTuple

import torch

from ..._shapes import Float, Int, Tensor
from ...evaluation import BINS


class Bin(NamedTuple):
    """Images whose confidence, the probability of the predicted class, is from low to below high.

    The last bin has 1, too.
    """

    low: float
    high: float
    images: int
    confidence: float  # mean
    accuracy: float  # share of right predictions


class Confusion(NamedTuple):
    """Images of class `label` taken for class `predicted`."""

    label: int
    predicted: int
    images: int
    share: float  # of the label's test images
    examples: list[int]  # rows, most confident first


def predict(
    logits: Float[Tensor, "n c"],
) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """The probability of the predicted class, in float64, and that class."""
    parts = [part.double().softmax(dim=1).max(dim=1) for part in logits.split(4096)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def measure_reliability(logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> list[Bin]:
    """Confidence and accuracy by confidence, in the bins of the ECE; empty bins are left out."""
    confidence, predicted = predict(logits)
    right = (predicted == labels).double()
    which = (confidence * BINS).long().clamp(0, BINS - 1)
    bins = []
    for number in range(BINS):
        own = which == number
        count = int(own.sum())
        if count:
            means = float(confidence[own].mean()), float(right[own].mean())
            bins.append(Bin(number / BINS, (number + 1) / BINS, count, *means))
    return bins


def count_confusions(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], pairs: int, examples: int
) -> list[Confusion]:
    """The most frequent (label, prediction) pairs among the errors, at most `pairs`."""
    confidence, predicted = predict(logits)
    sizes = torch.bincount(labels, minlength=logits.shape[1])
    wrong = (predicted != labels).nonzero()[:, 0]
    codes = labels[wrong] * logits.shape[1] + predicted[wrong]
    found, counts = codes.unique(return_counts=True)
    found_confusions = []
    for position in counts.argsort(descending=True, stable=True)[:pairs]:
        code, count = int(found[position]), int(counts[position])
        label, other = divmod(code, logits.shape[1])
        rows = wrong[codes == code]
        rows = rows[confidence[rows].argsort(descending=True)][:examples]
        found_confusions.append(
            Confusion(label, other, count, count / int(sizes[label]), rows.tolist())
        )
    return found_confusions
