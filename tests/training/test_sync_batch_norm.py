"""Batch normalisation over all ranks: what is replaced, and where it is refused."""

import pytest
import torch
from torch import nn

from torchbake.errors import UserError
from torchbake.models.classifier import Classifier
from torchbake.models.create import create_model
from torchbake.training.distributed import Ranks
from torchbake.training.network import place_model, share_batch_statistics
from torchbake.training.recipe_files import load_recipe

SHARED = load_recipe("digits/bake", [("training.sync_batch_norm", "true")])
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["preact_resnet18", "mobilenetv2_050", "densenet121_32"])
def test_the_network_is_the_same_but_for_its_statistics(name):
    model = create_model(name, 5, image_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    before, weights = model(images), dict(model.named_parameters())
    shared = share_batch_statistics(model).eval()
    assert {name: id(p) for name, p in shared.named_parameters()} == {
        name: id(p) for name, p in weights.items()
    }
    layers = [m for m in shared.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert layers
    assert all(isinstance(layer, nn.SyncBatchNorm) for layer in layers)
    for ours, theirs in zip(shared(images), before, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_one_process_keeps_its_layers():
    model = create_model("small_cnn", 5, in_chans=1, image_size=8)
    layers = list(place_model(model, SHARED, Ranks(0, 1, CPU)).modules())
    assert not any(isinstance(layer, nn.SyncBatchNorm) for layer in layers)


def test_ranks_without_cuda_are_refused():
    model = create_model("small_cnn", 5, in_chans=1, image_size=8)
    with pytest.raises(UserError, match=r"^training.sync_batch_norm: needs CUDA .* on 'cpu'$"):
        place_model(model, SHARED, Ranks(0, 2, CPU))


def test_a_layer_that_features_come_from_is_not_replaced():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    with pytest.raises(UserError, match="would replace '1', where the features are taken"):
        share_batch_statistics(Classifier(network, features="1"))
