"""What is in a folder of class folders, and what of it is no image of a class."""

import os
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image

from ...data.sources.base import USUAL_SPLITS, Split, make_encoded_split, read_nth
from ...data.sources.files import Files, hold_out_files
from ...data.sources.folders import find_splits, list_split
from ...data.sources.listing import EXTENSIONS, Listing, is_hidden
from ...errors import UserError, shorten
from .findings import Item

if TYPE_CHECKING:
    from ...recipe import DataRecipe

WHOLE = "all"
"""What the only split of a folder is called of which nothing can be held out for testing."""

_UNREAD = {".gif", ".heic", ".heif", ".avif", ".jfif", ".jp2", ".jxl", ".svg", ".psd"}
_UNREAD |= {".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw"}


class Folder(NamedTuple):
    """The images of a folder by split, the names of its classes, and what else was found."""

    splits: dict[str, Split]
    classes: list[str]
    train: str
    found: list[tuple[str, Item]]


def list_folder(root: Path, recipe: "DataRecipe") -> Folder:
    """All images of a folder, in the classes and splits that training finds there, and the rest.

    Unlike `open_source`, it goes on where training would stop: at classes that are missing or
    empty. It takes every usual split that is there, not only one for training and one for testing.

    Raises:
        UserError: there is no such folder, or it has no image of a class.
    """
    if not root.is_dir():
        raise UserError(f"{recipe.name}: there is no folder {root}")
    found: list[tuple[str, Item]] = []
    names = _find_splits(root, recipe, found)
    listings: dict[str, Listing] = {}
    for name in names or [""]:
        listings[name] = list_split(root / name, recipe)
        found += _find_others(root, root / name, name, listings[name])
        empty = {*range(len(listings[name].classes))} - {*listings[name].labels}
        for label in (listings[name].classes[number] for number in sorted(empty)):
            item = Item(f"{name}/{label}" if name else label, name, label=label)
            found.append(("empty-class", item))
    classes = sorted({label for listing in listings.values() for label in listing.classes})
    if not any(listing.paths for listing in listings.values()):
        raise UserError(
            f"{recipe.name}: no images of a class in {root}: expected class folders with images, "
            "in the folder itself or in split folders such as train and test, or images named "
            "after their class, such as cat_1.jpg"
        )
    numbers = {label: number for number, label in enumerate(classes)}
    files = {
        name: Files(own.paths, [numbers[own.classes[label]] for label in own.labels])
        for name, own in listings.items()
    }
    train = next((n for n in files if n.casefold() in _usual("train")), next(iter(files)))
    train = recipe.train_split if recipe.train_split in files else train
    if len(files) == 1 and not recipe.test_split and train.casefold() in ("", *_usual("train")):
        train, files = _hold_out(files[train], train, root, recipe)
    splits = {name: _make_split(root, own, recipe) for name, own in files.items()}
    return Folder(splits, classes, train, found)


def _usual(kind: str) -> tuple[str, ...]:
    return USUAL_SPLITS.get(kind, ())


def _find_splits(root: Path, recipe: "DataRecipe", found: list[tuple[str, Item]]) -> list[str]:
    """The folders that are splits; none where the folder has classes at once."""
    present = sorted(path.name for path in root.iterdir() if path.is_dir())
    named = (recipe.train_split, recipe.test_split, recipe.validation)
    given = [name for name in named if isinstance(name, str)]
    for name in given:
        if name not in present:
            raise UserError(f"{recipe.name}: there is no split folder {root / name}")
    usual = [name for names in USUAL_SPLITS.values() for name in names]
    shown = [name for name in present if not is_hidden(name)]
    splits = [n for n in shown if n in given or n.casefold() in usual]
    splits.sort(key=lambda n: usual.index(n.casefold()) if n.casefold() in usual else -1)
    capitals = [name for name in splits if name not in given and name not in usual]
    if len(splits) < len(shown) and not _has_splits(root, shown, recipe):
        return []  # classes of which one has the name of a split
    found += [("split-name", Item(name, name)) for name in capitals]
    if len(splits) == 1:
        found.append(("one-split", Item(splits[0], splits[0])))
    if splits:
        found += [("unread-folder", Item(name)) for name in shown if name not in splits]
        for path in sorted(root.iterdir()):
            if path.is_file() and _is_picture(path.name):
                found.append(("stray-image", Item(path.name)))
    return splits


def _has_splits(root: Path, present: list[str], recipe: "DataRecipe") -> bool:
    """Whether training takes some of these folders for splits, or stops as one is missing."""
    try:
        return find_splits(root, present, recipe) is not None
    except UserError:
        return True


def _hold_out(
    files: Files, name: str, root: Path, recipe: "DataRecipe"
) -> tuple[str, dict[str, Files]]:
    """The only split without the images that are held out of it, and these."""
    try:
        train, test = hold_out_files(files, root, recipe)
    except UserError:  # there is nothing to hold out
        return name or WHOLE, {name or WHOLE: files}
    return name or "train", {name or "train": train, "test": test}


def _find_others(
    root: Path, folder: Path, split: str, listing: Listing
) -> Iterator[tuple[str, Item]]:
    """What is in a folder of classes beside the images that were listed."""
    listed = set(listing.paths)
    for path in sorted(folder.iterdir()):
        name = _show(root, path)
        if path.is_dir():
            if is_hidden(path.name):
                yield "hidden-folder", Item(name, split)
            else:
                yield from _find_in_class(root, folder, path, split, listing.classes, listed)
        elif str(path) in listed:
            pass
        elif _is_picture(path.name):
            yield "stray-image", Item(name, split)
        elif split:  # files beside class folders of a whole data set are their own business
            yield _classify(root, path, split, "")


def _find_in_class(
    root: Path, folder: Path, top: Path, split: str, classes: list[str], listed: set[str]
) -> Iterator[tuple[str, Item]]:
    for place, names in _walk(top):
        inside = Path(place).relative_to(folder)
        label = _find_class(inside, classes)
        seen: dict[str, str] = {}
        # Such as the copies that a notebook keeps.
        hidden = any(is_hidden(part) for part in inside.parts)
        for name in names:
            path = Path(place, name)
            if _is_picture(name) and hidden:
                yield "hidden-image", Item(_show(root, path), split, label=label)
            elif str(path) not in listed and not _is_picture(name):
                yield _classify(root, path, split, label)
            first = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
            if first != name:
                yield "same-name", Item(_show(root, path), split, label=label, detail=f"as {first}")


def _find_class(inside: Path, classes: list[str]) -> str:
    """The class whose folder this is or is in; the outermost folder if it is of none."""
    parts = inside.parts
    owners = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in owners if name in classes), parts[0])


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders with their files, sorted; links are followed, but not in circles."""
    above: dict[str, set[tuple[int, int]]] = {str(folder): set()}
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        status = Path(place).stat()
        here = (status.st_dev, status.st_ino)
        if here in above[place]:
            folders.clear()
            continue
        folders.sort()
        for name in folders:
            above[os.path.join(place, name)] = above[place] | {here}  # noqa: PTH118 (as walk does)
        yield place, sorted(names)


def _refuse(error: OSError) -> None:
    raise UserError(f"{shorten(str(error.filename), 200)}: cannot be read: {error.strerror}")


def _is_picture(name: str) -> bool:
    """Whether training reads a file of this name as an image."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def _classify(root: Path, path: Path, split: str, label: str) -> tuple[str, Item]:
    """The kind of a file that is no image of a class."""
    item = Item(_show(root, path), split, label=label)
    if path.name.startswith("."):
        kind = "hidden-image" if path.name.lower().endswith(EXTENSIONS) else "hidden-file"
        return kind, item
    if path.suffix.lower() in _UNREAD or _can_be_opened(path):
        return "unread-image", item
    return "other-file", item


def _can_be_opened(path: Path) -> bool:
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path):
                return True
    except Exception:  # whatever a decoder makes of a file that is no picture
        return False


def _make_split(root: Path, files: Files, recipe: "DataRecipe") -> Split:
    paths = files.paths
    labels = torch.tensor(files.labels, dtype=torch.long)
    split = make_encoded_split(labels, partial(read_nth, paths), recipe.channels or 3, paths)
    return replace(split, files=(), names=partial(_name_nth, root, paths))


def _name_nth(root: Path, paths: list[str], index: int) -> str:
    return _show(root, Path(paths[index]))


def _show(root: Path, path: Path) -> str:
    """A path within the folder, all of it Unicode."""
    return os.fsencode(path.relative_to(root).as_posix()).decode(errors="replace")
