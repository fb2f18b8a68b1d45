"""Advice as a command: refused, killed, resumed, and what it leaves."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.commands import failing

from torchbake.analysis.advise.diary import Record
from torchbake.cli.main import main
from torchbake.training.recipe_files import load_recipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "--minutes: expected a number above 0"),
        (["--minutes", "nan"], "--minutes: expected a number above 0"),
        (["--seeds", "1"], "--seeds: expected a number of at least 2"),
        (["--jobs", "0"], "--jobs: expected a number of at least 1"),
        (["--methods", "cross-entropy"], "--methods: name at least one beside cross-entropy"),
        (["--methods", "bak"], "unknown method 'bak'; did you mean 'bake'"),
        (["--methods", "kd"], "--methods: all must train without a teacher, or name it: kd:"),
        (["nowhere"], "unknown recipe 'nowhere'"),
        (["--training.time_limit", "3"], "training.time_limit: all runs of an advice see equally"),
        (
            ["--training.patience", "3", "--data.validation", "0.1"],
            "training.patience: all runs of an advice see equally",
        ),
        (["digits/bake-paper"], "training.report: an advice is by the last step"),
        (["--data.images_per_class", "7"], "batch_size: 64 is more than the 60 training images"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    line = failing(capsys, "advise", *arguments)
    assert message in line
    assert "\n" not in line
    assert not list(tmp_path.iterdir())


SHORT = ["digits/bake", "--data.images_per_class", "6", "--training.batch_size", "16"]
SHORT += ["--training.epochs", "4", "--out", "advice"]


def test_too_little_time_is_said_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = failing(capsys, "advise", *SHORT, "--minutes", "0.05")
    assert "--minutes: 0.05 are too few to compare 6 methods honestly: 4 seeds" in line
    assert "\n" not in line
    assert not (tmp_path / "advice" / "selection").exists()


def test_killed_half_way_it_goes_on_and_advises(tmp_path, monkeypatch, capsys):
    """A real kill -9; then all of it on the digits, with few images."""
    methods = "label-smoothing,bake:partners=0,bake:partners=1"
    options = [*SHORT, "--methods", methods, "--seeds", "2", "--minutes", "5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "torchbake", "advise", *options],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
    )
    out = tmp_path / "advice"
    first = out / "selection" / "label-smoothing-seed0" / "result.json"
    while not first.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = first.stat().st_mtime_ns
    monkeypatch.chdir(tmp_path)
    time.sleep(0.5)  # the run at work ends with its parent

    main(["advise", *options])
    printed = capsys.readouterr().out
    assert first.stat().st_mtime_ns == finished
    said = json.loads((out / "advice.json").read_text())
    record = Record.model_validate_json((out / "advice-plan.json").read_text())
    assert said["verdict"] in printed
    assert said["command"] in printed
    assert said["use"] in record.costs
    assert 0 < said["used_minutes"] < 5
    assert said["correction"] == "Holm"
    assert "corrected by Holm" in printed
    assert "not corrected" not in printed + (out / "comparison.md").read_text()
    # The best of each family was confirmed, with fresh seeds and all training images.
    assert len(said["finalists"]) == 2
    assert "label-smoothing" in said["finalists"]
    chosen_by = {row["variant"]: row["validation_top1"] for row in said["selection"]}
    assert set(chosen_by) == set(methods.split(","))
    assert all(set(own) == {"0", "1"} for own in chosen_by.values())
    confirmed = {row["variant"]: row["test_top1"] for row in said["confirmation"]}
    assert set(confirmed) == {"cross-entropy", *said["finalists"]}
    assert all(set(own) == {"100", "101"} for own in confirmed.values())
    assert len(said["differences"]) == 3
    assert (out / "report.html").is_file()
    images = set()
    for result in out.glob("*/*/result.json"):
        if result.parent.parent.name in ("selection", "confirmation"):
            recipe = load_recipe(str(result.parent / "recipe.yaml"))
            choosing = result.parent.parent.name == "selection"
            assert recipe.data.validation == (0.2 if choosing else None)
            assert recipe.data.validation_seed == (recipe.seed if choosing else 0)
            images.add(json.loads(result.read_text())["images"])
    assert images == {said["images"]}

    # Given again, it trains nothing and says the same.
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*/result.json")}
    main(["advise", *options])
    assert said["verdict"] in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*/*/result.json")} == before
    assert "holds the advice of another request (other minutes)" in failing(
        capsys, "advise", *options[:-1], "7"
    )
