"""Functions of a user's that are called while a run trains."""

from collections.abc import Callable
from typing import NamedTuple

from ..models.classifier import Classifier


class Progress(NamedTuple):
    """Where a run is, at the end of an epoch or at an evaluation.

    Attributes:
        step: number of updates done.
        total: number of updates of the whole run.
        epoch: number of epochs done, with a fraction within an epoch.
        images: number of images seen.
        figures: of the evaluation at this step, as `metrics.jsonl` names them; empty without one.
        model: the network in training, to be left as it is.
    """

    step: int
    total: int
    epoch: float
    images: int
    figures: dict[str, float]
    model: Classifier


Callback = Callable[[Progress], None]
"""Called on every rank. What it raises ends the run, whose last checkpoint stays."""
