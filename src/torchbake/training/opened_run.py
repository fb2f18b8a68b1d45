"""A finished run, opened again: its recipe, its data, its network."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console

from .._shapes import Float, Int, Tensor
from .._trust import consent, trusting
from ..data.loading.open_data import Data, show_opening
from ..data.loading.open_test import show_opening_test
from ..evaluation import measure, measure_by_class, measure_scaled
from ..models.classifier import Classifier
from ..recipe import Recipe
from .distributed import allow_tf32, find_device
from .memory import collect_within_memory
from .network import PRECISIONS, load_model, read_temperature
from .run_folder import RunFolder
from .weights_file import read_description


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
    test_split: str | None = None,
    device_name: str | None = None,
    console: Console,
    test_only: bool = False,
    trust: bool = False,
) -> OpenedRun:
    """Open the finished run in `folder`.

    Args:
        ema: use the moving average of the weights.
        test_only: open the test images alone, for which training images need not be there, and
            other data may have the classes in another order or only some of them (see
            `open_test`); they stand in the place of the training images, too.
        trust: import what the run's recipe names as `module:object`.
        data_name, test_split, device_name: in place of the recipe's `data.name`,
            `data.test_split` and `training.device`; other data have their own labels.

    Raises:
        UserError: no run folder, no weights in it, or weights of another network.
    """
    run = RunFolder(folder)
    consent([data_name])
    with trusting(trust):
        recipe = run.read_recipe()
    device = find_device(device_name or recipe.training.device, 0)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # or something would be left on the first one
    allow_tf32(recipe.training.precision)
    if data_name is not None:
        data_recipe = replace(recipe.data, name=data_name, labels=None, validation=None)
    else:
        data_recipe = run.own_data(recipe)
    if test_split is not None:
        data_recipe = replace(data_recipe, test_split=test_split)
    if test_only:
        description = read_description(run.find_weights(ema=ema), recipe)
        data = show_opening_test(
            data_recipe,
            description.classes,
            description.preprocessing,
            console,
            own=data_name is None and test_split is None,
        )
    else:
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
    trust: bool = False,
) -> dict[str, float]:
    """The figures of `evaluation.evaluate` for the finished run in `folder` (see `open_run`).

    NLL and ECE are scaled by the run's `temperature`, which is among the figures, if it has one.
    """
    opened = open_run(
        folder,
        ema=ema,
        data_name=data_name,
        device_name=device_name,
        console=console,
        test_only=True,
        trust=trust,
    )
    return evaluate_opened(opened, ema=ema).figures


class Evaluation(NamedTuple):
    """Figures over all test images, and each one's logits (float32, on the CPU) and label."""

    figures: dict[str, float]
    logits: Float[Tensor, "n c"]
    labels: Int[Tensor, " n"]


def evaluate_opened(opened: OpenedRun, *, ema: bool = False) -> Evaluation:
    """Measure a run on its test images.

    Args:
        ema: whether the averaged weights were opened, which have a temperature of their own.
    """
    collected = collect_within_memory(
        opened.model,
        lambda size: opened.data.test_batches(size, opened.device),
        opened.device,
        opened.precision,
    )
    temperature = read_temperature(opened.run, ema=ema)
    figures = (
        measure(collected) | measure_by_class(collected) | measure_scaled(collected, temperature)
    )
    if temperature is not None:
        figures["temperature"] = temperature
    return Evaluation(figures, collected.logits.cpu(), collected.labels.cpu())
