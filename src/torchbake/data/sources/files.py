"""Splits of image files that a folder or a table names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...errors import UserError
from .base import Source, Split, make_encoded_split, read_nth
from .holding_out import hold_out

if TYPE_CHECKING:
    from ...recipe import DataRecipe


@dataclass(frozen=True)
class Listing:
    """Image files and their class numbers; names are paths within `root`."""

    paths: list[str]
    labels: list[int]


def make_source(
    train: Listing,
    test: Listing | None,
    classes: list[str],
    root: Path,
    found: str,
    recipe: "DataRecipe",
) -> Source:
    """A source of these files; where there is no test split, a part of each class is held out.

    Args:
        found: what they were found in, in words.

    Raises:
        UserError: fewer than two classes, or see `hold_out`.
    """
    if len(classes) < 2:
        raise UserError(
            f"{recipe.name}: needs two classes or more, found {len(classes)}"
            + (f": '{classes[0]}'" if classes else "")
        )
    if test is None:
        names = [_name(root, path) for path in train.paths]
        numbers = hold_out(
            train.labels, train.paths, names, recipe.test_share, recipe.test_share_seed
        )
        train, test = (_take(train, part.tolist()) for part in numbers)
        found += (
            f"; {len(test.paths):,} images, {100 * recipe.test_share:g} % of each class, held out "
            "for testing (data.test_share)"
        )
    return Source(_make_split(train, root, recipe), _make_split(test, root, recipe), classes, found)


def _take(listing: Listing, numbers: Sequence[int]) -> Listing:
    return Listing([listing.paths[n] for n in numbers], [listing.labels[n] for n in numbers])


def _make_split(listing: Listing, root: Path, recipe: "DataRecipe") -> Split:
    paths, labels = listing.paths, torch.tensor(listing.labels, dtype=torch.int64)
    images = make_encoded_split(labels, partial(read_nth, paths), recipe.channels or 3, paths)
    return replace(images, names=partial(_name_nth, root, paths))


def _name_nth(root: Path, paths: list[str], index: int) -> str:
    return _name(root, paths[index])


def _name(root: Path, path: str) -> str:
    """The path within the folder, so that a folder may be moved; all of it Unicode."""
    whole = Path(path)
    inside = whole.relative_to(root) if whole.is_relative_to(root) else whole
    return os.fsencode(inside.as_posix()).decode(errors="replace")
