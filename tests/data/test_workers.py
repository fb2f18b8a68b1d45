"""A decoding process that dies: one line says which, how, and what to change."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.images import image_folder

from torchbake.data.loading.workers import explain_dead_worker

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")


def list_children(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGKILL, "was killed by SIGKILL, as the system does when memory runs out: set"),
        (signal.SIGSEGV, r"crashed \(SIGSEGV\) in a library that decodes: torchbake check"),
    ],
)
def test_a_killed_worker_is_named_with_its_memory(tmp_path, number, told):
    image_folder(tmp_path / "photos")
    options = ["--data", f"imagefolder:{tmp_path}/photos", "--data.image_size", "8"]
    options += ["--data.in_memory", "false", "--data.workers", "2", "--training.batch_size", "4"]
    options += ["--training.epochs", "100000", "--training.log_every", "1", "--model", "small_cnn"]
    options += ["--training.eval_every", "1000", "--training.checkpoint_every", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "torchbake", "train", *options, "--out", "run"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    killed = set()
    for _ in range(300):  # one that has given its last batch of an epoch is not missed
        with suppress(FileNotFoundError, ProcessLookupError):
            workers = [
                child
                for child in list_children(process.pid)
                if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
            ]
            if workers and not killed & set(workers):
                os.kill(workers[-1], number)
                killed.add(workers[-1])
        if process.poll() is not None:
            break
        time.sleep(0.2)
    else:
        process.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert "Traceback" not in errors
    line = errors.strip().splitlines()[-1]  # PyTorch says before it that there was a crash
    who = r"decoding worker [01] of 2 \(process (\d+), which had used up to [1-9]\d+ MiB\)"
    found = re.search(f"torchbake: error: {who} {told}", line)
    assert found
    assert int(found.group(1)) in killed
    assert "go on with --resume --out run" in line


def test_other_errors_are_left_alone():
    assert explain_dead_worker(RuntimeError("expected a tensor")) is None
    assert explain_dead_worker(ValueError("DataLoader worker (pid 3) is killed")) is None
    told = explain_dead_worker(RuntimeError("DataLoader worker (pid(s) 3) exited unexpectedly"))
    assert str(told).startswith("a decoding worker (process 3) ended by itself, with exit")
