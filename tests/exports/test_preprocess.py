"""Preprocessing by tensor operations against Pillow's own, pixel by pixel."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from torchbake.data.preprocessing import Preprocessing
from torchbake.exports.preprocess import Preprocess


def by_pillow(picture, preprocessing):
    """The pixels that torchvision's transforms of a picture give."""
    mode = InterpolationMode(preprocessing.interpolation)
    resized = F.resize(picture, [preprocessing.resize_to], mode)
    return F.pil_to_tensor(F.center_crop(resized, [preprocessing.image_size]))


def by_tensors(pixels, preprocessing):
    images = Preprocess(preprocessing)(torch.from_numpy(pixels)[None])
    return images[0] * 255 * torch.tensor(preprocessing.std).view(-1, 1, 1)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_pillow(interpolation, channels):
    random = np.random.default_rng(0)
    for number in range(25):
        width = int(random.integers(5, 300))
        height = int(random.integers(5, 2 * width + 1))
        size = int(random.choice([8, 32, 71, 160]))
        preprocessing = Preprocessing(
            image_size=size,
            channels=channels,
            mean=(0.0,) * channels,
            std=(0.25,) * channels,
            crop_pct=float(random.choice([1.0, 0.875, 0.95])),
            interpolation=interpolation,
        )
        # Black and white alternate, where every rounding counts, or levels of all kinds.
        levels = random.integers(0, 256, (height, width, channels)).astype(np.uint8)
        pixels = levels if number % 2 else (levels > 127).astype(np.uint8) * 255
        picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        got, expected = by_tensors(pixels, preprocessing), by_pillow(picture, preprocessing)
        assert torch.equal(got.round().byte(), expected), (height, width, preprocessing)


def test_high_pictures_differ_by_a_level_at_most():
    random = np.random.default_rng(0)
    preprocessing = Preprocessing(32, 3, (0.0,) * 3, (0.25,) * 3)
    for width in (40, 64, 90):
        pixels = random.integers(0, 256, (3 * width, width, 3)).astype(np.uint8)
        got = by_tensors(pixels, preprocessing).round()
        expected = by_pillow(Image.fromarray(pixels), preprocessing)
        assert (got - expected.float()).abs().max() <= 1
