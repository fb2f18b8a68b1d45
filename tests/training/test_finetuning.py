"""Runs that start from weights of a file."""

import json
from contextlib import contextmanager

import pytest
import timm
import torch
import yaml
from helpers.images import photographs
from helpers.training_runs import QUIET, same, weights
from safetensors.torch import save_file

from torchbake._digests import digest_file
from torchbake.errors import Stopped, UserError
from torchbake.training import loop
from torchbake.training.interrupt import StopRequests
from torchbake.training.loop import train
from torchbake.training.opened_run import evaluate_run
from torchbake.training.recipe_files import load_recipe, make_recipe

NAME = "test_efficientnet"  # tiny, with a mean and deviation of its own


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory):
    """Photographs, and a file of weights of a network for 1,000 classes."""
    root = tmp_path_factory.mktemp("finetuning")
    torch.manual_seed(1)
    save_file(timm.create_model(NAME).state_dict(), root / "timm.safetensors")
    return photographs(root / "photos", (40, 32)), root / "timm.safetensors"


def finetuning(at_hand, *overrides):
    data, path = at_hand
    settings = {
        "data": data,
        "data.image_size": "32",
        "data.crop": "resized",
        "data.workers": "0",
        "model": NAME,
        "model.weights": str(path),
        "method": "cross-entropy",
        "optimizer.lr": "0.001",
        "training.epochs": "2",
        "training.batch_size": "4",
    }
    return load_recipe("digits/bake", [*settings.items(), *overrides])


@pytest.fixture(scope="module")
def tuned(at_hand, tmp_path_factory):
    """A run that was fine-tuned, and its figures."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    return folder, train(finetuning(at_hand), folder, console=QUIET)


def test_a_run_records_its_file_and_adopts_what_the_network_expects(at_hand, tuned):
    folder, _ = tuned
    start = json.loads((folder / "started-from.json").read_text())
    assert start["path"] == str(at_hand[1])
    assert start["sha256"] == digest_file(at_hand[1])
    assert list(start["new"]) == ["classifier.weight", "classifier.bias"]
    config = timm.get_pretrained_cfg(NAME)
    recorded = make_recipe(yaml.safe_load((folder / "recipe.yaml").read_text())).data
    assert recorded.mean == tuple(config.mean)
    assert recorded.std == tuple(config.std)
    assert recorded.crop_pct == config.crop_pct
    assert recorded.interpolation == config.interpolation
    log = (folder / "train.log").read_text()
    assert f"as the weights were trained: data.mean {list(config.mean)}" in log
    assert "made anew: classifier.weight (1000 × " in log


def test_a_run_begins_with_the_weights_of_its_file(at_hand, monkeypatch, tmp_path):
    seen = []
    update = loop.update

    def watching(setup, *given):
        seen.append(setup.model.network.conv_stem.weight.clone())
        update(setup, *given)

    monkeypatch.setattr(loop, "update", watching)
    train(finetuning(at_hand, ("training.max_steps", "1")), tmp_path / "run", console=QUIET)
    torch.manual_seed(1)
    assert torch.equal(seen[0], timm.create_model(NAME).conv_stem.weight)


def test_what_the_recipe_gives_wins(at_hand, tmp_path):
    given = (("data.mean", "[0.1, 0.2, 0.3]"), ("data.std", "[1, 1, 1]"))
    recipe = finetuning(at_hand, *given, ("data.crop_pct", "0.7"), ("training.max_steps", "1"))
    train(recipe, tmp_path / "run", console=QUIET)
    recorded = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["data"]
    assert recorded["mean"] == [0.1, 0.2, 0.3]
    assert recorded["crop_pct"] == 0.7
    assert recorded["interpolation"] == timm.get_pretrained_cfg(NAME).interpolation


def test_a_resumed_run_needs_no_file_and_ends_the_same(at_hand, tuned, tmp_path, monkeypatch):
    file = tmp_path / "gone.safetensors"
    file.write_bytes(at_hand[1].read_bytes())
    recipe = finetuning((at_hand[0], file))
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "watch_stop_requests", stopping_at_once)
        with pytest.raises(Stopped):
            train(recipe, run, console=QUIET)
    file.unlink()
    train(recipe, run, resume=True, console=QUIET)
    assert same(weights(run), weights(tuned[0]))
    with pytest.raises(UserError, match="there is no file"):
        train(recipe, run, overwrite=True, console=QUIET)
    assert weights(run)  # nothing was replaced


@contextmanager
def stopping_at_once(world_size):
    requests = StopRequests()
    requests.received.append(0.0)
    yield requests


def test_parts_learn_at_their_own_rates_or_not_at_all(at_hand, tmp_path):
    rates = (("optimizer.lr", "1e-9"), ("optimizer.head_lr", "0.1"), ("optimizer", "sgd"))
    frozen = ("model.freeze", "[conv_stem, blocks.0]")
    recipe = finetuning(at_hand, *rates, frozen, ("optimizer.weight_decay", "0"))
    train(recipe, tmp_path / "run", console=QUIET)
    torch.manual_seed(1)
    before, after = timm.create_model(NAME).state_dict(), weights(tmp_path / "run")
    still = [name for name in before if name.startswith(("conv_stem.", "blocks.0."))]
    assert any("running_mean" in name for name in still)
    assert all(torch.equal(after[name], before[name]) for name in still)
    name = "blocks.1.0.conv_exp.weight"
    assert torch.allclose(after[name], before[name], atol=1e-6)
    assert after["classifier.bias"].abs().max() > 1e-3


def test_evaluation_sees_images_as_training_did(tuned):
    folder, final = tuned
    again = evaluate_run(folder, console=QUIET)
    assert again["nll"] == pytest.approx(final["nll"])


def test_weights_come_from_one_place(at_hand):
    both = {"name": NAME, "pretrained": True, "weights": str(at_hand[1])}
    with pytest.raises(UserError, match=r"^model\.weights: give either this"):
        make_recipe({"model": both})
    later = finetuning(at_hand, ("model.pretrained", "true"))  # replaces what was there
    assert later.model.weights is None


def test_without_the_hub_one_line_says_so_at_once(monkeypatch, tmp_path):
    from torchbake.models import hub

    monkeypatch.setattr(hub, "_is_there", lambda endpoint: False)
    recipe = load_recipe(
        "digits/bake", [("model", "resnet18.a1_in1k"), ("model.pretrained", "true")]
    )
    with pytest.raises(UserError, match=r"cannot be reached; name a file .* model.weights") as e:
        train(recipe, tmp_path / "run", console=QUIET)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "run").exists()
