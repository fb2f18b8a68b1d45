import json
from pathlib import Path

import pytest
from benchmarks.tables import __main__ as tables

ROOT = Path(__file__).parents[2]


def test_figures_come_from_committed_code():
    for path in (ROOT / "results").glob("*.json"):
        commit = json.loads(path.read_text(encoding="utf-8"))["environment"]["commit"]
        assert commit, path
        assert "dirty" not in commit, path


@pytest.mark.parametrize("path", tables.pages(), ids=lambda path: path.name)
def test_figures_on_pages_are_those_that_were_measured(path):
    text = path.read_text(encoding="utf-8")
    assert text == tables.rendered(text), "run: uv run python -m benchmarks.tables"
