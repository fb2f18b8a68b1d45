"""Trials of damaged files of a run, and of writes that fail; see torture.py."""

import builtins
import errno
import json
import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from benchmarks.measure.torture_config import READERS
from benchmarks.measure.trials import Fault, try_to
from rich.console import Console

from torchbake.errors import UserError
from torchbake.training import checkpoint as checkpoints
from torchbake.training import files
from torchbake.training.checkpoint import Manifest, find_checkpoint, load_checkpoint
from torchbake.training.loop import train
from torchbake.training.nested import flatten_state
from torchbake.training.recipe_files import load_recipe
from torchbake.training.run_folder import RunFolder
from torchbake.training.weights_file import read_description

QUIET = Console(quiet=True)
SETTINGS = [
    *[("training.epochs", "2"), ("training.log_every", "1"), ("training.checkpoint_every", "2")],
    *[("training.ema_decay", "0.9"), ("data.validation", "0.1"), ("training.device", "cpu")],
    *[("training.select", "best-on-validation"), ("data.images_per_class", "20")],
]


def run_flips(count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """A row of each kind of file of a run: bits flipped and files cut, each file in its turn."""
    run = RunFolder(folder / "run")
    train(load_recipe("digits/bake", SETTINGS), run.path, console=QUIET)
    source = random.Random(seed)
    paths = sorted(path for path in run.path.rglob("*") if path.is_file())
    groups: dict[str, list[tuple[Path, Callable[[], Any]]]] = {}
    for path in paths:
        name = path.relative_to(run.path).as_posix()
        if path.parent.parent == run.checkpoints:
            groups.setdefault("checkpoint", []).append((path, lambda: _read_last(run)))
        elif path.suffix == ".safetensors":
            read = lambda path=path: (read_description(path), path.name)  # noqa: E731
            groups.setdefault("weights", []).append((path, read))
        elif name in READERS:
            read = lambda name=name: READERS[name](run)  # noqa: E731
            groups.setdefault("records", []).append((path, read))
    each = max(1, count // sum(map(len, groups.values())))
    return [_count_flips(what, group, each, source) for what, group in groups.items()]


def _read_last(run: RunFolder) -> Any:
    """What a run goes on from: the step, and the state as bytes."""
    found = find_checkpoint(run.checkpoints)
    assert found is not None
    tensors, tree = flatten_state(load_checkpoint(found.folder))
    content = {name: tensor.reshape(-1).view(torch.uint8) for name, tensor in tensors.items()}
    return found, {name: part.numpy().tobytes() for name, part in content.items()}, str(tree)


def _count_flips(
    what: str,
    group: list[tuple[Path, Callable[[], Any]]],
    each: int,
    source: random.Random,
) -> dict[str, Any]:
    row: dict[str, Any] = {"case": f"damaged {what}", "trials": 0, "bits": 0, "cuts": 0}
    row |= {"detected": 0, "harmless": 0, "unnoticed": 0, "faults": 0}
    for path, read in group:
        whole, expected = path.read_bytes(), read()
        for _ in range(each if whole else 0):
            place = source.randrange(len(whole))
            cut = source.random() < 0.2
            flipped = bytes([whole[place] ^ (1 << source.randrange(8))])
            path.write_bytes(whole[:place] if cut else whole[:place] + flipped + whole[place + 1 :])
            row["trials"] += 1
            row["cuts" if cut else "bits"] += 1
            try:
                outcome = _tell_outcome(what, expected, try_to(read))
            except Fault as fault:
                outcome = "faults"
                print(f"{path}, byte {place}: {fault}")
            row[outcome] += 1
        path.write_bytes(whole)
    return row


def _tell_outcome(what: str, expected: Any, found: Any) -> str:
    if isinstance(found, UserError):
        return "detected"
    if what == "checkpoint":
        if found[0].damaged:  # named, and another one used, which is whole
            return "detected"
        # A damaged one before the last is noticed when it is needed.
        same = found[1:] == expected[1:]
    else:
        same = repr(found) == repr(expected)
    if same:
        return "harmless"
    if what == "records":
        return "unnoticed"  # a value that became another valid one
    raise Fault("other content was read without a word")


def run_writes(count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Each write call of a checkpoint and of a run's other files fails; and files of any size."""
    source = random.Random(seed)
    calls, texts = folder / "calls", folder / "text"
    rows = [
        _fail_each_call("checkpoint", lambda: _write_one(calls, 2), calls),
        _fail_each_call("checkpoint, again", lambda: _write_one(calls, 2), calls, again=True),
        _fail_each_call("text", lambda: _write_text(texts), texts),
    ]
    size = _write_one(folder / "size", 1).joinpath(checkpoints.TENSORS).stat().st_size
    row: dict[str, Any] = {
        "case": "no file may be larger",
        "trials": 0,
        "refused": 0,
        "written": 0,
        "faults": 0,
    }
    for limit in [0, 1, *(source.randrange(size + 20_000) for _ in range(count))]:
        row["trials"] += 1
        outcome = _try_write(folder / "limit", limiting_files(limit))
        row[outcome] += 1
    return [*rows, row]


def _fail_each_call(
    what: str, write: Callable[[], Any], folder: Path, *, again: bool = False
) -> dict[str, Any]:
    """A row of one trial for each call; `again`: what is written is there already."""
    row: dict[str, Any] = {
        "case": f"failing calls: {what}",
        "trials": 0,
        "refused": 0,
        "written": 0,
        "faults": 0,
    }
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        _prepare(folder)
        if again:
            write()
        calls = FailingCalls(row["trials"])
        row[_try_write(folder, calls, write)] += 1
        row["trials"] += 1
        if not calls.reached:
            return row


def _prepare(folder: Path) -> None:
    _write_one(folder, 1)
    _write_text(folder)


def _try_write(
    folder: Path, obstacle: AbstractContextManager[None], write: Callable[[], Any] | None = None
) -> str:
    """Write over what is there with an obstacle; `faults` if something of it was lost."""
    write = write or (lambda: _write_one(folder, 2))
    if not folder.exists():
        _prepare(folder)
    parts = list(folder.glob("*.tmp"))  # which the next write removes, if this one did not
    before = {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {*path.parents} & {*parts}
    }
    try:
        with obstacle:
            outcome = try_to(write)
        refused = isinstance(outcome, UserError)
        # Where an old checkpoint could not be removed behind the new one, it is removed later.
        if refused and any(path.name.endswith(".tmp") for path in folder.rglob("*")):
            raise Fault("something was left of a file that could not be written")
        if refused and {path: path.read_bytes() for path in before} != before:
            raise Fault("what was there was not kept")
        found = find_checkpoint(folder)
        if found is None or found.damaged:
            raise Fault("no whole checkpoint was kept")
    except (Fault, OSError) as fault:
        print(f"{folder.name}: {fault}")
        return "faults"
    return "refused" if refused else "written"


def _write_one(folder: Path, step: int) -> Path:
    manifest = Manifest(step=step, finished=False, files={}, belongs_to={}, made_on={})
    state = {"x": torch.arange(50_000.0), "values": list(range(1000))}
    return checkpoints.write_checkpoint(folder, state, manifest, keep_all=False)


def _write_text(folder: Path) -> None:
    files.write_text(folder / "text.json", json.dumps(list(range(1000))))


CALLS = (
    *[(os, "fsync"), (os, "open"), (checkpoints, "save_file"), (builtins, "open")],
    *[(Path, name) for name in ("mkdir", "write_text", "open", "touch", "chmod", "replace")],
)
"""What changes a disk, in the order of nothing: each may fail."""


class FailingCalls:
    """Call `number` of `CALLS`, counted together, fails within the block as on a full disk."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.made = 0
        self._patches = ExitStack()

    @property
    def reached(self) -> bool:
        """Whether so many calls were made."""
        return self.made > self.number

    def __enter__(self) -> None:
        for owner, name in CALLS:
            call = self._wrap(getattr(owner, name))
            self._patches.enter_context(mock.patch.object(owner, name, call))

    def __exit__(self, *error: object) -> None:
        self._patches.close()

    def _wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(*given: Any, **named: Any) -> Any:
            self.made += 1
            if self.made == self.number + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*given, **named)

        return calling


@contextmanager
def limiting_files(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the system refuses it, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
