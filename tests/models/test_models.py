import copy

import pytest
import torch
from helpers.processes import run_python
from torch import nn

from torchbake.errors import UserError
from torchbake.models.classifier import Classifier
from torchbake.models.create import create_model, list_models
from torchbake.models.networks import NETWORKS


@pytest.mark.parametrize(
    ("name", "millions", "features"),
    [
        # The literature's sizes at 100 classes.
        ("preact_resnet18", 11.22, 512),
        ("densenet121_32", 7.05, 1024),
        ("resnet20", 0.28, 64),
        ("resnet56", 0.86, 64),
        ("wide_resnet28_10", 36.54, 640),
    ],
)
def test_small_image_networks_have_the_literatures_size(name, millions, features):
    model = create_model(name, 100, image_size=32)
    output = model(torch.randn(2, 3, 32, 32))
    assert output.features.shape == (2, features)
    assert output.logits.shape == (2, 100)
    parameters = sum(p.numel() for p in model.parameters())
    assert round(parameters / 1e6, 2) == millions


def test_resnext152_has_the_published_size():
    model = create_model("resnext152_32x4d", 1000, image_size=64)
    assert model(torch.randn(2, 3, 64, 64)).features.shape == (2, 2048)
    # ResNet-152 has 60.2; Xie et al. give each ResNeXt its ResNet's complexity.
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 60.0


def test_small_cnn_takes_tiny_grey_images():
    output = create_model("small_cnn", 10, in_chans=1, image_size=8)(torch.randn(3, 1, 8, 8))
    assert output.features.shape == (3, 64)
    assert {*NETWORKS, "resnet50", "swin_tiny_patch4_window7_224"} <= set(list_models())


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224", "convnext_atto", "vgg11"]
)
def test_features_of_timm_models_are_what_the_classifier_sees(name):
    model = create_model(name, 7).eval()
    images = torch.randn(2, 3, 224, 224)
    features, logits = model(images)
    torch.testing.assert_close(logits, model.network(images))
    torch.testing.assert_close(logits, model.network.get_classifier()(features))


class Own(nn.Module):
    """A network of a user's own."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.unused = nn.Linear(2, 2)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.pool(self.body(x)).flatten(1))


def test_a_network_of_ones_own_says_where_its_features_are():
    network, images = Own(), torch.randn(5, 3, 8, 8)
    by_classifier = Classifier(network, classifier="head")(images)
    by_pool = Classifier(network, features="pool")(images)
    by_map = Classifier(network, features="body")(images)
    assert by_classifier.features.shape == (5, 6)
    torch.testing.assert_close(by_pool.features, by_classifier.features)
    torch.testing.assert_close(by_map.features, by_classifier.features)


def test_a_network_of_ones_own_by_import_path(monkeypatch):
    monkeypatch.setattr(
        "torchbake.models.create._import_object", lambda name: lambda num_classes: Own()
    )
    model = create_model("nets:Own", 4, image_size=8, classifier="head")
    assert model(torch.randn(1, 3, 8, 8)).features.shape == (1, 6)
    with pytest.raises(UserError, match="name its classifier or features layer"):
        create_model("nets:Own", 4, image_size=8)
    with pytest.raises(UserError, match=r"gave logits \(1, 4\), expected \(1, 5\)"):
        create_model("nets:Own", 5, image_size=8, classifier="head")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: create_model("resnet81", 10), "unknown model 'resnet81'; did you mean 'resnet"),
        (lambda: create_model("deit_tiny_distilled_patch16_224", 10), "gives no features"),
        (lambda: create_model("resnet20", 10, pretrained=True), "takes no pretrained"),
        (lambda: create_model("vit_tiny_patch16_224", 10, image_size=32), "fails on 3 × 32 × 32"),
        (lambda: create_model("nowhere:Net", 10), "cannot be made: No module named 'nowhere'"),
        (
            lambda: Classifier(Own(), classifier="haed"),
            "no layer named 'haed'; did you mean 'head'",
        ),
        (lambda: Classifier(Own()), "name either the classifier layer or the features layer"),
        (
            lambda: Classifier(Own(), features="unused")(torch.randn(1, 3, 8, 8)),
            "layer 'unused' gave no features: .* got nothing, it did not run",
        ),
    ],
)
def test_models_without_features_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_copy_keeps_its_own_features():
    model = create_model("resnet20", 10, image_size=32).eval()
    other = copy.deepcopy(model)
    nn.init.normal_(other.network.stem[0].weight)
    images = torch.randn(2, 3, 32, 32)
    assert not torch.equal(model(images).features, other(images).features)
    torch.testing.assert_close(other(images).logits, other.network.fc(other(images).features))


def test_compiles_as_one_graph(tmp_path):
    run_python(
        """
        import torch
        from torchbake.models import create
from torchbake.models.create import create_model
        model, images = create_model("resnet20", 10, image_size=32), torch.randn(2, 3, 32, 32)
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(images), model(images))
        """,
        tmp_path,
    )
