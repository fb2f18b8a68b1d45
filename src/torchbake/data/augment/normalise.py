"""Channel statistics, and pixels brought to zero mean and unit deviation."""

from collections.abc import Sequence

import torch

from ..._shapes import Float, Tensor, UInt8


def measure_channels(pixels: UInt8[Tensor, "n ch h w"]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel on the scale from 0 to 1, exact."""
    means, deviations = [], []
    values = torch.arange(256, dtype=torch.float64)
    for channel in range(pixels.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for part in pixels[:, channel].split(1000):
            counts += torch.bincount(part.flatten(), minlength=256)
        share = counts / counts.sum()
        mean = (share * values).sum()
        means.append(float(mean) / 255)
        deviations.append(float((share * (values - mean) ** 2).sum().sqrt()) / 255)
    return means, deviations


def normalise(
    pixels: UInt8[Tensor, "n ch h w"] | Float[Tensor, "n ch h w"],
    mean: Sequence[float] | Float[Tensor, " ch"],
    std: Sequence[float] | Float[Tensor, " ch"],
) -> Float[Tensor, "n ch h w"]:
    """Pixels from 0 to 255 as floats: (pixel / 255 − mean) / std of each channel.

    Args:
        mean, std: as tensors on the device of the pixels they need not be copied there.
    """
    shift = torch.as_tensor(mean, device=pixels.device).view(-1, 1, 1) * 255
    scale = torch.as_tensor(std, device=pixels.device).view(-1, 1, 1) * 255
    return pixels.to(torch.float32, copy=True).sub_(shift).div_(scale)
