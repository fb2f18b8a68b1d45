"""A run's model, measured again on its test images."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ..evaluation import evaluate
from .distributed import find_device
from .loop import prepare_data
from .network import PRECISIONS, load_model
from .run_folder import RunFolder


def evaluate_run(
    folder: Path,
    *,
    ema: bool = False,
    data_name: str | None = None,
    device_name: str | None = None,
    console: Console,
) -> dict[str, float]:
    """The figures of `evaluation.Metrics` for the finished run in `folder`.

    Args:
        ema: of the average of the weights.
        data_name, device_name: in place of the recipe's `data.name` and `training.device`.

    Raises:
        UserError: no run folder, no weights in it, or weights of another network.
    """
    run = RunFolder(folder)
    recipe = run.read_recipe()
    device = find_device(device_name or recipe.training.device, 0)
    data = prepare_data(replace(recipe.data, name=data_name or recipe.data.name), console)
    model = load_model(run, data, ema=ema)
    batches = data.test_batches(256, device)
    return evaluate(model.to(device), batches, device, PRECISIONS[recipe.training.precision])
