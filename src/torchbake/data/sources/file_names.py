"""Folders of images without class folders, whose files' names tell the classes."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import UserError, shorten
from .listing import Listing, list_loose

SHARE = 0.9
"""Of the images, the least whose names must tell a class that another image has, too."""

NAMELESS = "image(s) whose names tell no class"

_NUMBERED = re.compile(r"(.+?)[\s_.-]*(?:\d+|\(\d+\))")
# What cameras, telephones and programs call pictures: IMG_0001.jpg, DSC00001.jpg.
_MADE_UP = re.compile(
    r"img|imag|dsc|dscn|dscf|dcim|pxl|mvimg|dji|gopr|wa|whatsapp|screenshot|images?|photos?|pics?|"
    r"pict|pictures?|scans?|frames?|files?|samples?|untitled|download|train|test|val",
    re.IGNORECASE,
)


def list_by_names(folder: Path, pattern: str | None) -> Listing | None:
    """The images that lie in a folder itself, with classes by their names; None if these tell none.

    `cat_001.jpg`, `cat.12.jpg`, `cat (3).jpg` and `cat4.jpg` are of the class `cat`. Names tell
    classes if nine in ten are of a class with another image, and there are two such classes; the
    others are left out. Names that cameras give tell none.

    Args:
        pattern: a regular expression whose first group is the class in a name; None for the above.

    Raises:
        UserError: the pattern is none, or has no group.
    """
    loose = list_loose(folder)
    find_class = _find_stem if pattern is None else _compile(pattern)
    names = [os.fsencode(Path(path).name).decode(errors="replace") for path in loose.paths]
    found = [find_class(name) for name in names]
    counts = Counter(name for name in found if name)
    if pattern is None:
        counts = Counter({name: count for name, count in counts.items() if count > 1})
    if len(counts) < 2 or (pattern is None and counts.total() < SHARE * len(names)):
        return None
    classes = sorted(counts)
    numbers = {name: number for number, name in enumerate(classes)}
    kept = sorted((numbers[name], row) for row, name in enumerate(found) if name in numbers)
    first = kept[0][1]
    skipped = loose.skipped + Counter({NAMELESS: len(names) - len(kept)})
    return Listing(
        classes,
        [loose.paths[row] for _, row in kept],
        [number for number, _ in kept],
        skipped,
        f"{shorten(names[first], 60)} is {shorten(classes[0], 60)}",
    )


def count_loose(folder: Path) -> int:
    """How many images lie in a folder itself."""
    return len(list_loose(folder).paths)


def count_by_class(classes: Sequence[str], labels: Sequence[int], most: int = 6) -> str:
    """Such as `cat 12, dog 9 and 3 more`."""
    counts = Counter(labels)
    told = [f"{shorten(name, 30)} {counts[number]:,}" for number, name in enumerate(classes[:most])]
    return ", ".join(told) + f" and {len(classes) - most:,} more" * (len(classes) > most)


def _find_stem(name: str) -> str | None:
    """What stands before the number at the end of a name, if that could be a class."""
    match = _NUMBERED.fullmatch(Path(name).stem)
    words = re.findall(r"[^\W\d_]+", match[1]) if match else []
    if match is None or all(_MADE_UP.fullmatch(word) for word in words):
        return None
    return match[1]


def _compile(pattern: str) -> Callable[[str], str | None]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"data.class_pattern: no regular expression: {error}, got '{shorten(pattern, 60)}'"
        ) from None
    if not compiled.groups:
        raise UserError(
            "data.class_pattern: expected a group for the class, as in '(.+)_[0-9]+', got "
            f"'{shorten(pattern, 60)}'"
        )

    def find_class(name: str) -> str | None:
        match = compiled.search(name)
        return match[1] if match else None

    return find_class
