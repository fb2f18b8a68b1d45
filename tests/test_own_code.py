import sys

import pytest
from helpers.commands import failing

from torchbake.analysis.compare.plan import plan_runs
from torchbake.errors import UserError
from torchbake.models.create import create_model
from torchbake.training.recipe_files import load_recipe, make_method

FILES = {
    "methods_of_mine": """
        from __future__ import annotations
        from typing import Annotated
        from annotated_types import Ge
        from torchbake.methods import Method

        class Mine(Method):
            def __init__(self, strength: Annotated[float, Ge(0)] = 1.0, free=3, *, kind: str = "a"):
                super().__init__()
                if kind == "odd":
                    raise ValueError("kind: must not be odd")
                self.kind = {"a": "A", "b": "B"}[kind]

        class Loose(Method):
            def __init__(self, **settings): ...

        class Strange(Method):
            def __init__(self, thing: Thing = None): ...

        class Unstored(Method):
            def __init__(self, thing: Method = None): ...

        def helper(): ...
    """,
    "helped": """
        import helper_of_mine
    """,
    "helper_of_mine": """

        raise KeyError("x")
    """,
    "needing": """
        import nothing_that_is_there
    """,
    "unfinished": """
        def f(:
    """,
    "nets_of_mine": """
        def make(num_classes):
            return {}["x"]
    """,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the user's, with files of Python; what is imported there is forgotten."""
    for name, content in FILES.items():
        lines = [line[8:] for line in content.split("\n")[1:]]
        (tmp_path / f"{name}.py").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name, None)


def test_the_settings_of_an_own_method_are_keys_of_the_recipe(folder):
    own = [("method", "methods_of_mine:Mine")]
    recipe = load_recipe("digits/bake", [*own, ("method.strength", "2")])
    assert recipe.method == {
        "name": "methods_of_mine:Mine",
        "strength": 2.0,
        "free": 3,
        "kind": "a",
    }
    assert make_method(recipe.method).kind == "A"
    assert sys.path[-1] == str(folder)  # for worker processes; behind what is installed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("methods_of_mine:Mine --method.strength -1", "method.strength: input should be greater"),
        ("methods_of_mine:Mine --method.strenth 1", "unknown key; did you mean 'method.strength'?"),
        ("methods_of_mine:Mine --method.kind odd", "method.kind: must not be odd"),
        (
            "methods_of_mine:Mine --method.kind c",
            "'methods_of_mine:Mine' cannot be made: methods_of_mine.py, line 11: KeyError: 'c'",
        ),
        ("methods_of_mine:Loose", "must name each of its settings in __init__, which has **settin"),
        ("methods_of_mine:Strange", "the type of a setting: name 'Thing' is not defined"),
        ("methods_of_mine:Unstored", "'methods_of_mine:Unstored': the type of a setting: "),
        ("methods_of_mine:helper", "is no method: expected a subclass of torchbake.methods.Method"),
        ("methods_of_mine:Min", "there is no 'Min' in methods_of_mine.py; did you mean 'Mine'?"),
        ("bake:omega", "there is no module 'bake' in "),
        ("methods_of_mine.py:Mine", "there is no module 'methods_of_mine.py'; leave out the .py"),
        ("./mine.py:Mine", "method.name: expected 'module:object', such as 'mymodule:my_object'"),
        (
            "helped:Mine",
            "'helped:Mine' cannot be imported: helper_of_mine.py, line 2: KeyError: 'x'",
        ),
        ("needing:Mine", "needing.py, line 1: ModuleNotFoundError: No module named 'nothing_that"),
        ("unfinished:Mine", "unfinished.py, line 1: SyntaxError: "),
    ],
)
def test_mistakes_end_in_one_line(folder, capsys, settings, message):
    told = failing(capsys, "train", "--method", *settings.split())
    assert message in told
    assert "\n" not in told


def test_an_own_network_that_fails_names_its_line(folder):
    with pytest.raises(UserError, match=r"cannot be made: nets_of_mine.py, line 2: KeyError: 'x'"):
        create_model("nets_of_mine:make", 10)


def test_variants_have_colons_in_names_and_values(folder):
    variants = [
        "bake:omega=0.9",
        "methods_of_mine:Mine",
        "methods_of_mine:Mine:strength=2:kind=b",
        "cross-entropy:data.name=imagefolder:pets:training.epochs=3",
    ]
    runs = plan_runs("digits/bake", [], variants, 1, None, folder / "runs")
    assert [run.recipe.method["name"] for run in runs] == [
        "bake",
        "methods_of_mine:Mine",
        "methods_of_mine:Mine",
        "cross-entropy",
    ]
    assert [run.recipe.method.get("strength") for run in runs[1:3]] == [1.0, 2.0]
    assert runs[3].recipe.data.name == "imagefolder:pets"
    assert runs[3].recipe.training.epochs == 3
    assert [run.folder.path.name for run in runs] == [
        "bake,omega=0.9-seed0",
        "methods_of_mine,Mine-seed0",
        "methods_of_mine,Mine,strength=2,kind=b-seed0",
        "cross-entropy,data.name=imagefolder,pets,training.epochs=3-seed0",
    ]
