"""Short runs on the digits for tests, and a crash in their midst."""

import torch
from rich.console import Console
from safetensors.torch import load_file

from torchbake.training import loop
from torchbake.training.checkpoint import list_checkpoints, load_checkpoint
from torchbake.training.recipe_files import load_recipe

QUIET = Console(quiet=True)


def recipe(*overrides):
    short = [("training.epochs", "6"), ("training.eval_every", "3"), ("training.log_every", "5")]
    return load_recipe("digits/bake", [*short, *overrides])


def weights(folder):
    return load_file(folder / "model.safetensors")


def saved(folder):
    """The state in the last checkpoint of a run folder."""
    return load_checkpoint(list_checkpoints(folder / "checkpoints")[0])


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class StopAt:
    """Ends a run behind a step, without its being asked: like a crash."""

    def __init__(self, monkeypatch, step):
        update = loop.update

        def updating(setup, batch, lr, number, meters):
            if number == step:
                raise RuntimeError("crash")
            update(setup, batch, lr, number, meters)

        monkeypatch.setattr(loop, "update", updating)
