"""A publisher's files: those of a folder, or of an archive that is unpacked first."""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath

from ...errors import UserError
from .catalogue import Progress

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile)


@dataclass(frozen=True)
class Files:
    """Files by their paths below a folder, with slashes.

    Attributes:
        folder: where they are.
        place: what a message calls the folder: the archive that it is unpacked from, or itself.
        room: the folder in which archives are unpacked; what is there may be moved away.
    """

    folder: Path
    place: Path
    room: Path

    def names(self) -> Iterator[str]:
        """All files, but for hidden ones and what is below hidden folders."""
        for folder, folders, files in os.walk(self.folder, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = Path(folder).relative_to(self.folder)
            shown = (name for name in sorted(files) if not name.startswith("."))
            yield from ((below / name).as_posix() for name in shown)

    def read(self, name: str) -> bytes:
        """The content of a small file; a UserError if there is none."""
        if not (self.folder / name).is_file():
            raise UserError(f"{self.where(name)}: no such file")
        return (self.folder / name).read_bytes()

    def lines(self, name: str) -> list[str]:
        """The lines of a text that are not blank; a UserError if it is not text."""
        try:
            text = self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{self.where(name)}: not text in UTF-8") from None
        lines = (line.strip("\r") for line in text.split("\n"))
        return [line for line in lines if line.strip()]

    def give(self, name: str, target: Path) -> None:
        """Put a file where nothing is yet, without taking more room where that is possible.

        What was unpacked is moved; a user's file becomes a hard link, or else a copy.

        Raises:
            FileExistsError: something is there.
        """
        path = self.folder / name
        if target.exists():
            raise FileExistsError(target)
        if path.is_relative_to(self.room):
            path.rename(target)
            return
        try:
            os.link(os.path.realpath(path), target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, target)

    def unpack(self, name: str) -> "Files":
        """The files of a tar archive that is one of the files."""
        path, room = self.folder / name, self.room / name
        unpack(path, room)
        return Files(room, self.place / name, self.room)

    def where(self, name: str) -> str:
        """What to call a file in a message."""
        return str(self.place / name)


def unpack(
    archive: Path,
    folder: Path,
    within: str = "",
    progress: Progress = lambda what, done, total: None,
) -> None:
    """Unpack a zip or tar archive, and tar archives in it into folders of their names.

    Links and devices are not made.

    Args:
        within: the folder in the archive of which files are wanted.
        progress: called with each file, with what part of the archive is read, in MiB.

    Raises:
        UserError: it is broken or incomplete, or a path or link would lead out of the folder.
    """
    size = archive.stat().st_size
    folder.mkdir(parents=True)
    take = _unpack_zip if archive.suffix == ".zip" else _unpack_tar
    with archive.open("rb") as file, _tell_broken(archive):
        for _ in take(file, folder, within, archive):
            progress(f"unpacking {archive.name}: MiB", file.tell() >> 20, size >> 20)


def _unpack_zip(file: BufferedReader, folder: Path, within: str, place: Path) -> Iterator[None]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            path = _check_path(info.filename, place)
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            if path.is_relative_to(within) and not info.is_dir() and not is_link:
                archive.extract(info, folder)
                yield


def _unpack_tar(file: BufferedReader, folder: Path, within: str, place: Path) -> Iterator[None]:
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            path = _check_path(member.name, place)
            if not member.isfile():
                tarfile.data_filter(member, str(folder))  # refuses devices, and links that lead out
            elif path.suffix == ".tar":
                content = archive.extractfile(member)
                assert isinstance(content, BufferedReader)
                yield from _unpack_tar(content, folder / path.with_suffix(""), "", place)
            elif path.is_relative_to(within):
                archive.extract(member, folder, filter="data")
                yield
        # tarfile takes a header that is cut off or garbage for the archive's end.
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        header = archive.fileobj.read(tarfile.BLOCKSIZE)
        if header.strip(b"\0") or len(header) not in (0, tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends in the midst of a file")


@contextmanager
def _tell_broken(place: Path) -> Iterator[None]:
    """What zip, tar and gzip say about a broken archive, as a UserError that names it."""
    try:
        yield
    except tarfile.FilterError as error:
        raise UserError(f"{place}: {error}; nothing is taken from it") from None
    except _BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(": ")
        raise UserError(f"{place}: broken or incomplete archive: {reason}") from None


def _check_path(name: str, place: Path) -> PurePosixPath:
    """A member's path, if it stays below where it starts."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise UserError(f"{place}: '{name}' would lead out of the folder; nothing is taken from it")
    return path
