"""Values on a card are those on the CPU. Skipped where there is no card."""

import pytest
import torch
from benchmarks.measure.launches import SETTINGS, make_method
from helpers.reference import clustered, reference_targets
from helpers.training_runs import QUIET, StopAt, recipe, weights

from torchbake import BAKELoss, bake_targets
from torchbake.analysis.audit.score import find_nearest, score_labels
from torchbake.evaluation import Metrics
from torchbake.methods import METHODS
from torchbake.training.loop import train

CPU = torch.device("cpu")


@pytest.mark.parametrize("solver", ["auto", "fixed_point", "direct"])
@pytest.mark.parametrize("affinity_temperature", [1.0, 0.05])
@pytest.mark.parametrize("n", [12, 512])
def test_targets(real_card, n, affinity_temperature, solver):
    logits, features, _ = clustered(n)
    settings = {"omega": 0.5, "affinity_temperature": affinity_temperature}
    exact = reference_targets(logits, features, 4.0, **settings)
    found = bake_targets(logits.to(real_card), features.to(real_card), solver=solver, **settings)
    assert (found.cpu() - exact).abs().max() < 2e-6


def test_the_loss_and_its_gradient(real_card):
    logits, features, labels = clustered(128)
    gradients = []
    for device in (CPU, real_card):
        given = logits.to(device).requires_grad_()
        BAKELoss()(given, labels.to(device), features.to(device)).backward()
        gradients.append(given.grad.cpu())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)


CASES = [(name, settings) for name in METHODS for settings in SETTINGS.get(name, [{}])]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{n} {s}" for n, s in CASES])
def test_methods(real_card, name, settings):
    losses = []
    for device in (CPU, real_card):
        network, method, batch = make_method(name, settings, device)
        torch.manual_seed(0)
        steps = [method(network, batch._replace(progress=share)) for share in (0.25, 0.5)]
        losses.append([step.loss.item() for step in steps])
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)  # convolutions may be in TF32


def test_audit_and_metrics(real_card):
    logits, features, labels = clustered(60)
    found = []
    for device in (CPU, real_card):
        given = [value.to(device) for value in (logits, features, labels)]
        scores = score_labels(*given, batch_size=20, rounds=2).score
        nearest = find_nearest(given[1], torch.arange(5), 3)
        metrics = Metrics(device)
        metrics.add(given[0], given[2])
        found.append((scores.cpu(), nearest.cpu(), metrics.result()))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=1e-5)
    assert found[1][1].equal(found[0][1])
    assert found[1][2] == pytest.approx(found[0][2], rel=1e-4)


SHORT = [("training.epochs", "2"), ("training.max_steps", "8"), ("training.checkpoint_every", "3")]


def run(folder, device, *overrides, **options):
    made = recipe(*SHORT, ("training.device", str(device)), *overrides)
    figures = train(made, folder, console=QUIET, **options)
    return figures, weights(folder)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=2e-3)


def test_runs_their_average_and_resuming(real_card, tmp_path, monkeypatch):
    ema = ("training.ema_decay", "0.9")
    figures, whole = run(tmp_path / "whole", real_card, ema)
    expected, on_cpu = run(tmp_path / "cpu", CPU, ema)
    close(whole, on_cpu)
    assert figures["ema_nll"] == pytest.approx(expected["ema_nll"], abs=0.02)
    with monkeypatch.context() as patched:
        StopAt(patched, 5)
        with pytest.raises(RuntimeError, match="crash"):
            run(tmp_path / "cut", real_card, ema)
    resumed, after = run(tmp_path / "cut", real_card, ema, resume=True)
    close(after, whole)
    assert resumed["ema_nll"] == pytest.approx(figures["ema_nll"], abs=0.01)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_alike(real_card, tmp_path, precision):
    if real_card.type == "cpu":
        pytest.skip("is for cards")
    figures, _ = run(tmp_path / precision, real_card, ("training.precision", precision))
    expected, _ = run(tmp_path / "float32", real_card)
    assert figures["nll"] == pytest.approx(expected["nll"], abs=0.1)


@pytest.mark.parametrize("method", ["bake", "cross-entropy"])
def test_recorded_graphs_train_alike(real_card, tmp_path, method):
    if real_card.type == "cpu":
        pytest.skip("the CPU has no graphs")
    fast = [("training.compile", "true"), ("training.cuda_graphs", "true"), ("method", method)]
    _, graphs = run(tmp_path / "graphs", real_card, *fast)
    _, plain = run(tmp_path / "plain", real_card, fast[2])
    close(graphs, plain)
