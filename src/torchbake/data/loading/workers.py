"""Processes that decode images."""

import multiprocessing
import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from multiprocessing.process import BaseProcess
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
    """The processes of one loader.

    Attributes:
        processes: as far as they were started.
        peaks: the most bytes that each has used, in memory that they share.
    """

    processes: list[BaseProcess]
    peaks: Tensor


_teams: list[_Team] = []
_own: list[Tensor] = []
"""In a process that decodes, where it writes its peak."""

MOST_TEAMS = 8
"""Loaders of which it is known who decodes for them; older ones have ended by then."""


def prepare_workers(count: int) -> dict[str, Any]:
    """Arguments of a DataLoader for so many processes, of which it will be known how they ended."""
    if not count:
        return {"num_workers": 0}
    team = _Team([], torch.zeros(count, dtype=torch.int64).share_memory_())
    _teams[:] = [*_teams[-MOST_TEAMS + 1 :], team]
    context: Any = copy(multiprocessing.get_context())
    start = context.Process

    def start_noted(*arguments: Any, **options: Any) -> BaseProcess:
        team.processes.append(start(*arguments, **options))
        return team.processes[-1]

    context.Process = start_noted
    return {
        "num_workers": count,
        "worker_init_fn": partial(_begin, team.peaks),
        "multiprocessing_context": context,
    }


def _begin(peaks: Tensor, worker: int) -> None:
    """Leave it to the main process what signals mean, which a whole job may be sent.

    A worker ends when its queue says so, or when the main process is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    _own[:] = [peaks[worker : worker + 1]]
    note_memory()


def note_memory() -> None:
    """Write down, in a process that decodes, how much memory it has used."""
    if _own and get_worker_info() is not None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _own[0][0] = peak if sys.platform == "darwin" else peak * 1024


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
    named = [int(pid) for pid in re.findall(r"pid(?:\(s\))? ([0-9]+)", text)]
    for team in reversed(_teams):
        # PyTorch uses them for the next epoch, or starts as many anew.
        for number, process in enumerate(team.processes):
            if process.pid in named:
                size = len(team.peaks)
                peak = int(team.peaks[number % size]) / 2**20
                who = (
                    f"decoding worker {number % size} of {size} (process {process.pid}, which had "
                )
                process.join(1)
                return _describe(f"{who}used up to {peak:,.0f} MiB)", process.exitcode, size)
    return _describe(f"a decoding worker (process {', '.join(map(str, named)) or '?'})", None, 1)


def _describe(who: str, status: int | None, size: int) -> UserError:
    """What a process's exit status means: the signal's number, negative, if one ended it."""
    fewer = f"set data.workers below {size}" if size > 1 else "set data.workers to 0"
    how, advice = f"ended by itself, with exit status {status}", "{fewer}"
    if status is not None and status < 0:
        name = signal.Signals(-status).name
        how, advice = _REASONS.get(name, (f"was ended by {name}", "{fewer}"))
    return UserError(f"{who} {how}: {advice.format(fewer=fewer)}")


_REASONS = {
    "SIGKILL": (
        "was killed by SIGKILL, as the system does when memory runs out",
        "{fewer}, which takes less memory, or ask for more",
    ),
    "SIGSEGV": (
        "crashed (SIGSEGV) in a library that decodes",
        "torchbake check names files that are damaged; with data.workers 0 the crash shows where",
    ),
    "SIGBUS": (
        "crashed (SIGBUS), as it does when shared memory (/dev/shm) is full",
        "{fewer}, or enlarge it (docker run --shm-size)",
    ),
    "SIGABRT": ("ended itself (SIGABRT)", "with data.workers 0 the cause shows"),
}
"""What happened, and what to change, by the signal."""
