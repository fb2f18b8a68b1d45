"""Weights that were damaged, or are not those of their run, are noticed."""

import random
import shutil

import pytest
import timm
import torch
from helpers.training_runs import QUIET, recipe
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import torchbake
from torchbake._digests import SEAL, check_weights, seal_weights
from torchbake.errors import UserError
from torchbake.models.classifier import Classifier
from torchbake.models.weights import load_weights
from torchbake.training.files import save_weights
from torchbake.training.loop import train
from torchbake.training.opened_run import evaluate_run
from torchbake.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "run"
    train(recipe(("training.max_steps", "1")), folder, console=QUIET)
    return folder


def test_every_flipped_bit_is_noticed(finished, tmp_path):
    run = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    whole = run.weights.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    source = random.Random(0)
    places = [source.randrange(header) for _ in range(60)]
    places += [source.randrange(header, len(whole)) for _ in range(20)]
    for place in places:
        flipped = bytes([whole[place] ^ (1 << source.randrange(8))])
        run.weights.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        with pytest.raises(UserError, match=r"model\.safetensors: (damaged|not )") as caught:
            torchbake.load(run.path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="damaged"):
        evaluate_run(run.path, console=QUIET)
    run.weights.write_bytes(whole)
    assert torchbake.load(run.path).classes


def test_weights_of_another_run_are_noticed(finished, tmp_path):
    run = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    with safe_open(run.weights, "pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != SEAL}
    state = {name: torch.zeros_like(value) for name, value in load_file(run.weights).items()}
    save_file(state, run.weights, {**metadata, SEAL: seal_weights(state, metadata)})
    check_weights(run.weights)
    with pytest.raises(UserError, match=r"not the weights that the run wrote"):
        run.find_weights()


def test_a_damaged_file_is_not_trained_from(finished, tmp_path):
    path = tmp_path / "start.safetensors"
    content = bytearray((finished / "model.safetensors").read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    settings = recipe(("model.weights", str(path)))
    with pytest.raises(UserError, match=r"model\.weights: .*damaged"):
        train(settings, tmp_path / "run", console=QUIET)


def test_timm_and_files_without_a_checksum(tmp_path):
    network = timm.create_model("resnet10t", num_classes=3)
    network.eval()
    model = Classifier(network, classifier="fc")
    path = tmp_path / "model.safetensors"
    checksum = save_weights(path, model, {"format": "pt"})
    assert check_weights(path) == checksum
    made = timm.create_model("resnet10t", num_classes=3, checkpoint_path=str(path))
    assert torch.equal(made.fc.weight, network.fc.weight)
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(path), bare)
    load_weights(model, bare)
    assert check_weights(bare)
