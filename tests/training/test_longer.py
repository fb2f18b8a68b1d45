"""Finished runs that go on for more epochs."""

import json
import shutil

import pytest
from helpers.training_runs import QUIET, StopAt, recipe, same, weights

from torchbake.errors import UserError
from torchbake.training.loop import train
from torchbake.training.optimizer import compute_lr
from torchbake.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("longer") / "run"
    keeping = recipe(
        ("training.epochs", "2"), ("training.keep", "all"), ("training.log_every", "1")
    )
    train(keeping, folder, console=QUIET)
    return folder


def copy(finished, folder):
    shutil.copytree(finished, folder)
    return folder


def longer(*overrides):
    return recipe(("training.epochs", "4"), ("training.log_every", "1"), *overrides)


def test_a_finished_run_goes_on_with_the_schedule_of_the_longer_one(finished, tmp_path):
    run = RunFolder(copy(finished, tmp_path / "run"))
    before = json.loads(run.result.read_text())
    final = train(longer(), run.path, resume=True, console=QUIET)
    assert final["step"] == 2 * before["step"]
    assert run.read_recipe().training.epochs == 4
    rates = {r["step"]: r["lr"] for r in run.read_metrics() if r["kind"] == "train"}
    schedule = run.read_recipe().schedule
    for step, rate in rates.items():
        total = before["step"] if step <= before["step"] else final["step"]
        assert rate == compute_lr(schedule, 0.1, step - 1, total)
    kept = [r for r in run.read_metrics() if r["kind"] == "longer"]
    assert [(r["step"], r["total"]) for r in kept] == [(before["step"], final["step"])]
    assert "made longer, from 2 to 4 epochs: from step 8 on the schedule is" in run.log.read_text()
    assert json.loads(run.result.read_text())["step"] == final["step"]


def test_it_may_crash_and_go_on_bit_for_bit(finished, tmp_path, monkeypatch):
    whole, cut = copy(finished, tmp_path / "whole"), copy(finished, tmp_path / "cut")
    train(longer(), whole, resume=True, console=QUIET)
    settings = longer(("training.checkpoint_every", "1"))
    with monkeypatch.context() as patch:
        StopAt(patch, 11)
        with pytest.raises(RuntimeError, match="crash"):
            train(settings, cut, resume=True, console=QUIET)
    assert not RunFolder(cut).result.is_file()
    with pytest.raises(UserError, match=r"training.epochs was 4, is 2"):
        train(recipe(("training.epochs", "2")), cut, resume=True, console=QUIET)
    train(settings, cut, resume=True, console=QUIET)
    assert same(weights(whole), weights(cut))


def test_only_a_finished_run_and_only_its_length_may_grow(finished, tmp_path):
    def refused(settings, message):
        with pytest.raises(UserError, match=message):
            train(settings, run, resume=True, console=QUIET)

    run = copy(finished, tmp_path / "run")
    refused(longer(("optimizer.lr", "0.2")), "another recipe: optimizer.lr was 0.1, is 0.2$")
    refused(recipe(("training.epochs", "1")), "training.epochs was 2, is 1$")
    RunFolder(run).result.unlink()
    refused(longer(), "training.epochs was 2, is 4; finish it first, then make it longer$")


def test_all_checkpoints_are_kept_if_asked_for(finished, tmp_path):
    settings = (("training.epochs", "2"), ("training.checkpoint_every", "1"))
    folder = tmp_path / "run"
    train(recipe(*settings, ("training.keep", "all")), folder, console=QUIET)
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == [f"step-{step}" for step in range(1, 9)]
