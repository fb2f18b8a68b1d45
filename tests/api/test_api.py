"""Training, comparing and opening runs from Python."""

import sys

import pytest
import torch
from helpers.processes import run as run_process
from helpers.training_runs import same, weights

import torchbake
from torchbake.errors import UserError

SHORT = {"training": {"max_steps": 8, "batch_size": 32, "log_every": 4}, "data.workers": 0}


@pytest.fixture(scope="module")
def seen():
    return []


@pytest.fixture(scope="module")
def run(tmp_path_factory, seen):
    out = tmp_path_factory.mktemp("api") / "run"
    return torchbake.train(
        "digits/bake", out=out, overrides=SHORT, callbacks=[seen.append], quiet=True
    )


def test_a_run_has_its_figures_metrics_network_and_report(run):
    assert run.recipe.training.max_steps == 8
    assert [r["step"] for r in run.metrics if r["kind"] == "train"] == [4, 8]
    assert run.figures["top1"] == run.metrics[-1]["top1"]
    assert same(run.load_model().network.state_dict(), weights(run.path))
    assert not run.load_model().training
    assert run.load().classes == [str(c) for c in range(10)]
    assert "<iframe srcdoc=" in run.report._repr_html_()
    table = run.to_dataframe()
    assert list(table["step"]) == [4, 8, 8]
    assert repr(torchbake.Run(run.path)) == repr(run)
    assert f"{run.figures['top1']:.2f} %" in repr(run)


def test_callbacks_are_told_where_the_run_is(seen, run):
    (progress,) = seen
    assert (progress.step, progress.total, progress.images) == (8, 8, 256)
    assert progress.epoch == pytest.approx(8 / 9)
    assert progress.figures["top1"] == run.figures["top1"]


def test_what_a_callback_raises_ends_the_run_and_the_checkpoint_stays(tmp_path):
    class Pruned(Exception):
        pass

    def prune(progress):
        if progress.epoch == 1:
            raise Pruned

    keys = {**SHORT, "training.max_steps": 12, "training.checkpoint_every": 4}
    with pytest.raises(Pruned):
        torchbake.train("digits/bake", out=tmp_path / "a", overrides=keys, callbacks=[prune])
    with pytest.raises(UserError, match="is not finished"):
        _ = torchbake.Run(tmp_path / "a").figures
    assert repr(torchbake.Run(tmp_path / "a")).endswith("not finished)")
    resumed = torchbake.train("digits/bake", out=tmp_path / "a", overrides=keys, resume=True)
    whole = torchbake.train("digits/bake", out=tmp_path / "b", overrides=keys)
    assert same(weights(resumed.path), weights(whole.path))


def test_a_run_starts_from_another_ones_weights(run, tmp_path):
    keys = {**SHORT, "optimizer.lr": 1e-12, "training.max_steps": 1}
    other = torchbake.train("digits/bake", out=tmp_path / "b", overrides=keys, init_from=run.path)
    for name, weight in other.load_model().network.named_parameters():
        torch.testing.assert_close(weight, run.load_model().network.get_parameter(name))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: torchbake.train("digits/bakery", out=p), "unknown recipe"),
        (
            lambda p: torchbake.train("digits/bake", out=p, overrides={"seed": object()}),
            r"seed: expected .* got object",
        ),
        (
            lambda p: torchbake.train("digits/bake", out=p, overrides={"training": {"epohs": 3}}),
            "epohs",
        ),
        (lambda p: torchbake.train("digits/bake", data="nowhere", out=p), "nowhere"),
        (lambda p: torchbake.compare("digits/bake", out=p, seeds=0), "seeds: expected"),
        (lambda p: torchbake.Run(p), "not a run folder"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, call, message):
    with pytest.raises(UserError, match=message) as caught:
        call(tmp_path / "run")
    assert len(str(caught.value).splitlines()) == 1


def test_a_comparison_is_made_by_a_script_without_a_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torchbake\n"
        "keys = {'training.max_steps': 4, 'training.batch_size': 32}\n"
        "done = torchbake.compare('digits/bake', out='out', overrides=keys, seeds=2)\n"
        "print(done)\n"
        "print('columns', *done.to_dataframe().columns)\n"
        "print('runs', len(done.runs), done.report.path)\n"
    )
    told = run_process([sys.executable, str(script)], tmp_path)
    assert told.count("4/4") == 1
    assert "| cross-entropy |" in told
    assert "columns variant seeds top1 top1_standard_error" in told
    assert "runs 4 out/report.html" in told
