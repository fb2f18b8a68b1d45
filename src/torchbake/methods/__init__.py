"""Training objectives by name: each says how batches are drawn and what one step computes."""

from .bake import BAKE
from .base import Batch, Method, Step, Task
from .cross_entropy import CrossEntropy
from .label_smoothing import LabelSmoothing

METHODS: dict[str, type[Method]] = {
    "bake": BAKE,
    "cross-entropy": CrossEntropy,
    "label-smoothing": LabelSmoothing,
}

__all__ = ["BAKE", "METHODS", "Batch", "CrossEntropy", "LabelSmoothing", "Method", "Step", "Task"]
