"""Labels by which torch.profiler shows the phases of a training step."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.profiler import record_function

from ..batch import Batch

PREFIX = "torchbake."


def label(name: str) -> AbstractContextManager[Any]:
    """A range `torchbake.NAME` in what torch.profiler records; nothing if none is at work.

    `record_function` by itself takes 30 µs on a slow core even if nobody profiles.
    """
    if torch.autograd.profiler._is_profiler_enabled:
        return record_function(PREFIX + name)
    return nullcontext()


def label_waits(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same batches, with the label `data` on the wait for each."""
    waiting = iter(batches)
    while True:
        with label("data"):
            batch = next(waiting, None)
        if batch is None:
            return
        yield batch
