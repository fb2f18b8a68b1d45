"""Copies from the host to a device that neither of them waits for."""

import torch

from .._shapes import Int, Tensor, UInt8


def runs_beside_host(device: torch.device) -> bool:
    """Whether this is a CUDA device at work: it has streams, and copies of its own pace."""
    return device.type == "cuda" and torch.cuda.is_initialized()


def copy_to(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; to CUDA through pinned memory, so that the host goes on meanwhile.

    What was pinned is kept by PyTorch until the copy is done.
    """
    if runs_beside_host(device) and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type == "cuda")


def pick_rows(
    pixels: UInt8[Tensor, "n ch h w"], indices: Int[Tensor, " k"], device: torch.device
) -> UInt8[Tensor, "k ch h w"]:
    """Images of the host's memory, by their numbers, ready for `copy_to(…, device)`."""
    if not runs_beside_host(device):
        return pixels[indices]
    shape = (len(indices), *pixels.shape[1:])
    rows = torch.empty(shape, dtype=pixels.dtype, pin_memory=True)
    return torch.index_select(pixels, 0, indices, out=rows)
