"""Where a step's time goes: real steps, real traces, real commands."""

import gzip
import json
import sys
import time
from collections import Counter
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from helpers.processes import run
from helpers.training_runs import QUIET, recipe, same, weights
from torch import nn

from torchbake.analysis.profile.measure import measure, write_trace
from torchbake.analysis.profile.phases import END, PHASES, Timeline, trace_forwards
from torchbake.analysis.profile.tables import check_folder, format_profile, summarise, write_profile
from torchbake.cli.main import main
from torchbake.data.loading.train_loader import TrainLoader
from torchbake.errors import UserError
from torchbake.methods import METHODS, Method, Step
from torchbake.training.loop import train


def measured(*overrides, steps=3, warmup=1):
    settings = recipe(*overrides)
    return settings, *measure(settings, steps=steps, warmup=warmup, console=QUIET)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train(recipe(("method", "cross-entropy")), folder, console=QUIET)
    return [("method.teacher", str(folder))]


@pytest.mark.parametrize("name", ["cross-entropy", "bake", "dlb", "kd", "dml"])
def test_phases_are_the_whole_step(teacher, name):
    own = [("method", name), *(teacher if name == "kd" else [])]
    settings, times, _ = measured(*own, steps=5)
    assert all(step.keys() == set(PHASES) for step in times.steps)
    assert all(value > 0 for step in times.steps for value in step.values())
    assert len(times.steps) == len(times.bare) == 5
    assert times.host == times.steps  # on the CPU there is but one clock
    summary = json.loads(json.dumps(summarise(settings, times)))
    *phases, whole = summary["phases"].values()
    assert sum(phase["mean_ms"] for phase in phases) == pytest.approx(whole["mean_ms"])
    assert sum(phase["share"] for phase in phases) == pytest.approx(1)
    assert whole["share"] == 1


def test_a_profiled_step_is_a_training_step(tmp_path):
    """Its weights are bit for bit those of the training loop, though timed and traced."""
    extra = [("training.ema_decay", "0.9"), ("training.accumulate", "2")]
    extra += [("optimizer.clip_grad_norm", "1"), ("training.max_steps", "9")]
    _, _, training = measured(*extra, steps=2, warmup=3)
    write_trace(tmp_path / "trace.json.gz", training, 1)
    train(recipe(*extra), tmp_path / "run", console=QUIET)
    trained = training.setup.model.network.state_dict()
    assert same(weights(tmp_path / "run"), trained)


class Sleepy(Method):
    """Known times in each phase that is a method's."""

    def __init__(self):
        super().__init__()

    def setup(self, task):
        self.peer = task.make_network(1)
        for network in (task.network, self.peer):
            network.network.register_forward_hook(lambda *_: time.sleep(0.02))

    def forward(self, model, batch):
        time.sleep(0.03)
        logits = model(batch.images).logits
        with torch.no_grad():
            self.peer(batch.images)
        time.sleep(0.03)
        loss = nn.functional.cross_entropy(logits, batch.labels)
        loss.register_hook(lambda gradient: time.sleep(0.08))
        return Step(loss, logits, {"cross_entropy": loss})


def test_each_phase_has_its_own_time(monkeypatch):
    monkeypatch.setitem(METHODS, "sleepy", Sleepy)
    batches, step = TrainLoader.batches, torch.optim.SGD.step

    def slow_batches(self, epoch, start=0):
        for batch in batches(self, epoch, start):
            time.sleep(0.1)
            yield batch

    def slow_step(self, *given):
        time.sleep(0.12)
        return step(self, *given)

    monkeypatch.setattr(TrainLoader, "batches", slow_batches)
    monkeypatch.setattr(torch.optim.SGD, "step", slow_step)
    _, times, _ = measured(("method", "sleepy"))
    shortest = {"forward": 40, "target": 60, "backward": 80, "data": 100, "optimizer": 120}
    for took, bare in zip(times.steps, times.bare, strict=True):
        assert all(took[phase] >= least for phase, least in shortest.items())
        assert took["rest"] < 40
        assert bare >= 400


def test_a_network_in_a_network_is_one_forward():
    inner = nn.Linear(2, 2)
    outer = nn.Sequential(inner, nn.ReLU())
    entered = []
    with trace_forwards([outer, inner], entered.append):
        outer(torch.zeros(1, 2))
        inner(torch.zeros(1, 2))
    outer(torch.zeros(1, 2))
    assert entered == ["forward", "target"] * 2


def test_a_gpu_is_waited_for_once(monkeypatch):
    """Marks in its queue, whose clock is another one than the host's."""
    clock = iter([0.0, 5.0, 7.0, 8.0, 20.0, 21.0, 29.0])
    waits = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = next(clock)

        def elapsed_time(self, other):
            assert waits
            return other.at - self.at

    queue = SimpleNamespace(Event=Event, synchronize=lambda: waits.append(1))
    monkeypatch.setattr(torch, "get_device_module", lambda device: queue)
    timeline = Timeline(torch.device("cuda"))
    for phase in ("data", "forward", "data", END, "data", "forward", END):
        timeline.enter(phase)
    device, host = timeline.steps()
    assert device == [{"data": 6.0, "forward": 2.0}, {"data": 1.0, "forward": 8.0}]
    assert [step.keys() for step in host] == [step.keys() for step in device]
    assert len(waits) == 1


def test_the_trace_has_the_phases_in_their_order(tmp_path):
    path = tmp_path / "trace.json.gz"
    _, _, training = measured(("method", "dml"), steps=1)
    write_trace(path, training, 2)
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    ranges = [e for e in events if e.get("ph") == "X" and e["name"].startswith("torchbake.")]
    ranges.sort(key=lambda event: event["ts"])
    names = [event["name"].removeprefix("torchbake.") for event in ranges]
    two_networks = ["target", "forward", "target", "forward", "target"]
    assert names == ["data", "rest", *two_networks, "backward", "rest", "optimizer"] * 2
    ends = [event["ts"] + event["dur"] for event in ranges[:-1]]
    assert all(end <= event["ts"] for end, event in zip(ends, ranges[1:], strict=True))
    assert Counter(event["name"] for event in events)["aten::conv2d"] > 0


def test_a_compiled_step_is_told_as_one():
    network = nn.Linear(2, 2)
    entered = []

    @partial(torch.compile, backend="eager", fullgraph=True)
    def step(x):
        return network(x).square().sum()

    for _ in range(2):
        with trace_forwards([network], entered.append):
            step(torch.zeros(1, 2))
    assert entered == []

    settings, times, _ = measured()
    for step in times.steps:
        step["target"] += step.pop("forward")
    table = format_profile(summarise(settings, times))
    assert "| forward, loss and targets |" in table
    assert "| forward |" not in table


def test_only_a_profile_is_replaced(tmp_path, monkeypatch):
    settings, times, _ = measured(steps=1)
    summary = summarise(settings, times)
    folder = tmp_path / "profile"
    check_folder(folder)
    written = write_profile(folder, summary)
    assert [path.name for path in written] == ["profile.json", "profile.md", "profile.svg"]
    assert "<svg" in written[-1].read_text()
    (folder / "trace.json.gz").write_text("of former steps")
    check_folder(folder)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_profile(folder, summary)
    assert sorted(path.name for path in folder.iterdir()) == ["profile.json", "profile.md"]
    for name in ("recipe.yaml", "chapter.txt"):
        other = tmp_path / name.partition(".")[0]
        other.mkdir()
        (other / name).write_text("precious")
        with pytest.raises(UserError, match=r"exists and is not a profile's folder; choose"):
            check_folder(other)


def test_the_command(tmp_path, monkeypatch, capsys):
    command = ["profile", "digits/bake", "--method", "dlb", "--training.batch_size", "32"]
    command += ["--steps", "3", "--warmup=2", "--trace-steps", "1"]
    printed = run([sys.executable, "-m", "torchbake", *command], tmp_path)
    folder = tmp_path / "runs" / "profile-digits-bake"
    assert {path.name for path in folder.iterdir()} == {
        "profile.json",
        "profile.md",
        "profile.svg",
        "trace.json.gz",
    }
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        "waiting for data",
        "forward",
        "loss and targets",
        "backward",
        "optimizer",
        "the rest",
        "whole step",
    ]
    assert "dlb on digits, small_cnn, 32 images a step" in printed
    assert (folder / "profile.md").read_text() in printed
    summary = json.loads((folder / "profile.json").read_text())
    assert summary["recipe"]["training"]["batch_size"] == 32
    assert len(summary["steps"]) == 3
    assert not list(tmp_path.rglob("*.pt"))
    monkeypatch.chdir(tmp_path)
    (folder / "trace.json.gz").unlink()
    main(command)  # in place of the first
    assert (folder / "trace.json.gz").is_file()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        main(command)
    assert "profile is one process; run it without torchrun" in capsys.readouterr().err
