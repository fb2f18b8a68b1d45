"""What the inputs of ensembling may be.

The checks read shapes and types alone, so that no process waits for its device.
"""

from typing import Any

import torch
import torch.distributed as dist

from .._shapes import Tensor


def check_inputs(logits: Tensor, features: Tensor, *, alone: bool) -> None:
    """Raise TypeError or ValueError for what cannot be the logits and features of a batch.

    Args:
        alone: there are no other ranks, so that the batch must have images.
    """
    for name, value in (("logits", logits), ("features", features)):
        check_tensor(name, value)
        if value.ndim != 2 or 0 in value.shape[0 if alone else 1 :]:
            raise ValueError(
                f"{name} must have two dimensions, none of them empty, got {tuple(value.shape)}"
                + (_POOLED.get(value.ndim, "") if name == "features" else _whole(value))
            )
        if not value.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {value.dtype}")
    if logits.shape[0] != features.shape[0]:
        raise ValueError(
            f"logits and features must be of the same images, got {len(logits)} rows of logits "
            f"and {len(features)} of features"
        )


# What to do with features that have positions, by their number of dimensions.
_POOLED = {
    3: ": average over the positions, such as features.mean(dim=1), or take the class token",
    4: ": average over the positions, such as features.mean(dim=(2, 3))",
    5: ": average over the positions, such as features.mean(dim=(2, 3, 4))",
}


def _whole(logits: Tensor) -> str:
    """Why logits with positions, as of segmentation, have no target."""
    if logits.ndim < 3:
        return ""
    return (
        ": BAKE is for classes of whole images; predictions for pixels, boxes or tokens have no "
        "features of their own that an image could be compared by"
    )


def check_tensor(name: str, value: Any) -> None:
    """Raise TypeError for what is no tensor."""
    if not isinstance(value, torch.Tensor):
        part = ": pass its .logits" if name == "logits" and hasattr(value, "logits") else ""
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}{part}")


def check_group(group: Any) -> None:
    """Raise TypeError for what is neither a process group nor None."""
    if group is None or (dist.is_available() and isinstance(group, dist.ProcessGroup)):
        return
    raise TypeError(
        f"group must be a torch.distributed process group or None, got {group!r}; that of all "
        "ranks is torch.distributed.group.WORLD"
    )
