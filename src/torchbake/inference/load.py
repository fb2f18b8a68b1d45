"""Open whatever holds a trained network."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from .._shapes import Float, Tensor
from ..errors import UserError
from ..models.classifier import Classifier
from ..recipe import Recipe
from ..training.distributed import find_device
from ..training.network import PRECISIONS
from ..training.run_folder import RunFolder
from ..training.weights_file import Description, load_described, read_description
from .predictor import Predictor


def load(
    path: str | os.PathLike[str], *, ema: bool = False, device: str | None = None
) -> Predictor:
    """A predictor from a finished run.

    Args:
        path: a run folder, or a file of weights that a run wrote (`model.safetensors`).
        ema: of a run folder, use the moving average of the weights.
        device: name of the device to run on; None takes a GPU if there is one.

    Raises:
        UserError: nothing of the kind is there, it cannot be read, or its network cannot be made.
    """
    place = Path(path).expanduser()
    if RunFolder(place).recipe.is_file():
        run = RunFolder(place)
        return _load_weights(run.find_weights(ema=ema), run.read_recipe(), device)
    if place.is_file() and place.suffix == ".safetensors":
        if ema:
            raise UserError(f"{place}: a file of weights has no other ones beside it (ema)")
        beside = RunFolder(place.parent)
        recipe = beside.read_recipe() if beside.recipe.is_file() else None
        return _load_weights(place, recipe, device)
    if not place.exists():
        raise UserError(f"{place}: there is no such run folder or file")
    raise UserError(f"{place}: neither a run folder, with recipe.yaml, nor a .safetensors file")


def _load_weights(path: Path, recipe: Recipe | None, device_name: str | None) -> Predictor:
    description = read_description(path, recipe)
    device = find_device(device_name or "auto", 0)
    model = load_described(path, description).to(device)
    return Predictor(
        _make_compute(model, description, device),
        description.preprocessing,
        description.classes,
        temperature=description.temperature,
        device=device,
        name=str(path),
    )


def _make_compute(
    model: Classifier, description: Description, device: torch.device
) -> Callable[[Float[Tensor, "n ch h w"]], Float[Tensor, "n c"]]:
    """The network's forward pass to the logits, in the run's number format as in evaluation."""
    precision = PRECISIONS[description.precision]

    def compute(images: Float[Tensor, "n ch h w"]) -> Float[Tensor, "n c"]:
        with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
            return model(images).logits

    return compute
