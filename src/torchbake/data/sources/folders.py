"""Folders of images, one folder a class."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...errors import UserError
from .base import Source, Split, make_encoded_split, pick_splits, read_nth

if TYPE_CHECKING:
    from ...recipe import DataRecipe


def open_image_folder(place: str, recipe: "DataRecipe") -> Source:
    """A folder with train/ and test/, val/ or validation/, and in each a folder a class."""
    from torchvision.datasets import ImageFolder

    root = Path(place).expanduser()
    if not root.is_dir():
        raise UserError(f"{recipe.name}: there is no folder {root}")
    present = [path.name for path in root.iterdir() if path.is_dir()]
    names = pick_splits(recipe, present)

    def open_folder(name: str) -> ImageFolder:
        try:
            return ImageFolder(root / name)
        except FileNotFoundError as error:
            raise UserError(f"{recipe.name}: {error}") from None

    train = open_folder(names.train)

    def split(name: str) -> Split:
        folder = train if name == names.train else open_folder(name)
        if folder.classes != train.classes:
            only = sorted(set(train.classes) ^ set(folder.classes))
            raise UserError(
                f"{recipe.name}: {names.train}/ and {name}/ must have the same class folders; in "
                f"one alone: {', '.join(only[:5])}{' …' * (len(only) > 5)}"
            )
        paths = [path for path, _ in folder.samples]
        labels = torch.tensor(folder.targets)
        images = make_encoded_split(labels, partial(read_nth, paths), recipe.channels or 3, paths)
        return replace(images, names=partial(_name_nth, root, paths))

    return Source(
        split(names.train),
        split(names.test),
        train.classes,
        None if names.validation is None else split(names.validation),
        names.stands_in,
    )


def _name_nth(root: Path, paths: list[str], index: int) -> str:
    """The path within the folder, so that a folder may be moved; all of it Unicode."""
    return os.fsencode(Path(paths[index]).relative_to(root).as_posix()).decode(errors="replace")
