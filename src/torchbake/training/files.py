"""Files that are either old or new, never half-written."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from .._digests import SEAL, seal_weights
from ..errors import UserError


@contextmanager
def explaining_failures(path: Path, kept: str = "") -> Iterator[None]:
    """Raise UserError, in one line, where the disk is full or something else keeps from writing.

    Args:
        kept: what is left as it was, in words.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        named = getattr(error, "filename", None)  # None where what fails is a write itself
        if isinstance(error, BrokenPipeError) or not str(named or path.parent).startswith(
            str(path.parent)
        ):
            raise
        text = str(error).partition("\n")[0]
        system = re.search(r"I/O error: (.*) \(os error", text)  # as Rust tells it
        reason = getattr(error, "strerror", None) or (system[1] if system else text)
        raise UserError(f"{path}: cannot be written: {reason}{kept and '; '}{kept}") from None


def save_weights(path: Path, model: nn.Module, metadata: dict[str, str]) -> str:
    """Write the weights of a `Classifier`'s network as safetensors, under the network's names.

    The same weights and metadata give the same bytes.

    Returns:
        The checksum of the weights and their metadata, which is among the metadata, too.
    """
    state = {
        # Copies, since safetensors refuses tensors that share memory.
        name.removeprefix("network."): value.detach().clone().contiguous()
        for name, value in copy_to_host(model.state_dict()).items()
    }

    checksum = seal_weights(state, metadata)

    def write(temporary: Path) -> None:
        save_file(state, temporary, {**metadata, SEAL: checksum})
        _sort_metadata(temporary)

    _replace(path, write)
    return checksum


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a safetensors file in order: the library writes them in any."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= size, path
        file.seek(8)
        file.write(text.ljust(size))  # blanks fill it, as the format allows


def copy_to_host(state: Any) -> Any:
    """Nested tensors and values with all tensors in the host's memory.

    The copies of what lies on a CUDA device follow each other without the host's being asked for
    each, and are waited for once.
    """
    devices: set[torch.device] = set()

    def copy(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if value.device.type == "cuda":
                devices.add(value.device)
                return value.detach().to("cpu", non_blocking=True)  # into pinned memory
            return value.cpu()
        if isinstance(value, dict):
            return {name: copy(part) for name, part in value.items()}
        return type(value)(map(copy, value)) if type(value) in (list, tuple) else value

    copied = copy(state)
    for device in devices:
        torch.cuda.synchronize(device)
    return copied


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """A text file to be written bit by bit, line ends as they are; it is there when it is whole."""
    with (
        _replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file


def check_writable(folder: Path) -> None:
    """Whether files can be written to a folder, which need not be there yet; changes nothing.

    Raises:
        UserError: they cannot.
    """
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    if not existing.is_dir():
        raise UserError(f"{existing} is a file; expected a folder")
    if not os.access(existing, os.W_OK):
        raise UserError(f"{existing}: cannot be written to")


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    with _replacing(path) as temporary:
        write(temporary)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to be written, which then takes the place of `path`; of an error nothing is left."""
    temporary = path.with_name(path.name + ".tmp")
    with explaining_failures(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.touch()  # which gives it the mode that the umask asks for
        mode = temporary.stat().st_mode
        try:
            yield temporary
            temporary.chmod(mode)  # safetensors makes a file of its own, for its owner's eyes alone
            flush(temporary)
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        flush_folder(path.parent)


def flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
