"""One step of training: a batch, in parts where it must be, to an update of the weights."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..data.loaders import Labelled
from ..data.mixing import mixed
from ..methods import Batch
from ..randomness import seed_for
from ..recipe import Recipe
from .distributed import Ranks, share_gradients
from .network import PRECISIONS
from .parts import Parts
from .window import Window


def update(
    recipe: Recipe,
    parts: Parts,
    ranks: Ranks,
    window: Window,
    drawn: Labelled,
    lr: float,
    number: int,
    enter: Callable[[str], None] = lambda phase: None,
) -> None:
    """Step `number` of the optimizer, on one batch.

    Args:
        enter: called with the name of each phase where it begins, see `phases.PHASES`.
    """
    enter("rest")
    # Dropout and the like: a function of the step, so that nothing has to be remembered.
    torch.manual_seed(seed_for("step", recipe.seed, number, ranks.rank))
    for group in parts.optimizer.param_groups:
        group["lr"] = lr
    precision = PRECISIONS[recipe.training.precision]
    pieces = _pieces(drawn, recipe.training.accumulate)
    mixing = recipe.data.mixup > 0 or recipe.data.cutmix > 0
    for part, piece in enumerate(pieces):
        waiting = piece is not pieces[-1] and isinstance(parts.wrapped, DistributedDataParallel)
        batch = Batch(*piece, progress=number / parts.total)
        if mixing:
            images, targets = mixed(
                piece.images,
                piece.labels,
                recipe.data,
                len(parts.data.source.classes),
                parts.method.partners,
                *(recipe.seed, number, part, ranks.rank),
            )
            batch = batch._replace(images=images, mixed=targets)
        if recipe.training.channels_last:
            images = batch.images.contiguous(memory_format=torch.channels_last)
            batch = batch._replace(images=images)
        with parts.wrapped.no_sync() if waiting else nullcontext():  # type: ignore[operator]
            enter("target")
            with torch.autocast(ranks.device.type, dtype=precision, enabled=precision is not None):
                step = parts.compute(batch)
            enter("backward")
            parts.scaler.scale(step.loss / len(pieces)).backward()
        enter("rest")
        window.add(step, piece.labels)
    share_gradients(parts.method, ranks)
    enter("optimizer")
    if recipe.optimizer.clip_grad_norm is not None:
        parts.scaler.unscale_(parts.optimizer)
        parameters = [p for group in parts.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, recipe.optimizer.clip_grad_norm)
    parts.scaler.step(parts.optimizer)
    parts.scaler.update()
    parts.optimizer.zero_grad(set_to_none=True)
    if parts.average is not None:
        parts.average.update_parameters(parts.model)


def _pieces(batch: Labelled, count: int) -> list[Labelled]:
    """A batch in parts of equal size; the recipe sees to it that they hold whole groups."""
    images = batch.images.unflatten(0, (-1, len(batch.labels)))  # views, images, …
    parts = (images.chunk(count, dim=1), batch.labels.chunk(count), batch.indices.chunk(count))
    return [Labelled(x.flatten(0, 1), y, i) for x, y, i in zip(*parts, strict=True)]
