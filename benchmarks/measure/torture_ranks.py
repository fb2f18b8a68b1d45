"""Trials of several ranks, one of which fails: which one is said, in time; see torture.py.

Each trial is a run of real processes under torchrun. What a rank does wrong is planted in it by
this file, which is also the program that each rank runs.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

FAULTS = ("kill", "stop", "hang", "slow", "raise", "data")
"""Killed; stopped by SIGSTOP; asleep in Python; asleep for half the time-out; an error; no more
batches."""

MOMENTS = ("start", "middle", "checkpoint", "evaluation")
WORLDS = (2, 3)

TIMEOUT = 10.0
"""Seconds of `training.rank_timeout` in these trials."""

GRACE = 45.0
"""Seconds beyond it, from the fault to the end of the command: what ranks tell each other, and the
30 seconds that torchrun gives a process that was stopped before it kills it."""

LONGEST = 300.0
"""Seconds after which a trial is given up."""

STEPS = 12
PLANTED = "planted"
"""A file that is made when the fault happens."""


class Cell(NamedTuple):
    """A trial: what goes wrong, when, on which of how many ranks."""

    world_size: int
    fault: str
    moment: str
    rank: int


def run(count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Rows of at most `count` trials, one for each fault and number of ranks."""
    cells = draw_cells(count, seed)
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for number, cell in enumerate(cells):
        place = folder / str(number)
        place.mkdir(parents=True)
        fault, seconds = try_cell(cell, place)
        zero = {"case": f"{cell.fault}, {cell.world_size} ranks", "trials": 0, "faults": 0}
        row = rows.setdefault((cell.world_size, cell.fault), {**zero, "slowest_seconds": 0.0})
        row["trials"] += 1
        row["faults"] += bool(fault)
        row["slowest_seconds"] = max(row["slowest_seconds"], round(seconds, 1))
        print(f"{cell}: {fault or 'as it should be'}, {seconds:.1f} s", flush=True)
    return [rows[key] for key in sorted(rows)]


def draw_cells(count: int, seed: int) -> list[Cell]:
    """So many trials in random order, each with a random rank that fails."""
    source = random.Random(seed)
    cells = [
        Cell(world, fault, moment, source.randrange(world))
        for world in WORLDS
        for fault in FAULTS
        for moment in MOMENTS
        if fault != "data" or moment == "middle"
    ]
    source.shuffle(cells)
    return cells[:count]


def try_cell(cell: Cell, folder: Path) -> tuple[str, float]:
    """What is wrong with how the ranks end, if anything, and the seconds since the fault."""
    launcher = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={cell.world_size}",
    ]
    root = Path(__file__).parents[2]
    command = [sys.executable, *launcher, "-m", "benchmarks.measure.torture_ranks"]
    process = subprocess.Popen(
        [*command, json.dumps(cell)],
        cwd=folder,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        return f"did not end:\n{printed}", LONGEST
    planted = folder / PLANTED
    seconds = time.time() - planted.stat().st_mtime if planted.is_file() else 0.0
    if not planted.is_file():
        return f"nothing was planted:\n{printed}", seconds
    (folder / "printed.txt").write_text(printed, encoding="utf-8")
    return _judge(cell, printed, process.returncode, seconds, folder), seconds


def _judge(cell: Cell, printed: str, status: int, seconds: float, folder: Path) -> str:
    finished = (folder / "run" / "result.json").is_file()
    if cell.fault == "slow":
        return "" if status == 0 and finished else f"a slow rank ended the run:\n{printed}"
    if status == 0 or finished:
        return f"went on without rank {cell.rank}:\n{printed}"
    if seconds > TIMEOUT + GRACE:
        return f"took {seconds:.0f} s:\n{printed}"
    if not _names(cell, printed):
        return f"does not name rank {cell.rank} and the cause:\n{printed}"
    # torchrun ends with a traceback of its own.
    if cell.fault != "raise" and "Traceback" in printed.partition("torch/distributed/elastic")[0]:
        return f"a traceback:\n{printed}"
    return ""


def _names(cell: Cell, printed: str) -> bool:
    """Whether a line of the survivors, or torchrun's summary, names the rank and what it did."""
    rank = cell.rank
    told = {
        "kill": rf"rank +: {rank} .*\n *exitcode +: -9|error: .*rank {rank} gives no sign of life",
        "stop": rf"error: .*rank {rank} gives no sign of life",
        "hang": rf"error: .*rank {rank} does not go on: it is at ",
        "raise": rf"rank +: {rank} .*\n *exitcode +: 1|error: .*rank {rank} failed: ",
        "data": rf"error: .*rank {rank} failed: the data ended|error: the data ended after",
    }
    return re.search(told[cell.fault], printed) is not None


def _act(fault: str) -> None:
    """Go wrong."""
    Path(PLANTED).touch()
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "hang":
        time.sleep(3600)
    elif fault == "slow":
        time.sleep(TIMEOUT / 2)
    elif fault == "raise":
        raise OverflowError("a planted fault")


def _run_rank(cell: Cell) -> None:
    """Train as one of the ranks, with the fault planted in the one that is to fail."""
    from torchbake.cli.main import main as run_command
    from torchbake.data.loading.train_loader import TrainLoader
    from torchbake.training import loop
    from torchbake.training.setup import Setup

    def plant(owner: Any, name: str, is_now: Callable[[tuple[Any, ...]], bool]) -> None:
        before = getattr(owner, name)

        def act(*arguments: Any, **options: Any) -> Any:
            if is_now(arguments):
                _act(cell.fault)
            return before(*arguments, **options)

        setattr(owner, name, act)

    if int(os.environ["RANK"]) == cell.rank:
        if cell.fault == "data":
            batches = TrainLoader.batches

            def end_early(*arguments: Any, **options: Any) -> Any:
                for number, batch in enumerate(batches(*arguments, **options)):
                    if number < 2:
                        yield batch
                Path(PLANTED).touch()

            TrainLoader.batches = end_early  # type: ignore[method-assign]
        elif cell.moment == "start":
            plant(loop, "set_up", lambda given: True)
        elif cell.moment == "middle":
            plant(loop, "update", lambda given: given[3] == STEPS // 2)
        elif cell.moment == "checkpoint":
            plant(Setup, "checkpoint", lambda given: True)
        else:
            plant(loop, "evaluate_networks", lambda given: True)
    settings = {
        "training.device": "cpu",
        "training.batch_size": "48",
        "training.max_steps": str(STEPS),
        "training.checkpoint_every": str(STEPS // 2 + 2),
        "training.rank_timeout": str(TIMEOUT),
        "data.cache": "false",
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", value)]
    run_command(["train", "digits/bake", *words, "--out", "run"])


if __name__ == "__main__":
    _run_rank(Cell(*json.loads(sys.argv[1])))
