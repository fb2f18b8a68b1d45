"""A trained network that is given images and answers with labels."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, overload

import torch

from .._shapes import Float, Tensor, UInt8
from ..data.loading.workers import count_workers
from ..data.preprocessing import Preprocessing
from ..errors import UserError
from .images import ImageLike, is_one, read_image


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of an image.

    Attributes:
        label: name of the most probable class.
        confidence: its probability.
        top: the most probable classes and their probabilities, the best first.
        probabilities: of all classes, float32 on the CPU.
    """

    label: str
    confidence: float
    top: list[tuple[str, float]]
    probabilities: Float[Tensor, " c"]

    def __repr__(self) -> str:
        return f"Prediction({self.label!r}, {self.confidence:.4f})"


class Predictor:
    """A trained network with all that stands between images and labels.

    >>> predictor = torchbake.load("runs/my")
    >>> predictor("cat.jpg").label
    'cat'

    Images are what `ImageLike` lists, and go through `preprocessing`, the same that
    `torchbake evaluate` applies.

    Args:
        compute: normalised images (n, ch, size, size) on the device to logits (n, c).
        classes: names of the classes, in the order of the logits.
        temperature: what logits are divided by; None where none was fitted, which leaves them as
            they are: see `calibrated`.
        device: where `compute` wants its images.
        name: what the network is called, in messages.
    """

    def __init__(
        self,
        compute: Callable[[Float[Tensor, "n ch h w"]], Float[Tensor, "n c"]],
        preprocessing: Preprocessing,
        classes: Sequence[str],
        *,
        temperature: float | None = None,
        device: torch.device | None = None,
        name: str = "",
    ) -> None:
        self.compute = compute
        self.preprocessing = preprocessing
        self.classes = list(classes)
        self.temperature = temperature
        self.device = device or torch.device("cpu")
        self.name = name

    def __repr__(self) -> str:
        return f"Predictor({self.name!r}, {len(self.classes)} classes, on {self.device})"

    @property
    def calibrated(self) -> bool:
        """Whether confidences were fitted to how often predictions are right."""
        return self.temperature is not None

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a path alone is also an iterable of texts
        self,
        images: ImageLike,
        *,
        top_k: int = 5,
        batch_size: int = 64,
        workers: int | None = None,
    ) -> Prediction: ...

    @overload
    def __call__(
        self,
        images: Iterable[ImageLike],
        *,
        top_k: int = 5,
        batch_size: int = 64,
        workers: int | None = None,
    ) -> list[Prediction]: ...

    def __call__(
        self,
        images: Any,
        *,
        top_k: int = 5,
        batch_size: int = 64,
        workers: int | None = None,
    ) -> Prediction | list[Prediction]:
        """Predict the labels of images.

        Args:
            images: one of `ImageLike`, or several.
            top_k: largest number of classes in `Prediction.top`.
            batch_size, workers: see `predict_each`.

        Returns:
            A `Prediction` for an image alone, otherwise a list of them.

        Raises:
            UserError: an image that cannot be read.
        """
        alone = is_one(images)
        found = []
        for prediction in self.predict_each(
            [images] if alone else images, top_k=top_k, batch_size=batch_size, workers=workers
        ):
            if isinstance(prediction, UserError):
                raise prediction
            found.append(prediction)
        return found[0] if alone else found

    def predict_each(
        self,
        images: Iterable[ImageLike],
        *,
        top_k: int = 5,
        batch_size: int = 64,
        workers: int | None = None,
    ) -> Iterator[Prediction | UserError]:
        """Predict the labels of images one after the other, as their batches are done.

        Args:
            images: any number of them; they are read a few batches ahead.
            batch_size: number of images that go through the network together.
            workers: threads that read and decode files; 0 does it in this one, None takes one for
                each available core, at most 16.

        Yields:
            For each image in turn a `Prediction`, or what is wrong with it.
        """
        for name, value in (("top_k", top_k), ("batch_size", batch_size)):
            if value < 1:
                raise UserError(f"{name}: expected a number of at least 1, got {value}")
        waiting: list[Tensor | UserError] = []
        good = 0
        for image in self._read_each(images, batch_size, workers):
            waiting.append(image)
            good += isinstance(image, Tensor)
            if good == batch_size:
                yield from self._predict(waiting, top_k)
                waiting, good = [], 0
        yield from self._predict(waiting, top_k)

    @torch.no_grad()
    def compute_logits(self, pixels: UInt8[Tensor, "n ch size size"]) -> Float[Tensor, "n c"]:
        """The network's logits for images that `preprocessing` has cropped; float32, as they are:
        the temperature is not applied."""
        images = self.preprocessing.normalise(pixels.to(self.device, non_blocking=True))
        return self.compute(images).float()

    def compute_probabilities(
        self, pixels: UInt8[Tensor, "n ch size size"]
    ) -> Float[Tensor, "n c"]:
        """Calibrated probabilities of all classes; float32."""
        return (self.compute_logits(pixels) / (self.temperature or 1.0)).softmax(dim=1)

    def _predict(
        self, images: Sequence[Tensor | UserError], top_k: int
    ) -> Iterator[Prediction | UserError]:
        """What the network says of images that have been read, all at once."""
        read = [image for image in images if isinstance(image, Tensor)]
        if read:
            shape = (len(read), *read[0].shape)
            # In the order of dimensions in which evaluation streams images.
            pixels = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
            torch.stack(read, out=pixels)
            probabilities = self.compute_probabilities(pixels).cpu()
            best = probabilities.topk(min(top_k, len(self.classes)), dim=1)
            rows = iter(
                zip(probabilities, best.values.tolist(), best.indices.tolist(), strict=True)
            )
        for image in images:
            if isinstance(image, UserError):
                yield image
                continue
            all_of_them, values, numbers = next(rows)
            top = [(self.classes[k], p) for k, p in zip(numbers, values, strict=True)]
            yield Prediction(*top[0], top, all_of_them)

    def _read_each(
        self, images: Iterable[ImageLike], batch_size: int, workers: int | None
    ) -> Iterator[Tensor | UserError]:
        """Images in order, cropped; files are decoded by threads, up to two batches ahead."""

        def read(image: Any, number: int) -> Tensor | UserError:
            try:
                return read_image(image, self.preprocessing, number)
            except UserError as error:
                return error

        count = count_workers() if workers is None else workers
        if count == 0:
            yield from (read(image, number) for number, image in enumerate(images))
            return
        # Decoders release Python's lock; threads need no copies between processes.
        pool = ThreadPoolExecutor(count, thread_name_prefix="decode")
        reading: deque[Future[Tensor | UserError]] = deque()
        try:
            for number, image in enumerate(images):
                reading.append(pool.submit(read, image, number))
                if len(reading) >= 2 * batch_size + count:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
