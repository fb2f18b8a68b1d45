"""Many small pictures as one, inlined into a page."""

import base64
import io
import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..._shapes import Tensor, UInt8

EXACT = 16
"""Height in pixels up to which pictures are kept exactly; larger ones become JPEG."""


class Sprite(NamedTuple):
    """Square pictures in a grid, row by row; lengths in pixels."""

    uri: str
    columns: int
    rows: int
    cell: int  # from one picture to the next
    side: int  # of a picture, at the upper left of its cell


def make_sprite(pictures: UInt8[Tensor, "n ch size size"], side: int = 64) -> Sprite:
    """All pictures in one image, scaled down if they are larger than `side` pixels."""
    if pictures.shape[2] > side:
        from torchvision.transforms.v2 import functional as F

        pictures = F.resize(pictures, [side, side], antialias=True)
    n, channels, side, _ = pictures.shape
    exact = side <= EXACT
    cell = side if exact else -(-side // 8) * 8  # JPEG works in blocks of 8 pixels
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.zeros((rows, cell, columns, cell, channels), dtype=np.uint8)
    for number, picture in enumerate(pictures.permute(0, 2, 3, 1).numpy()):
        row, column = divmod(number, columns)
        grid[row, :side, column, :side] = picture
    whole = grid.reshape(rows * cell, columns * cell, channels)
    image = Image.fromarray(whole[:, :, 0] if channels == 1 else whole)
    content = io.BytesIO()
    if exact:
        image.save(content, "PNG", optimize=True)
    else:
        image.save(content, "JPEG", quality=85, subsampling=0, optimize=True)
    kind = "png" if exact else "jpeg"
    encoded = base64.b64encode(content.getvalue()).decode()
    return Sprite(f"data:image/{kind};base64,{encoded}", columns, rows, cell, side)
