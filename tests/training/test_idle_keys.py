import pytest

from torchbake.errors import UserError
from torchbake.training.distributed import find_device
from torchbake.training.idle_keys import find_idle_keys
from torchbake.training.named_recipes import list_recipes
from torchbake.training.recipe_files import load_recipe


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([("data.padding", "2")], "data.padding has no effect with data.crop none"),
        (
            [("optimizer.betas", "[0.8, 0.9]")],
            "optimizer.betas has no effect with optimizer.name sgd",
        ),
        ([("schedule.gamma", "0.2")], "schedule.gamma has no effect with schedule.name one-cycle"),
        (
            [("data.mix_probability", "0.5")],
            "data.mix_probability has no effect without data.mixup",
        ),
        ([("data.label_noise_seed", "3")], "data.label_noise_seed has no effect without"),
        ([("data.image_column", "x")], "data.image_column has no effect on data.name digits"),
        ([("data.folder", "x")], "data.folder has no effect on data.name digits"),
        (
            [("data", "imagefolder:x"), ("data.label_column", "x")],
            "no effect on data.name imagefold",
        ),
    ],
)
def test_keys_without_effect_are_named(overrides, line):
    base = [("data.crop", "none"), ("schedule", "one-cycle")]
    found = find_idle_keys(load_recipe("digits/bake", [*base, *overrides]))
    assert [told for told in found if line in told]


def test_shipped_recipes_and_own_sources_have_none():
    for name in list_recipes():
        assert find_idle_keys(load_recipe(name)) == [], name
    own = [("data", "mine:source"), ("data.folder", "x"), ("data.image_column", "y")]
    assert find_idle_keys(load_recipe("digits/bake", own)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.padding", "100000"),
        ("data.crop_pct", "1e-320"),
        ("data.crop_pct", "0.01"),
        ("data.mean", "[.nan]"),
        ("data.mean", "[3.0]"),
        ("data.mixup", ".inf"),
        ("data.mixup", "1e-320"),
        ("data.image_size", "1000000"),
        ("data.workers", "1000000"),
        ("optimizer.lr", ".inf"),
        ("optimizer.lr", "1e308"),
        ("optimizer.lr", "true"),
        ("training.epochs", "true"),
        ("training.epochs", "1" * 30),
        ("method.temperature", "1e308"),
        ("method.temperature", "1e-320"),
        ("method.partners", "1" * 12),
        ("seed", "1" * 30),
    ],
)
def test_numbers_that_cannot_be_computed_with_are_refused(key, value):
    with pytest.raises(UserError, match=f"^{key}.*: input should be"):
        load_recipe("digits/bake", [(key, value)])


def test_a_device_without_numbers_is_refused():
    with pytest.raises(UserError, match=r"^training\.device: 'meta' holds no numbers"):
        find_device("meta", 0)
