"""Whatever may be given as an image, as pixels."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from .._shapes import Tensor, UInt8
from ..data.preprocessing import Preprocessing
from ..data.sources.base import read_file
from ..data.sources.decoding import check_depth, read_pixels
from ..errors import UserError

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
"""A file's path, Pillow's image, an array (h, w) or (h, w, ch), or a tensor (ch, h, w); arrays and
tensors of uint8."""


def is_one(images: Any) -> bool:
    """Whether this is an image alone, and not several.

    Raises:
        UserError: it is neither.
    """
    if isinstance(images, str | os.PathLike | Image.Image):
        return True
    if isinstance(images, np.ndarray | Tensor):
        return images.ndim <= 3
    if isinstance(images, Iterable):
        return False
    raise UserError(f"images: expected one or several, got {type(images).__name__}")


def read_image(
    image: ImageLike, preprocessing: Preprocessing, number: int = 0
) -> UInt8[Tensor, "ch h w"]:
    """An image as the network sees it before it is normalised.

    Args:
        number: says which image it is, in errors, where it is no file.

    Raises:
        UserError: a file that cannot be read, or something that is no image.
    """
    if isinstance(image, str | os.PathLike):
        path, name = os.fspath(image), to_line(image)
        try:
            content = read_file(path).content
        except UserError as error:
            raise UserError(str(error).replace(path, name, 1)) from None
        return preprocessing.read(content, name)
    name = f"image {number}"
    if isinstance(image, np.ndarray | Tensor):
        image = _read_array(image, name)
    if not isinstance(image, Image.Image):
        raise UserError(
            f"{name}: expected a path, an image of Pillow's, an array or a tensor, got "
            f"{type(image).__name__}"
        )
    check_depth(image, name)
    try:
        pixels = read_pixels(image, preprocessing.channels)
    except Exception as error:  # Pillow reads a file only now
        raise UserError(f"{name}: cannot be read as an image: {error}") from None
    return preprocessing.crop(pixels)


def _read_array(image: "np.ndarray | Tensor", name: str) -> Image.Image:
    """Pillow's image of an array or a tensor, so that colours are changed as those of files are."""
    kind = str(image.dtype).removeprefix("torch.")
    if kind != "uint8":
        raise UserError(f"{name}: expected whole numbers from 0 to 255 (uint8), got {kind}")
    if isinstance(image, Tensor):
        expected, shape = "a tensor (ch, h, w)", tuple(image.shape)
        array = image.detach().cpu().numpy()
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array[None, None, :0]
    else:
        expected, shape = "an array (h, w) or (h, w, ch)", image.shape
        array = image[..., None] if image.ndim == 2 else image
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UserError(f"{name}: expected {expected} with 1, 3 or 4 channels, got {shape}")
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))


def to_unicode(name: str | os.PathLike[str]) -> str:
    """A name in which bytes that are not UTF-8, as files' names may hold, are escaped."""
    return os.fspath(name).encode("utf-8", "backslashreplace").decode()


def to_line(name: str | os.PathLike[str]) -> str:
    """A name as one line to be shown: control characters are escaped, too."""
    text = to_unicode(name)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
