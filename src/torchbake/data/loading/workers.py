"""Processes that decode images."""

import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from ...errors import UserError

MOST = 16
"""Processes without being told how many: more seldom help, and each takes memory."""


def count_workers() -> int:
    """One process for each core that this one may use, shared with the machine's other ranks."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), MOST))


class _Team(NamedTuple):
    """The processes of one loader: how many, and in memory that they share the number of each
    one's process and the most bytes that it has used."""

    size: int
    table: Tensor


_teams: list[_Team] = []
_own: list[Tensor] = []
"""In a process that decodes, its row of the table."""

MOST_TEAMS = 8
"""Loaders of which it is known who decodes for them; older ones have ended by then."""


def prepare_workers(count: int) -> dict[str, Any]:
    """Arguments of a DataLoader for so many processes, of which it will be known how they ended."""
    if not count:
        return {"num_workers": 0}
    team = _Team(count, torch.zeros(count, 2, dtype=torch.int64).share_memory_())
    _teams[:] = [*_teams[-MOST_TEAMS + 1 :], team]
    return {"num_workers": count, "worker_init_fn": partial(_begin, team.table)}


def _begin(table: Tensor, worker: int) -> None:
    """Leave it to the main process what a Ctrl-C means, and end when it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    table[worker, 0] = os.getpid()
    _own[:] = [table[worker]]
    note_memory()


def note_memory() -> None:
    """Write down, in a process that decodes, how much memory it has used."""
    if _own and get_worker_info() is not None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _own[0][1] = peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def explain_dead_workers(advice: str = "") -> Iterator[None]:
    """Turn PyTorch's error of a process that has died into a UserError, with further advice."""
    try:
        yield
    except RuntimeError as error:
        told = explain_dead_worker(error)
        if told is None:
            raise
        raise UserError(f"{told}{advice}") from None


def explain_dead_worker(error: BaseException) -> UserError | None:
    """What PyTorch's error means if it says that a process that decodes has died; else None."""
    text = str(error)
    if not (isinstance(error, RuntimeError) and "DataLoader worker" in text):
        return None
    found = re.search(r"pid(?:\(s\))? ([0-9]+)", text)
    pid = int(found[1]) if found else 0
    who, size = f"a decoding worker (process {pid})", 0
    for team in _teams:
        for worker, (own, peak) in enumerate(team.table.tolist()):
            if own == pid:
                who = f"decoding worker {worker} of {team.size} (process {pid}"
                who += f", which had used up to {peak / 2**20:,.0f} MiB)"
                size = team.size
    ended = re.search(r"killed by signal: ([^.]*)", text)
    reason = ended[1].strip() if ended else ""
    how, advice = _REASONS.get(reason, (reason and f"was ended by a signal: {reason}", ""))
    if not how:
        code = re.search(r"exit code ([0-9]+)", text)
        how = f"ended by itself{f' with exit code {code[1]}' if code else ''}"
    fewer = f"set data.workers below {size}" if size > 1 else "set data.workers to 0"
    return UserError(f"{who} {how}: {(advice or '{fewer}').format(fewer=fewer)}")


_REASONS = {
    "Killed": (
        "was killed by SIGKILL, as the system does when memory runs out",
        "{fewer}, which takes less memory, or ask for more",
    ),
    "Segmentation fault": (
        "crashed (SIGSEGV) in a library that decodes",
        "torchbake check names files that are damaged; with data.workers 0 the crash shows where",
    ),
    "Bus error": (
        "crashed (SIGBUS), as it does when shared memory (/dev/shm) is full",
        "{fewer}, or enlarge it (docker run --shm-size)",
    ),
    "Terminated": ("was ended by SIGTERM", "{fewer} if it was not you"),
    "Aborted": ("ended itself (SIGABRT)", "with data.workers 0 the cause shows"),
}
"""How PyTorch calls the signals that end processes: what happened, and what to change."""
