"""Code that a run folder names is imported only where the user says so."""

import shutil
import sys

import pytest
from helpers.commands import failing
from helpers.processes import run
from helpers.training_runs import QUIET, recipe
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import torchbake
from torchbake._digests import SEAL, seal_weights
from torchbake._trust import consent, is_withheld, trusting, withhold
from torchbake.cli.main import main
from torchbake.errors import UserError
from torchbake.training.loop import train
from torchbake.training.opened_run import evaluate_run
from torchbake.training.run_folder import RunFolder

COMMANDS = (
    ["evaluate"],
    ["report"],
    ["inspect"],
    ["audit"],
    ["demo"],
    ["export", "--to", "timm"],
    ["push", "me/mine", "--dry-run"],
    ["train", "--resume", "--out"],
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trust") / "run"
    train(recipe(("training.max_steps", "1")), folder, console=QUIET)
    return folder


@pytest.fixture
def hostile(finished, tmp_path, monkeypatch):
    """A run folder from elsewhere, edited so that `evil.py` would be run; what would show it."""
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(finished, tmp_path / "run")

    def edit(key, number=[0]):  # noqa: B006 (a module of another name each time)
        number[0] += 1
        name = f"evil{key}{number[0]}"
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()\ndef make(*given): ...\n")
        text = (finished / "recipe.yaml").read_text()
        known = {"method": "bake", "model": "small_cnn", "data": "digits"}[key]
        assert f"name: {known}\n" in text
        (folder / "recipe.yaml").write_text(
            text.replace(f"name: {known}\n", f"name: {name}:make\n")
        )
        return folder, f"{name}:make"

    yield edit
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("key", ["data", "model"])
def test_commands_do_not_import_what_a_run_folder_names(hostile, capsys, command, key):
    folder, name = hostile(key)
    if command[0] == "report":  # which leaves out what needs the code
        main([*command, str(folder)])
        message = capsys.readouterr().out
    elif command[0] == "push":
        message = failing(capsys, "push", str(folder), *command[1:])
    elif command[0] == "train":
        message = failing(capsys, *command, str(folder))
    else:
        message = failing(capsys, command[0], str(folder), *command[1:])
    assert (
        f"{key}.name: '{name}' is code, named by {folder / 'recipe.yaml'}: it runs only" in message
    )
    assert "--trust" in message


def test_a_method_is_not_needed_to_use_a_network(hostile, capsys):
    folder, name = hostile("method")
    main(["evaluate", str(folder)])
    assert "top1" in capsys.readouterr().out
    assert RunFolder(folder).read_recipe().method["name"] == name
    message = failing(capsys, "train", "--resume", "--out", str(folder))
    assert f"method.name: '{name}' is code" in message
    main(["report", str(folder)])
    assert "written to" in capsys.readouterr().out


def test_weights_do_not_name_code_that_is_imported(finished, hostile, tmp_path):
    path = tmp_path / "evil.safetensors"
    weights = load_file(finished / "model.safetensors")
    with safe_open(finished / "model.safetensors", "pt") as file:
        metadata = {k: v for k, v in file.metadata().items() if k != SEAL}
    metadata["model"] = "evilweights:make"
    (tmp_path / "evilweights.py").write_text("open('ran', 'w').close()\n")
    save_file(weights, path, {**metadata, SEAL: seal_weights(weights, metadata)})
    with pytest.raises(UserError, match=r"'evilweights:make' is code, named by .*trust=True"):
        torchbake.load(path)


def test_trusted_folders_and_names_of_the_user_are_imported(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trustednets.py").write_text(
        "from torch import nn\n"
        "def small(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    (tmp_path / "trusteddata.py").write_text(
        "from dataclasses import replace\n"
        "from torchbake.data import open_source\n"
        "def digits(recipe):\n"
        "    return open_source(replace(recipe, name='digits'))\n"
    )
    words = ["--training.max_steps", "1", "--model", "trustednets:small"]
    words += ["--model.classifier", "1"]
    run([sys.executable, "-m", "torchbake", "train", *words, "--out", "run"], tmp_path)
    with pytest.raises(UserError, match=r"model\.name: 'trustednets:small' is code"):
        evaluate_run(tmp_path / "run", console=QUIET)
    figures = evaluate_run(tmp_path / "run", console=QUIET, trust=True)
    main(["evaluate", str(tmp_path / "run"), "--trust", "--data", "trusteddata:digits"])
    assert torchbake.load(tmp_path / "run", trust=True).classes
    assert figures["top1"] >= 0


def test_a_name_that_the_user_gave_is_not_withheld():
    withhold(["theirs:a", "both:b", "bake"], "run/recipe.yaml")
    consent(["both:b", None, "ours:c"])
    assert [is_withheld(name) for name in ("theirs:a", "both:b", "ours:c", "bake")] == [
        *(True, False, False, False)
    ]
    with trusting(True):
        withhold(["theirs:a"], "run/recipe.yaml")
    assert not is_withheld("theirs:a")
