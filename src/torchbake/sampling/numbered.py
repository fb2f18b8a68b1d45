"""A batch of image numbers that knows which batch it is."""

from collections.abc import Iterable


class NumberedBatch(list[int]):
    """A list of image numbers, as samplers yield them.

    Attributes:
        key: what randomness in loading it may depend on (see `derive_seed`).
    """

    def __init__(self, images: Iterable[int], key: tuple[int | str, ...]) -> None:
        super().__init__(images)
        self.key = key
