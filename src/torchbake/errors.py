"""What ends a command with one clear line, without a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user can set right; the message says what is wrong, where, and what is not."""


class Stopped(Exception):
    """The run was asked to stop, and has left a checkpoint to go on from."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name nearest to what was given, or nothing."""
    close = get_close_matches(given, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
