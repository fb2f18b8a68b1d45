"""A DataLoader that can be resumed behind the batch that the loop used last."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from ..randomness import derive_seed
from .class_groups import ClassGroupedBatchSampler
from .numbered import NumberedBatch


class ResumableDataLoader(DataLoader[Any]):
    """A DataLoader of class groups whose state is the place behind the batch that was used last.

    >>> loader = ResumableDataLoader(dataset, ClassGroupedBatchSampler(labels, 64, partners=3))

    Lightning asks a loader for `state_dict` and `load_state_dict`, and keeps the state in its own
    checkpoints; your own loop does the same in a line each. Batches that workers have loaded ahead
    are loaded again.

    Random transforms of the dataset are resumed, too: before a batch is loaded, the generators of
    torch, `random` and NumPy are seeded from the sampler's seed, the epoch, the batch and the
    rank, whatever the number of workers. The main process gets its own states back afterwards. A
    dataset that keeps a generator of its own is not reached.

    Args:
        dataset: maps an image number to an item.
        batch_sampler: draws the batches.
        options: further arguments of `DataLoader`.
    """

    def __init__(
        self, dataset: Any, batch_sampler: ClassGroupedBatchSampler, **options: Any
    ) -> None:
        super().__init__(SeededDataset(dataset), batch_sampler=batch_sampler, **options)
        self._used: int | None = None  # batches of the latest iteration; None: the sampler knows

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for used, batch in enumerate(super().__iter__(), 1):
            self._used = used
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """As of the batch sampler, for trainers that look for it here."""
        self._sampler.set_epoch(epoch)
        self._used = None

    def state_dict(self) -> dict[str, int]:
        """The seed, the epoch, and how many of its batches the loop has used."""
        return self._sampler.state_dict(self._used)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state_dict` was taken."""
        self._sampler.load_state_dict(state)
        self._used = None

    @property
    def _sampler(self) -> ClassGroupedBatchSampler:
        sampler: Any = self.batch_sampler
        return sampler


class SeededDataset(Dataset[Any]):
    """A dataset whose random transforms depend on the batch and on nothing that came before.

    Attributes that it lacks are the dataset's.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, batch: list[int]) -> list[Any]:
        with _seeded(batch.key if isinstance(batch, NumberedBatch) else None):
            if hasattr(self.dataset, "__getitems__"):
                items: list[Any] = self.dataset.__getitems__(list(batch))
                return items
            return [self.dataset[index] for index in batch]

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):  # not there yet, as while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)


@contextmanager
def _seeded(key: tuple[int | str, ...] | None) -> Iterator[None]:
    """Within it, all global random generators start from the key; a worker's stay changed."""
    if key is None:
        yield
        return
    numpy = sys.modules.get("numpy")
    alone = get_worker_info() is None
    before = (random.getstate(), numpy and numpy.random.get_state()) if alone else None
    seed = derive_seed(*key)
    with torch.random.fork_rng(devices=[], enabled=alone):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        if numpy:
            numpy.random.seed(seed)
        try:
            yield
        finally:
            if before is not None:
                random.setstate(before[0])
                if numpy:
                    numpy.random.set_state(before[1])
