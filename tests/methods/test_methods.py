"""Losses of one network against values computed by hand, from the formulas of their papers."""

import math

import pytest
import torch
from helpers.method_examples import Recorded, assert_value, ce, kl, other_logits, soft, task
from torch.nn import functional as F

from torchbake import BAKELoss
from torchbake.methods import METHODS, Batch


def test_cross_entropy(example):
    model, batch, logits, _, labels = example
    assert_value(METHODS["cross-entropy"]()(model, batch), ce(logits, labels))


def test_label_smoothing(example):
    model, batch, logits, _, labels = example
    smoothed = 0.8 * F.one_hot(labels, 10) + 0.2 / 10
    expected = -(smoothed * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert_value(METHODS["label-smoothing"](smoothing=0.2)(model, batch), expected)


def test_bake(example):
    model, batch, logits, features, labels = example
    method = METHODS["bake"](
        partners=3, omega=0.7, temperature=2.0, weight=0.5, affinity_temperature=0.3
    )
    assert_value(method(model, batch), BAKELoss(2.0, 0.7, 0.5, 0.3)(logits, labels, features))
    assert method.partners == 3


def test_bake_plus(example):
    model, batch, logits, features, labels = example
    method = METHODS["bake-plus"]()
    for progress, sharpness in ((0.0, 1.0), (0.5, 0.05**0.5), (1.0, 0.05)):
        loss = BAKELoss(affinity_temperature=sharpness)(logits, labels, features)
        assert_value(method(model, batch._replace(progress=progress)), loss)
    assert method.partners == 0  # ordinary shuffled batches


def test_max_entropy(example):
    model, batch, logits, _, labels = example
    rows = soft(logits).tolist()
    entropy = sum(-p * math.log(p) for row in rows for p in row) / len(rows)
    step = METHODS["max-entropy"](weight=0.3)(model, batch)
    assert_value(step, ce(logits, labels) - 0.3 * entropy)


@pytest.mark.parametrize(
    "name", ["cross-entropy", "label-smoothing", "max-entropy", "bake", "bake-plus"]
)
def test_mixed_images_have_mixed_labels(example, name):
    model, batch, *_ = example
    one_hot = F.one_hot(batch.labels, 10).float()
    plain = METHODS[name]()(model, batch)
    same = METHODS[name]()(model, batch._replace(mixed=one_hot))
    torch.testing.assert_close(plain.loss, same.loss)
    other = METHODS[name]()(model, batch._replace(mixed=one_hot.roll(1, 1)))
    mixed = METHODS[name]()(model, batch._replace(mixed=one_hot.lerp(one_hot.roll(1, 1), 0.25)))
    torch.testing.assert_close(mixed.loss, 0.75 * plain.loss + 0.25 * other.loss)


def test_cs_kd_partners_teach_and_are_not_trained(example):
    _, batch, *_ = example
    labels = torch.tensor([0, 0, 1, 1, 2, 3])  # the last two are singles that share a place
    batch = Batch(torch.arange(6.0).view(6, 1, 1, 1), labels, torch.arange(6))
    anchors = other_logits(1, 3).requires_grad_()
    partners = other_logits(2, 3).requires_grad_()
    model = Recorded((anchors, anchors), (partners, partners))
    step = METHODS["cs-kd"](temperature=4.0, weight=0.5)(model, batch)
    pairs = kl(soft(partners, 4)[:2], soft(anchors, 4)[:2]) * 2 / 3
    assert_value(step, ce(anchors, labels[::2]) + 0.5 * 16 * pairs)
    step.loss.backward()
    assert partners.grad is None
    assert [given.flatten().tolist() for given in model.given] == [[0, 2, 4], [1, 3, 5]]
    assert step.labels.tolist() == [0, 1, 2]


def test_cs_kd_both_ways():
    labels = torch.tensor([0, 0, 1, 2, 3])
    logits = other_logits(1, 5).requires_grad_()
    batch = Batch(torch.zeros(5, 1, 8, 8), labels, torch.arange(5))
    step = METHODS["cs-kd"](symmetric=True)(Recorded((logits, logits)), batch)
    p = soft(logits.detach(), 4)
    pairs = kl(p[[1, 0]], p[[0, 1]]) * 2 / 5
    assert_value(step, ce(logits, labels) + 16 * pairs)


def test_ps_kd_remembers_what_it_predicted(example):
    model, batch, logits, _, labels = example
    method = METHODS["ps-kd"](alpha=0.8)
    method.setup(task())
    first = method(model, batch._replace(progress=0.25))
    assert_value(first, ce(logits, labels))  # no past yet
    later = other_logits()
    step = method(Recorded((later, later)), batch._replace(progress=0.5))
    log_p = later.double().log_softmax(dim=1)
    target = 0.6 * F.one_hot(labels, 10) + 0.4 * soft(logits)
    expected = -(target * log_p).sum(dim=1).mean()
    assert float(step.loss) == pytest.approx(float(expected), rel=1e-3)  # kept in float16
    assert method.known.sum() == 12


def test_ps_kd_keeps_the_most_probable_classes_of_many(example):
    model, batch, logits, *_ = example
    method = METHODS["ps-kd"](alpha=1.0, kept_classes=3)
    method.setup(task())
    assert method.past.shape == method.classes.shape == (20, 3)
    method(model, batch)
    kept = method.targets(batch._replace(progress=1.0), 10)
    top = soft(logits).topk(3)
    expected = ((1 - top.values.sum(dim=1, keepdim=True)) / 7).expand(-1, 10)
    expected = expected.scatter(1, top.indices, top.values)
    torch.testing.assert_close(kept.double(), expected, atol=1e-3, rtol=0)


def test_ps_kd_is_compact_for_imagenet():
    method = METHODS["ps-kd"]()
    method.setup(task(num_images=1_281_167, num_classes=1000))
    held = sum(buffer.numel() * buffer.element_size() for buffer in method.buffers())
    assert held < 520 * 2**20
    assert method.past.shape[1] > 50
    small = METHODS["ps-kd"]()
    small.setup(task(num_images=50_000, num_classes=100))
    assert small.past.shape == (50_000, 100)


def test_ddgsd(example):
    _, batch, *_ = example
    logits, features = other_logits(1, 24).requires_grad_(), other_logits(3, 24)
    batch = batch._replace(images=torch.zeros(24, 1, 8, 8))
    method = METHODS["ddgsd"](temperature=3.0, weight=0.5, feature_weight=0.1)
    step = method(Recorded((features, logits)), batch)
    a, b = logits[:12], logits[12:]
    gap = (features[:12].mean(dim=0) - features[12:].mean(dim=0)).square().sum()
    mutual = kl(soft(a, 3), soft(b, 3)) + kl(soft(b, 3), soft(a, 3))
    expected = ce(a, batch.labels) + ce(b, batch.labels) + 0.5 * 9 * mutual + 0.1 * float(gap)
    assert_value(step, expected)
    assert method.views == 2


def test_dlb_teaches_by_the_last_batch():
    method = METHODS["dlb"](temperature=3.0, weight=0.5)
    method.setup(task(batch_size=4))
    labels = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    views = torch.arange(16.0).view(2, 8, 1, 1, 1).expand(-1, -1, 1, 8, 8)
    first, second = other_logits(1, 4), other_logits(2, 8).requires_grad_()
    model = Recorded((first, first), (second, second))
    index = torch.arange(4)
    assert_value(method(model, Batch(views[0], labels[0], index)), ce(first, labels[0]))
    step = method(model, Batch(views[1], labels[1], index))
    # The last batch's second view and this batch's first.
    assert model.given[1][:, 0, 0, 0].tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    distance = kl(soft(first, 3), soft(second[:4], 3))
    assert_value(step, ce(second, labels.flatten()) + 0.5 * 9 * distance)
    assert step.logits.equal(second[4:])


def test_tf_kd_virtual_teacher(example):
    model, batch, logits, _, labels = example
    method = METHODS["tf-kd-virtual"](correct=0.9, temperature=5.0, alpha=0.4)
    right, wrong = 0.9 ** (1 / 5), (0.1 / 9) ** (1 / 5)
    total = right + 9 * wrong
    designed = torch.full((12, 10), wrong / total, dtype=torch.float64)
    designed[torch.arange(12), labels] = right / total
    expected = 0.6 * ce(logits, labels) + 0.4 * 25 * kl(designed, soft(logits, 5))
    assert_value(method(model, batch), expected)


@pytest.mark.parametrize("name", METHODS)
def test_settings_have_defaults_and_names_are_kebab_case(name):
    METHODS[name]()
    assert name == name.lower()
    assert "_" not in name


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("label-smoothing", {"smoothing": 1.5}, r"smoothing must be in \[0, 1\], got 1.5"),
        ("bake", {"omega": 1.0}, "omega must be"),
        ("bake", {"partners": -1}, "partners must be at least 0"),
        ("ps-kd", {"alpha": -0.1}, r"alpha must be in \[0, 1\]"),
        ("ps-kd", {"kept_classes": 0}, "kept_classes must be at least 1"),
        ("cs-kd", {"temperature": 0.0}, "temperature must be above 0"),
        ("dlb", {"weight": -1.0}, "weight must be at least 0"),
        ("dml", {"networks": 1}, "networks must be at least 2"),
        ("kdcl", {"networks": 1}, "networks must be at least 2"),
        ("one", {"branches": 1}, "branches must be at least 2"),
        ("tf-kd-virtual", {"correct": 1.5}, r"correct must be in \(0, 1\], got 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        METHODS[name](**settings)
