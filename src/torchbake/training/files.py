"""Files that are either old or new, never half-written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ..errors import UserError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; the old file is kept until the new one is on the disk."""
    state = copy_to_host(state)
    _replace(path, lambda temporary: torch.save(state, temporary))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, without running any code in it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: not a torchbake checkpoint: {error}") from error


def save_weights(path: Path, model: nn.Module, metadata: dict[str, str]) -> None:
    """Write the weights of a `Classifier`'s network as safetensors, under the network's names."""
    state = {
        # Copies, since safetensors refuses tensors that share memory.
        name.removeprefix("network."): value.detach().clone().contiguous()
        for name, value in copy_to_host(model.state_dict()).items()
    }
    _replace(path, lambda temporary: save_file(state, temporary, metadata))


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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
