"""Steps whose numbers are not finite leave no trace: `training.on_nonfinite: skip`."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .._shapes import Float
from .distributed import Ranks
from .finite import find_worst


class Guard:
    """Leaves out the update of a step whose numbers are not finite, on all ranks or on none.

    A step is bad if its loss, a gradient, or a buffer that the forward pass has changed (running
    statistics, what a method remembers) is not finite. Then parameters, optimizer state and
    buffers are what they were before it. All of it is decided on the device, which is not waited
    for; an optimizer without fused steps (on Apple's GPUs) needs one read a step.

    With fp16, gradients may overflow without the step's being bad: the gradient scaler, which
    tries how far it can go, leaves such updates out by itself.

    Args:
        modules: the network and the method, whose buffers are kept.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        ranks: Ranks,
    ) -> None:
        self.optimizer = optimizer
        self.scaler = scaler
        self.ranks = ranks
        self.modules = modules
        self._kept: list[Tensor] = []

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the buffers as they are before a step."""
        self._kept = [_join(buffers) for buffers in self._list_buffers()]

    @torch.no_grad()
    def judge(self, losses: Sequence[Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """1 if the step is bad on any rank, else 0; called when the gradients are there."""
        every = self._list_buffers()
        watched = [b for buffers in every for b in buffers if b.is_floating_point()]
        if not self.scaler.is_enabled():
            watched += [gradient for gradient in self._list_gradients() if gradient is not None]
        sums = [loss.detach().float().abs() for loss in losses]
        if watched:
            sums.append(find_worst(watched).float())
        bad = 1.0 - torch.stack(sums).amax().isfinite().float()
        if self.ranks.world_size > 1:
            dist.all_reduce(bad, dist.ReduceOp.MAX)
        if self.scaler.is_enabled():
            # It looks for what is not finite in the gradients, so that is where it has to be.
            first = next(g for g in self._list_gradients() if g is not None)
            first[(0,) * first.ndim].add_(torch.where(bad > 0, torch.nan, 0.0))
        return bad

    def step(self, bad: Float[Tensor, ""]) -> None:
        """The optimizer's step, unless it is a bad one."""
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
        elif self.optimizer.param_groups[0]["fused"]:
            # As torch's gradient scaler tells a fused optimizer to do nothing.
            self.optimizer.found_inf = bad  # type: ignore[attr-defined]
            self.optimizer.step()
            del self.optimizer.found_inf  # type: ignore[attr-defined]
        elif not bad.item():
            self.optimizer.step()

    @torch.no_grad()
    def restore(self, bad: Float[Tensor, ""]) -> None:
        """Give the buffers what they had before the step, if it was a bad one."""
        for before, buffers in zip(self._kept, self._list_buffers(), strict=True):
            kept = torch.where(bad > 0, before, _join(buffers))
            parts = kept.split([buffer.numel() for buffer in buffers])
            values = [part.view_as(b) for part, b in zip(parts, buffers, strict=True)]
            torch._foreach_copy_(buffers, values)
        self._kept = []

    def _list_buffers(self) -> list[list[Tensor]]:
        """By their types; anew, since a method may put another tensor in the place of a buffer."""
        by_kind: dict[torch.dtype, list[Tensor]] = {}
        for module in self.modules:
            for buffer in module.buffers():
                by_kind.setdefault(buffer.dtype, []).append(buffer)
        return list(by_kind.values())

    def _list_gradients(self) -> list[Tensor | None]:
        return [p.grad for group in self.optimizer.param_groups for p in group["params"]]


def _join(buffers: Sequence[Tensor]) -> Tensor:
    return torch.cat([buffer.flatten() for buffer in buffers])
