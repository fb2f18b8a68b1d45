"""The plain loop that every integration is compared with, and the trainer, have the same losses."""

import sys
from pathlib import Path

import torch
from helpers.own_loop import network, plain_losses, trainer_losses
from helpers.processes import run

EXAMPLE = Path(__file__).parents[2] / "examples/pytorch_ddp.py"


def test_a_plain_loop_has_the_losses_of_the_trainer():
    losses = plain_losses(network(), 12)  # more than an epoch
    assert losses[-1] < losses[0]
    torch.testing.assert_close(losses, trainer_losses(12), rtol=1e-6, atol=0)


def test_the_example_learns_on_two_ranks(tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    printed = run([sys.executable, *launcher, str(EXAMPLE)], tmp_path)
    assert float(printed.split()[1]) > 80
