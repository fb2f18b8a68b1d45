"""Encoded images to pixels."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from PIL import Image

from ..._shapes import Tensor, UInt8
from ...errors import UserError

try:
    import simplejpeg
except ImportError:  # there are no wheels for some platforms; Pillow gives the same pixels
    simplejpeg = None


def decode(
    encoded: bytes, channels: int, name: str, reduction: int = 1
) -> UInt8[Tensor, "channels h w"]:
    """The pixels of an image file's content, in colour (3 channels) or grey (1).

    Args:
        name: says which image it is, in errors.
        reduction: 2, 4 or 8 for a JPEG file's image at 1/2, 1/4 or 1/8 of its height and width,
            which is faster; other files are decoded whole.

    Raises:
        UserError: Pillow cannot read it.
    """
    header = _fast_header(encoded)
    if header and channels == 3:
        height, width = (-(-side // reduction) for side in header)
        # What is broken is left to Pillow, which says how.
        with suppress(ValueError):
            pixels = simplejpeg.decode_jpeg(encoded, min_height=height, min_width=width)
            return torch.from_numpy(pixels).permute(2, 0, 1)
    from torchvision.transforms.v2 import functional as F

    with open_image(encoded, name) as image:
        image.draft("RGB", (image.width // reduction, image.height // reduction))
        return F.pil_to_tensor(image.convert("L" if channels == 1 else "RGB"))


def read_size(encoded: bytes, name: str) -> tuple[int, int]:
    """Height and width in pixels, read from an image file's header.

    Raises:
        UserError: Pillow cannot read it.
    """
    header = _fast_header(encoded)
    if header:
        return header
    with open_image(encoded, name) as image:
        return image.height, image.width


def _fast_header(encoded: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG file that simplejpeg decodes as Pillow does; None of others."""
    if simplejpeg is None or not encoded.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        return None
    return (height, width) if colours in ("YCbCr", "RGB", "Gray") else None


@contextmanager
def open_image(encoded: bytes, name: str) -> Iterator[Image.Image]:
    """An image file's content as Pillow's image, which is decoded when its pixels are asked for.

    Raises:
        UserError: it cannot be read, also if that shows only later, or has not 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.mode.startswith(("I", "F")):  # conversion would clip them to white
                raise UserError(
                    f"{name}: has more than 8 bits a channel ({image.mode}); expected 8"
                )
            yield image
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{name}: cannot be read as an image: {error}") from None


def set_channels(pixels: UInt8[Tensor, "*n ch h w"], channels: int) -> UInt8[Tensor, "*n c h w"]:
    """Grey repeated as colour, colour averaged as grey (ITU-R 601 weights), or as they are."""
    if pixels.shape[-3] == channels:
        return pixels
    from torchvision.transforms.v2 import functional as F

    return F.grayscale_to_rgb(pixels) if channels == 3 else F.rgb_to_grayscale(pixels)
