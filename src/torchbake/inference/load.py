"""Open whatever holds a trained network."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from .._shapes import Float, Tensor
from .._trust import trusting
from ..errors import UserError
from ..models.classifier import Classifier
from ..recipe import Recipe
from ..training.distributed import find_device
from ..training.network import PRECISIONS
from ..training.run_folder import RunFolder
from ..training.weights_file import (
    Description,
    load_described,
    parse_description,
    read_description,
)
from .pictures import PicturePredictor
from .predictor import Predictor
from .programs import load_onnx, load_torch

EXPORTED = ("model.safetensors", "model.onnx", "model.pt2")
"""Files of an export's folder that hold its weights."""
PROGRAMS = {".onnx": load_onnx, ".pt2": load_torch}


def load(
    path: str | os.PathLike[str],
    *,
    ema: bool = False,
    device: str | None = None,
    trust: bool = False,
) -> Predictor:
    """A predictor from a finished run or an export.

    Args:
        path: a run folder, an export's folder, or a file of weights or a program in one of them
            (`model.safetensors`, `model.onnx`, `model.pt2`).
        ema: of a run folder, use the moving average of the weights.
        device: name of the device to run on; None takes a GPU if there is one. Programs run on the
            CPU.
        trust: import the network if it is code, named `module:callable` in the run.

    Raises:
        UserError: nothing of the kind is there, it cannot be read, or its network cannot be made.
    """
    with trusting(trust):
        return _load(Path(path).expanduser(), ema, device)


def _load(place: Path, ema: bool, device: str | None) -> Predictor:
    if place.is_dir() and not RunFolder(place).recipe.is_file():
        place = next((place / name for name in EXPORTED if (place / name).is_file()), place)
    if place.is_file() and place.suffix in PROGRAMS:
        if ema:
            raise UserError(f"{place}: an export has one set of weights (ema)")
        if find_device(device or "cpu", 0).type != "cpu":
            raise UserError(f"{place}: runs on the CPU, not on {device}")
        return _load_program(place)
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
    raise UserError(f"{place}: neither a run folder, with recipe.yaml, nor an export")


def _load_program(path: Path) -> Predictor:
    program, metadata = PROGRAMS[path.suffix](path)
    description = parse_description(path, metadata)
    kind = PicturePredictor if metadata.get("input") == "pictures" else Predictor
    return kind(
        program,
        description.preprocessing,
        description.classes,
        temperature=description.temperature,
        name=str(path),
    )


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
