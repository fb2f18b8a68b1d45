"""What every method, new ones too, owes to a training loop (see helpers.method_contract)."""

import re
from copy import deepcopy
from inspect import signature

import pytest
import torch
from helpers.method_contract import BY_HAND, Tried, load_recorded, wrong_values
from helpers.method_examples import assert_value, task
from helpers.training_runs import same
from torch.nn import functional as F

from torchbake.errors import UserError
from torchbake.methods import METHODS
from torchbake.training.recipe_files import make_method


@pytest.mark.parametrize("name", BY_HAND)
def test_the_loss_is_the_formula(example, name):
    model, batch, *arguments = example
    method = METHODS[name](**BY_HAND[name].settings)
    method.setup(task(load_network=load_recorded))
    step = method(model, batch._replace(progress=0.5))
    assert_value(step, BY_HAND[name].loss(*arguments))


@pytest.mark.parametrize(
    ("name", "more"),
    [("bake", {}), ("bake-plus", {}), ("bake-variants", {"neighbours": "same-class"})],
)
@pytest.mark.parametrize("mixed", [False, True])
def test_bake_smooths_the_labels_of_its_hard_term_alone(example, name, more, mixed):
    model, batch, logits, *_ = example
    labels = F.one_hot(batch.labels, 10).double()
    if mixed:
        labels = labels.lerp(labels.roll(1, 1), 0.25)
        batch = batch._replace(mixed=labels.float())
    plain, smooth = (METHODS[name](**more, **own) for own in ({}, {"label_smoothing": 0.2}))
    terms = smooth(model, batch).terms
    hard = -((0.8 * labels + 0.02) * logits.double().log_softmax(dim=1)).sum(dim=1).mean()
    assert terms["cross_entropy"].item() == pytest.approx(hard.item(), rel=1e-5)
    assert terms["distillation"] == plain(model, batch).terms["distillation"]


@pytest.mark.parametrize("name", METHODS)
def test_class_weights_weigh_the_labels_of_their_class(name):
    """The loss is linear in the weights; batch 0 has the classes 0, 1 and 2."""
    assert METHODS[name].weighs_classes

    def compute(*weighed):
        tried = Tried(name, class_weights=torch.tensor([float(c in weighed) for c in range(10)]))
        assert tried.method.state_dict().keys() == Tried(name).method.state_dict().keys()
        return tried.compute(0).loss.item()

    without, plain = compute(), Tried(name).compute(0).loss.item()
    parts = [compute(number) - without for number in range(3)]
    assert min(parts) > 0.01
    assert without + sum(parts) == pytest.approx(plain, rel=1e-4)
    assert compute(*range(10)) == pytest.approx(plain, rel=1e-5)
    assert compute(7) == pytest.approx(without, rel=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_a_step_has_what_the_loop_needs(name):
    tried = Tried(name)
    tried.train(0)
    step = tried.compute(1)
    torch.testing.assert_close(torch.stack(list(step.terms.values())).sum(), step.loss)
    assert step.logits.shape == (12 if step.labels is None else len(step.labels), 10)
    step.loss.backward()
    trained = [p for p in tried.method.parameters() if p.requires_grad]
    for parameter in (*tried.network.parameters(), *trained):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", METHODS)
def test_it_goes_on_from_a_checkpoint_bit_for_bit(name):
    whole = Tried(name)
    whole.train(0, 1)
    checkpoint = whole.save()
    resumed = Tried(name, seed=1)
    resumed.load(checkpoint)
    assert same(resumed.state(), whole.state())
    assert resumed.train(2, 3) == whole.train(2, 3)
    assert same(resumed.state(), whole.state())


@pytest.mark.parametrize("name", METHODS)
def test_a_deep_copy_is_another_one(name):
    tried = Tried(name)
    tried.train(0, 1)
    before = deepcopy(tried.state())
    copied = deepcopy(tried)
    losses = copied.train(2, 3)
    assert same(tried.state(), before)
    assert tried.train(2, 3) == losses


@pytest.mark.parametrize("name", METHODS)
def test_bf16_autocast_changes_little(name):
    exact, rounded = Tried(name), Tried(name)
    for number in (0, 1):
        expected = exact.compute(number)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            step = rounded.compute(number)
        assert step.loss.dtype == torch.float32
        torch.testing.assert_close(step.loss, expected.loss, rtol=0.01, atol=0)
        step.loss.backward()
        assert all(parameter.grad.isfinite().all() for parameter in rounded.network.parameters())


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if kind.mixes])
def test_mixed_images_have_mixed_labels(example, name):
    model, batch, *_ = example
    one_hot = F.one_hot(batch.labels, 10).float()
    method = METHODS[name]()
    plain = method(model, batch)
    same_labels = method(model, batch._replace(mixed=one_hot))
    torch.testing.assert_close(plain.loss, same_labels.loss)
    other = method(model, batch._replace(mixed=one_hot.roll(1, 1)))
    mixed = method(model, batch._replace(mixed=one_hot.lerp(one_hot.roll(1, 1), 0.25)))
    torch.testing.assert_close(mixed.loss, 0.75 * plain.loss + 0.25 * other.loss)


@pytest.mark.parametrize("name", METHODS)
def test_wrong_settings_are_refused_in_one_clear_line(name):
    METHODS[name]()
    assert re.fullmatch("[a-z]+(-[a-z]+)*", name)
    for key, parameter in signature(METHODS[name]).parameters.items():
        assert parameter.default is not parameter.empty
        for value in wrong_values(parameter.annotation):
            with pytest.raises(ValueError, match=f"^{key} must [^\n]*, got {value}$"):
                METHODS[name](**{key: value})
            with pytest.raises(UserError, match=rf"^method\.{key}: [^\n]*, got {value}$"):
                make_method({"name": name, key: value})
