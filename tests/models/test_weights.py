import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from torchbake._digests import digest_file
from torchbake.errors import UserError
from torchbake.models import create_model, load_weights

NAME = "test_resnet"  # timm's smallest
SIZE = 32


def network(classes=5, seed=0, name=NAME, **settings):
    torch.manual_seed(seed)
    return create_model(name, classes, image_size=SIZE, **settings)


@pytest.fixture(scope="module")
def timm_weights(tmp_path_factory):
    """A file of a network with 1,000 classes, as timm's hub has them, and its tensors."""
    torch.manual_seed(1)
    state = timm.create_model(NAME).state_dict()
    path = tmp_path_factory.mktemp("weights") / "timm.safetensors"
    save_file(state, path)
    return path, state


def same_backbone(model, state, head="fc."):
    own = model.network.state_dict()
    return all(torch.equal(own[name], state[name]) for name in own if not name.startswith(head))


def test_all_but_a_classifier_of_another_size_is_taken(timm_weights):
    path, state = timm_weights
    model, fresh = network(), network()
    loaded = load_weights(model, path)
    assert same_backbone(model, state)
    assert torch.equal(model.network.fc.weight, fresh.network.fc.weight)
    assert list(loaded.new) == ["fc.weight", "fc.bias"]
    assert (loaded.loaded, loaded.unused) == (loaded.total - 2, [])
    assert loaded.sha256 == digest_file(path)
    line = loaded.describe()
    assert f"{loaded.total - 2} of the network's {loaded.total} tensors" in line
    assert "fc.weight (1000 × 96 in the file, 5 × 96 here)" in line
    assert "\n" not in line


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "encoder.model.", "net.0."])
@pytest.mark.parametrize("wrapping", [(), ("state_dict",), ("hyper", "model")])
def test_names_are_found_under_prefixes_and_within_checkpoints(
    tmp_path, timm_weights, prefix, wrapping
):
    content = {prefix + name: value for name, value in timm_weights[1].items()}
    content |= {"projector.0.weight": torch.zeros(3, 3)}
    for name in wrapping:
        content = {name: content, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(content, tmp_path / "checkpoint.pth")
    model = network()
    loaded = load_weights(model, tmp_path / "checkpoint.pth")
    assert same_backbone(model, timm_weights[1])
    assert loaded.unused == ["projector.0.weight"] * (not prefix)


def test_averaged_weights_are_preferred(tmp_path, timm_weights):
    averaged = timm_weights[1]
    last = {name: value + 1 for name, value in averaged.items()}
    for names in (("state_dict", "state_dict_ema"), ("student", "teacher")):
        torch.save(dict(zip(names, (last, averaged), strict=True)), tmp_path / "both.pth")
        model = network()
        load_weights(model, tmp_path / "both.pth")
        assert same_backbone(model, averaged)


def test_the_first_convolution_takes_other_channels(timm_weights):
    path, state = timm_weights
    model = network(in_chans=1)
    assert list(load_weights(model, path).new) == ["fc.weight", "fc.bias"]
    name = "conv1.0.weight"
    assert torch.allclose(model.network.state_dict()[name], state[name].sum(1, keepdim=True))


def test_timm_converts_what_depends_on_the_image_size(tmp_path):
    torch.manual_seed(1)
    state = timm.create_model("test_vit", img_size=64).state_dict()
    save_file(state, tmp_path / "vit.safetensors")
    torch.manual_seed(0)
    model = create_model("test_vit", 5, image_size=160)
    assert model.network.pos_embed.shape != state["pos_embed"].shape
    assert list(load_weights(model, tmp_path / "vit.safetensors").new) == [
        "head.weight",
        "head.bias",
    ]


def test_a_run_of_the_same_classes_gives_its_classifier_too(tmp_path):
    state = network(3, seed=1).network.state_dict()
    path = tmp_path / "model.safetensors"
    save_file(state, path, {"classes": json.dumps(["a", "b", "c"])})
    model = network(3)
    assert not load_weights(model, path, ["a", "b", "c"]).new
    assert torch.equal(model.network.fc.weight, state["fc.weight"])
    model = network(3)
    loaded = load_weights(model, path, ["b", "a", "c"])
    assert loaded.new == {"fc.weight": "for other classes", "fc.bias": "for other classes"}
    assert not torch.equal(model.network.fc.weight, state["fc.weight"])


class Bad:
    """Nothing that weights_only=True would let through."""

    def __reduce__(self):
        return print, ("this must not run",)


def test_files_that_do_not_serve_are_refused_in_one_line(tmp_path, timm_weights, capsys):
    def refused(path, message):
        with pytest.raises(UserError, match=message) as caught:
            load_weights(network(), path)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "none.pth", "^model.weights: there is no file .*none.pth$")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    refused(tmp_path / "empty.safetensors", "empty.safetensors cannot be read: ")
    (tmp_path / "text.pth").write_text("not weights")
    refused(tmp_path / "text.pth", "text.pth (is no file of weights|cannot be read)")
    torch.save({"state_dict": Bad()}, tmp_path / "code.pth")
    refused(tmp_path / "code.pth", "code.pth is no file of weights: expected safetensors")
    assert "must not run" not in capsys.readouterr().out
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    refused(tmp_path / "numbers.pth", "holds no tensors")
    other = {f"blocks.{i}.weight": torch.zeros(4, 4) for i in range(9)}
    save_file(other, tmp_path / "other.safetensors")
    refused(
        tmp_path / "other.safetensors",
        "other.safetensors does not fit the network: 0 % .* the network has conv1.0.weight "
        r".*, the file blocks.0.weight 4 × 4, .* and 6 more$",
    )
    stem = {n: v for n, v in timm_weights[1].items() if n.startswith("conv1")}
    save_file(stem, tmp_path / "stem.safetensors")
    refused(tmp_path / "stem.safetensors", "does not fit the network")


def test_a_network_of_ones_own_takes_weights_too(tmp_path):
    from torchbake.models import Classifier

    body = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    torch.save(body.state_dict(), tmp_path / "own.pth")
    other = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4))
    loaded = load_weights(Classifier(other, classifier="3"), tmp_path / "own.pth")
    assert list(loaded.new) == ["3.weight", "3.bias"]
    assert torch.equal(other[1].weight, body[1].weight)
