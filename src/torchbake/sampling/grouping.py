"""Who is drawn with whom, and which groups share a place in a batch; used by the sampler."""

import torch

from .._shapes import Int, Tensor


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
