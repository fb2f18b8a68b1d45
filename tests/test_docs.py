"""README and the documentation say what the package does."""

import importlib
import re
from pathlib import Path

import pytest
from helpers.processes import run_python

ROOT = Path(__file__).parents[1]
PUBLIC = ("", ".models", ".losses", ".ensembling", ".sampling", ".methods", ".data", ".training")
PUBLIC += (".inference",)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def loop():
    """The program of the guide to one's own loop."""
    (code,) = re.findall(r"```python\n(.*?)```", read("docs/own-loop.md"), re.DOTALL)
    return code


def test_the_loop_of_the_guide_runs(tmp_path):
    printed = run_python("import torch\ntorch.manual_seed(0)\n" + loop(), tmp_path)
    losses = [float(line.split()[-1]) for line in printed.splitlines()]
    assert losses[-1] < losses[0] / 2


def test_the_readmes_changed_lines_are_those_of_the_guide():
    (change,) = re.findall(r"```diff\n(.*?)```", read("README.md"), re.DOTALL)
    lines = [line.strip() for line in loop().splitlines()]
    after = [line[1:].strip() for line in change.splitlines() if line[1:] and line[0] != "-"]
    assert len(after) >= 6
    assert [line for line in lines if line in after] == after


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_of_python_names_all_public_names(module):
    """In the module's own section, or in that of the package for names that it repeats."""
    names = importlib.import_module(f"torchbake{module}").__all__
    text = read("docs/python.md")
    missing = [name for name in names if not re.search(rf"`{name}[`(]", text)]
    assert missing == []
    assert f"## torchbake{module}\n" in text


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) <= 120
