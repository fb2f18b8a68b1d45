import json
import shlex
from pathlib import Path

import pytest
from benchmarks.tables import __main__ as tables
from benchmarks.tables.comparison import STUDIES, update_command

from torchbake.analysis.compare.plan import plan_runs

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


@pytest.mark.parametrize("name", STUDIES)
def test_commands_of_the_study_are_understood(tmp_path, name):
    results = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    words = shlex.split(update_command(results["environment"]["command"]))
    variants = words[words.index("--methods") + 1].split(",")
    assert any(variant.startswith("bake-variants:") for variant in variants)
    runs = plan_runs(words[2], [], variants, 1, None, tmp_path)
    assert len(runs) == len(variants)
