"""What the parts of a run take, measured by doing some of each before it begins."""

import tempfile
import time
from collections.abc import Generator
from contextlib import closing
from copy import deepcopy
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from ..batch import Batch
from .belongings import make_manifest
from .checkpoint import write_checkpoint
from .evaluating import list_networks
from .files import copy_to_host
from .memory import collect_within_memory
from .meters import Meters
from .network import PRECISIONS
from .optimizer import compute_lr
from .setup import Setup, State
from .step import update

WARM_UP = 3
"""First steps, which are not counted: they compile, choose kernels and fill queues."""

MEASURED = 0.02
"""Share of the time that is spent on measuring steps, ..."""
LONGEST, MOST = 20.0, 200
"""... but at most so many seconds, and so many steps."""

EVALUATED = 1000
"""Images of a split from whose evaluation that of all is extrapolated."""


class Times(NamedTuple):
    """Seconds of one step, of beginning an epoch, of an evaluation, and of a checkpoint."""

    step: float
    epoch: float
    evaluation: float
    checkpoint: float


def measure_times(setup: Setup, folder: Path, limit: float) -> Times:
    """The seconds of each part of the run; networks and optimizer are left as they were found."""
    # A copy, also of what lies in the host's memory and would be trained there.
    before = deepcopy(copy_to_host(setup.checkpoint(State())))
    setup.watch.begin()
    noted = [(module, _list_plain(module)) for module in setup.method.modules()]
    step, epoch = _time_steps(setup, min(LONGEST, MEASURED * limit))
    checkpoint = _time_checkpoint(setup, folder)
    setup.load_checkpoint(before)
    for module, values in noted:
        vars(module).update(values)
    evaluation = _time_evaluation(setup)
    setup.forwards.take()
    return Times(step, epoch, evaluation, checkpoint)


def _list_plain(module: nn.Module) -> dict[str, Any]:
    """Plain attributes, by which a method may remember what its buffers say."""
    plain = (bool, int, float, str, type(None))
    return {name: value for name, value in vars(module).items() if isinstance(value, plain)}


def _time_steps(setup: Setup, seconds: float) -> tuple[float, float]:
    """Seconds of a step, and until the first batch of an epoch."""
    ranks, meters = setup.ranks, Meters(setup.ranks)
    lr = compute_lr(setup.recipe.schedule, setup.recipe.optimizer.lr, 0, setup.total)
    with closing(_draw_batches(setup)) as batches:
        for number, batch in enumerate(islice(batches, WARM_UP)):
            update(setup, batch, lr, number, meters)
        meters.close()  # waits for the device
        done, spent, part = 0, 0.0, 1
        while not _agree(done >= MOST or spent >= seconds, setup):
            began = time.perf_counter()
            for batch in islice(batches, part):
                update(setup, batch, lr, 0, meters)
            meters.close()
            spent += time.perf_counter() - began
            done += part
            part = min(2 * part, MOST - done) or 1
    began = time.perf_counter()
    with closing(iter(setup.loader.batches(0))) as first:  # type: ignore[type-var]
        next(first)
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    return spent / done, time.perf_counter() - began


def _draw_batches(setup: Setup) -> Generator[Batch, None, None]:
    for epoch in count():
        yield from setup.loader.batches(epoch)


def _agree(own: bool, setup: Setup) -> bool:
    """What the first rank says."""
    if setup.ranks.world_size == 1:
        return own
    said = torch.tensor(int(own), device=setup.ranks.device)
    dist.broadcast(said, 0)
    return bool(said)


def _time_checkpoint(setup: Setup, folder: Path) -> float:
    """Seconds of writing a checkpoint to the disk on which the run is to lie."""
    began = time.perf_counter()
    state = setup.checkpoint(State())
    if setup.ranks.first:
        place = next(path for path in folder.absolute().parents if path.is_dir())
        source, ranks = setup.data.source, setup.ranks
        manifest = make_manifest(
            setup.recipe, source, setup.teachers, ranks.device.type, ranks.world_size
        )
        with tempfile.TemporaryDirectory(dir=place) as there:
            write_checkpoint(Path(there), state, manifest(0, False), keep_all=False)
    return time.perf_counter() - began


def _time_evaluation(setup: Setup) -> float:
    """Seconds of evaluating all networks on the test and validation images."""
    ranks, source, seconds = setup.ranks, setup.data.source, 0.0
    for network in list_networks(setup).values():
        for split in filter(None, (source.test, source.validation)):
            numbers = torch.arange(0, len(split), max(1, -(-len(split) // EVALUATED)))
            own = numbers[ranks.rank :: ranks.world_size]
            began = time.perf_counter()
            collect_within_memory(
                network,
                partial(setup.data.plain_batches, split, own, device=ranks.device),
                ranks.device,
                PRECISIONS[setup.recipe.training.precision],
            )
            seconds += (time.perf_counter() - began) * len(split) / len(numbers)
    return seconds
