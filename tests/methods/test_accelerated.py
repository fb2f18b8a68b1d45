"""What methods compute on an accelerator: ensembles in float32, few operations, no questions."""

from collections import Counter

import pytest
import torch
from helpers.method_contract import Tried
from helpers.method_examples import Recorded, other_logits, task
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from torchbake.methods import METHODS
from torchbake.methods.kdcl import combine_linearly
from torchbake.methods.one import combine_gated
from torchbake.models.average import move_towards

BF16 = {"device_type": "cpu", "dtype": torch.bfloat16}


@pytest.mark.parametrize("ensemble", ["min-logit", "naive", "linear"])
def test_autocast_changes_no_target_of_kdcl(example, ensemble):
    _, batch, logits, features, _ = example
    batch = batch._replace(images=torch.zeros(24, 1, 8, 8))
    method = METHODS["kdcl"](ensemble=ensemble)
    peer = other_logits(1)
    method.setup(task(make_network=lambda k: Recorded((peer, peer))))
    exact = method(Recorded((features, logits)), batch)
    with torch.autocast(**BF16):
        step = method(Recorded((features, logits)), batch)
    assert step.terms["distillation"] == exact.terms["distillation"]


def test_autocast_changes_no_ensemble_of_one():
    logits = torch.stack([other_logits(k) for k in range(3)])
    gate = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    shares = gate.softmax(dim=1)
    expected = sum(shares[:, k : k + 1] * logits[k] for k in range(3))
    with torch.autocast(**BF16):
        found = combine_gated(gate, logits)
        of_half = combine_gated(gate.bfloat16(), logits.bfloat16())
    torch.testing.assert_close(found, expected)
    # The network's own rounding is all that is left: 8 bits of the gate and of the logits.
    assert of_half.dtype == torch.float32
    assert (of_half - expected).abs().max() < 2**-8 * 2 * logits.abs().max()


def test_ones_ensemble_is_what_its_loss_uses(monkeypatch):
    tried = Tried("one")
    kinds = []

    def watched(logits, target):
        kinds.append(logits.dtype)
        return F.cross_entropy(logits.float(), target)

    monkeypatch.setattr(tried.method, "compute_cross_entropy", watched)
    with torch.autocast(**BF16):
        tried.compute(0)
    assert kinds == [torch.bfloat16] * 3 + [torch.float32]  # the ensemble's is the last


def test_mixed_logits_of_mixskd_are_not_rounded_again(monkeypatch):
    tried = Tried("mixskd")
    calls = []
    distil = tried.method._distil

    def watched(pairs):
        calls.append([{logits.dtype, teacher.dtype} for logits, teacher in pairs])
        return distil(pairs)

    monkeypatch.setattr(tried.method, "_distil", watched)
    with torch.autocast(**BF16):
        tried.compute(0)
    heads, _ = calls  # a head's mixed logits, and those for the mixed image
    assert heads
    assert all(kinds == {torch.float32, torch.bfloat16} for kinds in heads)


class Dispatched(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("k", "scale"), [(2, 0.1), (2, 30.0), (3, 3.0), (5, 3.0)])
def test_the_linear_ensemble_is_that_of_exponentiated_gradient(k, scale):
    generator = torch.Generator().manual_seed(k)
    logits = scale * torch.randn(k, 16, 10, generator=generator)
    labels = torch.randint(10, (16,), generator=generator)
    with Dispatched() as dispatched:
        found = combine_linearly(logits, labels)
    assert dispatched.names.total() < 1000
    exact = logits.double()
    weights = torch.full((k,), 1 / k, dtype=torch.float64)
    for _ in range(100):
        wrong = torch.einsum("k,knc->nc", weights, exact).softmax(dim=1) - F.one_hot(labels, 10)
        gradient = torch.einsum("knc,nc->k", exact, wrong) / 16
        weights = (weights.log() - gradient / exact.std()).softmax(dim=0)
    expected = torch.einsum("k,knc->nc", weights, exact)
    assert (found - expected).abs().max() < 2e-6 * scale


def test_dlb_asks_once_whether_there_was_a_last_batch():
    tried = Tried("dlb")
    ask, answers = tried.method._is_set, []
    tried.method._is_set = lambda flag: answers.append(ask(flag)) or answers[-1]
    tried.train(0, 1, 2)
    assert answers == [False]
    resumed = Tried("dlb", seed=1)
    resumed.load(tried.save())
    ask, later = resumed.method._is_set, []
    resumed.method._is_set = lambda flag: later.append(ask(flag)) or later[-1]
    resumed.train(3, 4)
    assert later == [True]


@pytest.mark.parametrize("share", [0.1, 0.9, torch.tensor(0.1), torch.tensor(0.9)])
def test_averages_move_all_at_once(share):
    means = [torch.randn(3, 4), torch.randn(5)]
    values = [torch.randn(3, 4), torch.randn(5)]
    expected = [
        (1 - share) * mean + share * value for mean, value in zip(means, values, strict=True)
    ]
    with Dispatched() as dispatched:
        move_towards(means, values, share)
    torch.testing.assert_close(means, expected)
    assert all(name.startswith("_foreach") for name in dispatched.names)
    assert dispatched.names.total() <= 3
