"""What is read of methods from their source is what an import would tell."""

from inspect import signature

import pytest

from torchbake.methods import METHODS
from torchbake.methods.outline import read_defaults, read_summary


@pytest.mark.parametrize("name", METHODS)
def test_the_source_tells_what_the_class_does(name):
    assert read_summary(name) == METHODS[name].__doc__.splitlines()[0]
    parameters = signature(METHODS[name]).parameters
    assert read_defaults(name) == {key: value.default for key, value in parameters.items()}


def test_another_class_can_stand_for_a_name(monkeypatch):
    class Own(METHODS["bake"]):
        pass

    monkeypatch.setitem(METHODS, "own", Own)
    assert METHODS["own"] is Own
    assert len(METHODS) == len(list(METHODS))
    assert "own" in METHODS
    monkeypatch.undo()
    assert "own" not in METHODS
    with pytest.raises(KeyError):
        METHODS["own"]
