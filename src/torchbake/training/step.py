"""One step of training: from a batch, in pieces where it must be, to an update of the weights."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..batch import Batch
from ..data.augment.mixing import mix_batch
from ..randomness import derive_seed
from .distributed import share_gradients
from .labels import label
from .meters import LEFT_OUT, WORST, Meters
from .network import PRECISIONS, choose_memory_format
from .setup import Setup


def update(setup: Setup, batch: Batch, lr: float, number: int, meters: Meters) -> None:
    """Step `number` of the optimizer, on one batch."""
    recipe, ranks = setup.recipe, setup.ranks
    # Dropout and the like: a function of the step, so that nothing has to be remembered.
    torch.manual_seed(derive_seed("step", recipe.seed, number, ranks.rank))
    for group in setup.optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    if setup.guard is not None:
        setup.guard.keep()
    precision = PRECISIONS[recipe.training.precision]
    losses = []
    pieces = _split(batch, recipe.training.accumulate)
    for index, piece in enumerate(pieces):
        waiting = piece is not pieces[-1] and isinstance(setup.wrapped, DistributedDataParallel)
        piece = _prepare(setup, piece, number, index)
        with setup.wrapped.no_sync() if waiting else nullcontext():  # type: ignore[operator]
            autocast = torch.autocast(
                ranks.device.type, dtype=precision, enabled=precision is not None
            )
            with label("method"), autocast:
                step = setup.compute(piece)
            with label("backward"):
                setup.scaler.scale(step.loss / len(pieces)).backward()
        meters.add(step, piece.labels)
        losses.append(step.loss)
    share_gradients(setup.method, ranks)
    with label("optimizer"):
        further = _change_weights(setup, losses)
    meters.end_step(number, further)


def _change_weights(setup: Setup, losses: list[Tensor]) -> dict[str, Tensor]:
    """The optimizer's step, with what goes before it and follows from it.

    Returns:
        What the meters keep of the step as a whole.
    """
    further = {}
    if setup.guard is not None:
        further[LEFT_OUT] = setup.guard.judge(losses)
    clip = setup.recipe.optimizer.clip_grad_norm
    if clip is not None:
        setup.scaler.unscale_(setup.optimizer)
        parameters = [p for group in setup.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, clip)
    if setup.guard is not None:
        setup.guard.step(further[LEFT_OUT])
        setup.guard.restore(further[LEFT_OUT])
    else:
        setup.scaler.step(setup.optimizer)
    setup.scaler.update()
    setup.optimizer.zero_grad(set_to_none=True)
    if setup.average is not None:
        setup.average.update(setup.model)
    further[WORST] = setup.watch.look_at_networks()
    return further


def _prepare(setup: Setup, piece: Batch, number: int, index: int) -> Batch:
    """The piece as the method takes it: mixed if asked for, in the right type and memory format."""
    recipe = setup.recipe
    images, mixed = piece.images, None
    if recipe.data.mixup or recipe.data.cutmix:
        images, mixed = mix_batch(
            images,
            piece.labels,
            recipe.data,
            len(setup.data.source.classes),
            setup.method.partners,
            *(recipe.seed, number, index, setup.ranks.rank),
        )
    dtype = PRECISIONS[recipe.training.precision] or torch.float32
    images = images.to(dtype, memory_format=choose_memory_format(recipe))
    return piece._replace(images=images, mixed=mixed, progress=number / setup.total)


def _split(batch: Batch, count: int) -> list[Batch]:
    """A batch in pieces of equal size; the recipe sees to it that they hold whole groups."""
    images = batch.images.unflatten(0, (-1, len(batch.labels)))  # views, images, …
    pieces = (images.chunk(count, dim=1), batch.labels.chunk(count), batch.indices.chunk(count))
    return [Batch(x.flatten(0, 1), y, i) for x, y, i in zip(*pieces, strict=True)]
