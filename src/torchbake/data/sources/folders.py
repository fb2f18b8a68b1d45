"""Folders of images, one folder a class."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...errors import UserError, shorten
from .base import USUAL_SPLITS, Names, Source, note_other_splits, pick_split, pick_splits
from .files import Splits, make_source
from .listing import Listing, find_innermost, list_folders, list_images

if TYPE_CHECKING:
    from ...recipe import DataRecipe


def open_image_folder(place: str, recipe: "DataRecipe") -> Source:
    """A folder with a folder for each class, or with train/ and test/ (val/, …) that have them.

    Without a test split, a part of each class is held out. The classes are the outermost folders,
    or the innermost ones where all images are deeper and the names of their folders differ.
    """
    root = Path(place).expanduser()
    if not root.is_dir():
        raise UserError(f"{recipe.name}: there is no folder {root}")
    present = list_folders(root)
    names = find_splits(root, present, recipe)
    if names is None:
        found, used = "class folders without splits", [""]
    else:
        used = [name for name in (names.train, names.test, names.validation or "") if name]
        found = f"class folders in {' and '.join(f'{name}/' for name in used)}"
    listings = {name: _list_split(root / name, recipe) for name in used}
    classes = listings[used[0]].classes
    for name, listing in listings.items():
        if listing.classes != classes:
            only = sorted(set(classes) ^ set(listing.classes))
            raise UserError(
                f"{recipe.name}: {used[0]}/ and {name}/ must have the same class folders; in one "
                f"alone: {', '.join(map(shorten, only[:5]))}{' …' * (len(only) > 5)}"
            )
    if any("/" in name for name in classes):
        found += ", the innermost ones (data.class_folders)"
    notes = [
        f"{recipe.name}: left out{f' of {name}/' if name else ''}: {listing.describe_skipped()}"
        for name, listing in listings.items()
        if listing.skipped
    ]
    if names is None:
        splits = Splits(listings[""].files)
    else:
        notes += note_other_splits(recipe, names, present)
        splits = Splits(
            listings[names.train].files,
            listings[names.test].files if names.test else None,
            listings[names.validation].files if names.validation else None,
            names.stands_in,
        )
    return make_source(splits, classes, root, found, tuple(notes), recipe)


def find_splits(root: Path, present: list[str], recipe: "DataRecipe") -> Names | None:
    """The folders of the splits, without one for testing if there is none; None without splits.

    A class may be called `train`, so that there are splits only if there is more than one of their
    usual names, or no folder of another name.
    """
    if not present:
        left_out = list_images(root).describe_skipped()
        what = f"no folders, but {left_out}" if left_out else "nothing"
        raise UserError(
            f"{recipe.name}: expected a folder for each class, or train/ and test/ with such "
            f"folders, found {what}"
        )
    given = recipe.train_split or recipe.test_split
    usual = {kind: [n for n in present if n in USUAL_SPLITS[kind]] for kind in ("train", "test")}
    alone = len(usual["train"]) + len(usual["test"]) == len(present)
    if not given and not (usual["train"] and usual["test"]) and not alone:
        return None
    if recipe.test_split is None and not usual["test"]:
        train = pick_split("train", recipe.train_split, present, recipe.name)
        return Names(train, "", None, "")
    return pick_splits(recipe, present)


def _list_split(folder: Path, recipe: "DataRecipe") -> Listing:
    """The images of the class folders in a folder, each of which has some."""
    listing = list_images(folder)
    if recipe.class_folders != "outermost":
        innermost = find_innermost(folder)
        repeated = Counter(name.rpartition("/")[2] for name in innermost).most_common(1)
        deeper = not {name for name in innermost if "/" not in name}
        apart = bool(repeated) and repeated[0][1] == 1
        if recipe.class_folders == "innermost" or (deeper and apart):
            listing = list_images(folder, innermost)
    if not listing.classes:
        raise UserError(f"{recipe.name}: there is no class folder in {folder}")
    counts = torch.tensor([0, *listing.labels]).bincount(minlength=len(listing.classes))
    counts[0] -= 1
    empty = [name for name, count in zip(listing.classes, counts, strict=True) if not count]
    if empty:
        left_out = f"; left out: {listing.describe_skipped()}" if listing.skipped else ""
        raise UserError(
            f"{recipe.name}: no images in the class folder(s) {', '.join(map(shorten, empty[:5]))}"
            f"{' …' * (len(empty) > 5)} of {folder}{left_out}"
        )
    return listing
