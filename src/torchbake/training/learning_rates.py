"""The learning rates of a network's parts, as factors of the one that the schedule gives."""

from typing import Any

from torch import nn

from ..errors import UserError
from ..models.classifier import Classifier
from ..recipe import OptimizerRecipe


def scale_parts(
    recipe: OptimizerRecipe, model: nn.Module, method: nn.Module
) -> dict[nn.Parameter, float]:
    """The factor of each parameter's learning rate, where it is not 1.

    With `layer_decay` d, layer i of n of the network has d^(n − i) (Clark et al., arXiv 2003.10555;
    the layers are those of timm's `group_matcher`). With `head_lr`, the classifier and what the
    method itself trains have that rate.

    Raises:
        UserError: timm does not tell the layers of the network apart, or its classifier is not
            known.
    """
    scales: dict[nn.Parameter, float] = {}
    network = model.network if isinstance(model, Classifier) else model
    if recipe.layer_decay is not None:
        scales |= _decay_by_layer(recipe.layer_decay, network)
    if recipe.head_lr is not None:
        head = model.list_head() if isinstance(model, Classifier) else ()
        named = [
            parameter
            for name, parameter in network.named_parameters()
            if any(name.startswith(f"{layer}.") for layer in head)
        ]
        if not named:
            raise UserError(
                "optimizer.head_lr: the network's classifier is not known; name model.classifier "
                "instead of model.features"
            )
        for parameter in (*named, *method.parameters()):
            scales[parameter] = recipe.head_lr / recipe.lr
    return scales


def _decay_by_layer(decay: float, network: nn.Module) -> dict[nn.Parameter, float]:
    if not hasattr(network, "group_matcher"):
        raise UserError(
            f"optimizer.layer_decay: the layers of {type(network).__name__} are not known; timm's "
            "networks tell theirs by group_matcher()"
        )
    import timm.optim

    optim: Any = timm.optim
    groups = optim.param_groups_layer_decay(network, layer_decay=decay)
    return {
        parameter: group["lr_scale"]
        for group in groups
        for parameter in group["params"]
        if group["lr_scale"] != 1
    }
