"""Where a step's time goes: real steps, real traces, real commands."""

import gzip
import json
import sys
import time
from collections import Counter
from functools import partial
from itertools import groupby
from xml.etree import ElementTree

import pytest
import torch
from helpers.processes import run
from helpers.training_runs import QUIET, recipe, same, weights
from torch import nn
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from torchbake.analysis.profile.measure import Profile, measure, write_trace
from torchbake.analysis.profile.phases import PHASES, label_forwards, read_phases
from torchbake.analysis.profile.summary import (
    check_folder,
    format_profile,
    summarise,
    write_profile,
)
from torchbake.cli.main import main
from torchbake.data.loading.train_loader import TrainLoader
from torchbake.errors import UserError
from torchbake.methods import METHODS, Method, Step
from torchbake.training import labels
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
    assert len(times.steps) == len(times.recorded) == len(times.bare) == 5
    shares = [sum(p.values()) / t for p, t in zip(times.steps, times.recorded, strict=True)]
    assert 0.8 < sorted(shares)[2] <= max(shares) <= 1
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


def recorded(work):
    """Events of torch.profiler while something is done."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    return profiler.events()


def test_a_network_in_a_network_is_one_forward():
    inner = nn.Linear(2, 2)
    outer = nn.Sequential(inner, nn.ReLU())

    def work():
        with label_forwards([outer, inner]):
            outer(torch.zeros(1, 2))
            inner(torch.zeros(1, 2))
        outer(torch.zeros(1, 2))

    names = Counter(event.name for event in recorded(work))
    assert names["torchbake.forward"] == 2
    assert names["aten::linear"] == 3


def test_labels_cost_nothing_while_nobody_profiles(monkeypatch):
    def forbidden(name):
        raise AssertionError(name)

    monkeypatch.setattr(labels, "record_function", forbidden)
    with labels.label("backward"):
        pass
    assert list(labels.label_waits(iter([]))) == []
    with pytest.raises(AssertionError, match=r"torchbake\.backward"):
        recorded(lambda: labels.label("backward"))


def event(name, start, end, kernels=(), device="CPU"):
    """As FunctionEvent, with what an accelerator was asked for: (name, microseconds)."""
    made = FunctionEvent(
        id=0,
        name=name,
        thread=0,
        start_us=float(start),
        end_us=float(end),
        device_type=getattr(DeviceType, device),
        is_user_annotation=name.startswith("torchbake."),
    )
    for kernel, took in kernels:
        made.append_kernel(kernel, 0, float(took))
    return made


def test_work_of_a_gpu_is_counted_where_it_is_asked_for():
    """Later than that, by another thread, or beside a copy of the label on the GPU's side."""
    host, device = read_phases(
        [
            event("torchbake.step", 0, 1000),
            event("torchbake.method", 100, 500, [("torchbake.method", 5000)]),
            event("torchbake.method", 900, 5900, device="CUDA"),
            event("torchbake.forward", 150, 350),
            event("aten::conv2d", 200, 250, [("conv", 3000), ("bias", 500)]),
            event("aten::softmax", 400, 410, [("softmax", 200)]),
            event("torchbake.backward", 500, 700),
            event("ConvolutionBackward0", 550, 560, [("dgrad", 4000)]),
            event("aten::add", 800, 810, [("add", 100)]),
            event("aten::zeros", 1500, 1510, [("fill", 9999)]),  # between steps
        ]
    )
    assert host == pytest.approx({"rest": 0.4, "target": 0.2, "forward": 0.2, "backward": 0.2})
    assert device == pytest.approx({"rest": 0.1, "target": 0.2, "forward": 3.5, "backward": 4.0})


def test_a_gpus_work_is_told_beside_the_hosts_times():
    host = [{"forward": 1.0, "rest": 1.0}] * 3
    steps = [{"forward": 6.0, "rest": 2.0}] * 3
    times = Profile(torch.device("cuda"), 0, host, steps, [12.0] * 3, [10.0] * 3)
    summary = summarise(recipe(), times)
    table = format_profile(summary)
    assert "| forward | 6.00 | 6.00 to 6.00 | 6.00 | 75.0 % | 1.00 |" in table
    assert "| whole step | 8.00 | 8.00 to 8.00 | 8.00 | 100.0 % | 2.00 |" in table
    assert "A recorded step took 1.200 times as long" in table
    assert "The device worked 80 % of the latter." in table
    assert summary["images_per_second"] == 1000 * recipe().training.batch_size / 10


def test_the_trace_has_the_phases_in_their_order(tmp_path):
    path = tmp_path / "trace.json.gz"
    _, _, training = measured(("method", "dml"), steps=1)
    write_trace(path, training, 2)
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    ranges = [e for e in events if e.get("ph") == "X" and e["name"].startswith("torchbake.")]
    ranges.sort(key=lambda event: (event["ts"], -event["dur"]))
    names = [event["name"].removeprefix("torchbake.") for event in ranges]
    # Where an epoch ends, there is more than one wait for data.
    order = ["step", "data", "method", "forward", "backward", "optimizer"]
    assert [name for name, _ in groupby(names)] == order * 2
    assert names.count("forward") == 4
    step, *phases = ranges[: names.index("step", 1)]
    end = step["ts"] + step["dur"]
    assert all(phase["ts"] + phase["dur"] <= end for phase in phases)
    assert Counter(event["name"] for event in events)["aten::conv2d"] > 0


def test_a_compiled_step_is_told_as_one():
    network = nn.Linear(2, 2)

    @partial(torch.compile, backend="eager", fullgraph=True)
    def step(x):
        return network(x).square().sum()

    def work():
        for _ in range(2):
            with label_forwards([network]):
                step(torch.zeros(1, 2))

    assert not [e for e in recorded(work) if e.name.startswith("torchbake.")]

    settings, times, _ = measured()
    for step in times.steps:
        step["target"] += step.pop("forward")
    table = format_profile(summarise(settings, times))
    assert "| forward, loss and targets |" in table
    assert "| forward |" not in table


def test_only_a_profile_is_replaced(tmp_path):
    settings, times, _ = measured(steps=1)
    summary = summarise(settings, times)
    folder = tmp_path / "profile"
    check_folder(folder)
    written = write_profile(folder, summary)
    assert [path.name for path in written] == ["profile.json", "profile.md", "profile.svg"]
    texts = [element.text for element in ElementTree.parse(written[-1]).iter() if element.text]
    assert {"optimizer", "milliseconds", "steps, 1 to 1"} <= set(texts)
    (folder / "trace.json.gz").write_text("of former steps")
    check_folder(folder)
    write_profile(folder, summary)
    assert sorted(path.name for path in folder.iterdir()) == [path.name for path in written]
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
    assert "profile runs as a single process: start it without torchrun" in capsys.readouterr().err
