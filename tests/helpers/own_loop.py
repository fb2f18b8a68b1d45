"""The digits, and what a plain loop with `BAKELoss` makes of them: what integrations must equal."""

import copy
from functools import lru_cache

import torch
from rich.console import Console
from torch import nn

from torchbake import BAKELoss, ClassGroupedBatchSampler, with_features
from torchbake.data.augment.normalise import normalise
from torchbake.data.loading.open_data import show_opening
from torchbake.training.distributed import Ranks
from torchbake.training.meters import Meters
from torchbake.training.recipe_files import load_recipe
from torchbake.training.setup import set_up
from torchbake.training.step import update

BATCH, PARTNERS, RATE, MOMENTUM, SEED = 32, 3, 0.05, 0.9, 7

_SETTINGS = {
    "seed": SEED,
    "data.crop": "none",
    "optimizer.lr": RATE,
    "optimizer.nesterov": "false",
    "optimizer.weight_decay": 0,
    "training.batch_size": BATCH,
    "training.device": "cpu",
    "method.partners": PARTNERS,
}


@lru_cache
def _set_up():
    recipe = load_recipe("digits/bake", [(key, str(value)) for key, value in _SETTINGS.items()])
    data = show_opening(recipe.data, Console(quiet=True))
    return set_up(recipe, data, Ranks(0, 1, torch.device("cpu")))


def digits():
    """The 300 training images (300, 1, 8, 8), normalised as the trainer does, and their labels."""
    data = _set_up().data
    return normalise(data.pixels[0], data.mean, data.std), data.source.train.labels


def network():
    """The trainer's network as it was before the first step."""
    return copy.deepcopy(_first_network())


@lru_cache
def _first_network():
    return copy.deepcopy(_set_up().model.network)


def sampler(labels):
    return ClassGroupedBatchSampler(labels, BATCH, partners=PARTNERS, seed=SEED, drop_last=True)


def optimizer(model):
    return torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM)


def plain_losses(model: nn.Module, steps: int) -> list[float]:
    """The losses of the first steps of a plain loop."""
    images, labels = digits()
    model, criterion = with_features(model), BAKELoss()
    batches, step = sampler(labels), optimizer(model)
    losses = []
    while True:
        for batch in batches:
            features, logits = model(images[batch])
            loss = criterion(logits, labels[batch], features)
            step.zero_grad()
            loss.backward()
            step.step()
            losses.append(loss.item())
            if len(losses) == steps:
                return losses


def trainer_losses(steps: int) -> list[float]:
    """The losses of the first steps of `torchbake train`; once, for it changes the network."""
    setup, losses = _set_up(), []
    _first_network()

    meters = Meters(setup.ranks)
    while True:
        for batch in setup.loader.batches(len(losses) // len(setup.sampler)):
            update(setup, batch, RATE, len(losses), meters)
            losses.append(meters.close()[0]["loss"])
            if len(losses) == steps:
                return losses
