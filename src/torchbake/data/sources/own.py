"""Data sets that a user's own function opens, named `module:function`."""

from typing import TYPE_CHECKING

import torch

from ..._own_code import explain_error, import_object
from ...errors import UserError
from .base import Source, Split

if TYPE_CHECKING:
    from ...recipe import DataRecipe


def open_own_source(recipe: "DataRecipe", hint: str = "") -> Source:
    """What the function that `recipe.name` names returns for the recipe, checked.

    Args:
        hint: see `import_object`.

    Raises:
        UserError: there is no such function, it fails, or it returns no usable `Source`.
    """
    name = recipe.name
    open_own = import_object(name, "data.name", hint)
    if not callable(open_own):
        raise UserError(
            f"data.name: '{name}' is no data source: expected a function that takes the recipe's "
            f"data section, got {open_own!r}"
        )
    try:
        source = open_own(recipe)
    except Exception as error:
        raise UserError(f"data.name: '{name}' failed: {explain_error(error)}") from error
    if not isinstance(source, Source):
        raise UserError(
            f"data.name: '{name}' must return a torchbake.data.Source, returned "
            f"{type(source).__name__}"
        )
    classes = source.classes
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
        raise UserError(f"{name}: classes must be a list of names, got {classes!r}")
    for kind, split in (("train", source.train), ("test", source.test)):
        _check_split(split, f"{name}: {kind}", recipe)
    if source.validation is not None:
        _check_split(source.validation, f"{name}: validation", recipe)
    return source


def _check_split(split: Split, what: str, recipe: "DataRecipe") -> None:
    """Raise UserError unless the labels and the first image are what a `Split` holds."""
    if not isinstance(split, Split):
        raise UserError(f"{what} must be a torchbake.data.Split, got {type(split).__name__}")
    labels = split.labels
    if not isinstance(labels, torch.Tensor) or labels.ndim != 1 or labels.dtype != torch.int64:
        raise UserError(f"{what} labels must be class numbers, a tensor (n,) of int64")
    if not len(labels):
        return  # refused as of any data set
    try:
        first = split.load(0)
    except Exception as error:
        raise UserError(f"{what} image 0 cannot be loaded: {explain_error(error)}") from error
    if not isinstance(first, torch.Tensor) or first.ndim != 3 or first.dtype != torch.uint8:
        raise UserError(f"{what} image 0 must be a tensor (ch, h, w) of uint8")
    expected = (1, 3) if recipe.channels is None else (recipe.channels,)
    if first.shape[0] not in expected:
        raise UserError(
            f"{what} image 0 must have {' or '.join(map(str, expected))} channel(s) "
            f"(data.channels), has {first.shape[0]}"
        )
    shape = None if split.pixels is None else tuple(split.pixels.shape)
    if shape is not None and shape != (len(labels), *first.shape):
        raise UserError(f"{what} pixels must be {(len(labels), *first.shape)}, are {shape}")
