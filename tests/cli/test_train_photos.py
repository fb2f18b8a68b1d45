"""`torchbake train PATH`, short options, and starting from another run."""

import json
import re

import pytest
import yaml
from helpers.commands import failing
from helpers.images import picture

from torchbake.cli.main import main
from torchbake.models import hub

QUICK = ["--model", "test_resnet", "--data.image_size", "32", "--data.workers", "0"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with photos, and a run on them; the hub is not there."""
    root = tmp_path_factory.mktemp("cli")
    for number, name in enumerate(["owl", "tit", "wren"]):
        (root / "birds" / name).mkdir(parents=True)
        for index in range(6):
            file = root / "birds" / name / f"{index}.jpg"
            picture(number * 4 + index % 4, (30, 30 + index)).save(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(hub, "_is_there", lambda endpoint: False)
        main(["train", "birds", *QUICK, "--epochs", "1"])
    return root


@pytest.fixture(autouse=True)
def offline(runs, monkeypatch):
    monkeypatch.chdir(runs)
    monkeypatch.setattr(hub, "_is_there", lambda endpoint: False)


def recorded(folder):
    return yaml.safe_load((folder / "recipe.yaml").read_text())


def test_photos_are_trained_on_with_what_was_chosen_for_them(runs):
    run = runs / "runs" / "birds"
    recipe = recorded(run)
    assert "description" not in recipe
    assert recipe["data"]["name"] == "imagefolder:birds"
    assert recipe["training"]["batch_size"] == 2
    assert (run / "model.safetensors").is_file()
    for text in (run / "train.log", run / "report.html"):
        assert not re.search("andwritten|CIFAR|CUB", text.read_text())


def test_what_is_found_and_chosen_is_said(runs, capsys):
    out = runs / "runs" / "said"
    main(["train", "birds", *QUICK, "--epochs", "1", "--batch-size", "5", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "found in birds: class folders without splits; 3 images, 20 % of each class" in printed
    assert "15 training and 3 test images of 3 classes: owl, tit, wren" in printed
    assert "recipe photos/scratch: " in printed
    assert "--model.weights FILE fine-tunes" in printed
    assert "training.epochs" not in printed
    assert recorded(out)["training"]["batch_size"] == 5
    main(["train", "birds", "--resume", "--out", str(out)])
    assert recorded(out)["training"]["batch_size"] == 5


def test_a_flat_folder_is_trained_on_and_predicted(runs, capsys):
    (runs / "flat").mkdir()
    for file in (runs / "birds").rglob("*.jpg"):
        (runs / "flat" / f"{file.parent.name}_{file.name}").write_bytes(file.read_bytes())
    main(["train", "flat", *QUICK, "--epochs", "1"])
    main(["predict", "runs/flat", "flat", "--out", "labels.csv"])
    printed = capsys.readouterr()
    assert "their names tell the classes (owl_0.jpg is owl): owl 6, tit 6, wren 6" in printed.out
    assert "15 training and 3 test images of 3 classes: owl, tit, wren" in printed.out
    rows = (runs / "labels.csv").read_text().splitlines()
    assert len(rows) == 19
    said = printed.out + printed.err + (runs / "runs" / "flat" / "train.log").read_text()
    assert not re.search("andwritten|digits|CIFAR|CUB|Traceback", said)


def test_a_file_of_weights_is_fine_tuned(runs, capsys):
    weights = "runs/birds/model.safetensors"
    main(["train", "birds", *QUICK, "--model.weights", weights, "--print-recipe"])
    recipe = yaml.safe_load(capsys.readouterr().out)
    assert recipe["optimizer"]["head_lr"]
    assert recipe["model"]["weights"] == weights
    assert recipe["training"]["epochs"] == 50


def test_a_run_starts_from_another(runs):
    (runs / "cats").mkdir()
    for name in ("lynx", "puma"):
        (runs / "cats" / name).mkdir()
        for index in range(4):
            picture(index, (30, 31 + index)).save(runs / "cats" / name / f"{name}{index}.png")
    main(["train", "cats", "--init-from", "runs/birds", *QUICK[2:], "--epochs", "1"])
    recipe = recorded(runs / "runs" / "cats")
    assert recipe["model"]["name"] == "test_resnet"
    start = json.loads((runs / "runs" / "cats" / "started-from.json").read_text())
    assert start["path"] == "runs/birds/model.safetensors"
    assert list(start["new"]) == ["fc.weight", "fc.bias"]
    assert recipe["data"]["mean"] == pytest.approx([0.485, 0.456, 0.406])  # of the run, not timm's


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["birds", "--lr", "1", "--optimizer.lr", "2"], "--lr: is short for --optimizer.lr"),
        (["digits/bake", "--epochs", "0"], "training.epochs: input should be greater than 0"),
        (["runs/birds"], "is a run folder: continue it with --resume --out runs/birds"),
        (["birds/owl"], "birds/owl has 6 image(s) and no class folder with images"),
        (["birds/owl/0.jpg"], "expected a folder, a table"),
        (["brids"], "unknown recipe 'brids'"),
        (["birds", "--model.pretrained", "true"], "cannot be reached for pretrained weights"),
        (["birds", "--init-from", "birds"], "birds is not a run folder"),
        (["--init-from", "runs/birds", "--model.weights", "x"], "leave out --model.weights"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    error = failing(capsys, "train", *arguments)
    assert message in error
    assert "\n" not in error
