"""Photographs of the size of ImageNet's, made of CIFAR-100's, for benchmarks of decoding."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torchbake.data.sources.registry import open_source
from torchbake.recipe import DataRecipe

WIDTH, HEIGHT, QUALITY = 500, 375, 90


def photograph(pixels: NDArray[np.uint8], number: int) -> bytes:
    """A JPEG file with about as many bytes as ImageNet's have on average, 110,000.

    A photograph of 32×32 pixels, enlarged, with smaller ones in it for edges and noise for texture.

    Args:
        pixels: (n, 32, 32, 3) photographs to take them from.
    """
    random = np.random.default_rng(number)
    chosen = pixels[random.integers(len(pixels), size=25)]
    whole = Image.fromarray(chosen[0]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    for small in chosen[1:]:
        side = int(random.integers(40, 120))
        place = (int(random.integers(WIDTH)), int(random.integers(HEIGHT)))
        whole.paste(Image.fromarray(small).resize((side, side)), place)
    values = np.asarray(whole) + random.normal(0, 14, (HEIGHT, WIDTH, 1))
    buffer = io.BytesIO()
    noisy = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    noisy.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def small_photographs(glob: str) -> NDArray[np.uint8]:
    """2,000 of CIFAR-100's, (n, 32, 32, 3), from Parquet files."""
    split = open_source(DataRecipe(name=f"parquet:{glob}")).train
    return np.stack([split.load(i).permute(1, 2, 0).numpy() for i in range(2000)])
