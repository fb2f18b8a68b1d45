"""The script for users with a GPU, tried on the CPU, in real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.gpu import Part, list_parts, run_part

ROOT = Path(__file__).parents[2]


def gpu(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        cwd=ROOT,
        env={**os.environ, "OUT": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_card_a_line_says_so(tmp_path):
    done = gpu(tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == "benchmarks.gpu: PyTorch finds no CUDA device here\n"
    assert not (tmp_path / "out").exists()


def test_all_of_it_on_the_cpu(tmp_path):
    done = gpu(tmp_path, "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "cpu.json").read_text(encoding="utf-8"))
    parts = {part["part"]: part for part in report["parts"]}
    assert [*parts] == ["tests", "overhead, eager", "target, N = 128", "speed, eager", "auto"]
    assert parts["tests"]["tests"]["passed"] >= 13
    assert not parts["tests"]["tests"]["failed"]
    page = (tmp_path / "cpu.md").read_text(encoding="utf-8")
    assert "| BAKE, ours |" in page
    assert "| 512 | 100 |" in page
    assert page.count("| bake |") == 1
    assert "| 0.1 | 32 | 10 |" in page


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise SystemExit('the card fell off')", "the card fell off"),
        ("import time; print('at work', flush=True); time.sleep(60)", "took more than 3 s"),
        ("pass", None),
    ],
)
def test_what_a_part_fails_of_is_written_down(code, problem):
    result = run_part(Part("broken", ["-c", code], 3, []), "cuda", 3)
    assert result["problem"] == problem
    assert result["seconds"] < 30


def test_the_parts_fit_into_the_time():
    # Compiling may take as long as it is given; what is left over shortens the last parts.
    assert sum(part.seconds for part in list_parts()) <= 760
