"""Folders of images, one folder a class."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from .base import USUAL_SPLITS, Source, pick_split
from .files import Listing, make_source

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
    names = _find_splits(root, recipe)
    wanted = [root] if names is None else [root / name for name in names]
    listings = [_list_images(folder, recipe) for folder in wanted]
    classes = listings[0][1]
    if len(listings) == 2 and names is not None and classes != listings[1][1]:
        only = sorted(set(classes) ^ set(listings[1][1]))
        raise UserError(
            f"{recipe.name}: {names[0]}/ and {names[1]}/ must have the same class folders; in one "
            f"alone: {', '.join(only[:5])}{' …' * (len(only) > 5)}"
        )
    if names is None:
        found = "class folders without splits"
    else:
        found = f"class folders in {' and '.join(f'{name}/' for name in names)}"
    if any("/" in name for name in classes):
        found += ", the innermost ones (data.class_folders)"
    if names is None and (loose := sum(1 for _ in _images_of(root))):
        found += f", {loose} images beside them left out"
    test = listings[1][0] if len(listings) == 2 else None
    return make_source(listings[0][0], test, classes, root, found, recipe)


def _find_splits(root: Path, recipe: "DataRecipe") -> tuple[str, ...] | None:
    """The folders of the training and the test split, or of training alone; None without splits.

    A class may be called `train`, so that there are splits only if there is more than one of their
    usual names, or no folder of another name.
    """
    present = _list_folders(root)
    if not present:
        count = sum(1 for _ in _images_of(root))
        what = f"{count} images that are not in folders" if count else "no images"
        raise UserError(
            f"{recipe.name}: expected a folder for each class, or train/ and test/ with such "
            f"folders, found {what}"
        )
    given = recipe.train_split or recipe.test_split
    usual = {kind: [n for n in present if n in USUAL_SPLITS[kind]] for kind in USUAL_SPLITS}
    alone = len(usual["train"]) + len(usual["test"]) == len(present)
    if not given and not (usual["train"] and usual["test"]) and not alone:
        return None
    train = pick_split("train", recipe.train_split, present, recipe.name)
    if recipe.test_split is None and not usual["test"]:
        return (train,)
    return train, pick_split("test", recipe.test_split, present, recipe.name)


def _list_images(folder: Path, recipe: "DataRecipe") -> tuple[Listing, list[str]]:
    """The images of the class folders in a folder, and the names of the classes."""
    from torchvision.datasets import ImageFolder

    outermost = _list_folders(folder)
    innermost = _find_innermost(folder, "")
    kind = recipe.class_folders
    if kind is None:
        direct = any(any(True for _ in _images_of(folder / name)) for name in outermost)
        repeated = Counter(name.rpartition("/")[2] for name in innermost).most_common(1)
        kind = "outermost" if direct or not repeated or repeated[0][1] > 1 else "innermost"
    classes = sorted(outermost if kind == "outermost" else innermost)

    class Chosen(ImageFolder):  # type: ignore[misc]
        def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
            return classes, {name: number for number, name in enumerate(classes)}

    if not classes:
        raise UserError(f"{recipe.name}: there are no images in the folders of {folder}")
    try:
        images = Chosen(folder)
    except FileNotFoundError as error:
        raise UserError(f"{recipe.name}: {error}") from None
    return Listing([path for path, _ in images.samples], list(images.targets)), classes


def _find_innermost(folder: Path, prefix: str) -> list[str]:
    """The folders, as paths, that hold images and are in none that does."""
    found = []
    for name in _list_folders(folder):
        if any(True for _ in _images_of(folder / name)):
            found.append(prefix + name)
        else:
            found += _find_innermost(folder / name, f"{prefix}{name}/")
    return found


def _list_folders(folder: Path) -> list[str]:
    """Folders in a folder, without those that programs keep for themselves."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(n for n in names if not n.startswith(".") and n != "__MACOSX")


def _images_of(folder: Path) -> Iterator[str]:
    """Names of the images that are in a folder itself."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(IMG_EXTENSIONS) and entry.is_file():
                yield entry.name
