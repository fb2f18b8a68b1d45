"""Encoded images to pixels."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import torch
from PIL import ExifTags, Image, UnidentifiedImageError

from ..._shapes import Tensor, UInt8
from ...errors import ImageError, UserError

try:
    import simplejpeg
except ImportError:  # there are no wheels for some platforms; Pillow gives the same pixels
    simplejpeg = None

FORMATS = {
    "JPEG": (".jpg", ".jpeg"),  # with Pillow's MPO, the JPEG files of cameras with two lenses
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2",),
    "AVIF": (".avif",),
}
"""What is decoded, by Pillow's names, with the usual suffixes; Pillow's other formats include
PostScript, for which it starts Ghostscript on the file."""


def decode(
    encoded: bytes, channels: int, name: str, reduction: int = 1
) -> UInt8[Tensor, "channels h w"]:
    """The pixels of an image file's content, in colour (3 channels) or grey (1).

    The image is turned as its EXIF orientation says.

    Args:
        name: says which image it is, in errors.
        reduction: 2, 4 or 8 for a JPEG file's image at 1/2, 1/4 or 1/8 of its height and width,
            which is faster; other files are decoded whole.

    Raises:
        UserError: Pillow cannot read it, or it has more than 8 bits a channel.
    """
    header = _fast_header(encoded, name) if channels == 3 else None
    if header:
        height, width = (-(-side // reduction) for side in header[:2])
        # What is broken is left to Pillow, which says how.
        with suppress(ValueError):
            pixels = simplejpeg.decode_jpeg(encoded, min_height=height, min_width=width)
            return turn(torch.from_numpy(pixels).permute(2, 0, 1), header[2])
    with open_image(encoded, name) as image:
        image.draft("RGB", (image.width // reduction, image.height // reduction))
        return read_pixels(image, channels)


def read_size(encoded: bytes, name: str) -> tuple[int, int]:
    """Height and width in pixels of what `decode` returns, read from an image file's header.

    Raises:
        UserError: Pillow cannot read it.
    """
    header = _fast_header(encoded, name)
    if header:
        height, width, orientation = header
    else:
        with open_image(encoded, name) as image:
            if image.format == "TIFF":  # which Pillow turns when it loads it
                image.load()
                return image.height, image.width
            orientation = read_orientation(image) if _may_be_turned(encoded) else 1
            width, height = image.size
    return (width, height) if orientation >= 5 else (height, width)


def _fast_header(encoded: bytes, name: str) -> tuple[int, int, int] | None:
    """Height, width and orientation of a JPEG file that simplejpeg decodes as Pillow does.

    Height and width are those before it is turned; None of other files.
    """
    if simplejpeg is None or not encoded.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        return None
    if colours not in ("YCbCr", "RGB", "Gray"):
        return None
    orientation = 1
    if _may_be_turned(encoded):
        with open_image(encoded, name) as image:
            orientation = read_orientation(image)
    return height, width, orientation


def _may_be_turned(encoded: bytes) -> bool:
    """Whether a file holds something like an orientation tag, of JPEG files before the image.

    Most files have none: they are spared Pillow's reading of their metadata, which may stand behind
    the image.
    """
    if not encoded.startswith(b"\xff\xd8\xff"):
        return any(word in encoded for word in METADATA)
    place = 2
    while encoded[place : place + 1] == b"\xff":
        marker = encoded[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        if marker == 0xDA:  # the image begins
            return False
        end = place + 2 + int.from_bytes(encoded[place + 2 : place + 4], "big")
        if marker == 0xE1:  # EXIF in either order of bytes, or XMP
            segment = encoded[place + 4 : end]
            if any(tag in segment for tag in (b"\x12\x01", b"\x01\x12", b"tiff:Orientation")):
                return True
        place = end
    return False


METADATA = (b"Exif", b"eXIf", b"EXIF", b"exif", b"XML:com.adobe.xmp", b"XMP ")
"""What EXIF and XMP are called in files of PNG, WebP, AVIF and JPEG 2000."""


@contextmanager
def open_image(encoded: bytes, name: str) -> Iterator[Image.Image]:
    """An image file's content as Pillow's image, which is decoded when its pixels are asked for.

    Raises:
        UserError: it cannot be read, also if that shows only later, or has not 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=_list_formats()) as image:
            check_depth(image, name)
            yield image
    except UserError:
        raise
    except UnidentifiedImageError:
        known = ", ".join(_list_formats())
        told = f"{name}: cannot be read as an image: is none of {known}"
        raise ImageError(told, "unreadable") from None
    except Exception as error:  # of damaged files, Pillow's readers raise nearly anything
        raise ImageError(f"{name}: cannot be read as an image: {error}", "damaged") from None


@cache
def _list_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow has been built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def check_depth(image: Image.Image, name: str) -> None:
    """Raise ImageError for an image of more than 8 bits a channel, which would be cut off."""
    if image.mode.startswith(("I", "F")):  # conversion would clip them to white
        told = f"{name}: has more than 8 bits a channel ({image.mode}); expected 8"
        raise ImageError(told, "too-deep")


def read_pixels(image: Image.Image, channels: int) -> UInt8[Tensor, "channels h w"]:
    """The pixels of Pillow's image, in colour (3 channels) or grey (1), turned as EXIF says.

    They are those of Pillow's `convert`, which drops transparency.
    """
    image.load()  # a fault must show here, and not where metadata are read
    from torchvision.transforms.v2 import functional as F

    # Pillow turns TIFF files itself, and then may keep the tag.
    orientation = 1 if image.format == "TIFF" else read_orientation(image)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the same pixels, without a warning
    return turn(F.pil_to_tensor(image.convert("L" if channels == 1 else "RGB")), orientation)


def read_orientation(image: Image.Image) -> int:
    """How an image is to be turned, as EXIF numbers it from 1 (not at all) to 8.

    1, too, where the tag is missing or cannot be read.
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # metadata that are damaged are no reason to refuse the image
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def turn(pixels: UInt8[Tensor, "ch h w"], orientation: int) -> UInt8[Tensor, "ch height width"]:
    """Pixels as they are to be looked at, from an EXIF orientation (see Pillow's exif_transpose).

    From 5 on, height and width change places.
    """
    if orientation >= 5:
        pixels = pixels.transpose(1, 2)
    axes = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation)
    return pixels.flip(axes) if axes else pixels


def set_channels(pixels: UInt8[Tensor, "*n ch h w"], channels: int) -> UInt8[Tensor, "*n c h w"]:
    """Grey repeated as colour, colour averaged as grey (ITU-R 601 weights), or as they are."""
    if pixels.shape[-3] == channels:
        return pixels
    from torchvision.transforms.v2 import functional as F

    return F.grayscale_to_rgb(pixels) if channels == 3 else F.rgb_to_grayscale(pixels)
