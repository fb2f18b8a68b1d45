"""Splits of image files that a folder or a table names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...errors import UserError
from .base import Source, Split, make_encoded_split, read_nth, takes_split
from .holding_out import describe_held_out, group_files, hold_out

if TYPE_CHECKING:
    from ...recipe import DataRecipe


@dataclass(frozen=True)
class Files:
    """Image files and their class numbers."""

    paths: list[str]
    labels: list[int]


@dataclass(frozen=True)
class Splits:
    """The files of the splits, as far as there are any (see `Source`)."""

    train: Files
    test: Files | None = None
    validation: Files | None = None
    stands_in: str = ""


def make_source(
    splits: Splits,
    classes: list[str],
    root: Path,
    found: str,
    notes: tuple[str, ...],
    recipe: "DataRecipe",
) -> Source:
    """A source of these files; where there is no test split, a part of each class is held out.

    Args:
        root: names are paths within it.
        found, notes: see `Source`.

    Raises:
        UserError: a validation split that is not there, or see `hold_out`.
    """
    if takes_split(recipe) and splits.validation is None:
        raise UserError(
            f"data.validation: {recipe.name} has no validation split beside a test split; expected "
            "a fraction of the training images, such as 0.1"
        )
    train, test = splits.train, splits.test
    if test is None:
        train, test = hold_out_files(train, root, recipe)
        found += describe_held_out(len(test.paths), recipe.test_share)
    return Source(
        _make_split(train, root, recipe),
        _make_split(test, root, recipe),
        classes,
        None if splits.validation is None else _make_split(splits.validation, root, recipe),
        splits.stands_in,
        notes,
        found,
    )


def hold_out_files(files: Files, root: Path, recipe: "DataRecipe") -> tuple[Files, Files]:
    """The files to train on, and those held out for testing (see `hold_out`)."""
    names = [_name(root, path) for path in files.paths]
    numbers = hold_out(
        files.labels, group_files(files.paths), names, recipe.test_share, recipe.test_share_seed
    )
    train, test = (_take(files, part.tolist()) for part in numbers)
    return train, test


def _take(files: Files, numbers: Sequence[int]) -> Files:
    return Files([files.paths[n] for n in numbers], [files.labels[n] for n in numbers])


def _make_split(files: Files, root: Path, recipe: "DataRecipe") -> Split:
    paths, labels = files.paths, torch.tensor(files.labels, dtype=torch.int64)
    images = make_encoded_split(labels, partial(read_nth, paths), recipe.channels or 3, paths)
    return replace(images, names=partial(_name_nth, root, paths))


def _name_nth(root: Path, paths: list[str], index: int) -> str:
    return _name(root, paths[index])


def _name(root: Path, path: str) -> str:
    """The path within the folder, so that a folder may be moved; all of it Unicode."""
    whole = Path(path)
    inside = whole.relative_to(root) if whole.is_relative_to(root) else whole
    return os.fsencode(inside.as_posix()).decode(errors="replace")
