import pytest
import torch
from reference import clustered
from torch import nn
from torch.nn import functional as F

from torchbake import BAKELoss
from torchbake.methods import BAKE, METHODS, Batch, CrossEntropy, LabelSmoothing
from torchbake.models import Output


class Recorded(nn.Module):
    """A model whose outputs are given."""

    def __init__(self, logits, features):
        super().__init__()
        self.output = Output(features, logits)

    def forward(self, images):
        return self.output


@pytest.fixture
def example():
    logits, features, labels = clustered(12)
    batch = Batch(torch.zeros(12, 1, 8, 8), labels, torch.arange(12))
    return Recorded(logits, features), batch, logits, features, labels


def test_cross_entropy(example):
    model, batch, logits, _, labels = example
    step = CrossEntropy()(model, batch)
    assert step.loss == F.cross_entropy(logits, labels)
    assert step.terms == {"cross_entropy": step.loss}


def test_label_smoothing_is_the_papers_formula(example):
    model, batch, logits, _, labels = example
    step = LabelSmoothing(smoothing=0.2)(model, batch)
    smoothed = 0.8 * F.one_hot(labels, 10) + 0.2 / 10
    expected = -(smoothed * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(step.loss, expected)


def test_bake(example):
    model, batch, logits, features, labels = example
    method = BAKE(partners=3, omega=0.7, temperature=2.0, weight=0.5, affinity_temperature=0.3)
    step = method(model, batch)
    assert step.loss == BAKELoss(2.0, 0.7, 0.5, 0.3)(logits, labels, features)
    assert sum(step.terms.values()) == step.loss
    assert method.partners == 3


@pytest.mark.parametrize("name", METHODS)
def test_settings_have_defaults_and_names_are_kebab_case(name):
    METHODS[name]()
    assert name == name.lower()
    assert "_" not in name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LabelSmoothing(smoothing=1.5), r"smoothing must be in \[0, 1\], got 1.5"),
        (lambda: BAKE(omega=1.0), "omega must be"),
        (lambda: BAKE(partners=-1), "partners must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
