"""One writer for each run folder: a lock that ends with the process that holds it."""

import errno
import fcntl
import json
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import UserError, shorten
from .files import explaining_failures

LOCK = ".lock"
"""The name of the file in a run folder, there while the run is at work; a process that was killed
leaves it, which keeps nobody from going on."""

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_held: set[str] = set()  # by this process, for which the system's locks are one


class RunLock:
    """The lock of a run folder, taken by `take` and given back at the end of a `with` block.

    It is the system's (fcntl), and not inherited by the processes that decode images: when this
    process ends, however it does, the lock is free. On a network file system it holds on all
    hosts that mount it.

    Args:
        folder: of the run; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / LOCK
        self._descriptor: int | None = None
        self._key = ""
        self._made = False

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def take(self) -> None:
        """Take the lock, unless this object has it already.

        Raises:
            UserError: another process writes to the folder, or another run of this one.
        """
        if self._descriptor is not None:
            return
        key = str(self.folder.resolve())
        if key in _held:
            raise UserError(f"{self.folder}: this process is writing to it already")
        self._made = not self.folder.exists()
        with explaining_failures(self.folder):
            self._take()
        self._key = key
        _held.add(key)

    def _take(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    held = error.errno in (errno.EACCES, errno.EAGAIN)
                    told = _describe_holder(descriptor) if held else f": {error.strerror}"
                    os.close(descriptor)
                    raise UserError(
                        f"{self.folder}: another process is writing to it{told}; stop that one, "
                        "or choose another --out"
                    ) from None
            if _is_same(descriptor, self.path):
                break
            os.close(descriptor)  # its holder has just removed it
        holder = {"host": platform.node(), "process": os.getpid(), "since": time.time()}
        with suppress(OSError):  # a full disk: others are not told who it is
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Remove the file, and the folder if it was made for it alone; give the lock back."""
        if self._descriptor is None:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None
        _held.discard(self._key)
        if self._made:
            with suppress(OSError):  # it is a run folder by now
                self.folder.rmdir()


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _describe_holder(descriptor: int) -> str:
    """` (process 123 on host, since 12:03:04)`, or nothing where it has not said so yet."""
    try:
        holder: dict[str, Any] = json.loads(os.pread(descriptor, 1000, 0))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(holder["since"])))
        host = shorten(str(holder["host"]))
        return f" (process {int(holder['process'])} on {host}, since {since})"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
