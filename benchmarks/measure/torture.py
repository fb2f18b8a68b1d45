"""Faults and hostile input, by the thousand: everything must be read or refused in clear lines.

    uv run python -m benchmarks.measure.torture config --count 100000 --seed 0
    uv run python -m benchmarks.measure.torture ranks

A part is one kind of trial; each of its cases becomes a row of results/torture.json, which keeps
the rows of the other parts. Tests run a few hundred of the same trials.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import torture_config, torture_files, torture_kills, torture_ranks
from benchmarks.measure.provenance import write_results

PARTS: dict[str, Callable[[int, int, Path], list[dict[str, Any]]]] = {
    "config": torture_config.run,
    "flips": torture_files.run_flips,
    "kills": torture_kills.run,
    "writes": torture_files.run_writes,
    "ranks": torture_ranks.run,
}
"""Each is called with a number of trials, a random seed and an empty folder."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--count", type=int, default=1000, help="number of trials (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    options = parser.parse_args()
    results = Path(os.environ.get("OUT", Path(__file__).parents[2] / "results")) / "torture.json"
    kept = json.loads(results.read_text(encoding="utf-8"))["rows"] if results.is_file() else []
    with tempfile.TemporaryDirectory() as folder:
        rows = PARTS[options.part](options.count, options.seed, Path(folder))
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()))
    named = [{"part": options.part, "seed": options.seed, **row} for row in rows]
    write_results("torture", [*(r for r in kept if r["part"] != options.part), *named])
    if any(row["faults"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
