"""Folders of images, one folder a class."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...errors import UserError, shorten
from .base import Source, Split, make_encoded_split, note_other_splits, pick_splits, read_nth
from .listing import Listing, list_images

if TYPE_CHECKING:
    from ...recipe import DataRecipe


def open_image_folder(place: str, recipe: "DataRecipe") -> Source:
    """A folder with train/ and test/, val/ or validation/, and in each a folder a class.

    The order is that of torchvision's ImageFolder. Hidden files and folders are left out, each
    folder and file counts once however many links lead to it, and the source's notes say what was
    left out.
    """
    root = Path(place).expanduser()
    if not root.is_dir():
        raise UserError(f"{recipe.name}: there is no folder {root}")
    present = [path.name for path in root.iterdir() if path.is_dir()]
    names = pick_splits(recipe, present)
    used = [name for name in names[:3] if name is not None]
    train, *others = listings = [_list_split(root / name, recipe.name) for name in used]
    for name, other in zip(used[1:], others, strict=True):
        if other.classes != train.classes:
            only = sorted(set(train.classes) ^ set(other.classes))
            raise UserError(
                f"{recipe.name}: {names.train}/ and {name}/ must have the same class folders; in "
                f"one alone: {', '.join(map(shorten, only[:5]))}{' …' * (len(only) > 5)}"
            )

    def split(listing: Listing) -> Split:
        paths = listing.paths
        labels = torch.tensor(listing.labels)
        images = make_encoded_split(labels, partial(read_nth, paths), recipe.channels or 3, paths)
        return replace(images, names=partial(_name_nth, root, paths))

    notes = [
        f"{recipe.name}: left out of {name}/: {listing.describe_skipped()}"
        for name, listing in zip(used, listings, strict=True)
        if listing.skipped
    ]
    notes += note_other_splits(recipe, names, present)
    validation = split(others[1]) if len(others) > 1 else None
    return Source(
        split(train),
        split(others[0]),
        train.classes,
        validation,
        names.stands_in,
        tuple(notes),
    )


def _list_split(folder: Path, source: str) -> Listing:
    listing = list_images(folder)
    if not listing.classes:
        raise UserError(f"{source}: there is no class folder in {folder}")
    counts = torch.tensor([0, *listing.labels]).bincount(minlength=len(listing.classes))
    counts[0] -= 1
    empty = [name for name, count in zip(listing.classes, counts, strict=True) if not count]
    if empty:
        left_out = f"; left out: {listing.describe_skipped()}" if listing.skipped else ""
        raise UserError(
            f"{source}: no images in the class folder(s) {', '.join(map(shorten, empty[:5]))}"
            f"{' …' * (len(empty) > 5)} of {folder}{left_out}"
        )
    return listing


def _name_nth(root: Path, paths: list[str], index: int) -> str:
    """The path within the folder, so that a folder may be moved; all of it Unicode."""
    return os.fsencode(Path(paths[index]).relative_to(root).as_posix()).decode(errors="replace")
