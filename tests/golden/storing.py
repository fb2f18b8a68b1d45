"""Records as JSON files that can be read: a line for each step, batch or setting."""

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "recorded"


def read_record(case):
    return json.loads((FOLDER / f"{case}.json").read_text())


def write_record(case, record):
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{case}.json").write_text(as_text(record) + "\n")


def as_text(record):
    """Two levels unfolded, one line for each thing in the second."""
    parts = [f"{json.dumps(key)}: {_unfolded(_rounded(value))}" for key, value in record.items()]
    return "{\n" + ",\n".join(parts) + "\n}"


def _unfolded(value):
    if isinstance(value, list) and value and isinstance(value[0], (list, dict)):
        return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n]"
    return json.dumps(value)


def _rounded(value):
    """To eight digits, which is all that a float32 holds."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value
