"""The networks of a run: made, loaded, placed on their device, compiled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..batch import Batch
from ..data.loading.open_data import Data
from ..errors import UserError
from ..methods import Method, Step
from ..models.classifier import Classifier
from ..models.create import create_model
from ..models.freezing import freeze_layers
from ..models.weights import LoadedWeights, load_weights
from ..randomness import derive_seed
from ..recipe import Recipe, TrainingRecipe
from .distributed import Ranks
from .run_folder import RunFolder
from .weights_file import read_description, restore_weights

PRECISIONS = {"float32": None, "ieee": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What a forward pass is computed in where it may; None as it is."""


def make_model(
    recipe: Recipe, data: Data, *, pretrained: bool = True, number: int = 0
) -> Classifier:
    """The recipe's network for this data set, freshly initialised from the recipe's seed.

    Args:
        pretrained: load timm's weights if the recipe asks for them.
        number: a different number gives different initial weights.
    """
    torch.manual_seed(derive_seed("model", recipe.seed, *[number] * bool(number)))
    model = create_model(
        recipe.model.name,
        len(data.source.classes),
        in_chans=data.channels,
        image_size=data.image_size,
        pretrained=recipe.model.pretrained and pretrained,
        drop_rate=recipe.model.drop_rate,
        classifier=recipe.model.classifier,
        features=recipe.model.features,
        arguments=recipe.model.arguments,
    )
    freeze_layers(model, recipe.model.freeze)
    return model


def start_from_weights(model: Classifier, recipe: Recipe, data: Data) -> LoadedWeights | None:
    """Put the weights of the recipe's file into its network; None where it names none.

    Raises:
        UserError: see `load_weights`.
    """
    if recipe.model.weights is None:
        return None
    path = Path(recipe.model.weights).expanduser()
    return load_weights(model, path, data.source.classes)


def load_model(run: RunFolder, data: Data, *, ema: bool = False) -> Classifier:
    """The network of a finished run, for a data set of the same classes.

    Args:
        ema: load the moving average of the weights.

    Raises:
        UserError: no run folder, no weights in it, or weights of another network or other classes.
    """
    recipe = run.read_recipe()
    path = run.find_weights(ema=ema)
    model = make_model(recipe, data, pretrained=False)
    if read_description(path, recipe).classes != tuple(data.source.classes):
        raise UserError(f"{path}: trained on other classes than those of '{data.recipe.name}'")
    restore_weights(model, path, recipe.model.name)
    return model


def read_temperature(run: RunFolder, *, ema: bool = False) -> float | None:
    """The temperature that was fitted for a finished run's network; None if none was."""
    return read_description(run.find_weights(ema=ema), run.read_recipe()).temperature


def compile_step(
    method: Method, wrapped: nn.Module, recipe: TrainingRecipe
) -> Callable[[Batch], Step]:
    """The forward pass of a step, `method(wrapped, batch)`, compiled as one graph if asked for."""

    def compute(batch: Batch) -> Step:
        return method(wrapped, batch)

    if not recipe.compile:
        return compute
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    # The compiler leaves out by itself what cannot be recorded, and all of it off CUDA.
    fast = torch.compile(compute, mode="reduce-overhead" if recipe.cuda_graphs else "default")

    def checked(batch: Batch) -> Step:
        progress = torch.full((), float(batch.progress), device=batch.images.device)
        try:
            return fast(batch._replace(progress=progress))
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"training.compile: cannot compile here, set it to false: {reason}"
            ) from error

    return checked


def place_model(model: Classifier, recipe: Recipe, ranks: Ranks) -> Classifier:
    """The network on its device, in the recipe's memory format, ready for so many ranks.

    Raises:
        UserError: batch normalisation is to be shared by ranks without CUDA devices.
    """
    if recipe.training.sync_batch_norm and ranks.world_size > 1:
        if ranks.device.type != "cuda":
            raise UserError(
                "training.sync_batch_norm: needs CUDA devices for its ranks, set it to false on "
                f"'{ranks.device.type}'"
            )
        model = share_batch_statistics(model)
    return model.to(ranks.device).to(memory_format=choose_memory_format(recipe))


def share_batch_statistics(model: Classifier) -> Classifier:
    """The same network and parameters, batch normalisation computed over all ranks' images.

    Raises:
        UserError: the layer that the features are taken from is one that is replaced.
    """
    import timm.layers

    layer = model.network.get_submodule(str(model.layer))
    # timm's, since torch's own would leave out activations that timm's layers have within them.
    layers: Any = timm.layers
    model.network = layers.convert_sync_batchnorm(model.network)
    if model.network.get_submodule(str(model.layer)) is not layer:
        raise UserError(
            f"training.sync_batch_norm: would replace '{model.layer}', where the features are "
            "taken; name another model.features"
        )
    return model


def choose_memory_format(recipe: Recipe) -> torch.memory_format:
    """The order of images' and filters' dimensions in memory."""
    return torch.channels_last if recipe.training.channels_last else torch.contiguous_format
