from dataclasses import replace

import pytest
import yaml

from torchbake.errors import UserError
from torchbake.training.named_recipes import list_recipes
from torchbake.training.recipe_files import (
    dump_recipe,
    load_recipe,
    make_method,
    make_recipe,
    preview_recipe,
)


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_are_whole_and_survive_their_dump(name):
    recipe = load_recipe(name)
    assert recipe.description
    assert make_recipe(yaml.safe_load(dump_recipe(recipe))) == recipe
    make_method(recipe.method)
    assert dump_recipe(preview_recipe(name)) == dump_recipe(recipe)


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_can_be_extended(tmp_path, name):
    own = tmp_path / "own.yaml"
    own.write_text(f"extends: {name}\nseed: 3\n")
    assert load_recipe(str(own)) == replace(load_recipe(name), seed=3)


def test_baselines_differ_in_their_method_alone():
    for folder, bake in (("digits", "bake"), ("cifar100", "resnet18-bake")):
        ours = load_recipe(f"{folder}/{bake}")
        theirs = load_recipe(f"{folder}/{bake.replace('bake', 'cross-entropy')}")
        assert theirs.method == {"name": "cross-entropy"}
        for section in ("data", "model", "optimizer", "schedule", "training", "seed"):
            assert getattr(ours, section) == getattr(theirs, section)


def test_a_file_extends_a_recipe_or_another_file_and_flags_win(tmp_path):
    (tmp_path / "base.yaml").write_text("extends: digits/bake\nmethod: {omega: 0.9}\nseed: 7\n")
    own = tmp_path / "own.yaml"
    own.write_text("extends: base.yaml\noptimizer:\n  lr: 1e-2\n")
    recipe = load_recipe(str(own), [("method.omega", "0.7"), ("schedule", "one-cycle")])
    assert recipe.method["omega"] == 0.7
    assert recipe.method["partners"] == 3
    assert recipe.optimizer.lr == 0.01
    assert recipe.seed == 7
    assert recipe.schedule.name == "one-cycle"


def test_another_method_brings_its_own_settings():
    recipe = load_recipe(
        "digits/bake", [("method", "label-smoothing"), ("method.smoothing", "0.2")]
    )
    assert recipe.method == {"name": "label-smoothing", "smoothing": 0.2}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer.lr", "-1", r"^optimizer.lr: input should be greater than 0, got -1$"),
        ("optimizer.lr", "fast", "^optimizer.lr: input should be a valid number.* got 'fast'$"),
        ("optimizer.lrr", "1", "^optimizer.lrr: unknown key; did you mean 'optimizer.lr'"),
        ("optimzer.lr", "1", "^optimzer: unknown key; did you mean 'optimizer'"),
        ("lr", "1", "^lr: unknown key; did you mean 'optimizer.lr'"),
        ("optimizer.speed", "1", "unknown key; known: optimizer.betas, "),
        ("training.epochs", "1.5", "^training.epochs: .* got 1.5$"),
        ("schedule", "cosin", "^schedule.name: input should be 'constant', .* got 'cosin'$"),
        ("data.crop", "centre", "^data.crop: input should be 'none', 'pad' or 'resized'"),
        ("method.name.x", "3", "^method.name: unknown method"),
        ("method", "bak", "^method.name: unknown method 'bak'; did you mean 'bake'"),
        ("method.omga", "0.5", "^method.omga: unknown key; did you mean 'method.omega'"),
        ("method.omega", "1.5", "^method.omega: input should be less than 1, got 1.5$"),
        (
            "method.memory",
            "9",
            "^method.memory: unknown key of 'bake'; it belongs to bake-variants$",
        ),
        ("method.partners", "many", "^method.partners: input should be a valid integer"),
        ("training.batch_size", "3", r"^training.batch_size: 3 images .*partners \+ 1 = 4"),
        ("training.accumulate", "5", "^training.batch_size: 64 images in 5 part"),
        ("training.accumulate", "32", "each with room for groups"),
        ("optimizer.momentum", "0", "^optimizer.nesterov: needs optimizer.momentum above 0$"),
        ("training.cuda_graphs", "true", "^training.cuda_graphs: needs training.compile: true"),
        ("data.mean", "[0.5]", "^data.mean: give both data.mean and data.std, or neither$"),
    ],
)
def test_mistakes_are_named_with_their_path(key, value, message):
    with pytest.raises(UserError, match=message):
        load_recipe("digits/bake", [(key, value)])


def test_impossible_combinations_are_refused():
    for overrides, message in (
        ([("schedule", "one-cycle"), ("schedule.warmup_steps", "5")], "schedule.warmup_steps"),
        ([("schedule", "one-cycle"), ("schedule.warmup", "0.1")], "^schedule.warmup: must be 0"),
        (
            [("schedule.warmup_steps", "5"), ("schedule.warmup", "0.1")],
            "warmup: give either this or sch",
        ),
        ([("data.crop", "resized"), ("data.in_memory", "true")], "data.in_memory"),
        ([("data.crop_pct", "1.1")], "^data.crop_pct: input should be less than or equal to 1"),
        ([("data.color_jitter", "2")], "^data.color_jitter: input should be less than or equal"),
        ([("model.classifier", "fc"), ("model.features", "pool")], "model.features"),
        ([("training.accumulate", "2"), ("method.partners", "4")], "training.accumulate"),
    ):
        with pytest.raises(UserError, match=message):
            load_recipe("digits/bake", overrides)


def test_a_description_goes_with_the_data_the_model_and_the_method(tmp_path):
    described = load_recipe("digits/bake").description
    for kept in ("seed", "1"), ("optimizer.lr", "0.2"), ("data", "digits"), ("method", "bake"):
        assert load_recipe("digits/bake", [kept]).description == described
    for other in ("data", "imagefolder:birds"), ("model.name", "resnet18"), ("method", "dml"):
        assert load_recipe("digits/bake", [other]).description == ""
    named = [("description", "Birds."), ("data", "imagefolder:birds")]
    assert load_recipe("digits/bake", named).description == "Birds."

    (tmp_path / "birds.yaml").write_text("extends: digits/bake\ndata: imagefolder:birds\n")
    (tmp_path / "own.yaml").write_text("extends: birds.yaml\nseed: 3\n")
    (tmp_path / "rate.yaml").write_text("extends: digits/bake\noptimizer: {lr: 0.2}\n")
    (tmp_path / "told.yaml").write_text("extends: birds.yaml\ndescription: Birds.\n")
    found = {p.stem: load_recipe(str(p)).description for p in tmp_path.glob("*.yaml")}
    assert found == {"birds": "", "own": "", "rate": described, "told": "Birds."}


def test_the_order_of_flags_does_not_matter():
    flags = [("method.omega", "0.9"), ("method", "bake")]
    for overrides in (flags, flags[::-1]):
        assert load_recipe("digits/cross-entropy", overrides).method["omega"] == 0.9


def test_several_mistakes_are_all_named():
    with pytest.raises(UserError) as caught:
        load_recipe("digits/bake", [("optimizer.lr", "-1"), ("training.epochs", "0")])
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- 1", "expected a mapping"),
        ("a: [", "not valid YAML"),
        ("extends: own.yaml", "extends itself"),
        ("extends: digits/bak", "unknown recipe 'digits/bak'; did you mean 'digits/bake'"),
        ("extends: missing.yaml", "there is no recipe file .*missing.yaml"),
    ],
)
def test_files_that_are_no_recipes_are_refused(tmp_path, content, message):
    path = tmp_path / "own.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_recipe(str(path))
