"""Work of the loader that is done beforehand, while a device trains."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, Generic, TypeVar

import torch

from ...batch import Batch
from ..transfer import runs_beside_host

T = TypeVar("T")


def prefetch(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches; on CUDA each is made on a stream of its own, one ahead of its use.

    So its copies and its augmentation run beside the training step of the batch before it. The
    stream at work waits for a batch that it is given, and PyTorch keeps the batch's memory until
    that stream has done what it was asked for when the batch was dropped.
    """
    if not runs_beside_host(device):
        yield from batches
        return
    side = find_side_stream(device)
    # The first batch may be made of what the stream at work has still to write.
    side.wait_stream(torch.cuda.current_stream(device))

    def make_next() -> tuple[Batch | None, torch.cuda.Event]:
        with torch.cuda.stream(side):
            batch = next(batches, None)
        return batch, side.record_event()

    batch, made = make_next()
    while batch is not None:
        following = make_next()
        at_work = torch.cuda.current_stream(device)
        at_work.wait_event(made)
        for tensor in (batch.images, batch.labels, batch.indices):
            tensor.record_stream(at_work)
        yield batch
        batch, made = following


@cache
def find_side_stream(device: torch.device) -> Any:
    """The torch.cuda.Stream on which batches are made, one a device, since each keeps memory."""
    return torch.cuda.Stream(device)


class Ahead(Generic[T]):
    """What belongs to an epoch, made in a thread before it is asked for.

    It keeps no reference to what makes it: a loader that holds this must end when it is dropped.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "torchbake-ahead")
        self._begun: tuple[int, Future[T]] | None = None

    def begin(self, make: Callable[[int], T], epoch: int) -> None:
        """Begin with `make(epoch)`, a pure function of the epoch, unless it has been begun."""
        if self._begun is None or self._begun[0] != epoch:
            self._begun = epoch, self._thread.submit(make, epoch)

    def take(self, make: Callable[[int], T], epoch: int) -> T:
        """`make(epoch)`: what was begun, waited for if need be, or made now."""
        begun, self._begun = self._begun, None
        return begun[1].result() if begun and begun[0] == epoch else make(epoch)
