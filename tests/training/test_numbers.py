"""Numbers that are not finite: the step is named, and nothing is written of them."""

import json
import math
from functools import partial

import pytest
import torch
from helpers.bad_numbers import BAD_IMAGE, CPU, Spoilt, list_bad_steps
from helpers.training_runs import QUIET, recipe, saved
from torch import nn

from torchbake.errors import UserError
from torchbake.methods import METHODS, Step
from torchbake.training import loop
from torchbake.training.checkpoint import list_checkpoints, load_checkpoint
from torchbake.training.finite import Watch, find_worst
from torchbake.training.meters import Meters
from torchbake.training.run_folder import RunFolder


@pytest.fixture
def bad_image(monkeypatch):
    """Makes recipes of runs in which one training image is not finite."""
    monkeypatch.setitem(METHODS, "spoilt", Spoilt)
    return partial(recipe, ("method", "spoilt"))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_one_number_among_many_is_seen(value, dtype):
    tensors = [torch.ones(3000, dtype=dtype), torch.ones(7)]
    assert find_worst(tensors).isfinite()
    tensors[0][2000] = value
    assert not find_worst(tensors).isfinite()
    assert not find_worst(tensors[::-1]).isfinite()
    assert find_worst([torch.full((9000,), 6e4, dtype=torch.float16)]).isfinite()


@pytest.mark.parametrize(
    ("place", "each_step"),
    [
        ("1.running_var", True),
        ("0.weight", True),
        ("method: bank", False),
        ("method: peer.bias", True),
        ("average: 0.bias", False),
        ("optimizer: exp_avg_sq of 0.weight", False),
    ],
)
def test_all_that_a_checkpoint_holds_is_watched(place, each_step):
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    method, average = nn.Module(), nn.Sequential(nn.Linear(3, 4))
    method.peer = nn.Linear(2, 2)
    method.register_buffer("bank", torch.zeros(5))
    network.register_buffer("mask", torch.full((2,), -torch.inf))  # as it is meant to be
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    watch = Watch(network, method, average, optimizer)
    assert not watch.look_at_networks().isfinite()
    watch.begin()
    assert watch.look_at_networks().isfinite()
    assert watch.look_at_all().isfinite()
    assert watch.name_faults() == []
    kind, _, name = place.rpartition(": ")
    if kind == "optimizer":
        tensor = optimizer.state[network[0].weight]["exp_avg_sq"]
    else:
        module = {"": network, "method": method, "average": average}[kind]
        tensor = dict([*module.named_parameters(), *module.named_buffers()])[name]
    tensor.detach().flatten()[-1] = torch.nan
    assert watch.look_at_networks().isfinite() == (not each_step)
    assert not watch.look_at_all().isfinite()
    assert watch.name_faults() == [place]


@pytest.mark.parametrize("log_every", [1, 5])
def test_a_run_stops_within_a_logging_interval_and_names_the_step(tmp_path, bad_image, log_every):
    settings = [("training.log_every", str(log_every)), ("training.checkpoint_every", "2")]
    made = bad_image(*settings)
    first = list_bad_steps(made)[0]
    with pytest.raises(UserError) as raised:
        loop.train(made, tmp_path / "run", console=QUIET)
    message = str(raised.value)
    assert f"the loss is nan at step {first} (cross_entropy nan); its images are image " in message
    assert "try a smaller optimizer.lr" in message
    run = RunFolder(tmp_path / "run")
    assert not run.weights.exists()
    assert not run.result.exists()
    records = [r for r in run.read_metrics() if r["kind"] == "train"]
    assert all(record["step"] < first for record in records)
    kept = list_checkpoints(run.checkpoints)
    assert ("the last checkpoint is kept" in message) == bool(kept)
    assert all(load_checkpoint(path)["state"]["step"] < first for path in kept)
    told = json.loads((run.path / "nonfinite.json").read_text())
    assert told["step"] == first
    assert BAD_IMAGE in [image["index"] for image in told["images"]]
    assert told["steps"][-1] == {"step": first, "loss": None, "cross_entropy": None} | {
        "train_top1": told["steps"][-1]["train_top1"]
    }


def test_running_statistics_that_overflow_end_a_run(tmp_path):
    """With finite losses and parameters: they are used in evaluation alone."""
    with pytest.raises(UserError, match=r"not finite after step \d+: layers\.\d\.1\.running_var"):
        loop.train(recipe(("optimizer.lr", "3000")), tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run" / "result.json").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(name))


def test_no_checkpoint_holds_what_is_not_finite(tmp_path, monkeypatch):
    """What no step looks at, such as the optimizer's state, is looked at before each checkpoint."""
    update = loop.update

    def spoiling(made, batch, lr, number, meters):
        update(made, batch, lr, number, meters)
        if number == 9:
            next(iter(made.optimizer.state.values()))["exp_avg_sq"].fill_(torch.inf)

    monkeypatch.setattr(loop, "update", spoiling)
    made = recipe(("optimizer", "adamw"), ("training.checkpoint_every", "4"))
    with pytest.raises(UserError, match=r"not finite at step 10: optimizer: exp_avg_sq of layers"):
        loop.train(made, tmp_path / "run", console=QUIET)
    assert saved(tmp_path / "run")["state"]["step"] == 8


@pytest.mark.parametrize(
    ("precision", "told"),
    [("float32", "weights are not finite after step 1"), ("fp16", "however small fp16's scale is")],
)
def test_gradients_that_are_never_finite_end_a_run(tmp_path, monkeypatch, precision, told):
    """Its losses are. A gradient scaler would leave out each update without a word."""

    class Steep(METHODS["cross-entropy"]):
        def forward(self, model, batch):
            step = super().forward(model, batch)
            return step._replace(loss=step.loss + 0 * (0 * step.logits).abs().sqrt().sum())

    monkeypatch.setitem(METHODS, "cross-entropy", Steep)
    settings = [("method", "cross-entropy"), ("training.precision", precision)]
    with pytest.raises(UserError, match=told):
        loop.train(recipe(*settings, ("training.epochs", "9")), tmp_path / "run", console=QUIET)


def test_figures_that_are_not_finite_end_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "evaluate_networks", lambda setup: {"top1": 9.0, "nll": math.inf})
    with pytest.raises(UserError, match="nll is inf in the evaluation at step 12"):
        loop.train(recipe(), tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run" / "result.json").exists()


def test_meters_average_what_was_seen():
    meters = Meters(CPU)
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0]])
    labels = torch.tensor([0, 1])
    expected = []
    for number in range(150):  # more than are put together at once
        terms = {"a": torch.tensor(float(number))}
        terms |= {"b": torch.tensor(4.0)} if number % 2 else {}
        loss = sum(terms.values())
        meters.add(Step(loss, logits, terms), labels)
        further = {"worst": torch.tensor(1.0), "left_out": torch.tensor(float(number == 3))}
        meters.end_step(number, further)
        if number != 3:
            expected.append({"loss": loss.item(), "a": number, "b": 4 * (number % 2)})
    interval = meters.close(torch.tensor(7.0))
    for name in ("loss", "a", "b"):
        mean = sum(row[name] for row in expected) / 149
        assert interval.means[name] == pytest.approx(mean)
    assert interval.means["train_top1"] == 50
    assert (interval.images, interval.rest) == (300, 7.0)
    assert [step.number for step in interval.steps] == list(range(1, 151))
    assert [step.number for step in interval.steps if step.left_out] == [4]
