"""The figures of a run's networks, as they are now, on its test and validation images."""

import torch.distributed as dist
from torch import nn

from ..calibration import fit_temperature
from ..data.sources.base import Split
from ..evaluation import LabelledLogits, measure, measure_by_class, measure_scaled
from .memory import collect_within_memory
from .network import PRECISIONS
from .setup import Setup

AVERAGED = "ema_"
"""What stands before the names of the moving average's figures."""


def list_networks(setup: Setup) -> dict[str, nn.Module]:
    """The networks that are evaluated and saved, by what stands before their figures' names."""
    networks: dict[str, nn.Module] = {"": setup.model}
    if setup.average is not None:
        networks[AVERAGED] = setup.average.network
    return networks


def evaluate_networks(setup: Setup) -> dict[str, float]:
    """Measure the model on all ranks' test images, and the EMA, whose figures are named `ema_…`.

    With validation images there are their figures, named `validation_…`, and the `temperature`
    fitted on them, by which the figures on the test images are scaled; else see `measure_scaled`.
    """
    figures: dict[str, float] = {}
    source = setup.data.source
    for prefix, model in list_networks(setup).items():
        if setup.ranks.world_size > 1:  # statistics of normalisation are those that are saved
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
        tested = _collect(setup, model, source.test)
        measured = measure(tested) | measure_by_class(tested)
        if source.validation is None:
            measured |= measure_scaled(tested)
        else:
            held_out = _collect(setup, model, source.validation)
            temperature = fit_temperature(held_out.logits, held_out.labels)
            measured |= measure_scaled(tested, temperature) | {"temperature": temperature}
            own = measure(held_out) | measure_by_class(held_out)
            measured |= {f"validation_{name}": value for name, value in own.items()}
        figures |= {prefix + name: value for name, value in measured.items()}
    setup.forwards.take()  # those of evaluation do not count
    return figures


def _collect(setup: Setup, model: nn.Module, split: Split) -> LabelledLogits:
    ranks = setup.ranks
    share = (ranks.device, ranks.rank, ranks.world_size)
    return collect_within_memory(
        model,
        lambda size: setup.data.share_batches(split, size, *share),
        ranks.device,
        PRECISIONS[setup.recipe.training.precision],
    )
