"""What a run computes, beside that it goes on exactly: averages, scales, decay, random numbers."""

import pytest
import torch
from helpers.training_runs import QUIET, StopAt, recipe
from safetensors.torch import load_file
from torch import nn

from torchbake.methods import METHODS
from torchbake.recipe import OptimizerRecipe
from torchbake.training import loop
from torchbake.training.optimizer import make_optimizer

SHORT = [("training.epochs", "2"), ("training.checkpoint_every", "3")]


@pytest.fixture
def caught(monkeypatch):
    """All that the runs of a test work with, in their order."""
    setups, set_up = [], loop.set_up

    def catching(*arguments, **options):
        setups.append(set_up(*arguments, **options))
        return setups[-1]

    monkeypatch.setattr(loop, "set_up", catching)
    return setups


def test_the_average_is_that_of_the_weights_of_all_steps(tmp_path, monkeypatch):
    update, expected = loop.update, {}

    def watching(setup, batch, lr, number, meters):
        update(setup, batch, lr, number, meters)
        for name, value in setup.model.network.state_dict().items():
            if value.is_floating_point():
                before = expected.get(name, value)
                expected[name] = (0.8 * before + 0.2 * value).clone()

    monkeypatch.setattr(loop, "update", watching)
    loop.train(recipe(*SHORT, ("training.ema_decay", "0.8")), tmp_path / "run", console=QUIET)
    averaged = load_file(tmp_path / "run" / "model_ema.safetensors")
    last = load_file(tmp_path / "run" / "model.safetensors")
    for name, value in expected.items():
        torch.testing.assert_close(averaged[name], value)
    assert any(not torch.equal(averaged[name], last[name]) for name in expected)


def test_the_scale_of_gradients_goes_on_where_it_was(tmp_path, monkeypatch, caught):
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda *given, **named: scaler(*given, growth_interval=2, **named)
    )
    made = recipe(*SHORT, ("training.precision", "fp16"))
    loop.train(made, tmp_path / "whole", console=QUIET)
    with monkeypatch.context() as patched:
        StopAt(patched, 5)
        with pytest.raises(RuntimeError, match="crash"):
            loop.train(made, tmp_path / "cut", console=QUIET)
    loop.train(made, tmp_path / "cut", resume=True, console=QUIET)
    whole, _, resumed = (setup.scaler.state_dict() for setup in caught)
    assert whole["scale"] != 65536
    assert resumed == whole


def test_each_step_has_random_numbers_of_its_own(tmp_path, monkeypatch):
    drawn = []

    class Drawing(METHODS["bake"]):
        def forward(self, model, batch):
            drawn.append(tuple(torch.rand(3).tolist()))
            return super().forward(model, batch)

    monkeypatch.setitem(METHODS, "bake", Drawing)
    for seed in ("0", "1"):
        made = recipe(*SHORT, ("training.accumulate", "2"), ("seed", seed))
        loop.train(made, tmp_path / seed, console=QUIET)
    assert len(drawn) == 2 * 2 * 8
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("everything", [False, True])
def test_biases_and_normalisation_decay_only_if_they_are_to(name, everything):
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    before = {key: value.detach().clone() for key, value in network.named_parameters()}
    decay = {"weight_decay": 0.25, "decay_norm_and_bias": everything}
    settings = OptimizerRecipe(name=name, lr=0.5, momentum=0.0, nesterov=False, **decay)
    optimizer = make_optimizer(settings, network, nn.Module())
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, value in network.named_parameters():
        decayed = everything or key in ("0.weight", "3.weight")
        torch.testing.assert_close(value.detach(), before[key] * (1 - 0.125 * decayed))
