import pytest
import torch
from torch import nn

from torchbake.errors import UserError
from torchbake.models import Classifier, create_model
from torchbake.recipe import OptimizerRecipe
from torchbake.training.optimizer import make_optimizer


def rates(model, method=None, **settings):
    """The factor of each parameter's learning rate, and its weight decay, by its name."""
    optimizer = make_optimizer(OptimizerRecipe(**settings), model, method or nn.Module())
    found = {
        parameter: (group.get("lr_scale", 1.0), group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    every = [*model.network.named_parameters(), *(method or nn.Module()).named_parameters()]
    assert len(found) == len(every)
    return {name: found[parameter] for name, parameter in every}


@pytest.fixture
def network():
    return create_model("test_resnet", 5, image_size=32)


def test_one_rate_for_all_is_two_groups(network):
    optimizer = make_optimizer(OptimizerRecipe(), network, nn.Module())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 0]
    assert all("lr_scale" not in group for group in optimizer.param_groups)


def test_the_classifier_and_what_the_method_adds_have_their_own_rate(network):
    method = nn.ModuleDict({"extra": nn.Linear(3, 2)})
    found = rates(network, method, lr=0.01, head_lr=0.1)
    for name, (scale, _) in found.items():
        assert scale == pytest.approx(10 if name.startswith(("fc.", "extra.")) else 1)
    assert found["fc.weight"][1] == 5e-4
    assert found["fc.bias"][1] == 0


def test_rates_fall_from_layer_to_layer(network):
    found = {name: scale for name, (scale, _) in rates(network, layer_decay=0.5).items()}
    assert found["fc.weight"] == 1
    assert found["fc.weight"] > found["layer4.0.conv1.weight"] > found["layer1.0.conv1.weight"]
    assert found["layer1.0.conv1.weight"] > found["conv1.0.weight"] > 0
    both = rates(network, layer_decay=0.5, lr=0.1, head_lr=0.2)
    assert both["fc.weight"][0] == 2
    assert both["conv1.0.weight"][0] == found["conv1.0.weight"]


def test_where_parts_are_not_known_it_is_said():
    own = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(UserError, match=r"^optimizer.layer_decay: the layers of Sequential"):
        rates(Classifier(own, classifier="3"), layer_decay=0.5)
    with pytest.raises(UserError, match=r"^optimizer.head_lr: the network's classifier is not"):
        rates(Classifier(own, features="2"), head_lr=0.5)


def test_the_schedule_moves_all_rates_and_a_checkpoint_keeps_their_factors(network):
    optimizer = make_optimizer(OptimizerRecipe(lr=0.1, head_lr=1.0), network, nn.Module())
    saved = optimizer.state_dict()
    plain = make_optimizer(OptimizerRecipe(lr=0.1, head_lr=0.5), network, nn.Module())
    plain.load_state_dict(saved)
    assert [g.get("lr_scale") for g in plain.param_groups] == [
        g.get("lr_scale") for g in optimizer.param_groups
    ]
    assert torch.tensor([g.get("lr_scale", 1) for g in plain.param_groups]).max() == 10
