"""BAKE where an image has several labels: targets, loss, and what it refuses."""

import pytest
import torch
from helpers.processes import run_python
from helpers.reference import clustered, reference_targets
from torch.nn import functional as F

from torchbake import BAKELoss, MultiLabelBAKELoss, bake_targets, distillation_loss


def batch(n=24, classes=7, seed=0):
    logits, features, labels = clustered(n, classes, seed=seed)
    target = F.one_hot(labels, classes).float()
    target += F.one_hot(labels.roll(1), classes)
    return logits, target.clamp(max=1), features


def literal_targets(logits, features, temperature, omega, affinity_temperature):
    """Q of each class by itself, by the reference for two classes: present and absent."""
    columns = []
    for z in logits.double().T:
        # The softmax of (z, 0) is (sigmoid(z), 1 − sigmoid(z)), at any temperature.
        pair = torch.stack([z, torch.zeros_like(z)], dim=1)
        columns.append(reference_targets(pair, features, temperature, omega, affinity_temperature))
    return torch.stack([column[:, 0] for column in columns], dim=1)


@pytest.mark.parametrize("solver", ["auto", "fixed_point", "direct"])
@pytest.mark.parametrize(("omega", "sharpness"), [(0.5, 1.0), (0.9, 0.1), (0.0, 1.0)])
@pytest.mark.parametrize(("n", "classes"), [(24, 7), (8, 30), (1, 3)])
def test_targets_are_those_of_each_class_alone(solver, omega, sharpness, n, classes):
    logits, _, features = batch(n, classes)
    targets = bake_targets(
        logits,
        features,
        omega=omega,
        affinity_temperature=sharpness,
        solver=solver,
        multi_label=True,
    )
    expected = literal_targets(logits, features, 4.0, omega, sharpness)
    torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)
    assert targets.min() >= 0
    assert targets.max() <= 1


def test_certain_predictions_stay_probabilities():
    """Rounding leaves nothing above one, whose entropy would not be finite."""
    torch.manual_seed(0)
    logits, features = torch.full((64, 50), 200.0), torch.randn(64, 16)
    for solver in ("auto", "fixed_point", "direct"):
        targets = bake_targets(logits, features, multi_label=True, solver=solver)
        assert targets.max() <= 1
    loss = MultiLabelBAKELoss()(logits, torch.ones(64, 50), features)
    assert loss.isfinite()


def test_the_loss_is_written_out_class_by_class():
    logits, target, features = batch()
    logits.requires_grad_()
    criterion = MultiLabelBAKELoss(temperature=3.0, omega=0.6, weight=0.7, affinity_temperature=0.5)
    loss = criterion(logits, target, features)
    q = bake_targets(
        logits, features, temperature=3.0, omega=0.6, affinity_temperature=0.5, multi_label=True
    )
    p = (logits / 3).sigmoid()
    soft = (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).mean() * 3**2
    expected = F.binary_cross_entropy_with_logits(logits, target) + 0.7 * soft
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    n = logits.numel()
    with torch.no_grad():
        by_hand = (logits.sigmoid() - target) / n + 0.7 * 3 * (p - q) / n
    torch.testing.assert_close(gradient, by_hand)


def test_one_class_beside_none_is_bakes_own_divergence():
    """With two classes, sigmoid(z) and softmax((z, 0)) are the same, and so are the terms."""
    logits, target, features = batch(classes=1)
    pair = torch.cat([logits, torch.zeros_like(logits)], dim=1)
    terms = MultiLabelBAKELoss().terms(logits, target, features)
    both = BAKELoss().terms(pair, torch.cat([target, 1 - target], dim=1), features)
    for name, value in both.items():
        torch.testing.assert_close(terms[name], value)
    targets = bake_targets(pair, features)
    torch.testing.assert_close(terms["distillation"], distillation_loss(pair, targets))


def test_soft_labels_of_mixup_in_both_losses():
    logits, features, labels = clustered(16, 5)
    share = torch.rand(16, 1)
    mixed = share * F.one_hot(labels, 5) + (1 - share) * F.one_hot(labels.flip(0), 5)
    hard = BAKELoss().terms(logits, mixed, features)["cross_entropy"]
    by_hand = share[:, 0] * F.cross_entropy(logits, labels, reduction="none")
    by_hand += (1 - share[:, 0]) * F.cross_entropy(logits, labels.flip(0), reduction="none")
    torch.testing.assert_close(hard, by_hand.mean())
    terms = MultiLabelBAKELoss().terms(logits, mixed, features)
    torch.testing.assert_close(
        terms["cross_entropy"], F.binary_cross_entropy_with_logits(logits, mixed)
    )


def test_settings_types_and_weights_of_classes():
    logits, target, features = batch()
    weight = torch.full((7,), 3.0)
    criterion = MultiLabelBAKELoss(pos_weight=weight)
    expected = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    terms = criterion.terms(logits, target, features)
    torch.testing.assert_close(terms["cross_entropy"], expected)
    assert criterion.double().pos_weight.dtype == torch.float64
    assert "omega=0.5" in repr(criterion)
    plain = MultiLabelBAKELoss()
    exact = plain(logits, target, features)
    for other in (target.bool(), target.long(), target.half()):
        torch.testing.assert_close(plain(logits, other, features), exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert plain(logits, target, features) == exact
    low = plain(logits.bfloat16(), target, features.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"target": torch.zeros(4).long()}, ValueError, "one class number an image, take BAKELoss"),
        ({"target": torch.zeros(4, 2)}, ValueError, r"target must be \(4, 3\), .* got \(4, 2\)"),
        ({"target": torch.full((4, 3), 2.0)}, ValueError, "in .0, 1., got values from 2 to 2"),
        ({"target": torch.full((4, 3), torch.nan)}, ValueError, r"in \[0, 1\], got .* nan"),
        ({"target": [[0, 1, 0]] * 4}, TypeError, "target must be a tensor"),
        ({"logits": torch.ones(4, 3, 8, 8)}, ValueError, "BAKE is for classes of whole images"),
        ({"features": torch.ones(4, 5, 7, 7)}, ValueError, r"features.mean\(dim=\(2, 3\)\)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(unchecked, change, error, message):
    given = {"logits": torch.ones(4, 3), "target": torch.zeros(4, 3), "features": torch.ones(4, 5)}
    with pytest.raises(error, match=message) as raised:
        MultiLabelBAKELoss()(**(given | change))
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="weight must be at least 0"):
        MultiLabelBAKELoss(weight=-1.0)


def test_segmentation_is_refused_by_the_single_label_loss_too(unchecked):
    logits, target = torch.ones(2, 3, 8, 8), torch.zeros(2, 8, 8).long()
    with pytest.raises(ValueError, match=r"got \(2, 3, 8, 8\): BAKE is for classes of whole"):
        BAKELoss()(logits, target, torch.ones(2, 5))
    with pytest.raises(ValueError, match="take MultiLabelBAKELoss"):
        BAKELoss()(torch.ones(4, 3), torch.tensor([[1.0, 1, 0]] * 4), torch.ones(4, 5))


def test_ranks_have_the_targets_of_one_process(tmp_path):
    run_python(
        """
        import torch, torch.distributed as dist
        from torchbake import MultiLabelBAKELoss, bake_targets

        dist.init_process_group("gloo")
        torch.manual_seed(0)
        logits, features = 3 * torch.randn(30, 6), torch.randn(30, 8)
        target = (torch.rand(30, 6) < 0.3).float()
        cut = (slice(0, 11), slice(11, 30))[dist.get_rank()]
        whole = bake_targets(logits, features, multi_label=True)
        group = dist.group.WORLD
        own = bake_targets(logits[cut], features[cut], multi_label=True, group=group)
        torch.testing.assert_close(own, whole[cut])
        loss = MultiLabelBAKELoss(group=group)(logits[cut], target[cut], features[cut])
        assert loss.isfinite()
        none = slice(0, 0) if dist.get_rank() else slice(None)
        z = logits[none].requires_grad_()
        MultiLabelBAKELoss(group=group)(z, target[none], features[none]).backward()
        assert z.grad.isfinite().all()
        dist.destroy_process_group()
        """,
        tmp_path,
        ranks=2,
    )
