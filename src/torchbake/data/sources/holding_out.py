"""Test images held out of a data set that has no test split."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..._shapes import Int, Tensor
from ...errors import UserError
from .base import Split
from .subsets import choose_images

if TYPE_CHECKING:
    from ...recipe import DataRecipe


ALL = 1.0
"""The share for which nothing is held out: all images are for training and for testing."""


def hold_out(
    labels: Sequence[int],
    groups: Sequence[list[int]],
    names: Sequence[str],
    share: float,
    seed: int,
) -> tuple[Int[Tensor, " k"], Int[Tensor, " m"]]:
    """Numbers of the images to train on, and of those held out of each class for testing.

    From each class the same share is taken, one image at least and not all. Which ones depends on
    their names and the seed alone: images that are added later move hardly any others. Images of a
    group stay on one side. A class of a single image is trained on.

    Args:
        labels: class numbers.
        groups: numbers of the images, equal ones together (see `group_files`, `group_contents`).
        names: what the images are called, such as their paths within a folder.
        share: of each class, between 0 and 1, or `ALL`.

    Raises:
        UserError: there is nothing to hold out.
    """
    if share == ALL:
        everything = torch.arange(len(labels))
        return everything, everything
    classes: dict[int, list[list[int]]] = defaultdict(list)
    for group in groups:
        classes[labels[group[0]]].append(group)
    test: list[int] = []
    for own in classes.values():
        if len(own) < 2:
            continue
        own.sort(key=lambda group: _draw(names[group[0]], seed))
        wanted = max(1, round(share * sum(map(len, own))))
        taken = 0
        for group in own[:-1]:
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


def hold_out_images(split: Split, recipe: "DataRecipe") -> tuple[Split, Split]:
    """The images to train on, and those held out for testing, by what they hold.

    All are read once for that. What a row has for an image and cannot be read counts as unlike any
    other: it is told of where the image is used.
    """
    assert split.encoded is not None
    digests = []
    for number in range(len(split)):
        try:
            content = split.encoded(number).content
        except UserError:
            content = f"row {number}".encode()
        digests.append(hashlib.blake2b(content).hexdigest())
    numbers = hold_out(
        split.labels.tolist(),
        group_contents(digests),
        digests,
        recipe.test_share,
        recipe.test_share_seed,
    )
    train, test = (choose_images(split, part) for part in numbers)
    return train, test


def describe_held_out(count: int, share: float) -> str:
    """What is said of test images that were held out."""
    return (
        f"; {count:,} images, {100 * share:g} % of each class, held out for testing "
        "(data.test_share)"
    )


def group_contents(digests: Sequence[str]) -> list[list[int]]:
    """Numbers of the images, those of equal digests together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, digest in enumerate(digests):
        groups[digest].append(number)
    return list(groups.values())


def group_files(paths: Sequence[str]) -> list[list[int]]:
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
