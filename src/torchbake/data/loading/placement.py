"""Where a data set's pixels are kept: on the device, or on the host if they would fill it."""

import math

import torch

from ..._shapes import Tensor, UInt8

SHARE = 0.5
"""Of a device's free memory that images may take; the rest is for networks and activations."""


def place_pixels(
    pixels: UInt8[Tensor, "n ch h w"], device: torch.device
) -> tuple[UInt8[Tensor, "n ch h w"], str | None]:
    """The images on the device; or as they are, and why, if it has too little memory."""
    free = read_free_memory(device)
    if pixels.nbytes <= SHARE * free:
        try:
            return pixels.to(device), None
        except torch.OutOfMemoryError:  # another process has taken it meanwhile
            free = read_free_memory(device)
    return pixels, (
        f"the training images stay in the host's memory, since they take "
        f"{pixels.nbytes / 1e9:.1f} GB and may take {SHARE:.0%} of what {device} has free, "
        f"{free / 1e9:.1f} GB; each batch is copied while the one before it is trained on"
    )


def read_free_memory(device: torch.device) -> float:
    """Bytes that other processes and this one have left of a CUDA device; else unlimited."""
    if device.type != "cuda" or not torch.cuda.is_initialized():
        return math.inf
    return float(torch.cuda.mem_get_info(device)[0])
