"""The plain loop that every integration is compared with, and the trainer, have the same losses."""

import torch
from helpers.own_loop import network, plain_losses, trainer_losses


def test_a_plain_loop_has_the_losses_of_the_trainer():
    losses = plain_losses(network(), 12)  # more than an epoch
    assert losses[-1] < losses[0]
    torch.testing.assert_close(losses, trainer_losses(12), rtol=1e-6, atol=0)
