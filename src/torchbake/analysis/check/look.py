"""What each image of a split is, read by worker processes."""

import hashlib
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset

from ..._own_code import explain_error
from ..._shapes import Tensor, UInt8
from ...data.loading.workers import prepare_workers
from ...data.sources.base import Split
from ...data.sources.decoding import FORMATS, decode, read_orientation
from ...errors import UserError

SIDE = 16
"""Height and width in pixels of the thumbnails that pictures are compared by."""

_REDUCED_TO = 64
"""Pixels of the shorter side that a JPEG file keeps when it is decoded at a smaller scale."""

_AT_ONCE = 64
"""Images that a worker reads before it answers."""

_LEVELS = np.arange(256.0)
_MORE_BITS = ("I", "F")


class _Header(NamedTuple):
    """What an image file says of itself."""

    width: int
    height: int
    format: str
    mode: str
    deep: bool
    turned: bool
    transparent: bool
    animated: bool


class _Look(NamedTuple):
    """One image. Without a header: pixels alone, or a file that is none."""

    digest: bytes
    size: int
    header: _Header | None
    thumbnail: bytes = b""
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spread: float = 0.0
    error: str = ""


@dataclass(eq=False, repr=False)
class Looks:
    """The images of a split.

    Attributes:
        digest: 128 bits of a hash of each file's content (n, 2), or of its pixels.
        bytes: of each file; 0 where the source has pixels.
        size: height and width in pixels (n, 2); 0 of what cannot be read.
        thumbnail: grey, (n, SIDE, SIDE).
        colour: mean of red, green and blue, (n, 3), from 0 to 255.
        spread: largest standard deviation of a channel, (n,), from 0 to 127.5.
        readable: (n,); others have no size, thumbnail, colour or spread.
        format, mode: names by image, where the source has files.
        errors: of images that cannot be read, whether their header can, and why.
        marked: numbers of the images that are `deep`, `turned`, `transparent` or `animated`.
    """

    digest: NDArray[np.uint64]
    bytes: NDArray[np.int64]
    size: NDArray[np.int32]
    thumbnail: NDArray[np.uint8]
    colour: NDArray[np.float32]
    spread: NDArray[np.float32]
    readable: NDArray[np.bool_]
    format: list[str] = field(default_factory=list)
    mode: list[str] = field(default_factory=list)
    errors: dict[int, tuple[bool, str]] = field(default_factory=dict)
    marked: dict[str, list[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.bytes)


def look_at_images(
    split: Split,
    channels: int,
    workers: int,
    progress: Callable[[int], None],
    source: str = "",
) -> Looks:
    """Read every image of a split once; what is wrong with one stops nothing.

    Args:
        channels: that training decodes to.
        progress: called now and then with the number of images done.
        source: what the data set is called in errors, which go without it here.
    """
    n = len(split)
    looks = Looks(
        np.zeros((n, 2), np.uint64),
        np.zeros(n, np.int64),
        np.zeros((n, 2), np.int32),
        np.zeros((n, SIDE, SIDE), np.uint8),
        np.zeros((n, 3), np.float32),
        np.zeros(n, np.float32),
        np.zeros(n, np.bool_),
    )
    loader = DataLoader(
        _Reader(split, channels, source),
        sampler=[range(k, min(k + _AT_ONCE, n)) for k in range(0, n, _AT_ONCE)],
        batch_size=None,
        collate_fn=list,
        **prepare_workers(workers),
    )
    done = 0
    for part in loader:
        for look in part:
            _keep(looks, done, look)
            done += 1
        progress(done)
    return looks


def _keep(looks: Looks, index: int, look: _Look) -> None:
    looks.digest[index] = np.frombuffer(look.digest, np.uint64)
    looks.bytes[index] = look.size
    looks.format.append(sys.intern(look.header.format) if look.header else "")
    looks.mode.append(sys.intern(look.header.mode) if look.header else "")
    if look.header:
        looks.size[index] = (look.header.height, look.header.width)
        for mark in ("deep", "turned", "transparent", "animated"):
            if getattr(look.header, mark):
                looks.marked.setdefault(mark, []).append(index)
    if look.error:
        looks.errors[index] = (look.header is not None, look.error)
        return
    looks.readable[index] = True
    looks.thumbnail[index] = np.frombuffer(look.thumbnail, np.uint8).reshape(SIDE, SIDE)
    looks.colour[index], looks.spread[index] = look.colour, look.spread


class _Reader(Dataset[list[_Look]]):
    def __init__(self, split: Split, channels: int, source: str) -> None:
        import torchvision.transforms.v2.functional  # noqa: F401 (once for all workers)

        self.split = split
        self.channels = channels
        self.source = source

    def __getitem__(self, indices: Sequence[int]) -> list[_Look]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of files that are reported anyway
            return [self._look(index) for index in indices]

    def _look(self, index: int) -> _Look:
        name = self.split.name_of(index)
        try:
            if self.split.encoded is None:
                return _look_at_pixels(self.split.load(index))
            content, name = self.split.encoded(index)
        except Exception as error:  # of a user's own source, too
            return _Look(bytes(16), 0, None, error=_shorten(error, name or self.source))
        return _look_at_file(content, name, self.channels)


def _look_at_pixels(pixels: UInt8[Tensor, "ch h w"]) -> _Look:
    content = pixels.contiguous().numpy().tobytes()
    _, height, width = pixels.shape
    digest = _digest(content + f"{height} {width}".encode())
    header = _Header(width, height, "", "", False, False, False, False)
    return _Look(digest, 0, header, *_summarise(pixels))


def _look_at_file(content: bytes, name: str, channels: int) -> _Look:
    digest, size = _digest(content), len(content)
    header = None
    try:
        header = _read_header(content)
        reduction = max((r for r in (2, 4, 8) if min(header[:2]) >= r * _REDUCED_TO), default=1)
        seen = _summarise(decode(content, channels, name, reduction))
    except UnidentifiedImageError:
        what = "unknown format" if content else "empty file"
        return _Look(digest, size, None, error=what)
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        what = _shorten(error, name)
        return _Look(digest, size, header, error=what)
    return _Look(digest, size, header, *seen)


def _read_header(content: bytes) -> _Header:
    with Image.open(io.BytesIO(content), formats=_list_formats()) as image:
        mode, kind = image.mode, image.format or ""
        # Of PNG, Pillow has the mode that it decodes to, not the file's 16 bits a channel.
        deep = mode.startswith(_MORE_BITS) or (kind == "PNG" and content[24] > 8)
        transparent = mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
        # A phone's MPO holds previews and other views of one picture.
        animated = kind != "MPO" and bool(getattr(image, "is_animated", False))
        # To find a PNG file's behind its pixels, Pillow would decode these.
        known = kind != "PNG" or "exif" in image.info
        turned = known and read_orientation(image) != 1
        return _Header(*image.size, kind, mode, deep, turned, transparent, animated)


@cache
def _list_formats() -> list[str]:
    """What training decodes, of what this Pillow can."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _summarise(pixels: UInt8[Tensor, "ch h w"]) -> tuple[bytes, tuple[float, float, float], float]:
    """Grey thumbnail, mean colour and spread."""
    array = pixels.movedim(0, -1).contiguous().numpy()
    image = Image.fromarray(array if array.shape[2] == 3 else array[..., 0])
    # A histogram is counted faster than a deviation of all pixels is computed.
    counts = np.array(image.histogram(), np.float64).reshape(-1, 256)
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ _LEVELS
    spread = float(np.sqrt(np.maximum(share @ _LEVELS**2 - mean**2, 0)).max())
    red, green, blue = mean.tolist() if len(mean) == 3 else 3 * mean.tolist()
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX).convert("L")
    return small.tobytes(), (red, green, blue), spread


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _shorten(error: Exception, name: str) -> str:
    """What is wrong, without the image's name, which stands beside it."""
    text = str(error) if isinstance(error, UserError) else explain_error(error)
    return text.removeprefix(f"{name}: ").removeprefix("cannot be read as an image: ")
