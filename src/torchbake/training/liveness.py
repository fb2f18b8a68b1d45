"""Which of several ranks has failed, from what all of them tell each other beside training.

A rank whose partner is gone learns from gloo or NCCL that a connection was closed, or that it has
waited too long; not by whom. So each rank writes signs of life to the store through which the
ranks found each other, and its error when it has one. A rank that waited in vain reads them.
"""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ..errors import UserError, shorten

PERIOD = 0.5
"""Seconds between two signs of life."""

PATIENCE = 4.0
"""Seconds in which the ranks that waited in vain report it, since all do at about the same time."""

_SIGNS = (
    *("gloo", "NCCL", "ProcessGroup", "Connection closed", "Connection reset", "Broken pipe"),
    *("Timed out waiting", "connectFullMesh", "TCPStore", "failed to recv", "failed to send"),
    *("caused pair closure", "Read timeout", "Wait timeout", "Socket ", "Read error"),
)
"""Of errors of `torch.distributed` that have no class of their own."""


class Liveness:
    """This rank's signs of life in the store, and the reading of the others'.

    Args:
        store: of this object alone, since one that waits would hold up the others' use of it.
    """

    def __init__(self, store: Any, rank: int, world_size: int) -> None:
        self.rank = rank
        self.world_size = world_size
        self._store = store
        self._lock = threading.Lock()
        self._where, self._since, self._beats = "starting", time.monotonic(), 0
        self._ended = threading.Event()
        threading.Thread(target=self._beat, name="torchbake-liveness", daemon=True).start()

    def note(self, where: str) -> None:
        """Say what this rank is about to do, such as "step 12"."""
        self._where, self._since = where, time.monotonic()

    def report(self, cause: str, *, waited: bool) -> None:
        """Write down why this rank ends.

        Args:
            waited: it waited for another one in vain, or lost the connection to it.
        """
        self._put(f"end/{self.rank}", {"cause": cause, "waited": waited, "where": self._where})

    def stop(self) -> None:
        """Give no more signs of life."""
        self._ended.set()

    def diagnose(self) -> str:
        """Which ranks have failed, and how, in words; takes a few seconds."""
        others = [rank for rank in range(self.world_size) if rank != self.rank]
        before = {rank: self._get(f"life/{rank}") for rank in others}
        started = time.monotonic()
        ends: dict[int, Any] = {}
        while time.monotonic() - started < PATIENCE:
            ends = {r: end for r in others if (end := self._get(f"end/{r}")) is not None}
            failed = [rank for rank, end in ends.items() if not end["waited"]]
            if failed:
                return "; ".join(f"rank {rank} failed: {ends[rank]['cause']}" for rank in failed)
            time.sleep(PERIOD / 2)
        silent = [rank for rank in others if rank not in ends]
        told = [self._describe(rank, before[rank], self._get(f"life/{rank}")) for rank in silent]
        return "; ".join(told) or "the ranks lost the connection to each other"

    def _describe(self, rank: int, before: Any, now: Any) -> str:
        if now is None:
            return f"rank {rank} never came"
        at = f"{now['where']}, {now['process']}"
        if before is not None and now["beats"] != before["beats"]:
            return f"rank {rank} does not go on: it is at {at}, for {now['seconds']:.0f} s now"
        return (
            f"rank {rank} gives no sign of life: it was killed or stopped, or lost its connection; "
            f"last seen at {at}"
        )

    def _beat(self) -> None:
        process = f"process {os.getpid()} on {socket.gethostname()}"
        while not self._ended.is_set():
            self._beats += 1
            seconds = time.monotonic() - self._since
            sign = {"beats": self._beats, "where": self._where, "seconds": seconds}
            self._put(f"life/{self.rank}", {**sign, "process": process})
            self._ended.wait(PERIOD)

    def _put(self, key: str, value: dict[str, Any]) -> None:
        # Where the store is gone, the job is at its end.
        with suppress(RuntimeError, ValueError), self._lock:
            self._store.set(key, json.dumps(value))

    def _get(self, key: str) -> Any:
        with suppress(RuntimeError, ValueError), self._lock:
            if self._store.check([key]):
                return json.loads(self._store.get(key))
        return None


@contextmanager
def name_failed_ranks(liveness: Liveness) -> Iterator[None]:
    """Tell the others of an error of this rank, and turn one of waiting for them into a UserError.

    Raises:
        UserError: another rank has failed; it says which, and how.
    """
    try:
        yield
    except BaseException as error:
        text = str(error).strip().splitlines()
        # Without the place in gloo's own source.
        first = shorten(re.sub(r"^\[[^]]*\.cc:[0-9]+\] ", "", text[0] if text else ""), 300)
        waited = is_of_communication(error)
        cause = first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"
        liveness.report(cause, waited=waited)
        if waited:
            told = f"{liveness.diagnose()} (rank {liveness.rank}: {shorten(first, 160)})"
            raise UserError(told) from None
        raise
    finally:
        liveness.stop()


def is_of_communication(error: BaseException) -> bool:
    """Whether an error says that ranks could not reach each other."""
    if isinstance(error, UserError):
        return False
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def open_stores(timeout: timedelta) -> tuple[Any, Any, int, int]:
    """The store by which ranks find each other, one more for signs of life, rank and world size."""
    found, rank, world_size = next(rendezvous("env://", timeout=timeout))
    found.set_timeout(timeout)
    own = found.clone()
    own.set_timeout(timedelta(seconds=10))
    return (
        PrefixStore("torchbake", found),
        PrefixStore("torchbake-liveness", own),
        rank,
        world_size,
    )
