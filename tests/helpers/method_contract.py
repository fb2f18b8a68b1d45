"""What a training loop relies on, whatever the method: one harness that all of them pass.

After torchmetrics' tester. A new method is tried as it is by default; one that needs settings in
order to be made, or has something to keep only with them, has them in `SETTINGS`. One whose loss
is a formula of logits, features and labels has it in `BY_HAND`; others have tests of their own.
"""

import io
import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch.nn import functional as F

from torchbake.methods import METHODS, Batch
from torchbake.models.create import create_model

from .method_examples import Recorded, ce, kl, other_logits, soft, task
from .reference import reference_targets

SETTINGS = {
    "bake-variants": {
        "memory": 16,
        "ema_decay": 0.9,
        "label_share": 0.2,
        "neighbours": "same-class",
        "weight_warmup": 0.3,
        "omega_warmup": 0.3,
        "final_affinity_temperature": 0.1,
    },
    "kd": {"teacher": "1"},
    "kd-ensemble": {"teachers": ("1", "2")},
    "tf-kd-self": {"teacher": "1"},
}


class Tried:
    """A method with a small network, set up as for training."""

    def __init__(self, name: str, seed: int = 0, class_weights=None) -> None:
        torch.manual_seed(seed)
        self.network = create_model("small_cnn", 10, in_chans=1, image_size=8)
        self.method = METHODS[name](**SETTINGS.get(name, {}))
        self.method.class_weights = class_weights
        self.method.setup(task(self.network))
        self.network.train(), self.method.train()
        trained = [*self.network.parameters(), *self.method.parameters()]
        self.optimizer = torch.optim.SGD([p for p in trained if p.requires_grad], 0.05, 0.9)

    def compute(self, number):
        """The method's step for batch `number`, whose images are in class groups of four."""
        torch.manual_seed(number)  # of what methods draw themselves, too
        images = torch.randn(12 * self.method.views, 1, 8, 8)
        labels = (torch.arange(12) // 4 + number) % 10
        indices = (torch.arange(12) + 4 * number) % 20
        return self.method(self.network, Batch(images, labels, indices, progress=number / 8))

    def train(self, *numbers):
        """Train on these batches; the losses."""
        losses = []
        for number in numbers:
            step = self.compute(number)
            self.optimizer.zero_grad()
            step.loss.backward()
            self.optimizer.step()
            losses.append(step.loss.item())
        return losses

    def state(self):
        """All that is kept, as tensors by name."""
        kept = {"network": self.network.state_dict(), "method": self.method.state_dict()}
        return {
            f"{part}.{key}": value for part, held in kept.items() for key, value in held.items()
        }

    def save(self):
        """A checkpoint as a file has it."""
        buffer = io.BytesIO()
        parts = (self.network, self.method, self.optimizer)
        torch.save([part.state_dict() for part in parts], buffer)
        return buffer.getvalue()

    def load(self, checkpoint):
        saved = torch.load(io.BytesIO(checkpoint), weights_only=True)
        for part, held in zip((self.network, self.method, self.optimizer), saved, strict=True):
            part.load_state_dict(held)


class ByHand(NamedTuple):
    """Settings of a method, and its loss by formula from logits, features and labels.

    The run is half done. Teachers, by their names, predict `other_logits(number)`.
    """

    settings: dict[str, Any]
    loss: Callable[..., float]


def bake(logits, features, labels, weight=1.0, temperature=4.0, **settings):
    targets = reference_targets(logits, features, temperature, **settings)
    return ce(logits, labels) + weight * temperature**2 * kl(targets, soft(logits, temperature))


def smoothed(logits, features, labels):
    targets = 0.8 * F.one_hot(labels, 10) + 0.2 / 10
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


def confident(logits, features, labels):
    rows = soft(logits).tolist()
    return ce(logits, labels) + 0.3 * sum(p * math.log(p) for row in rows for p in row) / len(rows)


def taught(*teachers):
    """Distillation by the mean prediction of teachers, with T = 2 and α = 0.3."""

    def loss(logits, features, labels):
        mean = sum(soft(other_logits(number), 2) for number in teachers) / len(teachers)
        return 0.7 * ce(logits, labels) + 0.3 * 4 * kl(mean, soft(logits, 2))

    return loss


def taught_virtually(logits, features, labels):
    right, wrong = 0.9 ** (1 / 5), (0.1 / 9) ** (1 / 5)
    total = right + 9 * wrong
    designed = torch.full((12, 10), wrong / total, dtype=torch.float64)
    designed[torch.arange(12), labels] = right / total
    return 0.6 * ce(logits, labels) + 0.4 * 25 * kl(designed, soft(logits, 5))


SHARP = {"omega": 0.7, "temperature": 2.0, "weight": 0.5, "affinity_temperature": 0.3}
KD = {"temperature": 2.0, "alpha": 0.3}

BY_HAND = {
    "cross-entropy": ByHand({}, lambda logits, _, labels: ce(logits, labels)),
    "label-smoothing": ByHand({"smoothing": 0.2}, smoothed),
    "max-entropy": ByHand({"weight": 0.3}, confident),
    "bake": ByHand(SHARP, lambda *batch: bake(*batch, **SHARP)),
    "bake-variants": ByHand(SHARP, lambda *batch: bake(*batch, **SHARP)),
    "bake-plus": ByHand({}, lambda *batch: bake(*batch, affinity_temperature=0.05**0.5)),
    "kd": ByHand({"teacher": "1", **KD}, taught(1)),
    "tf-kd-self": ByHand({"teacher": "1", **KD}, taught(1)),
    "kd-ensemble": ByHand({"teachers": ("1", "2"), **KD}, taught(1, 2)),
    "tf-kd-virtual": ByHand({"correct": 0.9, "temperature": 5.0, "alpha": 0.4}, taught_virtually),
}


def load_recorded(folder):
    """A teacher whose predictions are given."""
    logits = other_logits(int(folder))
    return Recorded((logits, logits))


def wrong_values(annotation):
    """Numbers just outside of an annotated range; of a number without one, an error."""
    if get_origin(annotation) is not Annotated:
        assert annotation not in (int, float), "a number needs a range: see torchbake.ranges"
        parts = () if isinstance(annotation, type) else get_args(annotation)
        return [value for part in parts if part is not ... for value in wrong_values(part)]
    kind, *bounds = get_args(annotation)
    values = [math.inf, math.nan] if kind is float else []
    for bound in bounds:
        match bound:
            case Gt(limit) | Lt(limit):
                values.append(kind(limit))
            case Ge(limit):
                values.append(kind(limit - 1))
            case Le(limit):
                values.append(kind(limit + 1))
    return values
