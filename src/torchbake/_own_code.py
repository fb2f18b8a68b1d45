"""A user's own models, methods and data sources, named `module:object` in recipes."""

import importlib
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from ._trust import refuse_withheld
from .errors import UserError, did_you_mean


def import_object(name: str, key: str, hint: str = "") -> Any:
    """What `module:object` names, where a file of the working directory is a module, too.

    Args:
        key: of the recipe that holds the name, which messages begin with.
        hint: what to add where there is no such module, such as `did_you_mean` of other names.

    Raises:
        UserError: not a name of that form, no such module, an error inside it, no such object, or
            a name that only a run folder gives (see `_trust`).
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise UserError(
            f"{key}: expected 'module:object', such as 'mymodule:my_object' for what mymodule.py "
            f"calls my_object, got '{name}'{hint}"
        )
    refuse_withheld(name, key)
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            where = f" in {here} or among those installed{hint}"
            if missing.endswith(".py"):
                where = "; leave out the .py"
            raise UserError(f"{key}: '{name}': there is no module '{missing}'{where}") from None
        raise UserError(f"{key}: '{name}' cannot be imported: {explain_error(error)}") from error
    finally:
        sys.path.remove(here)
        # Behind all that is installed it stays: the module may import others when it is called,
        # and worker processes that are not forked import it again.
        if here not in sys.path:
            sys.path.append(here)
    if not hasattr(module, attribute):
        where = getattr(module, "__file__", None) or f"module '{module_name}'"
        hint = did_you_mean(attribute, vars(module))
        raise UserError(f"{key}: there is no '{attribute}' in {_shorten_path(where)}{hint}")
    return getattr(module, attribute)


def explain_error(error: Exception) -> str:
    """An error in a user's own code as one line: `mine.py, line 3: NameError: no name 'x'`.

    The place is the innermost line that belongs neither to torchbake nor to Python or an
    installed package; where there is none, the line does without.
    """
    text = next(iter(str(error).strip().splitlines()), "")
    what = text if isinstance(error, UserError) else f"{type(error).__name__}: {text}".rstrip(": ")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shorten_path(error.filename)}, line {error.lineno}: SyntaxError: {error.msg}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(("<", *_OTHERS)):
            return f"{_shorten_path(frame.filename)}, line {frame.lineno}: {what}"
    return what


def _shorten_path(path: str) -> str:
    """A file's path, relative if it is in the working directory."""
    here = f"{Path.cwd()}{os.sep}"
    return path.removeprefix(here)


# Folders whose code is not the user's.
_OTHERS = (
    f"{Path(__file__).parent}{os.sep}",
    *{
        f"{sysconfig.get_path(name)}{os.sep}"
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    },
)
