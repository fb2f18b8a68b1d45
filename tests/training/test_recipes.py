"""The paper's recipes: their settings, their notes, and a short run of each on a stand-in."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.measure import costs
from helpers.images import quiet_progress
from helpers.training_runs import QUIET
from PIL import Image

from torchbake.data.loading.open_data import open_data
from torchbake.training.loop import train
from torchbake.training.named_recipes import find_named, list_recipes
from torchbake.training.recipe_files import load_recipe, make_method
from torchbake.training.recipe_notes import describe_cost, write_notes
from torchbake.training.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
FORMS = ("bake", "bake-paper", "cross-entropy")
ROWS = json.loads((ROOT / "results" / "costs.json").read_text(encoding="utf-8"))["rows"]
COSTS = {row["recipe"]: row for row in ROWS}

# N, M, ω and the reported top-1 error of ResNet-18 and DenseNet-121.
SMALL = {
    "cifar100": (128, 3, 0.5, 21.28, 20.74),
    "tiny-imagenet": (128, 1, 0.9, 41.71, 37.07),
    "cub200": (32, 3, 0.5, 29.74, 28.79),
    "dogs": (32, 1, 0.9, 30.20, 27.66),
    "mit67": (32, 1, 0.9, 39.95, 39.15),
}
# Network, learning rate, weight decay and the reported top-1 accuracy.
IMAGENET = {
    "resnet50": ("resnet50", 0.4, 5e-5, 78.0),
    "resnet101": ("resnet101", 0.4, 5e-5, 79.3),
    "resnet152": ("resnet152", 0.4, 5e-5, 79.6),
    "resnest50": ("resnest50d", 0.4, 5e-5, 79.4),
    "resnest101": ("resnest101e", 0.4, 5e-5, 80.4),
    "resnext101": ("resnext101_32x4d", 0.4, 5e-5, 79.3),
    "resnext152": ("resnext152_32x4d", 0.4, 5e-5, 79.7),
    "mobilenetv2": ("mobilenetv2_100", 0.1, 4e-5, 72.0),
    "efficientnet_b0": ("efficientnet_b0", 0.8, 1e-5, 76.2),
    "swin_t": ("swin_tiny_patch4_window7_224", 5e-4, 0.05, None),
}
NETWORKS = [f"{folder}/{name}" for folder in SMALL for name in ("resnet18", "densenet121")]
NETWORKS += [f"imagenet/{name}" for name in IMAGENET]
NAMES = [f"{network}-{form}" for network in NETWORKS for form in FORMS]


def test_no_recipe_of_the_paper_is_missing_or_unknown():
    assert sorted(NAMES) == costs.list_counted() == list(COSTS)


def test_the_table_has_the_counted_costs():
    for name, row in COSTS.items():
        named = find_named()[name]
        assert named.row["multiply_adds"] == row["multiply_adds"]
        assert named.count_images() == row["images"]
        assert named.reported == row["reported_top1"]
    assert costs.count_network("preact_resnet18", 100, 32) == {
        key: COSTS["cifar100/resnet18-bake"][key] for key in ("parameters", "multiply_adds")
    }


def test_measured_figures_of_the_table_are_those_of_the_results():
    text = (ROOT / "results" / "digits_methods.json").read_text(encoding="utf-8")
    for form, told in find_named()["digits/bake"].row["measured"].items():
        runs = [row["top1"] for row in json.loads(text)["rows"] if row["variant"] == form]
        error = np.std(runs, ddof=1) / len(runs) ** 0.5
        assert told == {
            "top1": round(np.mean(runs), 2),
            "standard_error": round(error, 2),
            "seeds": len(runs),
        }


@pytest.mark.parametrize("name", list_recipes())
def test_notes_name_the_command_of_their_own_recipe(name):
    commands = [line for line in write_notes(name) if line.startswith("    ")]
    assert commands
    assert all(name in command.split() for command in commands)


@pytest.mark.parametrize("name", NAMES)
def test_notes_state_protocol_figure_and_cost(name):
    text = " ".join(write_notes(name))
    row = COSTS[name]
    assert describe_cost(row["images"], row["multiply_adds"]) in text
    assert "Not yet measured here." in text
    form = {"paper": "The paper's protocol", "bake": "Equal images", "entropy": "The baseline of"}
    assert text.startswith(form[name.rpartition("-")[2]])
    if name.endswith("-paper"):
        figure, decimals = row["reported_top1"], 1 if name.startswith("imagenet/") else 2
        told = "no figure that we know of" if figure is None else f"{figure:.{decimals}f} % top-1"
        assert f"Reported: {told}" in text


def test_a_cost_is_told_with_its_unit():
    told = describe_cost(40_000_000, 555_468_800)
    assert told.endswith("40 million images × 3 × 2 × 0.56 G multiply-adds, 133 petaFLOPs.")
    assert describe_cost(256_233_400, 4_089_184_256).endswith("4.1 G multiply-adds, 6.3 exaFLOPs.")


@pytest.mark.parametrize("folder", SMALL)
@pytest.mark.parametrize("network", ["resnet18", "densenet121"])
def test_settings_of_the_small_data_sets(folder, network):
    size, partners, omega, *errors = SMALL[folder]
    at32 = folder in ("cifar100", "tiny-imagenet")
    paper = load_recipe(f"{folder}/{network}-bake-paper")
    forms_at_32 = {"resnet18": "preact_resnet18", "densenet121": "densenet121_32"}
    assert paper.model.name == (forms_at_32[network] if at32 else network)
    assert not paper.model.pretrained
    reported = find_named()[f"{folder}/{network}-bake-paper"].reported
    assert reported == round(100 - errors[network == "densenet121"], 2)
    optimizer, schedule, data = paper.optimizer, paper.schedule, paper.data
    assert (optimizer.name, optimizer.lr, optimizer.momentum) == ("sgd", 0.1, 0.9)
    assert (optimizer.nesterov, optimizer.weight_decay) == (False, 1e-4)
    assert optimizer.decay_norm_and_bias
    assert (schedule.name, schedule.milestones, schedule.gamma) == ("step", (0.5, 0.75), 0.1)
    if folder == "cifar100":
        assert (data.name, data.crop, data.padding) == ("cifar100", "pad", 4)
    else:
        assert data.name == f"imagefolder:data/{folder}"
        assert (data.crop, data.min_scale) == ("resized", 0.08)
        assert (data.image_size, data.crop_pct) == ((32, 1.0) if at32 else (224, 0.875))
    assert data.flip
    check_forms(f"{folder}/{network}", size, partners, omega, 200, "best-on-test")


@pytest.mark.parametrize("network", IMAGENET)
def test_settings_of_imagenet(network):
    timm_name, lr, decay, top1 = IMAGENET[network]
    paper = load_recipe(f"imagenet/{network}-bake-paper")
    assert paper.model.name == timm_name
    assert not paper.model.pretrained
    assert find_named()[f"imagenet/{network}-bake-paper"].reported == top1
    optimizer, schedule, data = paper.optimizer, paper.schedule, paper.data
    assert (optimizer.lr, optimizer.weight_decay) == (lr, decay)
    if network == "swin_t":
        assert (optimizer.name, optimizer.clip_grad_norm) == ("adamw", 5)
        assert not optimizer.decay_norm_and_bias
    else:
        assert (optimizer.name, optimizer.momentum, optimizer.nesterov) == ("sgd", 0.9, True)
        assert optimizer.decay_norm_and_bias
    assert paper.training.sync_batch_norm == (network != "swin_t")
    assert (schedule.name, schedule.warmup, schedule.warmup_start) == ("cosine", 0.05, 0.1)
    assert schedule.final == 0
    assert (data.name, data.crop, data.image_size) == ("imagefolder:data/imagenet", "resized", 224)
    assert (data.crop_pct, data.flip) == (0.875, True)
    assert (data.color_jitter, data.lighting) == (0.4, 0.1)
    # The published code tests its last checkpoint.
    check_forms(f"imagenet/{network}", 512, 1, 0.5, 100, "last")


def check_forms(network, batch_size, partners, omega, epochs, paper_report):
    bake, paper, baseline = (load_recipe(f"{network}-{form}") for form in FORMS)
    for recipe in (bake, paper):
        settings = make_method(recipe.method)
        assert settings.partners == partners
        assert (recipe.method["name"], recipe.method["omega"]) == ("bake", omega)
        assert (recipe.method["temperature"], recipe.method["weight"]) == (4, 1)
        assert (recipe.method["affinity_temperature"], recipe.method["across_ranks"]) == (1, True)
        assert (recipe.training.batch_size, recipe.training.epochs) == (batch_size, epochs)
    assert (paper.training.epoch, paper.training.report) == ("anchors", paper_report)
    assert (bake.training.epoch, bake.training.report) == ("images", "last")
    assert paper.training.precision == "float32"
    assert (paper.data, paper.model, paper.schedule) == (bake.data, bake.model, bake.schedule)
    if not network.startswith("cifar100"):
        assert paper.optimizer == bake.optimizer
    assert baseline.method == {"name": "cross-entropy"}
    for section in ("data", "model", "optimizer", "schedule", "training", "seed"):
        assert getattr(baseline, section) == getattr(bake, section)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """Folders in the layout of each data set: a few JPEG files a class, of any size."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for folder in ("cifar100", "tiny-imagenet", "cub200", "dogs", "mit67", "imagenet"):
        test = "val" if folder == "imagenet" else "test"
        for split, count in (("train", 4), (test, 2)):
            for label in ("n01440764", "n01443537"):
                path = root / folder / split / label
                path.mkdir(parents=True)
                for number in range(count):
                    size = {"cifar100": (32, 32), "tiny-imagenet": (64, 64)}.get(folder)
                    height, width = size or random.integers(40, 120, 2)
                    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(path / f"{label}_{number}.JPEG")
    return root


def on(stand_in, name):
    """Overrides by which a recipe finds the stand-in for its data."""
    where = f"imagefolder:{stand_in / name.split('/')[0]}"
    return [("data.name", where), ("data.workers", "0"), ("data.cache", "false")]


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_recipe_are_found_and_brought_to_its_size(name, stand_in):
    recipe = load_recipe(name, on(stand_in, name))
    data = open_data(recipe.data, quiet_progress)
    assert data.source.classes == ["n01440764", "n01443537"]
    (batch,) = data.test_batches(8, torch.device("cpu"))
    size = recipe.data.image_size or 32
    assert batch.images.shape == (4, 3, size, size)


# Every recipe on ImageNet, and of the others each form once and each network once: what else
# differs among them is held by the tables above.
RUNS = [name for name in NAMES if name.startswith("imagenet/")]
RUNS += [f"cub200/resnet18-{form}" for form in FORMS]
RUNS += ["cifar100/resnet18-bake-paper", "cifar100/densenet121-cross-entropy"]
RUNS += ["tiny-imagenet/densenet121-bake", "dogs/densenet121-bake", "mit67/densenet121-bake-paper"]


@pytest.mark.parametrize("name", RUNS)
def test_a_short_run_on_a_stand_in(name, stand_in, tmp_path):
    # Swin-T takes 224 pixels and no others; two steps of those would take too long.
    steps = 1 if "swin" in name else 2
    short = {"batch_size": 4, "max_steps": steps, "device": "cpu"}
    overrides = [(f"training.{key}", str(value)) for key, value in short.items()]
    overrides.append(("optimizer.lr", "0.001"))  # so few steps at the full rate may overflow
    if load_recipe(name).data.image_size == 224 and "swin" not in name:
        overrides.append(("data.image_size", "64"))
    recipe = load_recipe(name, [*on(stand_in, name), *overrides])
    final = train(recipe, tmp_path / "run", console=QUIET)
    assert (final["step"], final["images"]) == (steps, 4 * steps)
    assert 0 <= final["top1"] <= 100
    kinds = {record["kind"] for record in RunFolder(tmp_path / "run").read_metrics()}
    assert kinds == {"train", "eval"}
    shutil.rmtree(tmp_path / "run")  # of half a gigabyte
