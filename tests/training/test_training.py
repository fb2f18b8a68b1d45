"""Whole runs: what they leave, that they go on where they stopped, and that ranks agree."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from helpers.processes import run
from helpers.training_runs import QUIET, StopAt, recipe, same, saved, weights
from safetensors import safe_open

from torchbake.errors import UserError
from torchbake.methods import METHODS, Method, Step
from torchbake.training.loop import train
from torchbake.training.opened_run import evaluate_run
from torchbake.training.run_folder import RunFolder

CHECKPOINT_FILES = [
    f"checkpoints/step-24/{name}" for name in ("manifest.json", "state.json", "tensors.safetensors")
]


def test_a_run_folder_has_everything(tmp_path):
    folder = tmp_path / "run"
    final = train(recipe(("training.ema_decay", "0.9")), folder, console=QUIET)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "recipe.yaml",
        "environment.json",
        "metrics.jsonl",
        "train.log",
        *CHECKPOINT_FILES,
        "model.safetensors",
        "model_ema.safetensors",
        "result.json",
    }
    records = RunFolder(folder).read_metrics()
    trained = [record for record in records if record["kind"] == "train"]
    assert [record["step"] for record in trained] == [5, 10, 12, 15, 20, 24]
    assert [record["images"] for record in trained] == [320, 640, 768, 960, 1280, 1536]
    assert trained[-1]["loss"] < trained[0]["loss"]
    for record in trained:
        terms = record["cross_entropy"] + record["distillation"]
        assert record["loss"] == pytest.approx(terms, rel=1e-4)
    assert [record["step"] for record in records if record["kind"] == "eval"] == [12, 24]
    assert final["images"] == 1536
    assert final["top1"] == records[-1]["top1"] > 30
    assert "ema_top1" in final
    with safe_open(folder / "model.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["classes"]) == [str(c) for c in range(10)]
    assert json.loads((folder / "environment.json").read_text())["packages"]["torch"]


def test_the_same_recipe_gives_the_same_weights(tmp_path):
    for name in "ab":
        train(recipe(), tmp_path / name, console=QUIET)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    train(recipe(("seed", "1")), tmp_path / "c", console=QUIET)
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


class Remembering(Method):
    """A method with all that the seam allows: state, parameters, views, two forwards.

    Its state is each image's last logits, as PS-KD keeps them; its parameter scales them.
    """

    partners = 1
    views = 2

    def __init__(self, weight: float = 0.1):
        super().__init__()
        self.weight = weight

    def setup(self, task):
        self.register_buffer("past", torch.zeros(task.num_images, task.num_classes))
        self.head = torch.nn.Linear(task.num_features, task.num_classes)

    def forward(self, model, batch):
        first, second = batch.images.chunk(2)
        features, logits = model(first)
        with torch.no_grad():
            teacher = model(second).logits
        terms = {
            "cross_entropy": torch.nn.functional.cross_entropy(logits, batch.labels),
            "past": self.weight * (logits - self.past[batch.indices]).square().mean(),
            "views": self.weight * (self.head(features) - teacher).square().mean(),
            "progress": torch.tensor(batch.progress),
        }
        self.past[batch.indices] = logits.detach()
        return Step(sum(terms.values()), logits, terms)


@pytest.mark.parametrize("method", ["bake", "remembering"])
@pytest.mark.parametrize(
    "extra",
    [
        [("training.ema_decay", "0.9"), ("training.epoch", "anchors")],
        [("optimizer", "adamw"), ("optimizer.lr", "0.002"), ("training.accumulate", "2")],
    ],
)
def test_a_crashed_run_goes_on_bit_for_bit(tmp_path, monkeypatch, method, extra):
    monkeypatch.setitem(METHODS, "remembering", Remembering)
    settings = recipe(("method", method), ("training.checkpoint_every", "7"), *extra)
    train(settings, tmp_path / "whole", console=QUIET)
    with monkeypatch.context() as patched:
        StopAt(patched, 17)
        with pytest.raises(RuntimeError, match="crash"):
            train(settings, tmp_path / "cut", console=QUIET)
    metrics = tmp_path / "cut" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"kind": "train", "st')  # cut short by the crash
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    train(settings, tmp_path / "cut", resume=True, console=QUIET)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    checkpoints = [saved(tmp_path / name) for name in ("whole", "cut")]
    for part in ("model", "method", "average"):
        assert checkpoints[0][part] is None or same(checkpoints[0][part], checkpoints[1][part])

    def comparable(name):
        clocks = ("images_per_second", "seconds_left")
        records = RunFolder(tmp_path / name).read_metrics()
        return [{k: v for k, v in r.items() if k not in clocks} for r in records]

    assert comparable("whole") == comparable("cut")


def test_dropout_is_a_function_of_the_step(tmp_path, monkeypatch):
    class Noisy(METHODS["bake"]):
        def forward(self, model, batch):
            images = torch.nn.functional.dropout(batch.images, 0.2)
            return super().forward(model, batch._replace(images=images))

    monkeypatch.setitem(METHODS, "bake", Noisy)
    settings = recipe(("training.checkpoint_every", "7"))
    train(settings, tmp_path / "whole", console=QUIET)
    with monkeypatch.context() as patched:
        StopAt(patched, 17)
        with pytest.raises(RuntimeError, match="crash"):
            train(settings, tmp_path / "cut", console=QUIET)
    train(settings, tmp_path / "cut", resume=True, console=QUIET)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_run_killed_in_an_epoch_goes_on_bit_for_bit(tmp_path):
    """A real process and a real kill -9."""
    options = [
        *("--training.epochs", "60", "--training.eval_every", "60"),
        *("--training.checkpoint_every", "9", "--training.log_every", "10"),
    ]
    command = [sys.executable, "-m", "torchbake", "train", "digits/bake", *options, "--out"]
    run([*command, "whole"], tmp_path)
    process = subprocess.Popen(
        [*command, "cut"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    metrics = tmp_path / "cut" / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < saved(tmp_path / "cut")["state"]["step"] < 240
    run([*command, "cut", "--resume"], tmp_path)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_asked_to_stop_it_leaves_a_checkpoint(tmp_path):
    command = [sys.executable, "-m", "torchbake", "train", "--out", "run"]
    long = ["--training.epochs", "5000", "--training.log_every", "1"]
    process = subprocess.Popen(
        [*command, *long],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not metrics.exists() or not metrics.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped at step" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert (
        saved(tmp_path / "run")["state"]["step"]
        == RunFolder(tmp_path / "run").read_metrics()[-1]["step"]
    )


def test_two_ranks_train_like_one(tmp_path):
    """Two real processes: the same batches, the same targets, the same gradients."""
    options = ["--training.epochs", "2", "--training.ema_decay", "0.9", "--training.log_every", "4"]
    # Normalisation over the whole batch is one device's; without it, ranks are exactly alike.
    network = tmp_path / "nets.py"
    network.write_text(
        "from torch import nn\n"
        "def plain(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), "
        "nn.Linear(32, num_classes))\n"
    )
    options += ["--model", "nets:plain", "--model.classifier", "3"]
    train_command = ["-m", "torchbake", "train", "digits/bake", *options, "--out"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run([sys.executable, *train_command, "one"], tmp_path)
    run([sys.executable, *launcher, *train_command, "two"], tmp_path)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-5)
    last = [RunFolder(tmp_path / name).read_metrics()[-2:] for name in ("one", "two")]
    for key in ("loss", "train_top1", "distillation"):
        assert last[0][0][key] == pytest.approx(last[1][0][key], rel=1e-3)
    for key in ("top1", "nll", "ece", "ema_top1"):
        assert last[0][1][key] == pytest.approx(last[1][1][key], rel=1e-2)


def test_figures_of_two_ranks_are_those_of_the_saved_model(tmp_path):
    """With batch normalisation, whose statistics differ between ranks while they train."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    options = ["--training.epochs", "2", "--training.ema_decay", "0.5", "--out", "run"]
    options += ["--data.validation", "0.1"]
    run([sys.executable, *launcher, "-m", "torchbake", "train", *options], tmp_path)
    recorded = RunFolder(tmp_path / "run").read_metrics()[-1]
    for prefix, ema in (("", False), ("ema_", True)):
        figures = evaluate_run(tmp_path / "run", ema=ema, console=QUIET)
        assert "temperature" in figures
        for name, value in figures.items():
            assert recorded[prefix + name] == pytest.approx(value, rel=1e-5)


def test_existing_folders_are_refused_resumed_or_replaced(tmp_path):
    folder = tmp_path / "run"
    first = train(recipe(), folder, console=QUIET)
    with pytest.raises(UserError, match="exists: continue it with --resume"):
        train(recipe(), folder, console=QUIET)
    with pytest.raises(UserError, match=r"another recipe: optimizer.lr was 0.1, is 0.2"):
        train(recipe(("optimizer.lr", "0.2")), folder, resume=True, console=QUIET)
    again = train(recipe(("training.checkpoint_every", "9")), folder, resume=True, console=QUIET)
    assert again == first
    train(recipe(("optimizer.lr", "0.2")), folder, overwrite=True, console=QUIET)
    assert RunFolder(folder).read_recipe().optimizer.lr == 0.2
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("precious")
    with pytest.raises(UserError, match="is not a run folder"):
        train(recipe(), other, overwrite=True, console=QUIET)
    assert (other / "chapter.txt").exists()


def test_numbers_that_are_not_finite_end_the_run(tmp_path):
    wild = recipe(("optimizer.lr", "1e6"))
    with pytest.raises(
        UserError, match=r"not finite after step \d+: .* try a smaller optimizer.lr"
    ):
        train(wild, tmp_path / "run", console=QUIET)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns(tmp_path, precision):
    settings = recipe(("training.precision", precision), ("optimizer.clip_grad_norm", "5"))
    final = train(settings, tmp_path / "run", console=QUIET)
    assert final["top1"] > 30


def test_the_one_cycle_schedule_rises_and_falls(tmp_path):
    settings = recipe(("schedule", "one-cycle"))
    train(settings, tmp_path / "run", console=QUIET)
    rates = [r["lr"] for r in RunFolder(tmp_path / "run").read_metrics() if r["kind"] == "train"]
    assert max(rates) > 5 * rates[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("training.device", "cuda:7"), "training.device: 'cuda:7' is not available here"),
        (("training.batch_size", "400"), "400 is more than the 300 training images"),
    ],
)
def test_what_cannot_be_had_is_said(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        train(recipe(change), tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_mistake_replaces_nothing(tmp_path):
    folder = tmp_path / "run"
    train(recipe(), folder, console=QUIET)
    with pytest.raises(UserError, match="unknown model 'resnet20x'; did you mean 'resnet20'"):
        train(recipe(("model", "resnet20x")), folder, overwrite=True, console=QUIET)
    assert weights(folder)


def test_recipes_are_frozen():
    with pytest.raises(AttributeError):
        recipe().seed = 3
    assert replace(recipe(), seed=3).seed == 3
