"""Further arguments of a network, checked before anything is opened."""

import re
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter, signature
from typing import Any

import torch

from .._own_code import import_object
from ..errors import UserError, did_you_mean
from .networks import NETWORKS

FROM_DATA = ("num_classes", "in_chans")
"""Arguments that the data decide."""


def check_arguments(name: str, arguments: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse arguments that a network does not take, as far as that can be told without data.

    Args:
        name: of the network, as for `create_model`.
        known: other keys of a recipe's `model` section, which may have been meant.

    Raises:
        UserError: an argument that it does not take, or that the data decide.
    """
    for key in FROM_DATA:
        if key in arguments:
            raise UserError(f"model.{key}: follows from the data; leave it out")
    if name.startswith(("hf-hub:", "hf_hub:")):
        return  # what it takes is known when it is there
    if ":" in name or name in NETWORKS:
        make = import_object(name, "model.name") if ":" in name else None
        taken = [] if make is None else _list_named(make)
        if taken is not None:
            _refuse(next((key for key in arguments if key not in taken), None), known, taken)
        return
    import timm

    if not timm.is_model(name.partition(".")[0]):
        return
    try:
        # Without memory for its weights.
        with torch.device("meta"):
            timm.create_model(name, **arguments)
    except TypeError as error:
        refuse_unexpected(error, known, _list_of_timm(name))
    except Exception:  # it cannot be made so; where weights have memory, the reason shows
        return


def refuse_unexpected(
    error: Exception, known: Collection[str] = (), taken: Collection[str] = ()
) -> None:
    """Raise UserError if Python's error is about an argument that a network does not take."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    _refuse(found[1] if found else None, known, taken)


def _refuse(key: str | None, known: Collection[str], taken: Collection[str]) -> None:
    if key is not None:
        hint = did_you_mean(key, [*known, *taken]).replace("mean '", "mean 'model.")
        raise UserError(
            f"model.{key}: unknown key, and no argument of the network"
            + (hint or f"; known: {', '.join(sorted(f'model.{each}' for each in known))}")
        )


def _list_named(make: Callable[..., Any]) -> list[str] | None:
    """The arguments that a callable takes by name; None if it takes any."""
    try:
        parameters = signature(make).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind == Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [
        parameter.name for parameter in parameters if parameter.kind != Parameter.POSITIONAL_ONLY
    ]


def _list_of_timm(name: str) -> list[str]:
    import timm

    with torch.device("meta"):
        network = timm.create_model(name)
    return [key for key in _list_named(type(network)) or () if key not in FROM_DATA]
