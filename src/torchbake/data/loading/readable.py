"""Images that cannot be read, found and left out before training: `data.on_error: skip`."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock
from torch.utils.data import DataLoader, Dataset

from ...errors import ImageError, UserError, shorten
from ..sources.base import Source, Split
from ..sources.subsets import keep_images
from .cache import find_cache_folder, name_file
from .workers import note_memory, prepare_workers

Progress = Callable[[str, int, int], None]


class LeftOut(NamedTuple):
    """An image that cannot be read.

    Attributes:
        split: `training`, `test` or `validation`.
        number: its place in the split before any was left out.
        kind: `missing`, `unreadable` (as a file, or as an image), `damaged` or `too-deep`.
    """

    split: str
    number: int
    name: str
    kind: str
    reason: str


def leave_out_unreadable(
    source: Source, workers: int, cache: bool, progress: Progress
) -> tuple[Source, tuple[LeftOut, ...]]:
    """A source without the images that cannot be decoded, and which ones these are.

    All images are decoded once, so that a batch never meets one that cannot be: batches stay full,
    groups keep their classmates, and the same images are left out by every loader and every rank,
    in a first run and in one that goes on. Splits that are in memory have none.

    Args:
        workers: processes that decode.
        cache: keep what was found beside decoded images, until a file changes.
        progress: called with a split's name, images looked at and their number.

    Raises:
        UserError: a split, or a class in training, would be left without an image.
    """
    named = {"training": source.train, "test": source.test, "validation": source.validation}
    left_out: list[LeftOut] = []
    kept: dict[str, Split | None] = {}
    for name, split in named.items():
        kept[name], found = (
            (None, []) if split is None else _clean(name, split, workers, cache, progress)
        )
        left_out += found
    train, test = kept["training"], kept["test"]
    assert train is not None
    assert test is not None
    counts = train.labels.bincount(minlength=len(source.classes))
    before = source.train.labels.bincount(minlength=len(source.classes))
    for number in ((counts == 0) & (before > 0)).nonzero()[:, 0].tolist():
        raise UserError(
            f"data.on_error: no training image of class '{shorten(source.classes[number])}' can be "
            f"read: {left_out[0].reason}"
        )
    for name, split in kept.items():
        if split is not None and not len(split):
            reason = next(image.reason for image in left_out if image.split == name)
            raise UserError(f"data.on_error: no {name} image can be read: {reason}")
    sizes = {name: len(split) for name, split in named.items() if split is not None}
    notes = (*source.notes, *describe_left_out(left_out, sizes))
    clean = replace(source, train=train, test=test, validation=kept["validation"], notes=notes)
    return clean, tuple(left_out)


def leave_out_of_test(
    split: Split, workers: int, cache: bool, progress: Progress
) -> tuple[Split, tuple[LeftOut, ...]]:
    """As `leave_out_unreadable`, of test images alone."""
    kept, found = _clean("test", split, workers, cache, progress)
    if not len(kept):
        raise UserError(f"data.on_error: no test image can be read: {found[0].reason}")
    return kept, tuple(found)


def describe_left_out(left_out: Iterable[LeftOut], sizes: dict[str, int]) -> list[str]:
    """A line for each split that lacks images.

    Args:
        sizes: of the splits with these images.
    """
    return [
        f"left out {sum(kinds.values()):,} of {sizes[split]:,} {split} images that cannot be read: "
        + ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        for split, kinds in count_left_out(left_out).items()
    ]


def count_left_out(left_out: Iterable[LeftOut]) -> dict[str, dict[str, int]]:
    """How many images of each split and kind."""
    counts: dict[str, Counter[str]] = {}
    for image in left_out:
        counts.setdefault(image.split, Counter())[image.kind] += 1
    return {split: dict(kinds) for split, kinds in counts.items()}


def _clean(
    name: str, split: Split, workers: int, cache: bool, progress: Progress
) -> tuple[Split, list[LeftOut]]:
    faults = [] if split.pixels is not None else _find_kept(name, split, workers, cache, progress)
    if not faults:
        return split, []
    good = torch.ones(len(split), dtype=torch.bool)
    good[[index for index, _, _ in faults]] = False
    left_out = [LeftOut(name, i, split.name_of(i), kind, told) for i, kind, told in faults]
    return keep_images(split, good.nonzero()[:, 0]), left_out


Fault = tuple[int, str, str]
"""Number, kind and reason."""


def _find_kept(
    name: str, split: Split, workers: int, cache: bool, progress: Progress
) -> Sequence[Fault]:
    """As `_find`, or what was found before of files that have not changed."""
    if cache and split.files:
        with suppress(OSError):
            folder = find_cache_folder()
            files, state = name_file(split)
            path = folder / f"unreadable-{files}-{state}.json"
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f".unreadable-{files}.lock"):
                found = _read(path, len(split))
                if found is None:
                    found = _find(name, split, workers, progress)
                    for outdated in folder.glob(f"unreadable-{files}-*.json"):
                        outdated.unlink()
                    part = path.with_suffix(".part")
                    part.write_text(json.dumps({"faults": found}), encoding="utf-8")
                    part.replace(path)
                return found
    return _find(name, split, workers, progress)


def _read(path: Path, size: int) -> list[Fault] | None:
    try:
        faults = json.loads(path.read_text(encoding="utf-8"))["faults"]
        found = [(int(index), str(kind), str(told)) for index, kind, told in faults]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if all(0 <= index < size for index, _, _ in found) else None


def _find(name: str, split: Split, workers: int, progress: Progress) -> list[Fault]:
    """The images of a split that cannot be decoded."""
    looks = _Looks(split)
    loader = DataLoader(looks, batch_size=None, collate_fn=_leave, **prepare_workers(workers))
    faults: list[Fault] = []
    for part, found in enumerate(loader, start=1):
        faults += found
        progress(name, min(part * _Looks.size, len(split)), len(split))
    return faults


def _leave(faults: list[Fault]) -> list[Fault]:
    """As they are: a DataLoader would make lists of tuples."""
    return faults


class _Looks(Dataset[list[Fault]]):
    """A split in parts; of each, the images that cannot be decoded."""

    size = 100

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return -(-len(self.split) // self.size)

    def __getitem__(self, part: int) -> list[Fault]:
        faults = []
        for index in range(part * self.size, min((part + 1) * self.size, len(self.split))):
            try:
                self.split.load(index)
            except ImageError as error:
                faults.append((index, error.kind, str(error)))
        note_memory()
        return faults
