"""The script that fills the tables of what was measured, in real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import evidence_rows  # noqa: E402
import evidence_tables  # noqa: E402

from torchbake.analysis.planning import plan  # noqa: E402
from torchbake.training.recipe_files import load_recipe  # noqa: E402


@pytest.fixture
def pictures(tmp_path):
    """A folder of 32×32 images of the classes of the reduced rows."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name in load_recipe("cifar100/resnet8-held-out", []).data.classes:
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def evidence(folder, *arguments):
    """(exit status, what was printed); results go to folder/out."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "evidence.py"), *arguments],
        cwd=folder,
        env={**os.environ, "OUT": str(folder / "out"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_rows_are_run_and_written_one_by_one(tmp_path, pictures):
    rows = ["reduced/cross-entropy", "reduced/bake:partners=0"]
    short = ["--override", "training.max_steps=2", "--override", "data.images_per_class=4"]
    short += ["--seeds", "1", "--jobs", "2"]
    command = [*rows, "--data", f"cifar100=imagefolder:{pictures}", *short]
    status, told = evidence(tmp_path, *command)
    assert status == 0, told
    written = json.loads((tmp_path / "out" / "evidence.json").read_text())["rows"]
    new = [row for row in written if row["overrides"]]
    assert [(row["row"], row["seed"]) for row in new] == [(r, 0) for r in rows]
    assert {row["images"] for row in new} == {128}
    assert all(row["commit"] and row["torch"] and 0 <= row["top1"] <= 100 for row in new)
    table = evidence_tables.as_markdown(new, "reduced")
    measured = [line for line in table.splitlines() if "| 1 | 128 |" in line]
    assert [line.split(" | ")[0] for line in measured] == ["| cross-entropy", "| bake, partners=0"]
    status, told = evidence(tmp_path, *command)  # all is there
    assert status == 0
    assert "2 of 2 runs are finished already" in told


def test_the_time_limit_ends_what_is_at_work(tmp_path, pictures):
    long = ["--override", "training.epochs=1000000", "--override", "data.images_per_class=4"]
    place = f"cifar100=imagefolder:{pictures}"
    status, told = evidence(
        tmp_path, "reduced/bake", "--data", place, *long, "--minutes", "0.1", "--seeds", "1"
    )
    assert status == 1
    assert "stopped; the same command goes on from there" in told
    assert not (tmp_path / "out").exists()


def test_mistakes_are_told_in_a_line(tmp_path):
    status, told = evidence(tmp_path, "rivals/none")
    assert (status, told) == (1, "no row is named like rivals/none; --list shows them\n")
    status, told = evidence(tmp_path, "reduced/bake", "--data", "cifar100=imagefolder:nowhere")
    assert status == 1
    assert "nowhere" in told


def test_every_row_can_be_planned():
    names = [row.name for row in evidence_rows.ROWS]
    assert len(set(names)) == len(names)
    for row in evidence_rows.ROWS:
        runs = plan(row.recipe, [], [row.variant], row.seeds, None, Path("runs"))
        assert len(runs) == row.seeds
        paper = row.table == "paper"
        assert (runs[0].recipe.training.report == "best-on-test") == paper, row.name
