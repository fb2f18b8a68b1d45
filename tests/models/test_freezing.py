import copy

import pytest
import torch

from torchbake.errors import UserError
from torchbake.models import create_model
from torchbake.models.freezing import freeze_layers
from torchbake.recipe import OptimizerRecipe
from torchbake.training.optimizer import make_optimizer


def network(name="test_resnet", **settings):
    torch.manual_seed(0)
    return create_model(name, 5, image_size=32, **settings)


def trained(model):
    return {name for name, p in model.network.named_parameters() if p.requires_grad}


def test_frozen_layers_keep_weights_and_statistics():
    model = network()
    freeze_layers(model, ["conv1", "bn1", "layer[12]"])
    before = copy.deepcopy(model.network.state_dict())
    optimizer = make_optimizer(OptimizerRecipe(), model, torch.nn.Module())
    model.train()
    model(torch.randn(4, 3, 32, 32)).logits.square().sum().backward()
    optimizer.step()
    changed = {
        name
        for name, value in model.network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed
    assert {name.split(".")[0] for name in changed} == {"layer3", "layer4", "fc"}
    assert any("running_mean" in name for name in changed)
    model.eval()
    assert not model.network.layer3.training
    model.train()
    assert model.network.layer3[0].bn1.training
    assert not model.network.layer1[0].bn1.training


def test_a_star_leaves_the_classifier():
    model = network()
    freeze_layers(model, ["*"])
    assert trained(model) == {"fc.weight", "fc.bias"}
    assert not model.network.bn1.training
    model = network("resnet20")
    freeze_layers(model, ["*"])
    assert {name.rpartition(".")[0] for name in trained(model)} == {model.layer}


def test_single_parameters_have_names_too():
    model = create_model("test_vit", 5, image_size=160)
    freeze_layers(model, ["pos_embed"])
    assert {n for n, _ in model.network.named_parameters()} - trained(model) == {"pos_embed"}


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["layer9"], r"^model.freeze: 'layer9' matches no layer .*; did you mean 'layer\d'\?$"),
        (["bn1", "zzz"], "'zzz' matches no layer .*; there are conv1, bn1, layer1, .*fc$"),
        (["fc"], "'fc' matches no layer with weights before the classifier"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(patterns, message):
    with pytest.raises(UserError, match=message):
        freeze_layers(network(), patterns)


def test_without_a_known_classifier_something_must_be_left():
    model = network()
    model.network.pretrained_cfg, model.classifier = {}, None
    with pytest.raises(UserError, match="leaves nothing to train"):
        freeze_layers(model, ["*"])
