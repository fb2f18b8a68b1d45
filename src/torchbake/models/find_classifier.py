"""Which layer of a network makes the logits."""

from typing import Any

from torch import nn

from ..errors import UserError


def find_named_classifier(network: nn.Module, num_classes: int | None = None) -> str | None:
    """The name of the layer that makes the logits, where the network says which it is.

    timm's networks do by `get_classifier`, others by an attribute `fc`.

    Args:
        num_classes: its outputs, where that is known.
    """
    head: Any = getattr(network, "get_classifier", lambda: getattr(network, "fc", None))()
    if not isinstance(head, nn.Module):
        return None
    within = {id(module) for module in head.modules()}
    names = [
        name
        for name, module in network.named_modules()
        if id(module) in within and (outputs := count_outputs(module)) is not None
        if num_classes in (None, outputs)
    ]
    return names[0] if len(names) == 1 else None


def find_classifier(network: nn.Module) -> str:
    """The name of the last linear layer of a network of torchvision, timm or transformers.

    * where the network says which it is: that one;
    * in a network of transformers: the one with `config.num_labels` outputs outside its backbone;
    * in others: the linear layer that was registered last, or a 1×1 convolution in its place.

    Raises:
        UserError: there is none, or more than one.
    """
    named = find_named_classifier(network)
    if named is not None:
        return named
    layers = [name for name, layer in network.named_modules() if count_outputs(layer) is not None]
    backbone = getattr(network, "base_model_prefix", None)
    if backbone and hasattr(network, "config"):
        labels = getattr(network.config, "num_labels", None)
        layers = [
            name
            for name in layers
            if not name.startswith(f"{backbone}.")
            and count_outputs(network.get_submodule(name)) == labels
        ]
        if len(layers) > 1:
            raise UserError(_describe_several(layers))
    elif hasattr(network, "get_classifier"):  # of timm, and several or none
        get: Any = network.get_classifier
        heads = get()
        several = isinstance(heads, (tuple, list, nn.ModuleList))
        raise UserError(_describe_several(layers[-2:]) if several else _NONE)
    if not layers:
        raise UserError(_NONE)
    return layers[-1]


def count_outputs(layer: nn.Module) -> int | None:
    """The outputs of a linear layer or a 1×1 convolution; None of any other."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
        return layer.out_channels
    return None


_NONE = (
    "no linear layer that makes the logits was found in the model: name the layer whose input "
    "serves as features, as in named_modules()"
)


def _describe_several(layers: list[str]) -> str:
    names = ", ".join(f"'{name}'" for name in layers)
    return (
        f"the model makes logits by more than one layer ({names}): name the one whose input serves "
        "as features"
    )
