"""A run with an image that is not finite, and the steps in which it is."""

import torch
from helpers.training_runs import QUIET
from torch import nn

from torchbake.data.loading.open_data import show_opening
from torchbake.methods import Method, Step
from torchbake.training import setup
from torchbake.training.distributed import Ranks

CPU = Ranks(0, 1, torch.device("cpu"))
BAD_IMAGE = 20


class Spoilt(Method):
    """Cross-entropy that keeps each image's last logits, and how many images it has seen.

    One of the images is not finite.
    """

    def setup(self, task):
        self.register_buffer("past", torch.zeros(task.num_images, task.num_classes))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, model, batch):
        spoilt = (batch.indices == BAD_IMAGE)[:, None, None, None]
        logits = model(batch.images.where(~spoilt, torch.nan)).logits
        self.past[batch.indices] = logits.detach().float()
        self.seen += len(batch.labels)
        loss = nn.functional.cross_entropy(logits, batch.labels)
        return Step(loss, logits, {"cross_entropy": loss})


def list_bad_steps(made):
    """The steps, from 1, in which the bad image is."""
    sampler = setup.set_up(made, show_opening(made.data, QUIET), CPU).sampler
    batches = [batch for epoch in range(made.training.epochs) for batch in sampler.batches(epoch)]
    return [n for n, batch in enumerate(batches, start=1) if BAD_IMAGE in batch.tolist()]
