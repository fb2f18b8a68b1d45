"""The script that fills the tables of what was measured, in real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.tables import evidence as evidence_tables
from benchmarks.tables import evidence_rows
from PIL import Image

from torchbake.analysis.compare.plan import plan_runs
from torchbake.training.recipe_files import load_recipe

ROOT = Path(__file__).parents[2]


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
        [sys.executable, "-m", "benchmarks.measure.evidence", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "OUT": str(folder / "out"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
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
    new = [row for row in written if "training.max_steps=2" in row["overrides"]]
    assert [(row["variant"], row["seed"]) for row in new] == [(r, 0) for r in rows]
    assert {row["images"] for row in new} == {128}
    assert all(row["commit"] and row["torch"] and 0 <= row["top1"] <= 100 for row in new)
    table = evidence_tables.as_markdown(new, "reduced")
    measured = [line for line in table.splitlines() if "| 1 | 128 |" in line]
    assert [line.split(" | ")[0] for line in measured] == ["| cross-entropy", "| bake, partners=0"]
    status, told = evidence(tmp_path, *command)  # all is there
    assert status == 0
    assert "2 of 2 runs are finished already" in told


def record(variant, seed, top1, images=100):
    figures = {
        "top1": float(top1),
        "last_top1": top1 - 1.0,
        "nll": 1.5,
        "ece": 9.0,
        "seconds": 1800.0,
    }
    counts = {"images": images, "forwards": images, "teacher_images": 0, "trained_parameters": 1}
    machine = {"processor": "CPU", "cores": 2, "gpus": [], "commit": "c", "torch": "2"}
    kept = {"variant": variant, "seed": seed, "report": "last", "precision": "float32"}
    return kept | figures | counts | machine | {"peak_memory": 1}


def cells_of(table, name):
    lines = [[c.strip() for c in line.split("|")] for line in table.splitlines()]
    return next(dict(zip(lines[0], line, strict=True)) for line in lines if line[1:2] == [name])


def test_rows_stand_against_their_own_baseline():
    records = [
        *(record("reduced/cross-entropy", seed, top1) for seed, top1 in enumerate((60, 62, 64))),
        *(record("reduced/bake", seed, top1) for seed, top1 in enumerate((61, 64, 67))),
        *(record("reduced/cs-kd", seed, 99) for seed in (1, 2)),
        record("reduced/bake:training.epoch=anchors", 0, 63, images=400),
        record("paper/cifar100/resnet18/cross-entropy", 0, 10),
        record("paper/cifar100/resnet18/bake", 0, 80, images=400),
    ]
    table = evidence_tables.as_markdown(records, "reduced")
    bake = cells_of(table, "bake")
    assert bake["ours, top-1 %"] == "64.00 ± 1.73"
    assert bake["over cross-entropy (p)"] == "+2.00 (0.074)"  # t = 2 √3 of 2 degrees
    assert bake["hours"] == "0.50"
    assert cells_of(table, "cs-kd")["over cross-entropy (p)"].startswith("+36.00")  # its own seeds
    assert cells_of(table, "bake, training.epoch=anchors ‡")["seeds"] == "1"
    assert set(cells_of(table, "dlb").values()) == {"dlb", ""}
    assert "reported top-1 %" not in bake
    paper = cells_of(evidence_tables.as_markdown(records, "paper"), "cifar100/resnet18/bake ‡")
    assert (paper["reported top-1 %"], paper["ours, top-1 %"]) == ("78.72", "80.00")
    assert (paper["last step"], paper["over cross-entropy (p)"]) == ("79.00", "")  # of one seed
    equal = evidence_tables.as_markdown([], "equal")
    assert "last step" not in cells_of(equal, "cifar100/resnet18/bake")


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
        budget = None if row.images is None else str(row.images)
        runs = plan_runs(row.recipe, [], [row.variant], row.seeds, budget, Path("runs"))
        assert len(runs) == row.seeds
        if row.images is not None:
            training = runs[0].recipe.training
            assert training.max_steps == row.images // training.batch_size
        # The published code tests its last checkpoint on ImageNet, and else the best one.
        best = row.table == "paper" and "imagenet" not in row.name.split("/")
        assert (runs[0].recipe.training.report == "best-on-test") == best, row.name
