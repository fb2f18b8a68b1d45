"""The files of a folder, a zip or a tar archive, by one interface, without unpacking it."""

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, TypeVar

from ...errors import UserError

T = TypeVar("T")

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile)


class Files:
    """Files by their paths below a folder; names are with slashes, and never lead out of it.

    Attributes:
        place: the folder or the archive.
        within: the folder in the archive below which the files are.
    """

    def __init__(self, place: Path, within: str = "") -> None:
        self.place = place
        self.within = within

    def names(self) -> Iterator[str]:
        """All files, but for hidden ones of a folder; in the order that an archive has them in."""
        raise NotImplementedError

    def copy(self, name: str, target: Path) -> None:
        """Write a file's content to a path where nothing is yet.

        Raises:
            UserError: there is no such file, or it cannot be read to its end.
            FileExistsError: something is there.
        """
        with told_if_broken(self.place), self._open(name) as file, target.open("xb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)

    def read(self, name: str) -> bytes:
        """The content of a small file; a UserError if there is none or it cannot be read."""
        with told_if_broken(self.place), self._open(name) as file:
            return file.read()

    def lines(self, name: str) -> list[str]:
        """The lines of a text that are not blank; a UserError if it is not text."""
        try:
            text = self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{self.where(name)}: not text in UTF-8") from None
        lines = (line.strip("\r") for line in text.split("\n"))
        return [line for line in lines if line.strip()]

    @contextmanager
    def inner(self, name: str) -> Iterator["Files"]:
        """The files of a tar archive that is itself one of the files."""
        place = self.place / name
        with told_if_broken(place), self._open(name) as file, tarfile.open(fileobj=file) as tar:
            yield _Tar(place, "", tar)

    def where(self, name: str) -> str:
        """What to call a file in a message."""
        return str(self.place / self.within / name)

    def _open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        raise NotImplementedError


class _Folder(Files):
    def names(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.place, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = Path(folder).relative_to(self.place)
            shown = (name for name in sorted(files) if not name.startswith("."))
            yield from ((below / name).as_posix() for name in shown)

    def copy(self, name: str, target: Path) -> None:
        """As a hard link where that is possible, which takes no room."""
        path = self._path(name)
        try:
            os.link(os.path.realpath(path), target)
        except FileExistsError:
            raise
        except OSError:  # another file system, or one without links
            super().copy(name, target)

    def _open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        return self._path(name).open("rb")

    def _path(self, name: str) -> Path:
        path = self.place / _checked(name, self.place)
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return path


class _Zip(Files):
    def __init__(self, place: Path, within: str, archive: zipfile.ZipFile) -> None:
        super().__init__(place, within)
        self.archive = archive
        infos = (info for info in archive.infolist() if not info.is_dir())
        self.members = dict(_below(within, [(info.filename, info) for info in infos], place))

    def names(self) -> Iterator[str]:
        return iter(self.members)

    def _open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        if name not in self.members:
            raise UserError(f"{self.where(name)}: not in the archive")
        return self.archive.open(self.members[name])


class _Tar(Files):
    def __init__(self, place: Path, within: str, archive: tarfile.TarFile) -> None:
        super().__init__(place, within)
        self.archive = archive
        # Links are not followed, and devices not made: only what is a file counts.
        found = [(member.name, member) for member in archive if member.isfile()]
        self.members = dict(_below(within, found, place))
        self._check_end()

    def names(self) -> Iterator[str]:
        return iter(self.members)

    def _open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        file = self.archive.extractfile(self.members[name]) if name in self.members else None
        if file is None:
            raise UserError(f"{self.where(name)}: not in the archive")
        return file

    def _check_end(self) -> None:
        """tarfile takes a header that is cut off or garbage for the archive's end."""
        assert self.archive.fileobj is not None
        self.archive.fileobj.seek(self.archive.offset)
        header = self.archive.fileobj.read(tarfile.BLOCKSIZE)
        if header.strip(b"\0") or len(header) not in (0, tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends in the midst of a file")


@contextmanager
def opened_files(place: Path, within: str = "") -> Iterator[Files]:
    """The files of a folder, or those of an archive that are below the folder `within` of it.

    Raises:
        UserError: not an archive, one that is broken or incomplete, or one with a path that would
            lead out of the folder it is unpacked to.
    """
    with told_if_broken(place), ExitStack() as stack:
        if place.is_dir():
            yield _Folder(place)
        elif place.suffix == ".zip":
            yield _Zip(place, within, stack.enter_context(zipfile.ZipFile(place)))
        else:
            yield _Tar(place, within, stack.enter_context(tarfile.open(place)))


@contextmanager
def told_if_broken(place: Path) -> Iterator[None]:
    """What zip, tar and gzip say about a broken archive, as a UserError that names it."""
    try:
        yield
    except _BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(": ")
        raise UserError(f"{place}: broken or incomplete archive: {reason}") from None


def _below(within: str, found: list[tuple[str, T]], place: Path) -> Iterator[tuple[str, T]]:
    prefix = f"{within}/" if within else ""
    for name, member in found:
        name = _checked(name, place)
        if name.startswith(prefix):
            yield name.removeprefix(prefix), member


def _checked(name: str, place: Path) -> str:
    """A path without `.` in it, if it stays below where it starts."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise UserError(f"{place}: '{name}' would lead out of the folder; nothing is taken from it")
    return "/".join(part for part in parts if part not in ("", "."))
