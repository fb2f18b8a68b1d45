"""Epochs chosen, and runs ended early, by validation images."""

import json

import numpy as np
import pytest
import torch
from helpers.training_runs import QUIET, StopAt, recipe, same, saved, weights
from PIL import Image
from safetensors import safe_open

from torchbake.analysis.compare.figures import compare_runs, read_runs
from torchbake.analysis.compare.tables import format_comparison
from torchbake.analysis.pages.report import write_report
from torchbake.cli.main import main
from torchbake.errors import UserError
from torchbake.training import loop
from torchbake.training.evaluating import evaluate_networks
from torchbake.training.loop import train
from torchbake.training.opened_run import evaluate_run
from torchbake.training.run_folder import RunFolder

HELD_OUT = [("data.validation", "0.2"), ("training.eval_every", "1")]
SCORES = {3: 50.0, 6: 70.0, 9: 60.0, 12: 70.0, 15: 65.0, 18: 99.0}
"""Validation top-1 by step; NLL grows, so that step 12 is no better than step 6."""


@pytest.fixture
def scored(monkeypatch):
    """Evaluations whose figures on validation images are those of SCORES."""
    steps = []
    compute_lr = loop.compute_lr

    def remember(schedule, lr, step, total):
        steps.append(step + 1)
        return compute_lr(schedule, lr, step, total)

    def evaluate(setup):
        figures = evaluate_networks(setup)
        for prefix in ("", "ema_"):
            figures[f"{prefix}validation_top1"] = SCORES[steps[-1]]
            figures[f"{prefix}validation_nll"] = float(steps[-1])
        return figures

    monkeypatch.setattr(loop, "compute_lr", remember)
    monkeypatch.setattr(loop, "evaluate_networks", evaluate)


def settings(*more):
    chosen = [("training.select", "best-on-validation"), ("training.patience", "3")]
    return recipe(*HELD_OUT, *chosen, ("training.ema_decay", "0.8"), *more)


def read(folder):
    result = json.loads((folder / "result.json").read_text())
    return {k: v for k, v in result.items() if k not in ("seconds", "peak_memory")}


def test_the_chosen_weights_are_kept_and_a_crash_changes_nothing(tmp_path, monkeypatch, scored):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    final = train(settings(), whole, console=QUIET)
    result = read(whole)
    assert result["stopped_early"]
    assert (result["step"], result["selected"]["step"], final["step"]) == (15, 6, 15)
    assert final["images"] == 15 * 64
    evaluated = [r for r in RunFolder(whole).read_metrics() if r["kind"] == "eval"]
    assert [record["step"] for record in evaluated] == [3, 6, 9, 12, 15]
    assert "learning rate was scheduled for all 18" in (whole / "train.log").read_text()
    for ema, prefix in ((False, ""), (True, "ema_")):
        figures = evaluate_run(whole, ema=ema, console=QUIET)
        for name, value in figures.items():
            assert result["selected"][prefix + name] == pytest.approx(value, rel=1e-5)
            assert evaluated[1][prefix + name] == pytest.approx(value, rel=1e-5)
        path = RunFolder(whole).ema_weights if ema else RunFolder(whole).weights
        with safe_open(path, "pt") as file:
            assert float(file.metadata()["temperature"]) == result[f"{prefix}temperature"]
    assert result["last"]["top1"] == evaluated[-1]["top1"]

    with monkeypatch.context() as patched:
        StopAt(patched, 13)  # with a checkpoint at step 10, which has waited for one evaluation
        with pytest.raises(RuntimeError, match="crash"):
            train(settings(("training.checkpoint_every", "5")), cut, console=QUIET)
    state = saved(cut)
    assert (state["state"]["step"], state["selection"]["waited"]) == (10, 1)
    train(settings(), cut, resume=True, console=QUIET)
    assert same(weights(whole), weights(cut))
    assert read(cut) == result
    # A finished run, resumed once more, stays as it is.
    train(settings(), cut, resume=True, console=QUIET)
    assert same(weights(whole), weights(cut))
    assert read(cut) == result


def test_patience_alone_keeps_the_last_weights(tmp_path, scored):
    short = recipe(*HELD_OUT, ("training.patience", "1"))
    final = train(short, tmp_path / "run", console=QUIET)
    assert final["step"] == 9
    assert "selected" not in read(tmp_path / "run")
    figures = evaluate_run(tmp_path / "run", console=QUIET)
    assert final["nll"] == pytest.approx(figures["nll"], rel=1e-5)


def test_several_ranks_and_one_choose_alike():
    """What other ranks keep of a checkpoint: which evaluation was the best, but no weights."""
    from torchbake.training.selection import Selection

    network = torch.nn.Linear(2, 2)
    first, other = (
        Selection(settings().training, {"": network}, keeps_weights=keeps)
        for keeps in (True, False)
    )
    for selection in (first, other):
        for step, top1 in enumerate((1.0, 3.0, 2.0)):
            selection.consider(step, {"validation_top1": top1, "validation_nll": 1.0})
    again = Selection(settings().training, {"": network}, keeps_weights=False)
    again.load_state_dict(first.state_dict())
    assert again.state_dict() == other.state_dict()
    assert again.waited == 1
    assert first.choices[""].weights is not None


def test_a_validation_split_that_is_tested_on_is_named(tmp_path):
    for split in ("train", "val"):
        for label, value in (("dark", 0), ("light", 255)):
            folder = tmp_path / "photos" / split / label
            folder.mkdir(parents=True)
            for number in range(4):
                Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(folder / f"{number}.png")
    short = recipe(
        ("data", f"imagefolder:{tmp_path / 'photos'}"),
        ("data.workers", "0"),
        ("data.validation", "0.25"),
        ("training.batch_size", "6"),
        ("training.epochs", "1"),
        ("method", "cross-entropy"),
    )
    train(short, tmp_path / "run", console=QUIET)
    told = (tmp_path / "run" / "train.log").read_text()
    assert "6 training, 2 validation and 8 test images, the split 'val', of 2 classes" in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("training.select", "best-on-validation"), r"training.select: needs validation images"),
        (("training.patience", "3"), r"training.patience: needs validation images"),
    ],
)
def test_without_validation_images_they_are_refused(change, message):
    with pytest.raises(UserError, match=f"^{message} to choose by; set data.validation"):
        recipe(change)


def test_the_test_set_does_not_choose_as_well():
    with pytest.raises(UserError, match=r"^training.report: best-on-test chooses on the test set"):
        settings(("training.report", "best-on-test"))


def test_unequal_budgets_are_refused_beforehand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--data.validation", "0.2", "--training.patience", "2"]
    for command in (["compare"], ["train", "--baseline"]):
        with pytest.raises(SystemExit):
            main([*command, *options])
        assert "training.patience" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_tables_and_pages_show_scaled_figures_and_say_how_they_were_scaled(tmp_path, capsys):
    held_out = recipe(*HELD_OUT, ("method", "cross-entropy"))
    train(held_out, tmp_path / "held-out", console=QUIET)
    train(recipe(("training.ema_decay", "0.8")), tmp_path / "plain", console=QUIET)
    folders = [RunFolder(tmp_path / name) for name in ("held-out", "plain")]
    records = read_runs(folders)
    assert [record["scaled_by"] for record in records] == ["validation", "halves", "halves"]
    result = read(tmp_path / "plain")["last"]
    assert records[2]["ece_scaled"] == result["ema_ece_scaled"] != records[1]["ece_scaled"]
    rows = {row.variant: row for row in compare_runs(records, None, unequal=True)}
    table = format_comparison(list(rows.values()), "last")
    assert "| ECE % | NLL, scaled | ECE %, scaled |" in table
    assert "fitted on the validation images or for each half of the test images" in table
    assert f"| {result['nll_scaled']:.3f} | {result['ece_scaled']:.1f} |" in table
    old = [{k: v for k, v in r.items() if "scaled" not in k} for r in records]
    assert "scaled" not in format_comparison(compare_runs(old, None, unequal=True), "last")

    page = tmp_path / "report.html"
    write_report(folders, page, QUIET)
    text = page.read_text()
    for shown in (
        "Validation top-1, %",
        "Test ECE after temperature scaling",
        "fitted on the validation images",
        "Reliability after temperature scaling",
        "ECE %, scaled",
    ):
        assert shown in text
    for name, told in (("held-out", "on the run's validation images"), ("plain", "cross-fitted")):
        main(["evaluate", str(tmp_path / name)])
        printed = capsys.readouterr()
        assert told in printed.err
        assert ("temperature" in printed.out) == (name == "held-out")
        figures = dict(line.split() for line in printed.out.splitlines())
        last = read(tmp_path / name)["last"]
        assert float(figures["ece_scaled"]) == pytest.approx(last["ece_scaled"], abs=1e-3)
