"""Changes of the source are made one at a time, and all of them are different."""

import pytest
from benchmarks.measure import mutation


def test_rooms_name_files_and_tests_that_there_are():
    for room in mutation.ROOMS.values():
        for pattern in room.files:
            assert list((mutation.ROOT / mutation.PACKAGE).glob(pattern)), pattern
        for name in room.tests:
            assert (mutation.ROOT / name).exists(), name


def test_one_place_is_changed_at_a_time(tmp_path, monkeypatch):
    pytest.importorskip("cosmic_ray")
    source = tmp_path / mutation.PACKAGE / "one.py"
    source.parent.mkdir(parents=True)
    source.write_text("def f(a, b):\n    return a + b if a < b and b > 3 else a - b\n")
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    monkeypatch.setitem(mutation.ROOMS, "one", mutation.Room(("one.py",), ()))
    found = [(mutant, text) for mutant, text in mutation._list_mutants("one")]
    assert len({text for _, text in found}) == len(found) >= 8
    after = {mutant.after for mutant, _ in found}
    assert "return a - b if a < b and b > 3 else a - b" in after
    assert "return a + b if a <= b and b > 3 else a - b" in after
    assert "return a + b if a < b or b > 3 else a - b" in after
    assert all(mutant.before == source.read_text().splitlines()[1].strip() for mutant, _ in found)
    assert {mutant.line for mutant, _ in found} == {2}
