"""What the ranks of a process group tell each other, for ensembling across them."""

from collections.abc import Callable

import torch
import torch.distributed as dist

from .._shapes import Float, Tensor


class Exchange:
    """Rows of all ranks, in rank order.

    Making one is collective: all ranks of the group must do so.

    Args:
        group: the process group.
        count: how many rows this rank brings; ranks may differ.
        device: where the rows are.
        equal: all ranks bring the same count, so that they need not tell it (which makes the
            process wait for the device).
        dtype: the type in which rows travel; None: their own.
    """

    def __init__(
        self,
        group: "dist.ProcessGroup",
        count: int,
        device: torch.device,
        *,
        equal: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.group = group
        self.dtype = dtype
        if equal:
            self.counts = [count] * group.size()
        else:
            mine = torch.tensor([count], device=device)
            everyone = mine.new_empty(group.size())
            dist.all_gather_into_tensor(everyone, mine, group=group)
            self.counts = everyone.tolist()
        self.total = sum(self.counts)
        start = sum(self.counts[: group.rank()])
        self.own = slice(start, start + count)

    def start_gather(self, rows: Float[Tensor, "r k"]) -> Callable[[], Float[Tensor, "n k"]]:
        """Start to gather everyone's rows; the call that is returned waits for them."""
        most = max(self.counts)
        sent = rows.to(self.dtype or rows.dtype).contiguous()
        if len(rows) < most:
            sent = torch.cat([sent, sent.new_zeros(most - len(rows), rows.shape[1])])
        gathered = sent.new_empty(len(self.counts) * most, rows.shape[1])
        work = dist.all_gather_into_tensor(gathered, sent, group=self.group, async_op=True)

        def wait() -> Tensor:
            if work is not None:  # by its type; it never is within the group
                work.wait()
            everyone = gathered
            if self.total < len(gathered):
                parts = zip(gathered.split(most), self.counts, strict=True)
                everyone = torch.cat([part[:count] for part, count in parts])
            return everyone.to(rows.dtype)

        return wait

    def gather(self, rows: Float[Tensor, "r k"]) -> Float[Tensor, "n k"]:
        """Everyone's rows."""
        return self.start_gather(rows)()
