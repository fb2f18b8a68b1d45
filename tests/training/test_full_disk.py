"""Writes that fail: one line, and what was there stays."""

import errno
import os
from pathlib import Path

import pytest
from benchmarks.measure.torture_files import limiting_files
from helpers.training_runs import QUIET, recipe

from torchbake.errors import UserError
from torchbake.training.checkpoint import find_checkpoint
from torchbake.training.log import Log
from torchbake.training.loop import train
from torchbake.training.run_folder import RunFolder


@pytest.mark.parametrize("size", [700, 3000, 30_000])
def test_a_run_on_a_full_disk_ends_in_one_line(tmp_path, size):
    """The system lets no file grow beyond so many bytes."""
    settings = recipe(("training.checkpoint_every", "1"), ("training.log_every", "1"))
    with (
        limiting_files(size),
        pytest.raises(UserError, match=r"cannot be written: File too large") as caught,
    ):
        train(settings, tmp_path / "run", console=QUIET)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "run") in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


def test_the_last_checkpoint_stays_and_the_run_goes_on(tmp_path, monkeypatch):
    settings = recipe(("training.max_steps", "6"), ("training.checkpoint_every", "2"))
    fsync, calls = os.fsync, []

    def failing(descriptor):
        if "step-4" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        calls.append(descriptor)
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(
            UserError,
            match=r"step-4: cannot be written: No space left on device; the checkpoints before it "
            "are kept$",
        ):
            train(settings, tmp_path / "run", console=QUIET)
    assert calls
    assert find_checkpoint(tmp_path / "run" / "checkpoints").folder.name == "step-2"
    final = train(settings, tmp_path / "run", resume=True, console=QUIET)
    assert final["step"] == 6


def test_records_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    run = RunFolder(tmp_path)
    log = Log(run, QUIET, 10)
    monkeypatch.setattr(
        Path,
        "open",
        lambda *given, **named: (_ for _ in ()).throw(
            OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        ),
    )
    with pytest.raises(UserError, match=r"train\.log: cannot be written: Disk quota exceeded"):
        log.say("hello")
