"""Data sets that fit in memory: decoded once, kept as uint8, augmented as whole batches."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from ..._shapes import Tensor, UInt8
from ...errors import UserError
from ..sources.base import Split
from .cache import load_cached
from .workers import note_memory, prepare_workers

LIMIT = 4.0 * 2**30
"""Bytes of pixels up to which a split is kept in memory without being told to."""


def decode_all(
    split: Split,
    size: tuple[int, int],
    limit: float = LIMIT,
    workers: int = 0,
    progress: Callable[[int], None] = lambda done: None,
    cache: Path | None = None,
) -> UInt8[Tensor, "n ch h w"] | None:
    """All images of a split, or None if they are not all of this size (h, w) or too many.

    Args:
        limit: bytes of pixels that are too many.
        workers: processes that decode; 0 for this one alone.
        progress: called now and then with the number of images done.
        cache: the folder where images from files are kept decoded, see `load_cached`; one that
            cannot be written to is not used.
    """
    if split.pixels is not None:
        return split.pixels if split.pixels.shape[2:] == size else None
    first = split.load(0)
    if first.shape[1:] != size or len(split) * first.numel() > limit:
        return None
    shape = (len(split), *first.shape)

    def fill(pixels: Tensor) -> bool:
        done = 0
        loader = DataLoader(
            _Parts(split, first.shape),
            batch_size=None,
            **prepare_workers(workers),
        )
        for part in loader:
            if isinstance(part, str):
                raise UserError(part)
            if part is None:
                return False
            pixels[done : done + len(part)] = part
            done += len(part)
            progress(done)
        return True

    if cache is not None and split.files:
        with suppress(OSError):
            return load_cached(cache, split, shape, fill)
    pixels = torch.empty(shape, dtype=torch.uint8)
    return pixels if fill(pixels) else None


class _Parts(Dataset[UInt8[Tensor, "part ch h w"] | str | None]):
    """A split in parts of equally sized images; None for a part that has others.

    What is wrong with a file travels as text: an error that leaves a worker brings its traceback.
    """

    size = 500

    def __init__(self, split: Split, shape: torch.Size) -> None:
        self.split = split
        self.shape = shape

    def __len__(self) -> int:
        return -(-len(self.split) // self.size)

    def __getitem__(self, part: int) -> UInt8[Tensor, "part ch h w"] | str | None:
        indices = range(part * self.size, min((part + 1) * self.size, len(self.split)))
        try:
            images = [self.split.load(index) for index in indices]
        except UserError as error:
            return str(error)
        note_memory()
        return torch.stack(images) if all(i.shape == self.shape for i in images) else None
