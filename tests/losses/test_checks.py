"""What `BAKELoss` says of a batch, or a group, that cannot be."""

import pytest
import torch
from helpers.reference import clustered
from torch.nn import functional as F

from torchbake import BAKELoss, bake_targets
from torchbake.losses.checks import check_batch


def trained(dimensions=64, classes=10, n=12):
    """Logits that a classifier computes from features, both with gradients, and class numbers."""
    _, features, labels = clustered(n, classes, dimensions)
    features = (features.requires_grad_() * 1.0).relu()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = torch.nn.Linear(dimensions, classes)(F.dropout(features))
    return logits, features, labels


@pytest.mark.parametrize(("dimensions", "classes"), [(64, 10), (10, 64), (64, 64)])
def test_logits_and_features_in_order_are_never_taken_for_swapped(dimensions, classes):
    logits, features, labels = trained(dimensions, classes)
    soft = F.one_hot(labels, classes).float()
    for given in (features, features.detach(), logits, F.normalize(logits)):
        BAKELoss()(logits, labels, given)
        BAKELoss()(logits, soft, given)
    with torch.no_grad():
        BAKELoss()(logits, labels, features)
    labels[0] = -100  # an image left out of the cross-entropy
    BAKELoss()(logits, labels, features)


@pytest.mark.parametrize(("dimensions", "classes"), [(64, 10), (10, 64)])
def test_logits_and_features_swapped_are_noticed_by_the_graph(dimensions, classes):
    logits, features, labels = trained(dimensions, classes)
    with pytest.raises(ValueError, match=r"swapped\? The order is \(logits, target, features\)"):
        BAKELoss()(features, labels % dimensions, logits)


@pytest.mark.parametrize("target", [torch.tensor([0, 57, 3]), torch.eye(64)[:3]])
def test_logits_and_features_swapped_are_noticed_by_the_target(target):
    logits, features = torch.randn(3, 64), torch.randn(3, 10)
    BAKELoss()(logits, target, features)
    with pytest.raises(ValueError, match="swapped"):
        BAKELoss()(features, target, logits)


class ModelOutput(dict):
    """What a network of transformers returns."""

    logits = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logits": ModelOutput()}, TypeError, "got ModelOutput: pass its .logits"),
        ({"logits": (1, 2)}, TypeError, "logits must be a tensor, got tuple"),
        ({"features": ModelOutput()}, TypeError, "features must be a tensor, got ModelOutput"),
        ({"target": [0, 1, 2, 0]}, TypeError, "target must be a tensor, got list"),
        ({"features": torch.ones(4, 5, 7, 7)}, ValueError, r"features.mean\(dim=\(2, 3\)\)"),
        ({"features": torch.ones(4, 49, 5)}, ValueError, r"features.mean\(dim=1\)"),
        ({"target": torch.tensor([[1.0, 1, 0]] * 4)}, ValueError, "a row that sums to 2"),
        ({"target": torch.tensor([[0.0, 0, 0]] * 4)}, ValueError, "a row that sums to 0"),
        ({"target": torch.full((4, 3), torch.nan)}, ValueError, "a row that sums to nan"),
        ({"target": torch.tensor([[1, 0, 0]] * 4)}, TypeError, "must be floating point"),
        ({"target": torch.ones(4)}, TypeError, "class numbers .* must be integers"),
        ({"target": torch.tensor([0, 1, 2])}, ValueError, r"\(4, 3\), as .* got \(3,\)"),
        ({"target": torch.zeros(4, 1).long()}, TypeError, "must be floating point"),
        ({"target": torch.zeros(4, 2)}, ValueError, r"\(4, 3\), as .* got \(4, 2\)$"),
        ({"target": torch.tensor([0, 1, 2, 9])}, ValueError, "9, but .* 3 columns of logits$"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_in_one_clear_line(unchecked, change, error, message):
    logits, target, features = torch.ones(4, 3), torch.tensor([0, 1, 2, 0]), torch.ones(4, 5)
    batch = {"logits": logits, "target": target, "features": features} | change
    with pytest.raises(error, match=message) as raised:
        BAKELoss()(**batch)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_probabilities_of_any_precision_sum_to_one(dtype):
    logits, features, labels = clustered(8, 1000)
    soft = (0.9 * F.one_hot(labels, 1000) + 0.1 / 1000).to(dtype)
    BAKELoss()(logits.to(dtype), soft, features)


def test_no_value_is_read_from_a_device():
    batch = torch.ones(4, 3), torch.tensor([[1.0, 1, 0]] * 4), torch.ones(4, 5)
    check_batch(*(tensor.to("meta") for tensor in batch), alone=True)
    numbers = torch.tensor([0, 1, 2, 9])
    check_batch(*(tensor.to("meta") for tensor in (batch[0], numbers, batch[2])), alone=True)


@pytest.mark.parametrize("group", [True, "world", 0])
def test_a_group_that_is_none_is_refused_when_made(unchecked, group):
    with pytest.raises(TypeError, match=f"group must be .* got {group!r}; .*group.WORLD"):
        BAKELoss(group=group)
    with pytest.raises(TypeError, match="group must be"):
        bake_targets(torch.ones(4, 3), torch.ones(4, 5), group=group)
