"""`torchbake replay`: the very step, and the first of its numbers that is not finite."""

import json
from functools import partial

import pytest
from helpers.bad_numbers import BAD_IMAGE, Spoilt, list_bad_steps
from helpers.training_runs import QUIET, recipe

from torchbake.cli.main import main
from torchbake.errors import UserError
from torchbake.methods import METHODS
from torchbake.training import loop, replay
from torchbake.training.replay import replay_step
from torchbake.training.run_folder import RunFolder


@pytest.fixture
def bad_image(monkeypatch):
    """Makes recipes of runs in which one training image is not finite."""
    monkeypatch.setitem(METHODS, "spoilt", Spoilt)
    return partial(recipe, ("method", "spoilt"))


def test_replay_repeats_the_very_step(tmp_path):
    settings = [("training.log_every", "1"), ("training.checkpoint_every", "5")]
    made = recipe(*settings, ("optimizer.clip_grad_norm", "5"), ("training.max_steps", "9"))
    loop.train(made, tmp_path / "run", console=QUIET)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    records = {r["step"]: r for r in RunFolder(tmp_path / "run").read_metrics() if "loss" in r}
    for step, began in ((1, 0), (7, 5), (9, 5)):  # there are checkpoints of steps 5 and 9
        seen = replay_step(tmp_path / "run", step, console=QUIET)
        assert (seen["began"], seen["step"]) == (began, step)
        assert seen["loss"] == records[step]["loss"]
        assert seen["terms"]["distillation"] == records[step]["distillation"]
        assert seen["first"] is None
        assert len(seen["images"]) == 64
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before
    with pytest.raises(UserError, match=r"--step: expected a number from 1 to 9, got 10"):
        replay_step(tmp_path / "run", 10, console=QUIET)


def test_replay_finds_the_first_number_that_is_not_finite(tmp_path, bad_image, capsys):
    made = bad_image(("training.checkpoint_every", "1"), ("training.log_every", "1"))
    first = list_bad_steps(made)[0]
    with pytest.raises(UserError, match=f"torchbake replay .*run --step {first} looks at it"):
        loop.train(made, tmp_path / "run", console=QUIET)
    out = tmp_path / "step.json"
    main(["replay", str(tmp_path / "run"), "--step", str(first), "--out", str(out)])
    printed = capsys.readouterr().out
    assert (
        "the first that is not finite: the output of layers.0.0 (Conv2d), whose input is not"
        in printed
    )
    seen = json.loads(out.read_text())
    assert seen["began"] == first - 1
    order = seen["not_finite"]
    assert order.index("layers.0.1.running_mean") < order.index("the loss")
    assert order.index("the loss") < order.index("the gradient of fc.weight")
    assert "layers.0.0.weight after the step" in order
    assert seen["loss"] is None
    assert {image["index"]: image["finite"] for image in seen["images"]}[BAD_IMAGE] is False


def test_replay_names_the_layer_that_overflows(tmp_path, monkeypatch):
    """With sound images: the third layer's weights are made too large."""
    loop.train(recipe(("training.max_steps", "2")), tmp_path / "run", console=QUIET)
    made = replay.set_up

    def making(*arguments, **options):
        parts = made(*arguments, **options)
        parts.model.network.layers[2][0].weight.detach().mul_(3e38)
        return parts

    monkeypatch.setattr(replay, "set_up", making)
    seen = replay_step(tmp_path / "run", 1, console=QUIET)
    assert seen["first"] == "the output of layers.2.0 (Conv2d)"
    assert seen["not_finite"][1].startswith("the output of layers.2.1 (BatchNorm2d), whose input")
