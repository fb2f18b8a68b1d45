"""A folder that takes the place of a former one, so that one of the two is always there."""

import shutil
from pathlib import Path


def replace_folder(made: Path, out: Path) -> None:
    """Rename a folder to `out`, in place of what is there.

    Nothing renames two folders at once: a process that is killed in between leaves the former one
    hidden, and `restore_former` brings it back.
    """
    former = name_hidden(out, "former")
    if out.exists():
        out.replace(former)
    made.replace(out)
    shutil.rmtree(former, ignore_errors=True)


def restore_former(out: Path) -> None:
    """Finish what a process that was killed in `replace_folder` has left to do."""
    former = name_hidden(out, "former")
    if former.exists() and not out.exists():
        former.replace(out)
    shutil.rmtree(former, ignore_errors=True)


def name_hidden(out: Path, what: str) -> Path:
    """A hidden folder beside `out`, on the same file system."""
    return out.with_name(f".{out.name}.{what}")
