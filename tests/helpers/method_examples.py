"""What the methods' tests share: recorded models, tasks, and losses in plain arithmetic."""

import math

import torch
from torch import nn

from torchbake.methods import Task
from torchbake.models.classifier import Output
from torchbake.models.create import create_model


class Recorded(nn.Module):
    """A model whose outputs are given, one a forward; the last one again and again."""

    def __init__(self, *outputs):
        super().__init__()
        self.outputs = list(outputs)
        self.given = []

    def forward(self, images):
        self.given.append(images)
        output = self.outputs.pop(0) if len(self.outputs) > 1 else self.outputs[0]
        return Output(*output)


def kl(p, q):
    """Σ p log (p / q), the mean over rows, by Python's own arithmetic."""
    rows = [
        sum(a * math.log(a / b) for a, b in zip(x, y, strict=True) if a)
        for x, y in zip(p.tolist(), q.tolist(), strict=True)
    ]
    return sum(rows) / len(rows)


def ce(logits, labels):
    p = logits.detach().double().softmax(dim=1)
    return sum(-math.log(float(p[i, y])) for i, y in enumerate(labels.tolist())) / len(labels)


def soft(logits, temperature=1.0):
    return (logits.detach().double() / temperature).softmax(dim=1)


def task(network=None, **changes):
    network = network or create_model("small_cnn", 10, in_chans=1, image_size=8)
    made = []

    def make_network(number):
        torch.manual_seed(number)
        made.append(create_model("small_cnn", 10, in_chans=1, image_size=8))
        return made[-1]

    settings = {
        "num_classes": 10,
        "num_images": 20,
        "num_features": 64,
        "image_shape": (1, 8, 8),
        "batch_size": 12,
        "network": network,
        "make_network": make_network,
        "load_network": lambda folder: make_network(int(folder)).eval(),
    }
    return Task(**{**settings, **changes})


def other_logits(seed=7, n=12):
    return 3 * torch.randn(n, 10, generator=torch.Generator().manual_seed(seed))


def assert_value(step, value):
    torch.testing.assert_close(float(step.loss.detach()), float(value), rtol=2e-5, atol=1e-6)
    total = torch.stack(list(step.terms.values())).sum()
    torch.testing.assert_close(total, step.loss)
