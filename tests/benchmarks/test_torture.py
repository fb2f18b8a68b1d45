import json
import sys
from pathlib import Path

import pytest
from benchmarks.measure import torture
from benchmarks.measure.trials import count_outcomes
from helpers.processes import run_python

from torchbake.errors import UserError


def fail(error):
    raise error


def test_outcomes_are_counted(capsys):
    errors = [UserError("fine"), TypeError("x"), UserError("\x1b")]
    trials = [lambda: 3, *(lambda error=error: fail(error) for error in errors)]
    row = count_outcomes("these", iter(trials))
    counted = {key: row[key] for key in ("case", "trials", "read", "refused", "faults")}
    assert counted == {"case": "these", "trials": 4, "read": 1, "refused": 1, "faults": 2}
    assert "these, trial 3: TypeError: 'x'" in capsys.readouterr().out


def test_a_part_replaces_its_own_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("OUT", str(tmp_path))
    rows = [{"part": "other", "faults": 0}, {"part": "config", "faults": 7}]
    (tmp_path / "torture.json").write_text(json.dumps({"rows": rows}))
    monkeypatch.setattr(sys, "argv", ["torture", "config", "--count", "20", "--seed", "3"])
    torture.main()
    other, *own = json.loads((tmp_path / "torture.json").read_text())["rows"]
    assert other == rows[0]
    assert [row["trials"] for row in own] == [20, 1, 1, 1]
    assert [row["faults"] for row in own] == [0] * 4
    monkeypatch.setitem(torture.PARTS, "config", lambda *given: [{"case": "x", "faults": 1}])
    with pytest.raises(SystemExit):
        torture.main()


def test_a_few_bits_are_flipped_and_writes_fail(tmp_path):
    rows = torture.PARTS["flips"](45, 0, tmp_path / "flips")
    assert {row["case"] for row in rows} == {
        "damaged checkpoint",
        "damaged weights",
        "damaged records",
    }
    for row in rows:
        assert row["trials"] > 0
        assert row["faults"] == 0
        outcomes = [row[key] for key in ("detected", "harmless", "unnoticed")]
        assert sum(outcomes) == row["trials"]
        assert row["detected"] > 0
    assert sum(row["unnoticed"] for row in rows if row["case"] != "damaged records") == 0
    rows = torture.PARTS["writes"](6, 0, tmp_path / "writes")
    assert [row["faults"] for row in rows] == [0] * 4
    assert all(row["refused"] and row["written"] for row in rows[:3])
    assert rows[1]["trials"] > rows[0]["trials"] > 15
    assert rows[3]["refused"] > 0


def test_a_few_runs_are_killed_and_go_on(tmp_path):
    """In a process of its own, which forks them."""
    run_python(
        f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from benchmarks.measure import torture
        rows = torture.PARTS["kills"](3, 0, Path({str(tmp_path)!r}) / "kills")
        assert sum(row["trials"] for row in rows) >= 3, rows
        assert not any(row["faults"] for row in rows), rows
        """,
        tmp_path,
    )
