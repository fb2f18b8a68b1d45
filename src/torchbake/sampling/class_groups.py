"""Batches in which images find others of their class."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch.utils.data import Sampler

from .._shapes import Int, Tensor
from ..randomness import make_generator
from .balancing import draw_balanced
from .grouping import draw_order, number_classes
from .numbered import NumberedBatch
from .sharding import check_divided_once


class ClassGroupedBatchSampler(Sampler[list[int]]):
    """Draws batches made of class groups: an image and up to `partners` others of its class.

    >>> sampler = ClassGroupedBatchSampler(labels, batch_size=128, partners=3)
    >>> loader = DataLoader(dataset, batch_sampler=sampler)

    arXiv 2104.13298, section 3, draws M classmates for each image; `epoch="anchors"` is its
    epoch, `epoch="images"` is ours:

    * `"images"`: every image exactly once an epoch, arranged in groups of `partners + 1` of one
      class. What does not divide makes one smaller group a class.
    * `"anchors"`: every image once as an anchor, followed by `partners` others of its class, so
      that an epoch has `partners + 1` times the images. They are drawn without replacement; only
      a class with fewer others repeats them, each as often as the next. An image without a
      classmate stays alone.

    With `balanced`, each class is drawn equally often, in as many images an epoch as without. It
    gets as many groups as any other class, or one more, all of them whole but for one at most;
    which classes get one more is another random choice in each epoch. Within a class, no image is
    drawn twice before all are drawn, and none meets itself in a group unless the class has fewer
    images than a group.

    Group members are contiguous (a, p, p, a, p, p). Every batch has exactly `batch_size` images,
    except a last one; smaller groups are joined to fill the place of a whole one where they can.
    A group is cut only where groups cannot be made to fill a place: when `batch_size` is no
    multiple of `partners + 1`, and a few for what smaller groups leave over. Which images come
    last, and with `drop_last` not at all, is another random choice in each epoch.

    The epoch's batches are a pure function of (labels, seed, epoch, batch_size × world_size).
    Rank r of w takes the r-th part of each batch of `batch_size × w` images; all ranks have the
    same number of batches. Without `drop_last` the last, smaller batch is divided among the
    ranks; has it fewer images than there are ranks, they are repeated so that none goes without.

    A new iteration begins the next epoch when its first batch is drawn, whether or not the one
    before came to its end, unless `set_epoch` or `load_state_dict` has said which. Trainers that
    look for `set_epoch` at `.sampler` find it there too. Images are counted alike for every method
    by `images_per_epoch`.

    Do not let a trainer divide the batches once more. With Accelerate, and so with the Hugging
    Face Trainer, either leave the loader unprepared, or pass rank=0, world_size=1 and let it be
    prepared; with Lightning, make the sampler in `train_dataloader` and pass the trainer
    `use_distributed_sampler=False`.

    Args:
        labels: (n,) class numbers: integers in a tensor, an array or a sequence.
        batch_size: images a batch and rank, partners included.
        partners: others of its class beside each image, M in the paper; 0 shuffles all images.
        epoch: what an epoch counts, `"images"` or `"anchors"`.
        seed: of the order.
        rank, world_size: this process among how many; by default torch.distributed's, or 0 of 1.
        drop_last: leave out the last batch if it is smaller.
        balanced: draw each class equally often.

    Raises:
        ValueError: labels that are not whole numbers in one dimension, settings out of range, or
            `drop_last` with fewer images than one batch.
        RuntimeError: when it is drawn from, if Accelerate divides the batches once more.
    """

    def __init__(
        self,
        labels: Tensor | Sequence[int] | Any,
        batch_size: int,
        *,
        partners: int = 1,
        epoch: Literal["images", "anchors"] = "images",
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
        balanced: bool = False,
    ) -> None:
        distributed = dist.is_available() and dist.is_initialized()
        self._alone_by_default = world_size is None and not distributed
        if world_size is None:
            world_size = dist.get_world_size() if distributed else 1
        if rank is None:
            rank = dist.get_rank() if distributed else 0
        self._classes = number_classes(labels)
        if partners < 0:
            raise ValueError(f"partners must be at least 0, got {partners}")
        if batch_size <= partners:
            raise ValueError(
                f"batch_size must have room for a group of partners + 1 = {partners + 1} images, "
                f"got {batch_size}"
            )
        if epoch not in ("images", "anchors"):
            raise ValueError(f'epoch must be "images" or "anchors", got {epoch!r}')
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, {world_size}), the world size, got {rank}")
        self.batch_size = batch_size
        self.partners = partners
        self.kind = epoch
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.drop_last = drop_last
        self.balanced = balanced
        # What the next iteration begins with, where that has been said: (epoch, batches to skip).
        self._next: tuple[int, int] | None = (0, 0)
        self._finished: int | None = None  # an epoch that a loaded state calls complete
        self._place = (0, 0)  # where the latest iteration is: (epoch, batches drawn)
        self._start = 0  # how many batches of its epoch it skipped
        self._iterations = 0

        self._total = len(self._classes)
        if epoch == "anchors":
            alone = int((self._classes.bincount() == 1).sum())
            self._total = (self._total - alone) * (partners + 1) + alone
        if len(self) == 0:
            raise ValueError(
                f"drop_last leaves no batch: an epoch has {self._total} images, one batch of all "
                f"ranks {batch_size * world_size}"
            )

    def __len__(self) -> int:
        """Batches an epoch, the same on every rank."""
        full, rest = divmod(self._total, self.batch_size * self.world_size)
        return full + (rest > 0 and not self.drop_last)

    @property
    def images_per_epoch(self) -> int:
        """Images an epoch over all ranks, partners included."""
        size = self.batch_size * self.world_size
        return self._total - self._total % size if self.drop_last else self._total

    @property
    def sampler(self) -> "ClassGroupedBatchSampler":
        """This sampler: Lightning and Accelerate set the epoch of a `batch_sampler.sampler`."""
        return self

    @property
    def epoch(self) -> int:
        """The epoch of the next batch."""
        return self.state_dict()["epoch"]

    def __iter__(self) -> Iterator[list[int]]:
        check_divided_once(self.world_size, by_default=self._alone_by_default)
        epoch, first = self._next or (self._place[0] + 1, 0)
        self._next = self._finished = None
        self._place = epoch, first
        self._start = first
        self._iterations += 1
        this = self._iterations
        for drawn, batch in enumerate(self.batches(epoch)[first:], first + 1):
            if this == self._iterations:  # a newer one may have begun meanwhile
                self._move_to(epoch, drawn)
            key = "load", self.seed, epoch, drawn, self.rank
            yield NumberedBatch(batch.tolist(), key)

    def _move_to(self, epoch: int, drawn: int) -> None:
        self._place = epoch, drawn
        if self._next == (epoch, 0):
            self._next = None  # set_epoch came late, and meant this iteration

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of this epoch.

        It begins at the epoch's start; after `load_state_dict`, if the state is of this epoch, at
        the state's place, so that nothing is left of an epoch that was complete.
        """
        if self._next is None or self._next[0] != epoch:
            self._next = epoch, len(self) if epoch == self._finished else 0

    def state_dict(self, used: int | None = None) -> dict[str, int]:
        """Where the drawing is: the seed, the epoch and the number of batches drawn in it.

        After an epoch's last batch it is the start of the next epoch.

        Args:
            used: how many batches of the latest iteration the loop has used, if not all that were
                drawn: a DataLoader with workers draws ahead. `ResumableDataLoader` counts them.
        """
        epoch, drawn = self._next or self._place
        if used is not None:
            epoch, drawn = self._place[0], self._start + used
        if drawn == len(self):
            epoch, drawn = epoch + 1, 0
        return {"seed": self.seed, "epoch": epoch, "batch": drawn}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state_dict` was taken: the next iteration starts behind that batch.

        Behind an epoch's last batch that is the next epoch.
        """
        if state["seed"] != self.seed:
            raise ValueError(
                f"the state was taken with seed {state['seed']}, this sampler has {self.seed}"
            )
        if not 0 <= state["batch"] <= len(self):
            raise ValueError(f"batch must be in [0, {len(self)}], got {state['batch']}")
        complete = state["batch"] == len(self)
        self._finished = state["epoch"] if complete else None
        self._next = (state["epoch"] + 1, 0) if complete else (state["epoch"], state["batch"])

    def batches(self, epoch: int) -> list[Int[Tensor, " batch"]]:
        """All of this rank's batches of an epoch, as image numbers."""
        return self._cut(self._order(epoch))

    def numbered_batches(
        self, epoch: int
    ) -> list[tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]]:
        """`batches(epoch)`, and how often the epoch had each image before, on any rank.

        With `epoch="anchors"` an image comes again as a partner, with `balanced` one of a small
        class does: this number tells its views apart.
        """
        order = self._order(epoch)
        before = torch.zeros_like(order)
        if self.kind == "anchors" or self.balanced:
            by_image = order.argsort(stable=True)
            counts = torch.bincount(order)
            first = (counts.cumsum(0) - counts).repeat_interleave(counts)
            before[by_image] = torch.arange(len(order)) - first
        return list(zip(self._cut(order), self._cut(before), strict=True))

    def _order(self, epoch: int) -> Int[Tensor, " images"]:
        generator = make_generator("batches", self.seed, epoch)
        if self.balanced:
            return draw_balanced(self._classes, self._total, self.partners, generator)
        return draw_order(self._classes, self.partners, self.kind, generator)

    def _cut(self, order: Int[Tensor, " images"]) -> list[Int[Tensor, " batch"]]:
        step = self.batch_size * self.world_size
        full = len(order) // step
        rows = order[: full * step].view(full, self.world_size, self.batch_size)[:, self.rank]
        batches = list(rows.unbind(0))
        rest = order[full * step :]
        if len(rest) and not self.drop_last:
            batches.append(self._share(rest))
        return batches

    def _share(self, rest: Int[Tensor, " rest"]) -> Int[Tensor, " share"]:
        """This rank's part of the last, smaller batch; whole groups where there are enough."""
        if len(rest) < self.world_size:
            rest = rest.repeat(self.world_size)[: self.world_size]
        unit = self.partners + 1
        if len(rest) < self.world_size * unit or self.batch_size % unit:
            unit = 1
        start, end = (
            min(-(-len(rest) * r // (self.world_size * unit)) * unit, len(rest))
            for r in (self.rank, self.rank + 1)
        )
        return rest[start:end]
