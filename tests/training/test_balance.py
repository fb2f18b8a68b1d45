"""Training on classes of unequal size."""

import pytest
import torch
from helpers.training_runs import QUIET, StopAt, recipe, same, weights

from torchbake.data import Source, Split
from torchbake.errors import UserError
from torchbake.methods import METHODS, Method
from torchbake.recipe import DataRecipe
from torchbake.training.class_weights import choose_class_weights
from torchbake.training.loop import train
from torchbake.training.run_folder import RunFolder


def source(*counts):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    split = Split(labels, lambda index: torch.zeros(3, 2, 2, dtype=torch.uint8))
    return Source(split, split, [f"c{n}" for n in range(len(counts))])


def test_weights_are_inverse_frequencies_with_a_mean_of_one():
    unequal = source(60, 30, 10)
    found = choose_class_weights(unequal, DataRecipe(balance="loss"))
    torch.testing.assert_close(found, torch.tensor([100 / 180, 100 / 90, 100 / 30]))
    assert found[unequal.train.labels].mean().item() == pytest.approx(1)
    found = choose_class_weights(unequal, DataRecipe(class_weights=(1.0, 2.0, 8.0)))
    torch.testing.assert_close(found, torch.tensor([1.0, 2.0, 8.0]) / 2)
    assert choose_class_weights(unequal, DataRecipe(balance="sampling")) is None
    # A class that has no training image weighs on nothing.
    found = choose_class_weights(source(60, 0, 20), DataRecipe(balance="loss"))
    torch.testing.assert_close(found[[0, 2]], torch.tensor([80 / 120, 80 / 40]))
    with pytest.raises(UserError, match="expected 3 numbers, one for each of the classes c0, c1"):
        choose_class_weights(unequal, DataRecipe(class_weights=(1.0, 2.0)))


class Deaf(Method):
    """Does not say that it weighs classes."""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([("data.balance", "loss"), ("method", "deaf")], "data.balance: method 'deaf' does not"),
        ([("data.class_weights", "[1, 2]"), ("method", "deaf")], "data.class_weights: method"),
        ([("data.class_weights", "[1, 2]"), ("data.balance", "loss")], "give either this or"),
        ([("data.class_weights", "[1, 0]")], r"data.class_weights.*greater than 0"),
        ([("method.label_smoothing", "1.1")], "method.label_smoothing"),
    ],
)
def test_what_does_not_go_together_is_refused(monkeypatch, more, message):
    monkeypatch.setitem(METHODS, "deaf", Deaf)
    with pytest.raises(UserError, match=message):
        recipe(*more)


@pytest.mark.parametrize("balance", ["sampling", "loss"])
def test_a_balanced_run_counts_images_as_ever_and_goes_on_bit_for_bit(
    tmp_path, monkeypatch, balance
):
    settings = recipe(
        ("data.balance", balance),
        ("method.label_smoothing", "0.1"),
        ("training.checkpoint_every", "7"),
        ("data.cutmix", "1"),
    )
    train(settings, tmp_path / "whole", console=QUIET)
    with monkeypatch.context() as patched:
        StopAt(patched, 10)  # within an epoch
        with pytest.raises(RuntimeError, match="crash"):
            train(settings, tmp_path / "cut", console=QUIET)
    train(settings, tmp_path / "cut", resume=True, console=QUIET)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    run = RunFolder(tmp_path / "whole")
    last = run.read_metrics()[-1]
    assert last["images"] == settings.training.epochs * (300 // 64) * 64
    assert 0 < last["macro_f1"] <= 100
    assert run.read_result()["last"]["balanced_accuracy"] == last["balanced_accuracy"]
