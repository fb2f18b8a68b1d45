"""Runs that are as long as their time allows."""

import json
from copy import deepcopy

import pytest
import torch
from helpers.commands import failing
from helpers.processes import run_python
from helpers.training_runs import QUIET, StopAt, recipe, same, weights

from torchbake.data.loading.open_data import show_opening
from torchbake.errors import UserError
from torchbake.training import time_plan
from torchbake.training.distributed import Ranks
from torchbake.training.loop import train
from torchbake.training.optimizer import compute_lr
from torchbake.training.run_folder import RunFolder
from torchbake.training.setup import State, set_up
from torchbake.training.time_measuring import Times, measure_times
from torchbake.training.time_plan import Rhythm, TimePlan, count_seconds, fit_steps

LIMIT = ("training.time_limit", "0.15")
LONG = ("training.epochs", "1000000")
STATEFUL = [("method", "dlb"), ("training.ema_decay", "0.9"), ("training.eval_every", "100")]


def plan(**changes):
    values = {"steps": 0, "whole": 1000, "minutes": 1.0, "begin": 5.0, "step": 0.1, "epoch": 0.5}
    values |= {"evaluation": 2.0, "checkpoint": 1.0, "report": 3.0}
    return TimePlan(**{**values, **changes})


def test_the_seconds_of_a_run_are_those_of_its_parts():
    rhythm = Rhythm(epoch=10, evaluation=20, checkpoint=7)
    # 25 steps: three epochs begin, evaluated after 20 and at the end; checkpoints: 7, 14, 21, 25.
    assert count_seconds(25, plan(), rhythm) == pytest.approx(5 + 2.5 + 1.5 + 4 + 4 + 3)
    # 20 steps end with an epoch, which is evaluated once.
    assert count_seconds(20, plan(), rhythm) == pytest.approx(5 + 2 + 1 + 2 + 3 + 3)


@pytest.mark.parametrize("minutes", [0.1, 0.3, 1.0, 2.7, 50.0])
@pytest.mark.parametrize("rhythm", [Rhythm(10, 10, 500), Rhythm(3, 12, 5)])
def test_as_many_steps_as_fit(minutes, rhythm):
    own = plan(minutes=minutes)
    most = 60 * minutes * 0.95
    fitting = [n for n in range(1, own.whole + 1) if count_seconds(n, own, rhythm) <= most]
    assert fit_steps(own, rhythm) == max(fitting, default=0)


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A run whose length was planned."""
    folder = tmp_path_factory.mktemp("limited") / "run"
    train(recipe(("training.max_steps", "1")), folder.with_name("first"), console=QUIET)  # imports
    train(recipe(LONG, LIMIT, *STATEFUL), folder, console=QUIET)
    return folder


def test_it_is_the_run_of_that_many_steps(limited, tmp_path):
    run = RunFolder(limited)
    steps = run.read_result()["step"]
    planned = json.loads(run.time_plan.read_text())
    assert planned["steps"] == steps
    assert 0 < steps < planned["whole"]
    rates = {r["step"]: r["lr"] for r in run.read_metrics() if r["kind"] == "train"}
    schedule = run.read_recipe().schedule
    assert all(rate == compute_lr(schedule, 0.1, step - 1, steps) for step, rate in rates.items())
    assert f"planned {steps:,} of {planned['whole']:,} steps" in run.log.read_text()
    assert run.read_result()["images"] == 64 * steps

    other = tmp_path / "run"
    train(recipe(LONG, *STATEFUL, ("training.max_steps", str(steps))), other, console=QUIET)
    assert same(weights(run.path), weights(other))
    assert run.read_result()["forwards"] == RunFolder(other).read_result()["forwards"]


def test_a_crashed_run_goes_on_with_its_plan(tmp_path, monkeypatch):
    folder, settings = tmp_path / "run", recipe(LONG, LIMIT, ("training.checkpoint_every", "2"))
    with monkeypatch.context() as patch:
        patch.setattr(time_plan, "measure_times", lambda *given: Times(0.01, 0.0, 2.0, 1.0))
        patch.setattr(time_plan, "fit_steps", lambda plan, rhythm: 9)
        StopAt(patch, 5)
        with pytest.raises(RuntimeError, match="crash"):
            train(settings, folder, console=QUIET)
    before = RunFolder(folder).time_plan.read_text()

    def refuse(*given):
        raise AssertionError("measured again")

    monkeypatch.setattr(time_plan, "measure_times", refuse)
    with pytest.raises(UserError, match=r"training.time_limit was 0.15, is 5.0"):
        train(recipe(LONG, ("training.time_limit", "5")), folder, resume=True, console=QUIET)
    assert train(settings, folder, resume=True, console=QUIET)["step"] == 9
    assert RunFolder(folder).time_plan.read_text() == before
    whole = tmp_path / "whole"
    train(recipe(LONG, ("training.max_steps", "9")), whole, console=QUIET)
    assert same(weights(folder), weights(whole))

    # Once finished, it may have more time, of which the speeds are known.
    monkeypatch.setattr(time_plan, "fit_steps", lambda plan, rhythm: 9)
    with pytest.raises(UserError, match=r"0.2 minutes are enough for the 9 steps"):
        train(recipe(LONG, (LIMIT[0], "0.2")), folder, resume=True, console=QUIET)
    monkeypatch.setattr(time_plan, "fit_steps", lambda plan, rhythm: 12)
    longer = recipe(LONG, (LIMIT[0], "0.3"))
    assert train(longer, folder, resume=True, console=QUIET)["step"] == 12
    assert "made longer, from 0.15 minutes to 0.3 minutes" in RunFolder(folder).log.read_text()

    RunFolder(folder).time_plan.write_text('{"steps": -1}')
    with pytest.raises(UserError, match=r"time-plan.json: damaged: steps"):
        train(longer, folder, resume=True, console=QUIET)
    RunFolder(folder).time_plan.unlink()
    with pytest.raises(UserError, match=r"time-plan.json is missing"):
        train(longer, folder, resume=True, console=QUIET)


@pytest.mark.parametrize(
    "own",
    [
        [("method", "dlb")],
        [("method", "ps-kd")],
        [("method", "mixskd")],
        [("method", "bake-variants"), ("method.memory", "100"), ("method.ema_decay", "0.9")],
        [("optimizer.name", "adamw"), ("optimizer.lr", "0.001")],
    ],
    ids=lambda own: own[0][1],
)
def test_measuring_leaves_no_trace(own, tmp_path):
    settings = recipe(*own, ("training.ema_decay", "0.9"), ("data.validation", "0.1"))
    setup = set_up(settings, show_opening(settings.data, QUIET), Ranks(0, 1, torch.device("cpu")))
    before = deepcopy(setup.checkpoint(State()))
    measure_times(setup, tmp_path / "run", 5.0)
    after = setup.checkpoint(State())
    flat = [torch.utils._pytree.tree_flatten(state)[0] for state in (before, after)]
    assert len(flat[0]) == len(flat[1])
    for one, other in zip(*flat, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    assert not setup.forwards.take()
    assert not list(tmp_path.iterdir())


def test_ranks_agree_on_the_length(tmp_path):
    printed = run_python(
        """
        import os
        from pathlib import Path
        from torchbake.training import time_measuring, time_plan
        from torchbake.training.loop import train
        from torchbake.training.recipe_files import load_recipe

        own = 5 + 2 * int(os.environ["RANK"])  # which must not count
        time_plan.fit_steps = lambda plan, rhythm: own
        keys = [("training.epochs", "1000"), ("training.time_limit", "60")]
        time_measuring.LONGEST = 0.1
        final = train(load_recipe("digits/bake", keys), Path("run"))
        print("trained", int(final["step"]), "steps")
        """,
        tmp_path,
        ranks=2,
    )
    assert printed.count("trained 5 steps") == 2
    assert json.loads((tmp_path / "run" / "time-plan.json").read_text())["steps"] == 5


def test_what_cannot_be_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    limit = ["--training.time_limit", "0.0001"]
    line = failing(capsys, "train", *limit)
    assert "training.time_limit: 0.0001 minutes are not enough for one step" in line
    assert not (tmp_path / "runs").exists()
    assert "--baseline: compares on equal images, which training.time_limit" in failing(
        capsys, "train", "--baseline", *limit
    )
    assert "training.time_limit: in equal times runs see different numbers of images" in failing(
        capsys, "compare", *limit
    )
    assert "training.time_limit: input should be greater than 0" in failing(
        capsys, "train", "--training.time_limit", "0"
    )
