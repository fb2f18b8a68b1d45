"""Preprocessing as a module: decoded pictures to what a network takes, by tensor operations.

Pillow resizes in integers, with coefficients of 22 bits. The same arithmetic in float64 is exact,
so that an exported program gives the very pixels that evaluation does.
"""

import math

import torch
from torch import nn

from .._shapes import Float, Tensor, UInt8
from ..data.preprocessing import Preprocessing

PRECISION_BITS = 22  # of Pillow's coefficients for 8-bit images (src/libImaging/Resample.c)
SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}


class Preprocess(nn.Module):
    """Decoded pictures of any size, resized, cropped and normalised as evaluation does.

    Pictures more than twice as high as wide are the exception: newer versions of Pillow resize them
    vertically first, which rounds some pixels to a neighbouring level.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.size = preprocessing.image_size
        self.resized = preprocessing.resize_to
        self.interpolation = preprocessing.interpolation
        for name in ("mean", "std"):
            values = 255 * torch.tensor(getattr(preprocessing, name)).view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, pictures: UInt8[Tensor, "n h w ch"]) -> Float[Tensor, "n ch size size"]:
        height, width = pictures.shape[1], pictures.shape[2]
        shorter = torch.sym_min(height, width)
        rows = self._weights(height, self.resized * height // shorter)
        columns = self._weights(width, self.resized * width // shorter)
        pixels = pictures.permute(0, 3, 1, 2).to(torch.float64)
        # Horizontally first, and rounded in between, as Pillow does.
        pixels = _round(pixels @ columns.T)
        pixels = _round(rows @ pixels)
        return (pixels.to(torch.float32) - self.mean) / self.std

    def _weights(self, before: int, after: int | torch.SymInt) -> Float[Tensor, "size before"]:
        """What each row (or column) of the crop takes from those of the picture."""
        device = self.mean.device
        # The crop starts at half the difference, rounded half to even, as torchvision's does.
        wanted = torch.full((), after, dtype=torch.float64)
        offset = torch.round((wanted - self.size) / 2)
        scale = before / wanted
        stretch = scale.clamp(min=1.0)
        support = SUPPORT[self.interpolation] * stretch
        numbers = torch.arange(self.size, dtype=torch.float64, device=device)
        centres = ((numbers + offset + 0.5) * scale)[:, None]
        sources = torch.arange(before, dtype=torch.float64, device=device)[None, :]
        first = (centres - support + 0.5).clamp(min=0.0).floor()
        end = (centres + support + 0.5).floor()
        distances = (sources - centres + 0.5) / stretch
        weights = self._filter(distances.abs())
        weights = torch.where((sources >= first) & (sources < end), weights, 0.0)
        weights = weights / weights.sum(dim=1, keepdim=True)
        steps = math.ldexp(1.0, PRECISION_BITS)
        return torch.sign(weights) * (weights.abs() * steps + 0.5).floor() / steps

    def _filter(self, distances: Float[Tensor, "size before"]) -> Float[Tensor, "size before"]:
        if self.interpolation == "bilinear":
            return (1.0 - distances).clamp(min=0.0)
        # Keys' cubic convolution with a = −0.5.
        near = (1.5 * distances - 2.5) * distances * distances + 1.0
        far = ((-0.5 * distances + 2.5) * distances - 4.0) * distances + 2.0
        return torch.where(distances < 1.0, near, torch.where(distances < 2.0, far, 0.0))


def _round(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """To whole levels from 0 to 255, halves upwards."""
    return (values + 0.5).floor().clamp(0.0, 255.0)
