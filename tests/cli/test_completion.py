"""Completion in a real shell, and the version."""

import os
import subprocess
import sys

import torch

import torchbake


def complete(*words):
    """What bash offers for the last of these words."""
    script = f"""
        eval "$({sys.executable} -m torchbake completion bash)"
        COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
        _shtab_torchbake
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_and_options():
    assert complete("torchbake", "ev") == ["evaluate"]
    assert complete("torchbake", "train", "--over") == ["--overwrite"]


def test_the_version_names_torch_and_the_device():
    command = [sys.executable, "-m", "torchbake", "--version"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert f"torchbake {torchbake.__version__} (Python" in done.stdout
    assert f"torch {torch.__version__.partition('+')[0]}" in done.stdout
    assert "device cpu)" in done.stdout
