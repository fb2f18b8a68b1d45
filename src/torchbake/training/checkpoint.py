"""Checkpoints that are whole or not there, and say so when they were damaged.

A checkpoint is a folder `step-N`: `tensors.safetensors`; `state.json`, all else of the state; and
`manifest.json`, which has the checksums of both, its own, and what the checkpoint belongs to. It is
written under another name, flushed to the disk, and renamed when it is whole.
"""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pydantic
from annotated_types import Ge
from safetensors import safe_open
from safetensors.torch import save_file

from .._digests import digest_file, digest_text
from .._version import __version__
from ..errors import UserError
from .files import copy_to_host, explaining_failures, flush, flush_folder
from .nested import flatten_state, unflatten_state
from .run_records import read_json

VERSION = 1
"""Of the format; another one where this code could not read it."""

KEPT = 2
"""Checkpoints that stay: if the last one is damaged, there is the one before."""

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"

Count = Annotated[int, Ge(0)]


class File(pydantic.BaseModel):
    """A file of a checkpoint, as it was written."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    bytes: Count
    sha256: str


class Manifest(pydantic.BaseModel):
    """What a checkpoint is.

    Attributes:
        finished: whether the run had come to its end.
        belongs_to: what it can go on with (see `belongings.describe_belongings`).
        made_on: what may make a difference in the last digits.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    format: Literal["torchbake checkpoint"] = "torchbake checkpoint"
    version: Count = VERSION
    torchbake: str = __version__
    step: Count
    finished: bool
    files: dict[Literal["tensors.safetensors", "state.json"], File]
    belongs_to: dict[str, Any]
    made_on: dict[str, Any]


class Sealed(pydantic.BaseModel):
    """The file `manifest.json`: a manifest behind its own checksum."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    sha256: str
    manifest: dict[str, Any]


class Found(NamedTuple):
    """A whole checkpoint, and lines about newer ones that were not whole."""

    folder: Path
    manifest: Manifest
    damaged: list[str]


def write_checkpoint(folder: Path, state: Any, manifest: Manifest, *, keep_all: bool) -> Path:
    """Write a checkpoint into the folder of checkpoints, and then remove what is not kept.

    Args:
        state: nested (see `flatten_state`).
        manifest: without `files`, which are filled in.

    Raises:
        UserError: a value that cannot be held, or a file that cannot be written; what was there
            stays as it was.
    """
    tensors, tree = flatten_state(state)
    tensors = copy_to_host(tensors)
    path = folder / f"step-{manifest.step}"
    part, old = path.with_name(path.name + ".tmp"), path.with_name(path.name + ".old.tmp")
    kept = "the checkpoints before it are kept" if list_checkpoints(folder) else ""
    with explaining_failures(path, kept):
        try:
            remove_parts(folder)
            part.mkdir(parents=True)
            save_file(tensors, part / TENSORS, {"format": "pt"})
            (part / STATE).write_text(json.dumps(tree, allow_nan=False), encoding="ascii")
            # safetensors makes a file of its own, for its owner's eyes alone.
            (part / TENSORS).chmod((part / STATE).stat().st_mode)
            with ThreadPoolExecutor(1) as thread:  # checksums, while the disk is waited for
                described = thread.submit(
                    lambda: {name: _describe(part / name) for name in (TENSORS, STATE)}
                )
                for name in (TENSORS, STATE):
                    flush(part / name)
                files = described.result()
            made = manifest.model_copy(update={"files": files}).model_dump()
            sealed = {"sha256": _seal(made), "manifest": made}
            (part / MANIFEST).write_text(json.dumps(sealed, indent=1) + "\n", encoding="ascii")
            flush(part / MANIFEST)
            flush_folder(part)
            if path.exists():  # damaged: the run has gone on from one before it
                path.replace(old)
            part.replace(path)
            flush_folder(folder)
        except BaseException:
            if old.exists() and not path.exists():
                old.replace(path)
            remove_parts(folder)
            raise
        _prune(folder, manifest.step, keep_all)
    return path


def find_checkpoint(folder: Path) -> Found | None:
    """The last whole checkpoint in the folder of checkpoints; None where there is none at all.

    Raises:
        UserError: none of those that are there is whole, or it is of another version.
    """
    damaged: list[str] = []
    for path in list_checkpoints(folder):
        try:
            manifest = _check(path)
        except UserError as error:
            damaged.append(str(error))
            continue
        if manifest.version != VERSION:
            raise UserError(
                f"{path}: written by torchbake {manifest.torchbake} in format "
                f"{manifest.version}, which this version cannot read; go on with that version"
            )
        return Found(path, manifest, damaged)
    if damaged:
        raise UserError(
            f"no checkpoint is whole: {'; '.join(damaged)}; start again with --overwrite"
        )
    if (folder / "last.pt").exists():
        raise UserError(
            f"{folder / 'last.pt'}: written by an older version, in a format that may hold code; "
            "go on with that version, or start again with --overwrite"
        )
    return None


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in their folder, the last one first."""
    found = folder.iterdir() if folder.is_dir() else ()
    numbered = [(number, path) for path in found if (number := _read_step(path)) is not None]
    return [path for _, path in sorted(numbered, reverse=True)]


def load_checkpoint(path: Path) -> Any:
    """The state in a checkpoint, all in the host's memory; no code in it is run.

    Raises:
        UserError: it is damaged.
    """
    _check(path)
    try:
        tree = json.loads((path / STATE).read_bytes())
        with safe_open(path / TENSORS, "pt") as file:
            # Copies, since the file may be removed while they are used.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return unflatten_state(tensors, tree)
    except Exception as error:  # its checksums are right: somebody made it so
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: not a checkpoint of torchbake: {reason}") from None


def _check(path: Path) -> Manifest:
    """The manifest of a checkpoint that is as it was written; UserError where it is not."""
    manifest = read_manifest(path)
    for name, expected in manifest.files.items():
        file = path / name
        try:
            size = file.stat().st_size
            if size != expected.bytes:
                raise UserError(f"{file}: damaged: {size:,} of {expected.bytes:,} bytes")
            if digest_file(file) != expected.sha256:
                raise UserError(f"{file}: damaged: not what was written (SHA-256)")
        except OSError as error:
            raise UserError(f"{file}: damaged: cannot be read: {error.strerror}") from None
    return manifest


def read_manifest(path: Path) -> Manifest:
    """The manifest of a checkpoint, checked by itself.

    Raises:
        UserError: it is damaged.
    """
    file = path / MANIFEST
    sealed = read_json(file, Sealed)
    if _seal(sealed["manifest"]) != sealed["sha256"]:
        raise UserError(f"{file}: damaged: not what was written (SHA-256)")
    try:
        return Manifest.model_validate(sealed["manifest"])
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{file}: not of a checkpoint: {place}: {first['msg'].lower()}") from None


def remove_parts(folder: Path) -> None:
    """Remove what a crash has left of a checkpoint that was being written."""
    for path in folder.glob("step-*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def _describe(path: Path) -> File:
    return File(bytes=path.stat().st_size, sha256=digest_file(path))


def _seal(manifest: dict[str, Any]) -> str:
    return digest_text(json.dumps(manifest, sort_keys=True))


def _prune(folder: Path, step: int, keep_all: bool) -> None:
    """Remove all but the last ones, and those of later steps, which were damaged."""
    steps = [_read_step(path) for path in list_checkpoints(folder)]
    valid = [number for number in steps if number is not None and number <= step]
    kept = set(valid if keep_all else valid[:KEPT])
    for number in steps:
        if number not in kept:
            # Its name first: half of one is none.
            (folder / f"step-{number}").replace(folder / f"step-{number}.tmp")
    remove_parts(folder)


def _read_step(path: Path) -> int | None:
    found = re.fullmatch(r"step-(0|[1-9][0-9]{0,17})", path.name)
    return int(found[1]) if found and path.is_dir() else None
