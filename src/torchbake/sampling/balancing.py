"""An epoch in which all classes are drawn equally often; used by the sampler."""

import torch

from .._shapes import Int, Tensor


def draw_balanced(
    classes: Int[Tensor, " n"], total: int, partners: int, generator: torch.Generator
) -> Int[Tensor, " images"]:
    """The images of an epoch, groups contiguous, as they are cut into batches.

    The classes share the whole groups evenly; those that one more falls to, and the one of the
    last, smaller group, are drawn. A class's images come in a random order, again and again. The
    order is drawn anew where its end is the end of a group: so no image is drawn twice before all
    are, and only a class of fewer images than a group repeats one within a group.

    Args:
        classes: (n,) the class of each image, counted from 0, none of them empty.
        total: images to draw.
        partners: images of a group beside its first one.
        generator: of the random choices.
    """
    size = partners + 1
    sizes = classes.bincount()
    whole, rest = divmod(total, size)
    each, more = divmod(whole, len(sizes))
    lucky = torch.randperm(len(sizes), generator=generator)
    groups = torch.full((len(sizes),), each)
    groups[lucky[:more]] += 1
    draws = groups * size
    draws[lucky[more]] += rest  # behind its whole groups
    images = _draw_in_class_order(classes, draws, size, generator)
    # The members of the smaller group are taken out, and put last.
    start = int(draws.cumsum(0)[lucky[more]]) - rest
    rows = torch.cat([images[:start], images[start + rest :]]).view(-1, size)
    rows = rows[torch.randperm(len(rows), generator=generator)]
    return torch.cat([rows.flatten(), images[start : start + rest]])


def _draw_in_class_order(
    classes: Int[Tensor, " n"], draws: Int[Tensor, " c"], size: int, generator: torch.Generator
) -> Int[Tensor, " images"]:
    """As many images of each class as it is to have, class by class."""
    sizes = classes.bincount()
    by_class = classes.argsort(stable=True)
    # One order of a class lasts for as many draws as are whole groups and whole rounds.
    lasting = torch.lcm(sizes, torch.tensor(size))
    orders = -(-draws // lasting)
    # All orders one after the other: which class and order an entry is of, and its image.
    lengths = sizes.repeat_interleave(orders)
    order_of = torch.arange(len(lengths)).repeat_interleave(lengths)
    ends = lengths.cumsum(0)
    class_of = torch.arange(len(sizes)).repeat_interleave(orders)[order_of]
    place = torch.arange(len(order_of)) - (ends - lengths)[order_of]
    entries = by_class[(sizes.cumsum(0) - sizes)[class_of] + place]
    # A stable sort by order after a random one shuffles within each order.
    shuffled = torch.randperm(len(entries), generator=generator)
    entries = entries[shuffled[order_of[shuffled].argsort(stable=True)]]
    drawn_class = torch.arange(len(sizes)).repeat_interleave(draws)
    number = torch.arange(len(drawn_class)) - (draws.cumsum(0) - draws)[drawn_class]
    order = (orders.cumsum(0) - orders)[drawn_class] + number // lasting[drawn_class]
    within = number % lasting[drawn_class] % sizes[drawn_class]
    return entries[(ends - lengths)[order] + within]
