"""Processes that decode images."""

import os
import signal

MOST = 16
"""Processes without being told how many: more seldom help, and each takes memory."""


def count_workers() -> int:
    """One process for each core that this one may use, shared with the machine's other ranks."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), MOST))


def leave_signals(worker: int) -> None:
    """Leave it to the main process what signals mean, which a whole job may be sent.

    A worker ends when its queue says so, or when the main process is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
