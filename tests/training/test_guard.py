"""`training.on_nonfinite: skip`: bad steps leave no trace, are counted, and are limited."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers.bad_numbers import CPU, Spoilt, list_bad_steps
from helpers.processes import run_python
from helpers.training_runs import QUIET, StopAt, recipe, same, weights
from torch import nn

from torchbake.errors import UserError
from torchbake.methods import METHODS
from torchbake.recipe import OptimizerRecipe
from torchbake.training import loop
from torchbake.training.guard import Guard
from torchbake.training.optimizer import make_optimizer
from torchbake.training.run_folder import RunFolder


@pytest.fixture
def bad_image(monkeypatch):
    """Makes recipes of runs in which one training image is not finite."""
    monkeypatch.setitem(METHODS, "spoilt", Spoilt)
    return partial(recipe, ("method", "spoilt"))


@pytest.mark.parametrize("precision", ["float32", "fp16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_step_that_is_left_out_leaves_no_trace(
    tmp_path, bad_image, monkeypatch, precision, optimizer
):
    """Weights, optimizer state, running statistics and what the method remembers."""
    settings = [
        ("training.on_nonfinite", "skip"),
        ("optimizer", optimizer),
        ("optimizer.lr", "0.01"),
    ]
    settings += [("training.precision", precision), ("training.accumulate", "2")]
    made = bad_image(*settings)
    bad = list_bad_steps(made)
    seen = []

    def watching(parts, batch, lr, number, meters):
        whole = {"model": parts.model, "method": parts.method}
        state = {k: {n: v.clone() for n, v in m.state_dict().items()} for k, m in whole.items()}
        moments = [dict(s) for s in parts.optimizer.state_dict()["state"].values()]
        copied = [{k: torch.as_tensor(v).clone() for k, v in m.items()} for m in moments]
        update(parts, batch, lr, number, meters)
        same_state = all(same(state[k], m.state_dict()) for k, m in whole.items())
        after = parts.optimizer.state_dict()["state"].values()
        same_moments = len(copied) == len(after) and all(
            all(torch.equal(old[k], torch.as_tensor(new[k])) for k in new)
            for old, new in zip(copied, after, strict=True)
            if old
        )
        seen.append((number + 1, same_state and same_moments))

    update = loop.update
    monkeypatch.setattr(loop, "update", watching)
    figures = loop.train(made, tmp_path / "run", console=QUIET)
    assert [number for number, unchanged in seen if unchanged] == bad
    assert figures["left_out"] == len(bad)
    assert math.isfinite(figures["nll"])
    run = RunFolder(tmp_path / "run")
    assert [r["step"] for r in run.read_metrics() if r["kind"] == "left-out"] == bad
    assert run.read_result()["left_out"] == len(bad)
    assert all(math.isfinite(r["loss"]) for r in run.read_metrics() if r["kind"] == "train")
    assert f"step {bad[0]}: its update is left out: the loss is nan" in run.log.read_text()


def test_left_out_steps_are_the_same_when_a_run_goes_on(tmp_path, bad_image, monkeypatch):
    settings = [("training.on_nonfinite", "skip"), ("training.checkpoint_every", "7")]
    made = bad_image(*settings, ("training.ema_decay", "0.9"))
    whole = loop.train(made, tmp_path / "whole", console=QUIET)
    with monkeypatch.context() as patched:
        StopAt(patched, 17)
        with pytest.raises(RuntimeError, match="crash"):
            loop.train(made, tmp_path / "cut", console=QUIET)
    cut = loop.train(made, tmp_path / "cut", resume=True, console=QUIET)
    assert cut["left_out"] == whole["left_out"] > 1
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_more_than_the_limit_end_a_run(tmp_path, bad_image):
    made = bad_image(("training.on_nonfinite", "skip"), ("training.nonfinite_limit", "2"))
    bad = list_bad_steps(made)
    with pytest.raises(UserError, match=rf"step {bad[2]} would be left out, too, after 2 others"):
        loop.train(made, tmp_path / "run", console=QUIET)
    # The run may then go on as far as another limit allows.
    more = bad_image(("training.on_nonfinite", "skip"), ("training.nonfinite_limit", "20"))
    assert loop.train(more, tmp_path / "run", resume=True, console=QUIET)["left_out"] == len(bad)


def test_weights_that_have_become_too_large_end_a_run_that_skips(tmp_path):
    """Leaving out what follows would not mend them."""
    wild = recipe(("optimizer.lr", "1e6"), ("training.on_nonfinite", "skip"))
    with pytest.raises(UserError, match=r"nll is nan in the evaluation|not finite after"):
        loop.train(wild, tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run" / "result.json").exists()


def test_the_first_step_left_out_leaves_no_momentum():
    """PyTorch's fused SGD leaves momentum as it finds its memory."""
    layer = nn.Linear(400, 400)
    optimizer = make_optimizer(OptimizerRecipe(), layer, nn.Module())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    layer(torch.full((1, 400), torch.nan)).sum().backward()
    guard = Guard((layer,), optimizer, scaler, CPU)
    before = layer.weight.detach().clone()
    guard.keep()
    bad = guard.judge([torch.tensor(1.0)])
    assert bad == 1
    guard.step(bad)
    guard.restore(bad)
    assert layer.weight.equal(before)
    assert not optimizer.state[layer.weight]["momentum_buffer"].any()


def test_two_ranks_leave_out_the_same_steps(tmp_path):
    """The bad image is in the batch of one of them."""
    made = recipe(("training.epochs", "3"), ("method", "cross-entropy"))
    bad = list_bad_steps(made)  # the same images a step, whoever has them
    tests = str(Path(__file__).parents[1])
    printed = run_python(
        f"""
        import os, sys
        from pathlib import Path
        sys.path.insert(0, {tests!r})
        from helpers.bad_numbers import Spoilt
        from helpers.training_runs import QUIET, recipe
        from torchbake.methods import METHODS
        from torchbake.training import loop

        METHODS["spoilt"] = Spoilt
        kept, set_up = [], loop.set_up

        def keeping(*given, **named):
            kept.append(set_up(*given, **named))
            return kept[-1]

        loop.set_up = keeping
        made = recipe(
            ("training.epochs", "3"), ("method", "spoilt"), ("training.on_nonfinite", "skip"),
            ("training.device", "cpu"),
        )
        figures = loop.train(made, Path("run"), console=QUIET)
        weights = sum(p.double().sum().item() for p in kept[0].model.parameters())
        print(f"{{figures['left_out']}} {{weights}}", flush=True)
        """,
        tmp_path,
        ranks=2,
    )
    first, second = printed.strip().splitlines()
    assert first == second
    count, total = first.split()
    assert int(count) == len(bad) > 0
    assert math.isfinite(float(total))
