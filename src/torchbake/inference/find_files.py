"""Image files that are named on a command line: files, folders, patterns, or a list."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..data.sources.decoding import FORMATS
from ..errors import UserError
from .images import to_line

SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""Files of a folder that are taken for images; a file that is named itself may have any."""


def find_files(arguments: Iterable[str], listed: bytes | None = None) -> list[str]:
    """The files that these arguments name, in order, each once.

    A file that is not there is kept: reading it tells so.

    Args:
        arguments: files; folders, of which all images below them are taken, sorted; patterns with
            `*`, `?`, `[…]` and `**`; `-` for the list.
        listed: what `-` stands for: a file or folder a line, or, if there are NUL bytes, between
            these.

    Raises:
        UserError: a folder without images, a pattern that matches nothing, an empty list.
    """
    found: dict[str, None] = {}
    for argument in arguments:
        if argument == "-" and listed is not None:
            names = _split_list(listed)
            if not names:
                raise UserError("-: no file is listed on standard input")
            new = [file for name in names for file in _expand(name)]
        else:
            path = os.path.expanduser(argument)  # noqa: PTH111 (Path would change ./-)
            is_pattern = glob.has_magic(path) and not os.path.lexists(path)
            new = _match(path) if is_pattern else list(_expand(path))
        found |= dict.fromkeys(new)
    return list(found)


def _split_list(listed: bytes) -> list[str]:
    separator = b"\0" if b"\0" in listed else b"\n"
    return [os.fsdecode(name) for name in listed.split(separator) if name]


def _match(pattern: str) -> list[str]:
    """The images that a pattern matches, and those below folders that it matches."""
    matched = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (as above)
    files = [path for path in matched if not Path(path).is_dir()]
    for path in matched:
        if Path(path).is_dir() and "**" not in pattern:
            files += _walk(path)
    if not files:
        raise UserError(f"{to_line(pattern)}: no file matches")
    return files


def _expand(path: str) -> Iterator[str]:
    """A file itself, or a folder's images."""
    if not Path(path).is_dir():
        yield path
        return
    files = list(_walk(path))
    if not files:
        raise UserError(f"{to_line(path)}: no images in this folder ({', '.join(SUFFIXES)})")
    yield from files


def _walk(folder: str) -> Iterator[str]:
    """Images below a folder, sorted; links to folders are followed, each once."""
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES):
                yield os.path.join(root, name)  # noqa: PTH118 (as above)
