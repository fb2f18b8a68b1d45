"""`with_features`: features beside the logits of any classifier, under the model's own names."""

import copy

import pytest
import timm
import torch
import torchvision
from helpers.processes import run_python
from torch import nn

from torchbake import BAKELoss, with_features
from torchbake.errors import UserError


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 10),
    )  # fmt: skip


TORCHVISION = {
    "resnet18": "fc",
    "vgg11": "classifier.6",
    "squeezenet1_1": "classifier.1",
    "densenet121": "classifier",
    "mobilenet_v3_small": "classifier.3",
    "efficientnet_b0": "classifier.1",
    "shufflenet_v2_x0_5": "fc",
    "googlenet": "fc",
    "convnext_tiny": "classifier.2",
    "vit_b_32": "heads.head",
    "swin_t": "head",
}
TIMM = {
    "resnet18": "fc",
    "mobilenetv3_small_050": "classifier",
    "vit_tiny_patch16_224": "head",
    "convnext_atto": "head.fc",
    "vgg11": "head.fc",
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_last_layer_of_torchvisions_networks_is_found(name):
    with torch.device("meta"):
        options = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
        network = torchvision.models.get_model(name, num_classes=7, **options)
        assert with_features(network).layer == TORCHVISION[name]


@pytest.mark.parametrize("name", TIMM)
def test_the_last_layer_of_timms_networks_is_found(name):
    with torch.device("meta"):
        assert with_features(timm.create_model(name, num_classes=7)).layer == TIMM[name]


def test_features_in_training_and_plain_logits_in_evaluation():
    model = with_features(small())
    images = torch.randn(4, 1, 8, 8)
    features, logits = model(images)
    assert features.shape == (4, 8)
    torch.testing.assert_close(logits, model.network[5](features))
    model.eval()
    assert torch.equal(model(images), model.network(images))
    always = with_features(small(), always=True).eval()
    assert always(images).logits.shape == (4, 10)
    assert model.compute(images).features.shape == (4, 8)
    # A network that returns an object with its logits.
    network = torchvision.models.googlenet(num_classes=7, init_weights=False)
    output = with_features(network)(torch.randn(2, 3, 64, 64))
    assert output.logits.shape == (2, 7)
    assert output.features.shape == (2, 1024)


def test_weights_have_the_models_own_names():
    network = small()
    model = with_features(network)
    names = list(network.state_dict())
    assert list(model.state_dict()) == names
    assert list(nn.Sequential(model).state_dict()) == [f"0.{name}" for name in names]
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in network.named_parameters()]
    assert [n for n, _ in model.named_buffers("x")] == [n for n, _ in network.named_buffers("x")]
    assert list(model.named_parameters(recurse=False)) == []
    state = {name: value + 1 for name, value in model.state_dict().items()}
    for other in (small(), with_features(small()), nn.Sequential(with_features(small()))):
        nested = isinstance(other, nn.Sequential) and len(other) == 1
        given = {f"0.{name}": value for name, value in state.items()} if nested else state
        assert str(other.load_state_dict(given)) == "<All keys matched successfully>"
        for mine, theirs in zip(state.values(), other.state_dict().values(), strict=True):
            assert torch.equal(mine, theirs)
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({"5.bias": torch.zeros(10)})
    # What the wrapper lacks is the model's.
    assert with_features(timm.create_model("resnet18", num_classes=7)).num_classes == 7
    with pytest.raises(AttributeError, match="'Sequential' object has no attribute 'colour'"):
        model.colour  # noqa: B018


def test_copies_keep_features_of_their_own():
    model = with_features(small())
    twin = copy.deepcopy(model)
    images = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        twin.network[0].weight.zero_()
    assert not torch.equal(model(images).features, twin(images).features)


def test_compiled_in_one_graph_and_the_model_itself_exported(unchecked):
    model = with_features(small())
    images = torch.randn(4, 1, 8, 8)
    program = torch.export.export(model.network.eval(), (images,))
    assert torch.equal(program.module()(images), model.network(images))
    with pytest.raises(UserError, match=r"export the model itself, .* attribute network"):
        torch.export.export(model.eval(), (images,))
    model.train()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    expected = copy.deepcopy(model)(images)
    torch.testing.assert_close(compiled(images), expected)
    compiled.eval()
    torch.testing.assert_close(compiled(images), model(images))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.score = nn.Linear(8, 3)

    def forward(self, x):
        return self.score(x)[:, -1]


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.one, self.other = nn.Linear(8, 4), nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.one(self.body(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: with_features(small(), "6"), "no layer named '6'"),
        (lambda: with_features(nn.Sequential(nn.ReLU())), "no linear layer .* name the layer"),
        (lambda: with_features(Two())(torch.ones(2, 8)), "'other' gave no features"),
        (
            lambda: with_features(Two(), "body")(torch.ones(2, 8)),
            r"'body' does not make .* \(n, 4\), got \(2, 3\)",
        ),
        (lambda: with_features(Tokens())(torch.ones(2, 5, 8)), "'score' takes 5 vectors"),
        (
            lambda: with_features(timm.create_model("deit_tiny_distilled_patch16_224")),
            r"more than one layer \('head', 'head_dist'\)",
        ),
        (
            lambda: with_features(timm.create_model("resnet18", num_classes=0)),
            "no linear layer",
        ),
    ],
)
def test_models_whose_features_cannot_be_told(make, message):
    with pytest.raises(UserError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)
    assert with_features(Two(), "one")(torch.ones(2, 8)).logits.shape == (2, 3)


def test_replicas_of_data_parallel_are_refused():
    model = with_features(small())
    model._is_replica = True  # as torch.nn.parallel.replicate does; it needs GPUs
    with pytest.raises(UserError, match=r"torch.nn.DataParallel .* torchrun"):
        model(torch.randn(4, 1, 8, 8))


def test_ranks_teach_each_other_and_share_gradients(tmp_path):
    """Two ranks with half of the batch each take the step of one process with all of it."""
    run_python(
        """
        import torch, torch.distributed as dist
        from sklearn.datasets import load_digits
        from torch import nn
        from torch.nn.parallel import DistributedDataParallel
        from torchbake import BAKELoss, with_features

        def network():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

        x, y = map(torch.tensor, load_digits(return_X_y=True))
        x, y = (x / 16).float(), y
        dist.init_process_group("gloo")
        rank = dist.get_rank()
        one, both = with_features(network()), with_features(network())
        wrapped = DistributedDataParallel(both)
        alone, together = BAKELoss(), BAKELoss(group=dist.group.WORLD, equal_counts=True)
        for model, criterion, share in ((one, alone, slice(None)),
                                        (wrapped, together, slice(rank * 16, rank * 16 + 16))):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for step in range(5):
                batch = slice(step * 32, step * 32 + 32)
                features, logits = model(x[batch][share])
                criterion(logits, y[batch][share], features).backward()
                optimizer.step()
                optimizer.zero_grad()
        for name, value in one.state_dict().items():
            torch.testing.assert_close(both.state_dict()[name], value)
        dist.destroy_process_group()
        """,
        tmp_path,
        ranks=2,
    )


def test_a_step_of_bake_trains_a_network_of_torchvision():
    torch.manual_seed(0)
    model = with_features(torchvision.models.shufflenet_v2_x0_5(num_classes=10))
    features, logits = model(torch.randn(4, 3, 64, 64))
    BAKELoss()(logits, torch.tensor([0, 0, 1, 1]), features).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
