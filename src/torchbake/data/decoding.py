"""Encoded images to pixels."""

import io

from PIL import Image
from torchvision.transforms.v2 import functional as F

from .._shapes import Tensor, UInt8
from ..errors import UserError


def decode(encoded: bytes, channels: int, name: str) -> UInt8[Tensor, "channels h w"]:
    """The pixels of an image file's content, in colour (3 channels) or grey (1).

    Raises:
        UserError: Pillow cannot read it; `name` says which image it is.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.mode.startswith(("I", "F")):  # conversion would clip them to white
                raise UserError(
                    f"{name}: has more than 8 bits a channel ({image.mode}); expected 8"
                )
            return F.pil_to_tensor(image.convert("L" if channels == 1 else "RGB"))
    except UserError:
        raise
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{name}: cannot be read as an image: {error}") from None


def with_channels(pixels: UInt8[Tensor, "*n ch h w"], channels: int) -> UInt8[Tensor, "*n c h w"]:
    """Grey repeated as colour, colour averaged as grey (ITU-R 601 weights), or as they are."""
    if pixels.shape[-3] == channels:
        return pixels
    return F.grayscale_to_rgb(pixels) if channels == 3 else F.rgb_to_grayscale(pixels)
