"""The optimizer that a recipe names."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ..recipe import OptimizerRecipe, ScheduleRecipe
from .learning_rates import scale_parts


def make_optimizer(
    recipe: OptimizerRecipe, model: nn.Module, method: nn.Module
) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters of the model and of the method.

    Unless `decay_norm_and_bias`, weight decay leaves out vectors and scalars (biases, and the
    weights of normalisation layers) and what the network itself names in `no_weight_decay()`.

    A group's learning rate is `lr_scale` times the schedule's, where it has one (see
    `scale_parts`).
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
    scales = scale_parts(recipe, model, method)
    groups = [
        *_group_by_scale(decayed, scales, recipe.weight_decay),
        *_group_by_scale(spared, scales, 0.0),
    ]
    # One pass over all parameters, on devices where torch has it.
    fused = all(p.device.type in ("cuda", "cpu") for p in (*decayed, *spared))
    if recipe.name == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=fused)
    sgd = torch.optim.SGD(
        groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused
    )
    if fused and recipe.momentum:
        # The same numbers as SGD's own first step, which leaves memory as it finds it, instead of
        # momentum, where a gradient scaler has that step left out.
        for parameter in (*decayed, *spared):
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def _group_by_scale(
    parameters: list[nn.Parameter], scales: Mapping[nn.Parameter, float], weight_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups, one for each factor of the learning rate."""
    groups: dict[float, dict[str, Any]] = {}
    for parameter in parameters:
        scale = scales.get(parameter, 1.0)
        group = groups.setdefault(scale, {"params": [], "weight_decay": weight_decay})
        if scale != 1:
            group["lr_scale"] = scale
        group["params"].append(parameter)
    return list(groups.values())


def compute_lr(schedule: ScheduleRecipe, lr: float, step: int, total: int) -> float:
    """The learning rate of update `step` (from 0) of `total`.

    During the first `warmup_steps`, or the share `warmup` of all, it rises linearly from
    `warmup_start × lr`; then

    * `constant`: it stays at `lr`;
    * `step`: it is multiplied by `gamma` from each milestone on (a fraction of `total`);
    * `cosine`: it falls along half a cosine to `final × lr` (Loshchilov and Hutter, 1608.03983);
    * `one-cycle`: it rises along half a cosine from `warmup_start × lr` until `peak × total`,
      and falls likewise to `final × lr` (Smith and Topin, 1708.07120).
    """
    warmup = schedule.warmup_steps or round(schedule.warmup * total)
    if step < warmup:
        start = schedule.warmup_start
        return lr * (start + (1 - start) * step / warmup)
    if schedule.name == "constant":
        return lr
    if schedule.name == "step":
        passed = sum(step >= milestone * total for milestone in schedule.milestones)
        return lr * schedule.gamma**passed
    done = (step - warmup) / max(total - warmup, 1)
    if schedule.name == "one-cycle":
        if done < schedule.peak:
            return lr * _interpolate(schedule.warmup_start, 1.0, done / schedule.peak)
        done = (done - schedule.peak) / (1 - schedule.peak)
    return lr * _interpolate(1.0, schedule.final, done)


def _interpolate(start: float, end: float, done: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
