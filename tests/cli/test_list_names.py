"""`torchbake list` on a terminal, and recipes that are printed, saved and used."""

import sys

import pytest

from torchbake.cli.main import main
from torchbake.methods import METHODS
from torchbake.training.named_recipes import find_named, list_recipes
from torchbake.training.recipe_files import load_recipe
from torchbake.training.recipe_notes import write_notes


@pytest.fixture
def told(monkeypatch, capsys):
    """What a command prints on a terminal, by line."""

    def run(*arguments):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        main(list(arguments))
        return capsys.readouterr().out.splitlines()

    return run


def test_a_terminal_gets_a_description_of_each_method_and_data_set(told):
    lines = told("list", "methods")
    assert [line.split()[0] for line in lines] == sorted(METHODS)
    words = METHODS["label-smoothing"].__doc__.splitlines()[0]
    assert f"label-smoothing  {words}" in lines
    assert all(len(line.split()) > 2 for line in told("list", "datasets"))


def test_a_terminal_gets_recipes_by_data_set(told):
    groups = [group.splitlines() for group in "\n".join(told("list", "recipes")).split("\n\n")]
    titles = {title: [line.split()[0] for line in lines] for title, *lines in groups}
    assert sorted(name for names in titles.values() for name in names) == list_recipes()
    for title, names in titles.items():
        assert {find_named()[name].data_title for name in names} == {title}


def test_a_terminal_gets_this_packages_networks_first(told):
    lines = told("list", "models")
    assert lines[0] == "Networks of torchbake"
    assert "  resnet20" in [line[:10] for line in lines[1 : lines.index("")]]
    assert "  resnet50" in lines[lines.index("") :]


@pytest.mark.parametrize("name", ["digits/bake", "imagenet/swin_t-bake-paper"])
def test_a_printed_recipe_tells_its_notes_and_can_be_saved_and_used(tmp_path, capsys, name):
    main(["train", "--print-recipe", name])
    printed = capsys.readouterr().out
    comments = [line for line in printed.splitlines() if line.startswith("#")]
    assert comments == [f"# {line}" for line in write_notes(name)]
    own = tmp_path / "own.yaml"
    own.write_text(printed)
    assert load_recipe(str(own)) == load_recipe(name)
    main(["train", str(own), "--print-recipe"])
    assert capsys.readouterr().out == printed[printed.index("description:") :]


def test_a_recipe_that_is_changed_is_printed_without_figures_of_another(capsys):
    main(["train", "--print-recipe", "digits/bake", "--method.omega", "0.9"])
    assert capsys.readouterr().out.startswith("description:")
