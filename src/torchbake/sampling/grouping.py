"""Who is drawn with whom, and which groups share a place in a batch; used by the sampler."""

from typing import Any, Literal

import torch
from torch.utils.data import Sampler

from .._shapes import Int, Tensor


def number_classes(labels: Any) -> Int[Tensor, " n"]:
    """Labels as classes counted from 0, or ValueError."""
    if isinstance(labels, Sampler):
        raise ValueError(
            "Lightning replaces this sampler by its own, which keeps no class groups: pass "
            "Trainer(use_distributed_sampler=False); the batches are divided among the ranks "
            f"already (labels must be whole numbers, got {type(labels).__name__})"
        )
    try:
        labels = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"labels must be whole numbers, got {type(labels).__name__}") from None
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex() or len(labels) == 0:
        raise ValueError(
            "labels must be whole numbers in one dimension, at least one, got shape "
            f"{tuple(labels.shape)} of {labels.dtype}"
        )
    return labels.cpu().unique(return_inverse=True)[1]


def draw_order(
    classes: Int[Tensor, " n"],
    partners: int,
    kind: Literal["images", "anchors"],
    generator: torch.Generator,
) -> Int[Tensor, " images"]:
    """The images of an epoch, groups contiguous, as they are cut into batches.

    Args:
        classes: (n,) the class of each image, counted from 0.
        partners, kind: see `ClassGroupedBatchSampler` (`kind` is its `epoch`).
        generator: of the random choices.
    """
    size = partners + 1
    shuffled = torch.randperm(len(classes), generator=generator)
    by_class = shuffled[classes[shuffled].argsort(stable=True)]
    if size == 1:
        return shuffled
    sizes = classes.bincount()
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    position = torch.arange(len(by_class)) - starts
    sizes = sizes.repeat_interleave(sizes)
    # One group a row, -1 where it is smaller.
    if kind == "images":
        first = (position % size == 0).nonzero()[:, 0]
        lengths = (sizes - position)[first].clamp(max=size)
        column = torch.arange(size)
        groups = by_class[(first[:, None] + column).clamp(max=len(by_class) - 1)]
        groups = groups.masked_fill(column >= lengths[:, None], -1)
    else:
        lengths = torch.where(sizes == 1, 1, size)
        around = position[:, None] + draw_partner_offsets(sizes - 1, partners, generator)
        around -= (around >= sizes[:, None]) * sizes[:, None]
        others = by_class[around.add_(starts[:, None])]
        others[lengths == 1] = -1
        groups = torch.cat([by_class[:, None], others], dim=1)
    groups = torch.cat([groups, torch.full((1, size), -1)])
    places, left = arrange(lengths, size, generator)
    members = torch.cat([groups[places].flatten(), groups[left].flatten()])
    members = members[members >= 0]
    # The places of whole groups, shuffled. The last images, which fill none, change seats with
    # as many of a random place, so that it is not always the same ones that come last.
    rest = len(members) % size
    rows = members[: len(members) - rest].view(-1, size)
    rows = rows[torch.randperm(len(rows), generator=generator)]
    last = members[len(members) - rest :]
    if rest and len(rows):
        row = int(torch.randint(len(rows), (), generator=generator))
        last, rows[row, :rest] = rows[row, :rest].clone(), last
    return torch.cat([rows.flatten(), last])


def draw_partner_offsets(
    others: Int[Tensor, " n"], partners: int, generator: torch.Generator
) -> Int[Tensor, "n partners"]:
    """For each image, how far behind it in its class (in a circle) its partners are."""
    random = torch.rand(len(others), partners, dtype=torch.float64, generator=generator)
    # Floyd's algorithm for a sample without replacement, all rows at once.
    chosen = torch.full((len(others), partners), -1)
    for k in range(partners):
        top = (others - partners + k).clamp(min=0)
        pick = (random[:, k] * (top + 1)).long()
        taken = (chosen[:, :k] == pick[:, None]).any(dim=1)
        chosen[:, k] = torch.where(taken, top, pick)
    # Where there are too few, all of them in a circle, from a random start.
    few = (others < partners).nonzero()[:, 0]
    around = others[few, None].clamp(min=1)
    start = (random[few, :1] * around).long()
    chosen[few] = (start + torch.arange(partners)) % around
    return chosen + 1


def arrange(
    lengths: Int[Tensor, " groups"], size: int, generator: torch.Generator
) -> tuple[Int[Tensor, "places size"], Int[Tensor, " left"]]:
    """Which groups share a place of `size` images, and which are left, as no others fill it.

    A row names the groups of one place; a column that is not needed names the group behind the
    last, which the caller keeps empty.
    """
    waiting = {
        length: ids[torch.randperm(len(ids), generator=generator)]
        for length in range(1, size + 1)
        if len(ids := (lengths == length).nonzero()[:, 0])
    }
    places = [torch.empty(0, size, dtype=torch.long)]
    for largest in range(size, 0, -1):
        while pattern := _fill_place(waiting, largest, size):
            times = min(len(waiting[length]) // count for length, count in pattern.items())
            place = torch.full((times, size), len(lengths))
            column = 0
            for length, count in pattern.items():
                taken, waiting[length] = waiting[length].tensor_split([times * count])
                place[:, column : column + count] = taken.view(times, count)
                column += count
            places.append(place)
    left = torch.cat([torch.empty(0, dtype=torch.long), *waiting.values()])
    return torch.cat(places), left[torch.randperm(len(left), generator=generator)]


def _fill_place(waiting: dict[int, Tensor], largest: int, size: int) -> dict[int, int]:
    """How many groups of which length fill a place, beginning with `largest`; {} if none do."""
    pattern: dict[int, int] = {}
    room = size
    for length in range(largest, 0, -1):
        count = min(len(waiting.get(length, ())), room // length)
        if length == largest and not count:
            return {}
        if count:
            pattern[length] = count
            room -= count * length
    return pattern if room == 0 else {}
