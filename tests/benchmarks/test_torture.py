import json
import sys

import pytest
from benchmarks.measure import torture
from benchmarks.measure.trials import count_outcomes

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
