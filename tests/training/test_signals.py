"""Signals and locks, with real processes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.commands import failing
from helpers.images import image_folder
from helpers.processes import run
from helpers.training_runs import same, saved, weights

from torchbake.errors import UserError
from torchbake.training.lock import LOCK, RunLock
from torchbake.training.run_folder import RunFolder

TRAIN = [sys.executable, "-m", "torchbake", "train", "digits/bake"]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def start(command, folder):
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def wait_for(path, process, holds=lambda path: path.exists() and path.stat().st_size):
    deadline = time.monotonic() + 200
    while not holds(path):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def end(process):
    """The exit status and what was said."""
    _, errors = process.communicate(timeout=100)
    return process.returncode, errors


def test_a_signal_to_all_of_a_job_leaves_a_checkpoint(tmp_path):
    """Also to the processes that decode images, as SLURM and the end of a terminal do."""
    data = ["--data", image_folder(tmp_path / "photos"), "--data.image_size", "8"]
    data += ["--data.images_per_class", "null", "--data.in_memory", "false"]
    data += ["--data.workers", "2", "--training.batch_size", "4", "--training.log_every", "1"]
    data += ["--training.epochs", "100000", "--training.eval_every", "100000"]
    process = start([*TRAIN, *data, "--out", "run"], tmp_path)
    wait_for(tmp_path / "run" / "metrics.jsonl", process)
    os.killpg(process.pid, signal.SIGHUP)
    status, errors = end(process)
    assert status == 130, errors
    assert re.fullmatch(r"torchbake: stopped at step [\d,]+ of .*--resume --out run\n", errors)
    last = RunFolder(tmp_path / "run").read_metrics()[-1]
    assert saved(tmp_path / "run")["state"]["step"] == last["step"]


def test_one_process_writes_to_a_run_folder(tmp_path, capsys):
    process = start([*TRAIN, "--training.epochs", "5000", "--out", "run"], tmp_path)
    folder = tmp_path / "run"
    wait_for(folder / "metrics.jsonl", process)
    again = ["train", "digits/bake", "--training.epochs", "5000", "--out", str(folder)]
    for option in ("--resume", "--overwrite"):
        message = failing(capsys, *again, option)
        assert f"{folder}: another process is writing to it (process {process.pid} on" in message
        assert message.count("\n") == 0
    assert (folder / "metrics.jsonl").stat().st_size
    process.send_signal(signal.SIGUSR1)
    assert end(process)[0] == 130
    assert not (folder / LOCK).exists()
    # A process that was killed leaves the file, and blocks nobody.
    (folder / LOCK).write_text("not JSON")
    with RunLock(folder) as lock:
        lock.take()
        with pytest.raises(UserError, match="this process is writing to it already"):
            RunLock(folder).take()
    assert not (folder / LOCK).exists()


SLOW = """
import time
from pathlib import Path
from torch import nn

class Slow(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer = nn.Linear(64, num_classes)
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        if self.calls == 4:
            Path("waiting").touch()
            for _ in range(6000):
                time.sleep(0.01)
        return self.layer(images.flatten(1))

def digits(recipe):
    Path("opening").touch()
    time.sleep(60)
"""


def test_a_second_signal_stops_at_once_and_the_first_before_training(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    own = ["--model", "slow:Slow", "--model.classifier", "layer"]
    process = start([*TRAIN, *own, "--out", "run"], tmp_path)
    starting = start([*TRAIN, "--data", "slow:digits", "--out", "other"], tmp_path)
    wait_for(tmp_path / "opening", starting, Path.exists)
    starting.send_signal(signal.SIGTERM)
    status, errors = end(starting)
    assert (status, errors) == (130, "torchbake: stopped before the first step; start it again\n")
    assert not (tmp_path / "other").exists()
    wait_for(tmp_path / "waiting", process, Path.exists)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert end(process) == (130, "torchbake: stopped\n")
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def find_children(process):
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


def test_ranks_agree_on_the_step_to_stop_at(tmp_path):
    """One of two is asked; both stop behind the same step, and go on bit for bit."""
    options = ["--training.log_every", "1", "--training.epochs", "40"]
    options += ["--training.eval_every", "40", "--training.ema_decay", "0.9", "--out"]
    train = [*LAUNCH, *TRAIN[1:], *options]
    run([*train, "whole"], tmp_path)
    process = start([*train, "cut"], tmp_path)
    wait_for(tmp_path / "cut" / "metrics.jsonl", process)
    asked = find_children(process)[-1]
    os.kill(asked, signal.SIGTERM)
    status, errors = end(process)
    assert status != 0
    assert errors.count("torchbake: stopped at step") >= 1, errors
    step = saved(tmp_path / "cut")["state"]["step"]
    assert 0 < step < 160
    assert RunFolder(tmp_path / "cut").read_metrics()[-1]["step"] == step
    run([*train, "cut", "--resume"], tmp_path)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
