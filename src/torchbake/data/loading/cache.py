"""Decoded images as memory-mapped files, shared by all runs on a machine."""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from ..._shapes import Tensor, UInt8
from ..sources.base import Split

VERSION = "2"
"""Another one where the same files would be decoded to other pixels."""


def find_cache_folder() -> Path:
    """`$TORCHBAKE_CACHE`, else `torchbake` in `$XDG_CACHE_HOME` or `~/.cache`."""
    general = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    named = os.environ.get("TORCHBAKE_CACHE")
    return Path(named or Path(general) / "torchbake").expanduser()


def load_cached(
    folder: Path,
    split: Split,
    shape: tuple[int, ...],
    fill: Callable[[UInt8[Tensor, "n ch h w"]], bool],
) -> UInt8[Tensor, "n ch h w"] | None:
    """A split's images from its file in `folder`, which is made first if it is not there.

    A file is named after the split's files, their sizes and times of change: other ones are decoded
    anew, and replace what was kept of them. Several processes that want it make it once; readers
    map it, so that they share one copy in memory.

    Args:
        shape: of the whole, (n, ch, h, w).
        fill: writes the images into the tensor it is given; False if they cannot be had so.

    Returns:
        The images, private to this process where it writes to them; None if `fill` says so.

    Raises:
        OSError: the folder cannot be written to, or has no room.
    """
    name, state = name_file(split)
    path = folder / f"{name}-{state}.npy"
    pixels = _map_file(path, shape)
    if pixels is not None:
        return pixels
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock"):
        pixels = _map_file(path, shape)  # another process may have made it meanwhile
        if pixels is None:
            if not _make_file(path, shape, fill):
                return None
            for outdated in folder.glob(f"{name}-*.npy"):
                if outdated != path:
                    outdated.unlink()
            pixels = _map_file(path, shape)
    return pixels


def name_file(split: Split) -> tuple[str, str]:
    """Which images these are, and the state of the files that they are in."""
    times = []
    for file in split.files:
        status = Path(file).stat()
        times.append(f"{status.st_size} {status.st_mtime_ns}")
    return _digest([VERSION, split.part, *split.files]), _digest(times)


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256(os.fsencode("\n".join(words))).hexdigest()[:16]


def _map_file(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """The images of a whole file; None if there is none."""
    try:
        pixels = np.load(path, mmap_mode="c")
    except (FileNotFoundError, ValueError, EOFError):
        return None
    whole = pixels.shape == shape and pixels.dtype == np.uint8
    return torch.from_numpy(pixels) if whole else None


def _make_file(path: Path, shape: tuple[int, ...], fill: Callable[[Tensor], bool]) -> bool:
    """Fill a file that takes its name when it is whole."""
    part = path.with_suffix(".part")
    try:
        pixels = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):  # a full disk shows here, not as a signal when written
            with part.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        if not fill(torch.from_numpy(pixels)):
            return False
        pixels.flush()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return True
