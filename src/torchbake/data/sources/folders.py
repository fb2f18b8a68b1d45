"""Folders of images, one folder a class."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ...errors import UserError, shorten
from .base import USUAL_SPLITS, Names, Source, note_other_splits, pick_split, pick_splits
from .file_names import count_by_class, count_loose, list_by_names
from .files import Splits, make_source
from .listing import Listing, find_innermost, list_folders, list_images

if TYPE_CHECKING:
    from ...recipe import DataRecipe


def open_image_folder(place: str, recipe: "DataRecipe") -> Source:
    """A folder with a folder for each class, or with train/ and test/ (val/, …) that have them.

    Without a test split, a part of each class is held out. The classes are the outermost folders,
    or the innermost ones where all images are deeper and the names of their folders differ. Where
    there are none, the names of the files may tell the classes (see `list_by_names`).
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
    listings = {name: list_split(root / name, recipe) for name in used}
    for name, listing in listings.items():
        _check_listing(listing, root / name, recipe)
    first = listings[used[0]]
    classes = first.classes
    for name, listing in listings.items():
        if listing.classes != classes:
            only = sorted(set(classes) ^ set(listing.classes))
            raise UserError(
                f"{recipe.name}: {used[0]}/ and {name}/ must have the same classes; in one "
                f"alone: {', '.join(map(shorten, only[:5]))}{' …' * (len(only) > 5)}"
            )
    if first.example:
        where = f" in {' and '.join(f'{name}/' for name in used)}" * (names is not None)
        found = (
            f"image files without class folders{where}; their names tell the classes "
            f"({first.example}): {count_by_class(classes, first.labels)} (data.class_pattern; or "
            "make class folders or a table)"
        )
    elif any("/" in name for name in classes):
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
    given = recipe.train_split or recipe.test_split
    if not present and not given:
        if count_loose(root):
            return None
        left_out = list_images(root).describe_skipped()
        what = f"no folders, but {left_out}" if left_out else "nothing"
        raise UserError(
            f"{recipe.name}: expected a folder for each class, or train/ and test/ with such "
            f"folders, found {what}"
        )
    usual = {kind: [n for n in present if n in USUAL_SPLITS[kind]] for kind in ("train", "test")}
    alone = len(usual["train"]) + len(usual["test"]) == len(present)
    if not given and not (usual["train"] and usual["test"]) and not alone:
        return None
    if recipe.test_split is None and not usual["test"]:
        train = pick_split("train", recipe.train_split, present, recipe.name)
        return Names(train, "", None, "")
    return pick_splits(recipe, present)


def list_split(folder: Path, recipe: "DataRecipe") -> Listing:
    """The images of a split by their class, of which some may have none.

    Raises:
        UserError: see `list_images` and `list_by_names`; or a pattern beside class folders.
    """
    listing = list_images(folder)
    if not listing.paths:
        by_names = list_by_names(folder, recipe.class_pattern)
        if by_names is not None:
            return by_names
    elif recipe.class_pattern is not None:
        raise UserError(
            f"data.class_pattern: {folder} has class folders; a pattern is for a folder without"
        )
    if recipe.class_folders != "outermost":
        innermost = find_innermost(folder)
        repeated = Counter(name.rpartition("/")[2] for name in innermost).most_common(1)
        deeper = not {name for name in innermost if "/" not in name}
        apart = bool(repeated) and repeated[0][1] == 1
        if recipe.class_folders == "innermost" or (deeper and apart):
            listing = list_images(folder, innermost)
    return listing


def _check_listing(listing: Listing, folder: Path, recipe: "DataRecipe") -> None:
    """Raise UserError unless there are classes, each of which has images."""
    loose = 0 if listing.paths else count_loose(folder)
    if loose:
        told = (
            f"do not match data.class_pattern in at least two classes: '{recipe.class_pattern}'"
            if recipe.class_pattern is not None
            else "tell no classes, as those of cat_1.jpg, cat_2.jpg, dog_1.jpg and dog_2.jpg do"
        )
        raise UserError(
            f"{recipe.name}: {folder} has {loose:,} image(s) and no class folder with images, and "
            f"the images' names {told}; put each class into a folder of its own, or name a table "
            "(.csv) of the images and their classes"
        )
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
