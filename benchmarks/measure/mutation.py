"""Small changes of the source, one at a time: do the tests notice?

    uv run --group mutation python -m benchmarks.measure.mutation losses target --minutes 30

The changes are Cosmic Ray's: another operator, another number, a condition turned round, a loop
that is not entered. Each is made in a copy of the repository, and the tests of its room run in a
process that begins with PyTorch already imported. The outcomes go to results/mutation.json; those
of files and tests that have not changed since are kept, so that a run that was ended by its time
limit or by Ctrl-C goes on where it was. A change that no test notices needs a test, or is of no
effect, or shows that a line is not needed.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure.provenance import write_results

ROOT = Path(__file__).parents[2]
PACKAGE = Path("src/torchbake")


class Room(NamedTuple):
    """Files of the package, and the tests that are to notice changes in them, fast ones first."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = {
    "target": Room(
        ("ensembling/*.py",),
        (
            *(f"tests/ensembling/test_{name}.py" for name in ("ensembling", "solvers", "masked")),
            *(f"tests/ensembling/test_{name}.py" for name in ("operations", "scheduled", "fused")),
            *("tests/losses", "tests/ensembling/test_ranks.py"),
        ),
    ),
    "losses": Room(("losses/*.py",), ("tests/losses", "tests/ensembling/test_ensembling.py")),
    "sampler": Room(("sampling/*.py",), ("tests/sampling",)),
    "methods": Room(("methods/*.py",), ("tests/methods",)),
    "evaluation": Room(
        ("evaluation.py", "calibration.py"),
        ("tests/test_evaluation.py", "tests/test_calibration.py"),
    ),
    "checkpoint": Room(
        ("training/files.py", "training/run_records.py"),
        ("tests/training/test_run_records.py", "tests/training/test_training.py"),
    ),
    "loop": Room(
        tuple(
            f"training/{name}.py"
            for name in ("average", "finite", "guard", "loop", "meters", "optimizer", "step")
        ),
        (
            *(f"tests/training/test_{name}.py" for name in ("average", "learning_rates")),
            *(f"tests/training/test_{name}.py" for name in ("schedule", "numbers", "guard")),
            "tests/training/test_does_what_it_says.py",
            "tests/training/test_training.py",
        ),
    ),
}

OPERATORS = (
    *("ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add"),
    *("ReplaceBinaryOperator_Mul_Div", "ReplaceBinaryOperator_Div_Mul"),
    *("ReplaceBinaryOperator_FloorDiv_Mul", "ReplaceBinaryOperator_Mod_FloorDiv"),
    *("ReplaceBinaryOperator_Pow_Mul", "ReplaceBinaryOperator_BitAnd_BitOr"),
    *("ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq"),
    *("ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_Lt_GtE"),
    *("ReplaceComparisonOperator_LtE_Lt", "ReplaceComparisonOperator_LtE_Gt"),
    *("ReplaceComparisonOperator_Gt_GtE", "ReplaceComparisonOperator_Gt_LtE"),
    *("ReplaceComparisonOperator_GtE_Gt", "ReplaceComparisonOperator_GtE_Lt"),
    *("ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is"),
    *("ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not"),
    *("ReplaceUnaryOperator_Delete_Invert", "AddNot", "ReplaceTrueWithFalse"),
    *("ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer"),
    "ZeroIterationForLoop",
)
"""One change of each kind, where Cosmic Ray has ten."""


LOG = Path(tempfile.gettempdir()) / "torchbake-mutation.log"
"""What the last tests printed."""


class Mutant(NamedTuple):
    """A changed file.

    Attributes:
        line: number of the first line that differs.
        before, after: this line, without and with the change.
    """

    room: str
    file: str
    operator: str
    occurrence: int
    line: int
    before: str
    after: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("rooms", nargs="*", choices=[*ROOMS, []], help="default: all")
    parser.add_argument("--minutes", type=float, default=60.0, help="time limit (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the order (default: 0)")
    options = parser.parse_args()
    _preload()
    path = Path(os.environ.get("OUT", ROOT / "results")) / "mutation.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    known = {(row["key"]): row for row in rows}
    until = time.monotonic() + 60 * options.minutes
    try:
        for name in options.rooms or list(ROOMS):
            known = _try_room(name, known, until, options.seed)
    finally:
        write_results("mutation", sorted(known.values(), key=lambda row: row["key"]))
    for name in ROOMS:
        _tell(name, [row for row in known.values() if row["room"] == name])


def _tell(name: str, rows: list[dict[str, Any]]) -> None:
    counts = {kind: sum(row["outcome"] == kind for row in rows) for kind in ("killed", "survived")}
    if rows:
        print(f"{name}: {len(rows)} tried, {counts}")
    for row in rows:
        if row["outcome"] == "survived":
            print(f"  {row['file']}:{row['line']}: {row['before']}  →  {row['after']}")


def _preload() -> None:
    """Import once what every test needs; neither the package nor what pytest takes as plugins."""
    import scipy.stats  # noqa: F401
    import torch
    import torchvision  # noqa: F401

    torch.set_num_threads(1)


def _try_room(
    name: str, known: dict[str, dict[str, Any]], until: float, seed: int
) -> dict[str, dict[str, Any]]:
    """All outcomes, with those of a room in place of its outdated ones."""
    room = ROOMS[name]
    mutants = {_make_key(mutant, text): (mutant, text) for mutant, text in _list_mutants(name)}
    tests = _digest_tests(room)
    kept = {
        key: row
        for key, row in known.items()
        # What was noticed once is noticed; another test may notice what was not.
        if row["room"] != name
        or (key in mutants and (row["outcome"] != "survived" or row["tests"] == tests))
    }
    waiting = [key for key in mutants if key not in kept]
    random.Random(seed).shuffle(waiting)
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv", "shared", "runs", "results", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        shutil.copytree(ROOT / "results", copy / "results")
        passed, seconds = _run_tests(copy, room.tests, 600.0)
        if passed != "survived":
            raise SystemExit(f"{name}: the tests do not pass as it is; see {LOG}")
        print(f"{name}: {len(waiting)} to try, {len(mutants)} in all, {seconds:.0f} s each at most")
        for key in waiting:
            if time.monotonic() > until:
                break
            mutant, text = mutants[key]
            target = copy / mutant.file
            before = target.read_text(encoding="utf-8")
            target.write_text(text, encoding="utf-8")
            try:
                outcome, took = _run_tests(copy, room.tests, 4 * seconds + 20)
            finally:
                target.write_text(before, encoding="utf-8")
            kept[key] = {
                "key": key,
                "tests": tests,
                **mutant._asdict(),
                "outcome": outcome,
                "seconds": round(took, 1),
            }
            if outcome == "survived":
                print(
                    f"  {mutant.file}:{mutant.line}: {mutant.before}  →  {mutant.after}", flush=True
                )
    return kept


def _make_key(mutant: Mutant, text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{mutant.file} {mutant.operator} {mutant.occurrence} {digest}"


def _digest_tests(room: Room) -> str:
    digest = hashlib.sha256()
    for named in room.tests:
        path = ROOT / named
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _list_mutants(name: str) -> Iterator[tuple[Mutant, str]]:
    """The changes of a room's files, with the whole text of each changed file."""
    for pattern in ROOMS[name].files:
        for path in sorted((ROOT / PACKAGE).glob(pattern)):
            text = path.read_text(encoding="utf-8")
            lines = text.splitlines()
            for operator in OPERATORS:
                for occurrence, changed in enumerate(_change(path, operator)):
                    pairs = list(zip(lines, changed.splitlines(), strict=False))
                    line = next((n for n, (a, b) in enumerate(pairs) if a != b), 0)
                    before, after = (words.strip() for words in pairs[line])
                    file = path.relative_to(ROOT).as_posix()
                    yield Mutant(name, file, operator, occurrence, line + 1, before, after), changed


def _change(path: Path, operator: str) -> Iterator[str]:
    """The text of a file with each place changed to which an operator applies, one at a time."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    text = path.read_text(encoding="utf-8")
    occurrence = 0
    while (
        changed := mutate_code(text, get_operator(f"core/{operator}")(), occurrence)
    ) is not None:
        yield changed
        occurrence += 1


def _run_tests(copy: Path, tests: tuple[str, ...], limit: float) -> tuple[str, float]:
    """Whether the tests of a copy pass (`survived`) or not (`killed`), and the seconds it took."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _become_tests(copy, tests)
    while time.monotonic() - started < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            # pytest's own status is 0 where all passed.
            outcome = "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
            return outcome, time.monotonic() - started
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "killed", time.monotonic() - started  # it never ends


def _become_tests(copy: Path, tests: tuple[str, ...]) -> None:
    import pytest

    os.setsid()
    os.chdir(copy)
    log = os.open(LOG, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("torchbake", "benchmarks")
    ]:
        del sys.modules[name]
    sys.path[:0] = [str(copy / "src"), str(copy)]
    os.environ |= {
        "PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    status = 1
    try:  # compiling takes a minute a test, and sees what the others see
        status = int(
            pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-k", "not compile", *tests])
        )
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
