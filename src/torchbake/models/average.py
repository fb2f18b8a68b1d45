"""Steps of one network's weights towards another's, for moving averages."""

import torch
from torch import Tensor


@torch.no_grad()
def move_towards(means: list[Tensor], values: list[Tensor], share: float | Tensor) -> None:
    """m ← m + share (v − m) for all tensors at once, without waiting for their device.

    Args:
        means: overwritten.
        values: as many tensors of the same shapes.
        share: a number, or a tensor () that only the device knows.
    """
    if not isinstance(share, Tensor):
        torch._foreach_lerp_(means, values, share)
        return
    steps = torch._foreach_sub(values, means)
    torch._foreach_mul_(steps, share)
    torch._foreach_add_(means, steps)
