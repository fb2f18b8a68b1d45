"""What a figure depends on besides the recipe: hardware, versions, commit."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .._version import __version__
from .distributed import find_device, list_tf32


def describe_environment() -> dict[str, Any]:
    """What a figure depends on besides the recipe."""
    packages: dict[str, str | None] = {}
    for name in ("torch", "torchvision", "timm", "numpy", "datasets", "scikit-learn"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        # An argument may hold bytes that are not Unicode.
        "command": [argument.encode("utf-8", "replace").decode() for argument in sys.argv],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "torchbake": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": describe_processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "tf32": list_tf32() if gpus else [],
        "packages": packages,
    }


def describe_versions() -> str:
    """The versions of torchbake and of what it stands on, and the device, in one line."""
    device = find_device("auto", 0)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return (
        f"torchbake {__version__} (Python {platform.python_version()}, torch {version('torch')}, "
        f"device {name})"
    )


def describe_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor()


def _commit() -> str | None:
    """The commit of the checkout that holds this file, if one does."""

    def git(*arguments: str) -> str:
        here = Path(__file__)
        command = ["git", "-C", str(here.parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.SubprocessError):
        return None
