"""Checksums: of files, and of tensors with what is said of them."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import UserError

SEAL = "sha256"
"""The key of a weights file's metadata under which its checksum is."""


def digest_file(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_text(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def seal_weights(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The SHA-256 of tensors and of the metadata beside them, whatever the order of either.

    It is that of each tensor's name, dtype, shape and bytes, in the order of the names, behind the
    metadata as JSON without the checksum itself.
    """
    digest = _begin(metadata)
    for name in sorted(tensors):
        _add(digest, name, tensors[name])
    return str(digest.hexdigest())


def check_weights(path: Path, expected: str | None = None) -> str:
    """The checksum of a file's weights (see `seal_weights`), checked where one is noted.

    Args:
        expected: the checksum that the run has noted of its weights, if it has.

    Raises:
        UserError: it cannot be read; or the weights, or what is said of them, are not what was
            written. Files of older versions, and of other programs, have no checksum.
    """
    from safetensors import SafetensorError  # which `import torchbake` does without

    try:
        status = path.stat()
        noted, found = _seal_file(path, status.st_mtime_ns, status.st_size)
    except (SafetensorError, OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
        raise UserError(f"{path}: not a file of weights: {reason}") from None
    if noted is not None and found != noted:
        raise UserError(
            f"{path}: damaged: its weights, or what it says of them, are not what was written "
            "(SHA-256)"
        )
    if expected is not None and found != expected:
        raise UserError(f"{path}: not the weights that the run wrote (weights_sha256, result.json)")
    return found


@lru_cache(maxsize=64)
def _seal_file(path: Path, changed: int, size: int) -> tuple[str | None, str]:
    """The checksum noted in a file, and that of what it holds; once for a file that stays."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata() or {})
        digest = _begin(metadata)
        for name in sorted(file.keys()):
            _add(digest, name, file.get_tensor(name))
    return metadata.get(SEAL), digest.hexdigest()


def _begin(metadata: Mapping[str, str]) -> Any:
    said = {key: value for key, value in metadata.items() if key != SEAL}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode())


def _add(digest: Any, name: str, tensor: Tensor) -> None:
    tensor = tensor.detach().cpu().contiguous()
    digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
    if tensor.numel():
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
