"""A finished run, opened again: its recipe, its data, its network."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console

from ..data.loading.open_data import Data, show_opening
from ..models.classifier import Classifier
from ..recipe import Recipe
from .distributed import Ranks, allow_tf32, find_device
from .memory import evaluate_test_images
from .network import PRECISIONS, load_model
from .run_folder import RunFolder


class OpenedRun(NamedTuple):
    """What a finished run left, ready to be used."""

    run: RunFolder
    recipe: Recipe
    data: Data
    model: Classifier  # on the device, in evaluation mode
    device: torch.device

    @property
    def precision(self) -> torch.dtype | None:
        """The number format of the forward pass; None for float32."""
        return PRECISIONS[self.recipe.training.precision]


def open_run(
    folder: Path,
    *,
    ema: bool = False,
    data_name: str | None = None,
    device_name: str | None = None,
    console: Console,
) -> OpenedRun:
    """Open the finished run in `folder`.

    Args:
        ema: use the moving average of the weights.
        data_name, device_name: in place of the recipe's `data.name` and `training.device`; other
            data have their own labels.

    Raises:
        UserError: no run folder, no weights in it, or weights of another network.
    """
    run = RunFolder(folder)
    recipe = run.read_recipe()
    device = find_device(device_name or recipe.training.device, 0)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # or something would be left on the first one
    allow_tf32(recipe.training.precision)
    if data_name is not None:
        data_recipe = replace(recipe.data, name=data_name, labels=None)
    else:
        data_recipe = run.own_data(recipe)
    data = show_opening(data_recipe, console)
    model = load_model(run, data, ema=ema).to(device).eval()
    return OpenedRun(run, recipe, data, model, device)


def evaluate_run(
    folder: Path,
    *,
    ema: bool = False,
    data_name: str | None = None,
    device_name: str | None = None,
    console: Console,
) -> dict[str, float]:
    """The figures of `evaluation.Metrics` for the finished run in `folder` (see `open_run`)."""
    opened = open_run(
        folder, ema=ema, data_name=data_name, device_name=device_name, console=console
    )
    ranks = Ranks(0, 1, opened.device)
    return evaluate_test_images(opened.model, opened.data, ranks, opened.precision)
