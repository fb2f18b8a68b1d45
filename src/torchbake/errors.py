"""Errors that end a command with one clear line, without a traceback, and their suggestions."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

LONGEST_NAME = 200
"""Characters; to look for the likes of a longer one takes long, and there is none."""


class UserError(ValueError):
    """A mistake that the user can mend; the message says what is wrong and where."""


class ImageError(UserError):
    """An image cannot be read.

    Args:
        kind: `missing`, `unreadable` (as a file, or as an image), `damaged` or `too-deep`.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (str(self), self.kind)


class Stopped(Exception):
    """The run was asked to stop, and wrote a checkpoint from which it can be resumed."""


def shorten(text: str, most: int = 80) -> str:
    """A text as part of a message of one line: cut in the middle, control characters escaped."""
    if len(text) > most:
        text = f"{text[: most * 2 // 3]} … {text[-(most // 4) :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def find_nearest(given: str, known: Iterable[str], most: int) -> list[str]:
    """At most `most` of the known names that may have been meant, best first.

    One alone if it hardly differs; else those that contain what was given or begin with it, those
    that are like it, and those with a part between slashes that is.
    """
    if len(given) > LONGEST_NAME:
        return []
    names = list(known)
    slips = get_close_matches(given, names, n=1, cutoff=0.9)
    if slips or not given:
        return slips
    found = [n for n in names if n.startswith(given) or (len(given) > 2 and given in n)]
    found += get_close_matches(given, names, n=most)
    found += [n for n in names if "/" in n and get_close_matches(given, n.split("/"), cutoff=0.8)]
    return list(dict.fromkeys(found))[:most]


def did_you_mean(given: str, known: Iterable[str], most: int = 1) -> str:
    """`; did you mean 'x'?` for the known names nearest to what was given, or nothing."""
    nearest = find_nearest(given, known, most)
    return f"; did you mean {join_names(nearest)}?" if nearest else ""


def suggest_names(given: str, what: str, known: Collection[str]) -> str:
    """The few known names nearest to what was given, or else the command that lists all of them.

    Args:
        what: kind of name, as `torchbake list` calls it.
    """
    return did_you_mean(given, known, 5) or f"; torchbake list {what} shows all {len(known)}"


def join_names(names: list[str]) -> str:
    """`'x', 'y' or 'z'`."""
    quoted = [f"'{name}'" for name in names]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
