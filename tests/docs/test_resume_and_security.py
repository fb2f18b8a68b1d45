"""Each key may change on resume or not; each line on security has its test."""

import re
from dataclasses import asdict
from pathlib import Path

from torchbake.recipe import Recipe
from torchbake.training.recipe_keys import list_keys
from torchbake.training.resume_keys import BOUND_SECTIONS, FREE_KEYS, GROWING_KEYS

ROOT = Path(__file__).parents[2]


def test_every_key_is_on_one_side():
    keys = set(list_keys())
    assert set(FREE_KEYS) | set(GROWING_KEYS) <= keys
    assert not set(FREE_KEYS) & set(GROWING_KEYS)
    sections = {key.partition(".")[0] for key in keys - set(FREE_KEYS) - set(GROWING_KEYS)}
    assert sections == set(BOUND_SECTIONS)
    assert sections <= set(asdict(Recipe()))
    page = (ROOT / "docs" / "resume.md").read_text(encoding="utf-8")
    table = page[page.index("<!-- keys: resume -->") :]
    listed = re.findall(r"`([a-z0-9_.]+)`", table)
    assert sorted(listed) == sorted(keys)
    for title, expected in (("May change", FREE_KEYS), ("May grow", GROWING_KEYS)):
        part = re.search(rf"### {title}\n(.*?)\n(?:###|<!)", table, re.DOTALL)[1]
        assert set(re.findall(r"`([a-z0-9_.]+)`", part)) == set(expected)


def test_every_line_on_security_names_a_test():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| [a-z]", line)][1:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row.rsplit("|", 2)[1])
        assert named, row
        for path, name in named:
            assert f"def {name}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), name


def test_pickles_are_read_in_one_place():
    """`torch.load` reads files of weights alone, and pickle's own reader nothing."""
    found = {}
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        calls = re.findall(r"\b(?:torch\.load|pickle\.loads?|Unpickler|load_pickle)\(.*", text)
        if calls:
            found[path.name] = calls
    assert list(found) == ["weights.py"]
    assert all("weights_only=True" in call for call in found["weights.py"])
