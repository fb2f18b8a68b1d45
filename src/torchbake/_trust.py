"""Whose code is imported: the user's, and not what a run folder from elsewhere names.

A recipe may name `module:callable`, and importing a module runs it. Names that the user gives, on
the command line, in a recipe or in Python, are consented to. Names that stand in a run folder or
in a file of weights are withheld until the user says so (`--trust`, `trust=True`), unless the user
gave the same name, too.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike

from .errors import UserError, shorten

_trusting: ContextVar[bool] = ContextVar("_trusting", default=False)
_consented: set[str] = set()
_withheld: dict[str, str] = {}  # by what names them


@contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Take the names of run folders that are opened within the block as the user's own, or not."""
    token = _trusting.set(_trusting.get() or trust)
    try:
        yield
    finally:
        _trusting.reset(token)


def consent(names: Iterable[str | None]) -> None:
    """The user gave these names."""
    _consented.update(name for name in names if name and ":" in name)


def withhold(names: Iterable[str], where: str | PathLike[str]) -> None:
    """A run folder, or a file in it, gives these names."""
    given = [name for name in names if ":" in name]
    if _trusting.get():
        consent(given)
    _withheld.update(dict.fromkeys(given, str(where)))


def is_withheld(name: object) -> bool:
    """Whether an object of this name must not be imported."""
    return isinstance(name, str) and name in _withheld and name not in _consented


def refuse_withheld(name: str, key: str) -> None:
    """Raise UserError if an object of this name must not be imported.

    Args:
        key: of the recipe that holds the name.
    """
    if is_withheld(name):
        raise UserError(
            f"{key}: '{shorten(name)}' is code, named by {shorten(_withheld[name], 300)}: it runs "
            "only if you add --trust (in Python: trust=True)"
        )
