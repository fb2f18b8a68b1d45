"""Test images held out of a data set that has no test split."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from ..._shapes import Int, Tensor
from ...errors import UserError


def hold_out(
    labels: Sequence[int], paths: Sequence[str], names: Sequence[str], share: float, seed: int
) -> tuple[Int[Tensor, " k"], Int[Tensor, " m"]]:
    """Numbers of the images to train on, and of those held out of each class for testing.

    From each class the same share is taken, one image at least and not all. Which ones depends on
    their names and the seed alone: images that are added later move hardly any others. Files of
    equal bytes stay on one side. A class of a single image is trained on.

    Args:
        labels: class numbers.
        paths: the images' files.
        names: what the images are called, such as their paths within a folder.
        share: of each class, between 0 and 1.

    Raises:
        UserError: there is nothing to hold out.
    """
    classes: dict[int, list[list[int]]] = defaultdict(list)
    for group in _group_equal(paths):
        classes[labels[group[0]]].append(group)
    test: list[int] = []
    for groups in classes.values():
        if len(groups) < 2:
            continue
        groups.sort(key=lambda group: _draw(names[group[0]], seed))
        wanted = max(1, round(share * sum(map(len, groups))))
        taken = 0
        for group in groups[:-1]:
            if taken >= wanted:
                break
            test += group
            taken += len(group)
    if not test:
        raise UserError("no class has two different images, so that none can be held out")
    train = sorted(set(range(len(labels))) - set(test))
    return torch.tensor(train), torch.tensor(sorted(test))


def _draw(name: str, seed: int) -> bytes:
    """A random place in the order of a class."""
    return hashlib.blake2b(f"{seed} {name}".encode(errors="surrogateescape")).digest()


def _group_equal(paths: Sequence[str]) -> list[list[int]]:
    """Numbers of the files, those of equal bytes together; only files of one size are read."""
    sizes: dict[int, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        try:
            sizes[Path(path).stat().st_size].append(number)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    groups = []
    for numbers in sizes.values():
        if len(numbers) == 1:
            groups.append(numbers)
            continue
        equal: dict[bytes, list[int]] = defaultdict(list)
        for number in numbers:
            try:
                with Path(paths[number]).open("rb") as file:
                    equal[hashlib.file_digest(file, "blake2b").digest()].append(number)
            except OSError:  # whoever wants the image will say so
                groups.append([number])
        groups += equal.values()
    return sorted(groups)
