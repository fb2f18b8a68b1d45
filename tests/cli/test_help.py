"""What the help says: of every command's options, and of every key of a recipe."""

import argparse
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt
from helpers.commands import failing

from torchbake.cli.main import main, make_parser
from torchbake.methods import METHODS
from torchbake.training.docstrings import read_meanings
from torchbake.training.recipe_files import list_recipes
from torchbake.training.recipe_keys import describe_values, list_keys, list_sections, list_settings

COMMANDS = make_parser()[1]
SECTIONS = [*list_sections(), *(list_settings(name, kind) for name, kind in METHODS.items())]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_and_what_it_is_by_default(name):
    assert COMMANDS[name].description.endswith(".")
    for action in COMMANDS[name]._actions:
        assert action.help, action
        if isinstance(action, argparse._HelpAction):
            continue
        assert action.help[0].islower() or action.help.startswith(("JPEG", "a "))
        assert not action.help.endswith(".")
        if not action.option_strings:
            assert action.metavar or action.choices
        elif action.required:
            assert action.help.endswith("(required)")
        else:
            default = action.help.rpartition("(default: ")[2]
            assert default.endswith(")"), action.help
            if action.default not in (None, False):
                assert default == f"{action.default})"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_a_screen(name):
    assert len(COMMANDS[name].format_help().splitlines()) <= 45


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_every_key_has_a_meaning_values_and_a_default(section):
    assert section.about.endswith(".")
    for key in section.keys:
        assert len(key.meaning) > 3, key.name
        assert key.values != "any value", key.name
        assert key.default, key.name


def test_the_help_of_recipes_explains_every_key(capsys):
    main(["train", "--method", "label-smoothing", "--help-recipe"])
    printed = capsys.readouterr().out
    lines = [line.strip() for line in printed.splitlines()]
    for key in [*list_keys(), "method.smoothing"]:
        assert key == "method.name" or f"--{key}" in lines
    assert "--method.omega" not in lines
    assert "learning rate after warm-up" in printed
    assert "(number above 0; default: 0.1)" in " ".join(printed.split())
    assert "None" not in printed
    assert "`" not in printed

    main(["compare", "--methods", "dml:networks=3,kd", "--help-recipe"])
    printed = capsys.readouterr().out
    assert "--method.networks" in printed
    assert "--method.teacher" in printed
    assert "unknown method 'dm'; did you mean 'dml'?" in failing(
        capsys, "compare", "--methods", "dm", "--help-recipe"
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Annotated[int, Gt(0)], "whole number above 0"),
        (Annotated[float, Ge(0), Le(1)], "number from 0 to 1"),
        (Annotated[float, Interval(ge=0, lt=1)], "number of at least 0 and below 1"),
        (Annotated[float, Gt(0)] | None, "number above 0, or null"),
        (Literal["a", "b", "c"], "a, b or c"),
        (Literal[1, 3] | None, "1 or 3, or null"),
        (tuple[Annotated[float, Lt(1)], ...], "list of numbers below 1"),
        (tuple[float, float], "list of 2 numbers"),
        (bool, "true or false"),
        (Any, "any value"),
    ],
)
def test_values_in_words(kind, words):
    assert describe_values(kind) == words


def test_meanings_are_those_of_the_docstring_or_of_what_is_inherited():
    class Base:
        """Something.

        Args:
            rate: how fast,
                per step.
            size: how large.

        Returns:
            rate: nothing of the kind.
        """

    @dataclass
    class Other(Base):
        """Another.

        Args:
            size: see `Base`.
            rate, pace: slower than: all.
        """

        size: int = 0

    class Third(Other):
        """A third.

        Args:
            size: see `Other`; at least 3.
        """

    assert read_meanings(Base) == {"rate": "how fast, per step.", "size": "how large."}
    assert read_meanings(Other) == {
        "rate": "slower than: all.",
        "size": "how large.",
        "pace": "slower than: all.",
    }
    assert read_meanings(Third)["size"] == "how large; at least 3."


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--momentum", "'--optimizer.momentum'"),
        ("--max-steps", "'--training.max_steps'"),
        ("--batchsize", "'--training.batch_size'"),
        ("--learning-rate", "'--optimizer.lr' or '--optimizer.head_lr'"),
        ("--resum", "'--resume'"),
        ("--name", "'--data.name', '--model.name', '--optimizer.name' or '--schedule.name'"),
    ],
)
def test_an_option_without_its_section_suggests_the_whole_key(capsys, option, meant):
    # `train` has some of them as short forms.
    line = failing(capsys, "train" if option == "--resum" else "profile", option, "3")
    assert line == f"torchbake: error: unknown option {option}; did you mean {meant}?"


def test_what_is_unknown_names_a_few_that_are_like_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = failing(capsys, "train", "resnet18")
    assert line.count("'") == 2 * 6
    assert "'cifar100/resnet18-bake'" in line
    assert "did you mean 'cub200/" in failing(capsys, "train", "cup200/bake")
    everything = f"torchbake list recipes shows all {len(list_recipes())}"
    assert failing(capsys, "train", "xyzzy").endswith(everything)
    (tmp_path / "pets").mkdir()
    assert failing(capsys, "train", "--data", "pets").endswith("did you mean 'imagefolder:pets'?")
    (tmp_path / "a.parquet").touch()
    line = failing(capsys, "train", "--data", "a.parquet")
    assert line.endswith("did you mean 'parquet:a.parquet'?")
    assert "did you mean 'digits'?" in failing(capsys, "train", "--data", "digit")
