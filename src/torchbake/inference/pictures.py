"""A predictor for programs that preprocess pictures themselves."""

from collections.abc import Iterable, Iterator, Sequence

import torch

from .._shapes import Float, Tensor, UInt8
from ..data.preprocessing import Preprocessing
from ..errors import UserError
from .images import ImageLike
from .predictor import Prediction, Predictor
from .programs import Program


class _Decoding(Preprocessing):
    """Pictures are decoded, and stay as large as they are."""

    def crop(self, pixels: UInt8[Tensor, "*n ch h w"]) -> UInt8[Tensor, "*n ch h w"]:
        return pixels


class PicturePredictor(Predictor):
    """Predicts by a program that takes decoded pictures (n, h, w, ch) and gives probabilities."""

    def __init__(
        self,
        program: Program,
        preprocessing: Preprocessing,
        classes: Sequence[str],
        *,
        temperature: float | None = None,
        name: str = "",
    ) -> None:
        decoding = _Decoding(**vars(preprocessing))
        super().__init__(program, decoding, classes, temperature=temperature, name=name)

    def predict_each(
        self,
        images: Iterable[ImageLike],
        *,
        top_k: int = 5,
        batch_size: int = 64,
        workers: int | None = None,
    ) -> Iterator[Prediction | UserError]:
        """As `Predictor.predict_each`, one picture after the other, since their sizes differ."""
        return super().predict_each(images, top_k=top_k, batch_size=1, workers=workers)

    @torch.no_grad()
    def compute_probabilities(self, pixels: UInt8[Tensor, "n ch h w"]) -> Float[Tensor, "n c"]:
        """Calibrated probabilities of all classes; the temperature is within the program."""
        return self.compute(pixels.permute(0, 2, 3, 1).contiguous())
