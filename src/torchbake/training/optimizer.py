"""The optimizer that a recipe names."""

from collections.abc import Iterable

import torch
from torch import nn

from ..recipe import OptimizerRecipe


def make_optimizer(
    recipe: OptimizerRecipe, model: nn.Module, method: nn.Module
) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters of the model and of the method.

    Unless `decay_norm_and_bias`, weight decay leaves out vectors and scalars (biases, and the
    weights of normalisation layers) and what the network itself names in `no_weight_decay()`.
    """
    network = getattr(model, "network", model)
    named: Iterable[str] = getattr(network, "no_weight_decay", tuple)()
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for module in (network, method):
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                spare = parameter.ndim <= 1 or (module is network and name in named)
                (spared if spare and not recipe.decay_norm_and_bias else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # One pass over all parameters, on devices where torch has it.
    fused = all(p.device.type in ("cuda", "cpu") for p in (*decayed, *spared))
    if recipe.name == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=fused)
    return torch.optim.SGD(
        groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused
    )
