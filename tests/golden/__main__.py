"""Compare, or with --write record anew: `uv run python -m tests.golden [--write] [CASE …]`."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from .cases import CASES, Absent
from .comparing import differences, first_difference
from .storing import read_record, write_record


def compare(case, folder, write):
    """One row of the table, and what differs."""
    started = time.perf_counter()
    try:
        record = CASES[case](folder)
    except Absent as absent:
        return f"{case:24} skipped: {absent}", None
    seconds = time.perf_counter() - started
    if write:
        write_record(case, record)
        return f"{case:24} {seconds:6.1f} s  written", None
    recorded = read_record(case)
    found = first_difference(case, recorded, record)
    largest = max((one.share for one in differences(case, recorded, record)), default=0.0)
    row = f"{case:24} {seconds:6.1f} s  {largest:8.1%} of what is allowed"
    return row + ("" if found is None else f"  DIFFERS at {found}"), found


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all, if none is named")
    parser.add_argument("--write", action="store_true", help="record anew")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    first = None
    for case in given.cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            row, found = compare(case, Path(folder), given.write)
        print(row, flush=True)
        if found is not None and first is None:
            first = f"first difference: {case}, {found}"
    if first is not None:
        print(first)
        sys.exit(1)


if __name__ == "__main__":
    main()
