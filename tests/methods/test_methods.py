"""Losses of one network against values computed by hand, from the formulas of their papers."""

import pytest
import torch
from helpers.method_examples import Recorded, assert_value, ce, kl, other_logits, soft, task
from torch.nn import functional as F

from torchbake.methods import METHODS, Batch


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
    kept = method.compute_targets(batch._replace(progress=1.0), 10)
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
