"""The image files below a folder with a folder a class, and what else is there."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UserError, shorten
from .files import Files

HIDDEN, OUTSIDE, AGAIN, SPECIAL = (
    "hidden",
    "image(s) outside the class folders",
    "link(s) to what is listed already",
    "pipe(s), socket(s) or device(s)",
)

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Endings of image files in any case, those of torchvision's ImageFolder."""

MOST_KINDS = 6
"""Kinds of files that are told apart in a line."""

Place = tuple[int, int]
"""Device and number of a file or folder, however it is called."""


@dataclass
class Listing:
    """The images of a split.

    Attributes:
        classes: the names of the class folders, sorted.
        paths, labels: of the images, class by class, folder by folder, sorted.
        skipped: how many files and folders were left out, by kind: an ending or one of the above.
        example: a file's name and its class, such as `cat_1.jpg is cat`, where names tell them.
    """

    classes: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    example: str = ""

    @property
    def files(self) -> Files:
        """The images, without where they were found."""
        return Files(self.paths, self.labels)

    def describe_skipped(self) -> str:
        """Such as `12 .gif, 2 hidden`; the most frequent kinds, and how many others."""
        kinds = self.skipped.most_common()
        told = [f"{count:,} {kind}" for kind, count in kinds[:MOST_KINDS]]
        rest = sum(count for _, count in kinds[MOST_KINDS:])
        return ", ".join([*told, *[f"{rest:,} of other kinds"] * bool(rest)])


def list_images(root: Path, innermost: list[str] | None = None) -> Listing:
    """The images in the folders of `root`, in the order of torchvision's ImageFolder.

    A folder that contains `root`, or that was listed already, is not entered again through a link;
    an image that a link leads to is listed once a class.

    Args:
        innermost: folders that are the classes, as paths within `root`; None takes those in it.

    Raises:
        UserError: a class folder whose name is not UTF-8, or a folder that cannot be read.
    """
    listing = Listing()
    visited = _list_above(root)
    folders = []
    for entry in _scan(str(root), listing):
        if _is_dir(entry):
            folders.append(entry)
        else:
            listing.skipped[OUTSIDE if _is_image(entry) else _get_kind(entry)] += 1
    if innermost is None:
        real = [entry for entry in folders if not entry.is_symlink()]
        visited |= {_get_place(entry) for entry in real}
        for entry in sorted(set(folders) - set(real), key=lambda entry: entry.name):
            if _get_place(entry) in visited:
                listing.skipped[AGAIN] += 1
                folders.remove(entry)
            visited.add(_get_place(entry))
        names = [entry.name for entry in folders]
    else:
        names = list(innermost)
    for label, name in enumerate(sorted(names)):
        path = str(root / name)
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = shorten(path, 200)
            raise UserError(f"{shown}: a class needs a name in UTF-8; rename the folder") from None
        paths = _list_class(path, visited, listing)
        listing.classes.append(name)
        listing.paths += paths
        listing.labels += [label] * len(paths)
    return listing


def list_loose(root: Path) -> Listing:
    """The images that lie in a folder itself, as if of no class."""
    listing = Listing()
    for entry in _scan(str(root), listing):
        if _is_dir(entry):
            continue
        if _is_image(entry) and not _is_special(entry):
            listing.paths.append(entry.path)
        else:
            listing.skipped[_get_kind(entry)] += 1
    listing.paths.sort()
    return listing


def list_folders(root: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones."""
    return sorted(entry.name for entry in _scan(str(root), Listing()) if _is_dir(entry))


def find_innermost(root: Path) -> list[str]:
    """The folders, as paths within one, that hold images and are in none that does."""
    visited, found, waiting = _list_above(root), [], list_folders(root)
    while waiting:
        name = waiting.pop()
        place = _get_place(root / name)
        if place in visited:  # a link
            continue
        visited.add(place)
        entries = list(_scan(str(root / name), Listing()))
        if any(_is_image(entry) and not _is_dir(entry) for entry in entries):
            found.append(name)
        else:
            waiting += [f"{name}/{entry.name}" for entry in entries if _is_dir(entry)]
    return sorted(found)


def _list_above(root: Path) -> set[Place]:
    """A folder and those that it is in."""
    return {_get_place(folder) for folder in (root.resolve(), *root.resolve().parents)}


def _list_class(top: str, visited: set[Place], listing: Listing) -> list[str]:
    """The images of a class, folder by folder in the order of the folders' paths."""
    found: dict[str, list[str]] = {}
    seen: set[Place] = set()
    linked: list[os.DirEntry[str]] = []
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        device = os.stat(folder).st_dev  # noqa: PTH116 (quick: there may be many folders)
        found[folder] = []
        for entry in _scan(folder, listing):
            if _is_dir(entry):
                place = _get_place(entry)
                if place in visited:
                    listing.skipped[AGAIN] += 1
                else:
                    visited.add(place)
                    waiting.append(entry.path)
            elif not _is_image(entry) or _is_special(entry):
                listing.skipped[_get_kind(entry)] += 1
            elif entry.is_symlink():
                linked.append(entry)
            else:
                seen.add((device, entry.inode()))
                found[folder].append(entry.path)
    for entry in sorted(linked, key=lambda entry: entry.path):
        status = _find_status(entry)
        if status is not None:  # else reading it says that it leads nowhere
            place = (status.st_dev, status.st_ino)
            if place in seen:
                listing.skipped[AGAIN] += 1
                continue
            seen.add(place)
        found[str(Path(entry.path).parent)].append(entry.path)
    return [path for folder in sorted(found) for path in sorted(found[folder])]


def _scan(folder: str, listing: Listing) -> Iterator[os.DirEntry[str]]:
    """What is in a folder and not hidden."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    listing.skipped[HIDDEN] += 1
                else:
                    yield entry
    except OSError as error:
        raise UserError(f"{shorten(folder, 200)}: cannot be read: {error.strerror}") from None


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over."""
    return name.startswith(".") or name == "__MACOSX"


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(EXTENSIONS)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Whether it is a pipe, a socket or a device, which would be waited for."""
    if entry.is_file(follow_symlinks=False):
        return False
    status = _find_status(entry)
    return status is not None and not stat.S_ISREG(status.st_mode)


def _get_kind(entry: os.DirEntry[str]) -> str:
    if _is_special(entry):
        return SPECIAL
    suffix = Path(entry.name).suffix.lower()
    return shorten(suffix, 12) if suffix else "without an ending"


def _get_place(of: os.DirEntry[str] | Path) -> Place:
    status = of.stat()
    return status.st_dev, status.st_ino


def _find_status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:  # a link that leads nowhere, or to itself
        return None
