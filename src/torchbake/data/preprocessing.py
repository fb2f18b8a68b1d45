"""From an image of any size to what a network is given, without anything random."""

from dataclasses import dataclass
from typing import Literal, get_args

from .._shapes import Float, Tensor, UInt8
from ..errors import UserError
from .augment.geometry import crop_middle
from .augment.normalise import normalise
from .sources.decoding import decode

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Preprocessing:
    """How images become a network's input, in evaluation and prediction alike.

    An image is decoded in `channels` colours, 8 bits each, turned as its EXIF orientation says,
    resized to `resize_to` pixels on its shorter side, cropped to its centre and normalised.

    Attributes:
        image_size: height and width of the network's input in pixels.
        channels: 3 for colour or 1 for grey.
        mean, std: of each channel, on the scale from 0 to 1.
        crop_pct: fraction of the shorter side that the network sees.
        interpolation: of resizing, always with antialiasing.
    """

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float = 1.0
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        for name, wrong, expected in (
            ("image_size", self.image_size < 1, "a number of pixels"),
            ("channels", self.channels not in (1, 3), "1 or 3"),
            ("mean", len(self.mean) != self.channels, "one value a channel"),
            (
                "std",
                len(self.std) != self.channels or min(self.std) <= 0,
                "one value above 0 a channel",
            ),
            ("crop_pct", not 0 < self.crop_pct <= 1, "above 0, at most 1"),
            (
                "interpolation",
                self.interpolation not in get_args(Interpolation),
                " or ".join(get_args(Interpolation)),
            ),
        ):
            if wrong:
                raise UserError(
                    f"preprocessing: {name}: expected {expected}, got {getattr(self, name)!r}"
                )

    @property
    def resize_to(self) -> int:
        """Pixels of the shorter side before the centre is cropped."""
        return round(self.image_size / self.crop_pct)

    def read(self, encoded: bytes, name: str) -> UInt8[Tensor, "ch h w"]:
        """An image file's content, decoded and cropped.

        Args:
            name: says which image it is, in errors.

        Raises:
            UserError: see `decode`.
        """
        return self.crop(decode(encoded, self.channels, name))

    def crop(self, pixels: UInt8[Tensor, "*n ch h w"]) -> UInt8[Tensor, "*n ch size size"]:
        """The centre of images, resized; images that have the right size stay as they are."""
        if self.crop_pct == 1 and pixels.shape[-2:] == (self.image_size, self.image_size):
            return pixels
        return crop_middle(pixels, self.image_size, self.crop_pct, self.interpolation)

    def normalise(self, pixels: UInt8[Tensor, "n ch h w"]) -> Float[Tensor, "n ch h w"]:
        """Images as the network is given them."""
        return normalise(pixels, self.mean, self.std)
