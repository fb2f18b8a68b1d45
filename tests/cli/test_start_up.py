"""What a command imports: nothing that it does not need, seen in processes of its own."""

import os
import subprocess
import sys

import numpy as np
from PIL import Image

HEAVY = [
    "datasets",
    "jinja2",
    "numpy",
    "pandas",
    "PIL",
    "rich",
    "scipy",
    "sklearn",
    "timm",
    "torch",
]
HEAVY += ["torchvision"]

PROGRAM = f"""
import sys
from torchbake.cli.main import main

for arguments in sys.stdin.read().splitlines():
    try:
        main(arguments.split())
    except SystemExit as end:
        assert not end.code
    print("@", arguments, "@", *(name for name in {HEAVY} if name in sys.modules))
"""


def imported(folder, *commands):
    """By command, in turn in one process: the heavy packages that have been imported until then."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join(commands),
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("@") for line in done.stdout.splitlines() if line.startswith("@ ")]
    found = {command.strip(): set(names.split()) for _, command, names in lines}
    assert list(found) == list(commands)
    return found


def test_lists_help_and_printed_recipes_need_no_heavy_package(tmp_path):
    commands = ["--help", "train --help", "list recipes", "list methods", "list datasets"]
    commands += ["train --print-recipe", "train cifar100/resnet18-bake-plus --print-recipe"]
    commands += ["train imagenet/resnet50-cross-entropy --print-recipe"]
    assert imported(tmp_path, *commands) == {command: set() for command in commands}


def test_training_imports_what_its_recipe_needs(tmp_path):
    random = np.random.default_rng(0)
    for split, label, number in np.ndindex(2, 2, 8):
        folder = tmp_path / "pictures" / ("train", "test")[split] / "ab"[label]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    short = "train --training.device cpu --training.max_steps 2 --training.batch_size 8 --out"
    pictures, digits = (
        f"{short} pictures-run --data.name imagefolder:pictures --data.workers 0",
        f"{short} digits-run",
    )
    of_pictures = imported(tmp_path, pictures)[pictures]
    assert {"torch", "torchvision"} <= of_pictures
    assert not of_pictures & {"sklearn", "datasets", "timm"}
    of_digits = imported(tmp_path, digits)[digits]
    assert {"torch", "sklearn"} <= of_digits
    assert not of_digits & {"torchvision", "datasets", "timm"}
