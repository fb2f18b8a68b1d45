"""What is in a folder of class folders, and what of it is no image of a class."""

import os
import unicodedata
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image

from ...data.sources.base import USUAL_SPLITS, Split, make_encoded_split, read_nth
from ...data.sources.listing import EXTENSIONS
from ...errors import UserError, shorten
from .findings import Item

if TYPE_CHECKING:
    from ...recipe import DataRecipe

WHOLE = "all"
"""What the only split of a folder without splits is called."""

_UNREAD = {".gif", ".heic", ".heif", ".avif", ".jfif", ".jp2", ".jxl", ".svg", ".psd"}
_UNREAD |= {".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw"}


class Listing(NamedTuple):
    """The images of a folder by split, the names of its classes, and what else was found."""

    splits: dict[str, Split]
    classes: list[str]
    train: str
    found: list[tuple[str, Item]]


def list_folder(root: Path, recipe: "DataRecipe") -> Listing:
    """All images of the class folders in a folder's splits, or in the folder itself.

    Unlike `open_source`, it goes on where training would stop: at classes that are missing or
    empty. It takes every usual split that is there, not only one for training and one for testing.

    Raises:
        UserError: there is no such folder, or it has no class folder with an image in it.
    """
    if not root.is_dir():
        raise UserError(f"{recipe.name}: there is no folder {root}")
    found: list[tuple[str, Item]] = []
    names = _find_splits(root, recipe, found)
    owners: dict[str, dict[str, list[str]]] = {}
    for name in names or [WHOLE]:
        folder = root / name if names else root
        owners[name] = _list_split(root, folder, name if names else "", found)
    classes = sorted({label for own in owners.values() for label in own})
    for name, own in owners.items():
        found += [
            ("empty-class", Item(f"{name}/{label}" if names else label, name, label=label))
            for label in classes
            if label in own and not own[label]
        ]
    if not any(files for own in owners.values() for files in own.values()):
        raise UserError(
            f"{recipe.name}: no images in {root}: expected class folders with images, in the "
            "folder itself or in split folders such as train and test"
        )
    train = next((n for n in owners if n.casefold() in _usual("train")), next(iter(owners)))
    train = recipe.train_split if recipe.train_split in owners else train
    splits = {name: _make_split(root, own, classes, recipe) for name, own in owners.items()}
    return Listing(splits, classes, train, found)


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
    splits = [n for n in present if n in given or n.casefold() in usual]
    splits.sort(key=lambda n: usual.index(n.casefold()) if n.casefold() in usual else -1)
    capitals = [name for name in splits if name not in given and name not in usual]
    found += [("split-name", Item(name, name)) for name in capitals]
    if len(splits) == 1:
        found.append(("one-split", Item(splits[0], splits[0])))
    if splits:
        others = [n for n in present if n not in splits and not n.startswith(".")]
        found += [("unread-folder", Item(name)) for name in others]
        for path in sorted(root.iterdir()):
            if path.is_file() and _is_picture(path.name):
                found.append(("stray-image", Item(path.name)))
    return splits


def _list_split(
    root: Path, folder: Path, split: str, found: list[tuple[str, Item]]
) -> dict[str, list[str]]:
    """The image files of each class folder; what else is there goes into `found`."""
    owners: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        name = _show(root, path)
        if path.is_dir():
            if path.name.startswith("."):
                found.append(("hidden-folder", Item(name, split)))
            else:
                owners[path.name] = _list_class(root, path, split, found)
        elif _is_picture(path.name):
            found.append(("stray-image", Item(name, split)))
        elif split:  # files beside class folders of a whole data set are its own business
            found.append(_classify(root, path, split, ""))
    return owners


def _list_class(root: Path, folder: Path, split: str, found: list[tuple[str, Item]]) -> list[str]:
    files = []
    for place, names in _walk(folder):
        seen: dict[str, str] = {}
        # Such as the copies that a notebook keeps.
        hidden = any(part.startswith(".") for part in Path(place).relative_to(folder).parts)
        for name in names:
            path = Path(place, name)
            if _is_picture(name) and hidden:
                found.append(("hidden-image", Item(_show(root, path), split, label=folder.name)))
            elif _is_picture(name):
                files.append(str(path))
            else:
                found.append(_classify(root, path, split, folder.name))
            first = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
            if first != name:
                item = Item(_show(root, path), split, label=folder.name, detail=f"as {first}")
                found.append(("same-name", item))
    return files


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


def _make_split(
    root: Path, own: dict[str, list[str]], classes: list[str], recipe: "DataRecipe"
) -> Split:
    paths = [path for label in classes for path in own.get(label, [])]
    labels = [n for n, label in enumerate(classes) for _ in own.get(label, [])]
    images = make_encoded_split(
        torch.tensor(labels, dtype=torch.long),
        partial(read_nth, paths),
        recipe.channels or 3,
        paths,
    )
    return Split(
        images.labels, images.load, encoded=images.encoded, names=partial(_name_nth, root, paths)
    )


def _name_nth(root: Path, paths: list[str], index: int) -> str:
    return _show(root, Path(paths[index]))


def _show(root: Path, path: Path) -> str:
    """A path within the folder, all of it Unicode."""
    return os.fsencode(path.relative_to(root).as_posix()).decode(errors="replace")
