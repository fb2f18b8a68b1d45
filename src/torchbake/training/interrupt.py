"""Requests to stop: a run finishes its step and writes a checkpoint before it ends."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from ..errors import Stopped
from .distributed import Ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C; what launchers and `kill` send; the end of a terminal; what SLURM can send in time."""

ECHO = 1.0
"""Seconds within which a second signal to one of several ranks is the first one once more: their
launcher passes on what the whole job was sent."""


class StopRequests:
    """Whether a signal asked the run to stop.

    Before `begin_training` the first signal ends the process at once, since there is nothing to
    save. From there on it is noted, and the loop asks for it once a step.
    """

    def __init__(self) -> None:
        self.received: list[float] = []
        self.training = False
        self._ranks = 1
        self._group: Any = None  # torch.distributed's
        self._flag = torch.zeros(1, dtype=torch.int32)
        self._work: dist.Work | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        now = time.monotonic()
        echo = self._ranks > 1 and self.received and now - self.received[0] < ECHO
        self.received.append(now)
        if not self.training or (len(self.received) > 1 and not echo):
            raise KeyboardInterrupt

    def begin_training(self, ranks: Ranks) -> None:
        """Note signals from here on; all ranks call this together, behind what they start with."""
        self._ranks = ranks.world_size
        if ranks.world_size > 1:
            # Of its own, beside what the ranks exchange on their devices.
            self._group = dist.new_group(backend="gloo")
            _handle(self.note)
        self.training = True

    def are_agreed(self) -> bool:
        """Whether to stop behind this step, alike on all ranks, which all ask once a step.

        With several ranks, this is what was known on any of them a step ago: the answer comes
        while they train, and nobody waits for it.
        """
        if self._group is None:
            return bool(self.received)
        asked = False
        if self._work is not None:
            self._work.wait()
            asked = bool(self._flag)
        self._flag.fill_(bool(self.received))
        self._work = dist.all_reduce(
            self._flag, dist.ReduceOp.MAX, group=self._group, async_op=True
        )
        return asked

    def wait_for_all(self) -> None:
        """Wait until all ranks are here: a launcher ends the others when one has ended."""
        if self._group is not None:
            dist.barrier(self._group)


@contextmanager
def watch_stop_requests(world_size: int) -> Iterator[StopRequests]:
    """Handle `SIGNALS` within the block; what its parent ignores, as nohup does, stays ignored.

    Ranks that are starting leave signals to the system: they wait for each other in calls that
    no handler interrupts.

    Raises:
        Stopped: a signal came before the first step.
    """
    requests = StopRequests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _handle(signal.SIG_DFL if world_size > 1 else requests.note)
    try:
        yield requests
    except KeyboardInterrupt:
        if requests.received and not requests.training:
            raise Stopped("stopped before the first step; start it again") from None
        raise
    finally:
        for number, handler in before.items():
            if handler not in (None, signal.SIG_IGN):  # None: not Python's
                signal.signal(number, handler)


def _handle(handler: object) -> None:
    """Set the handler of all signals but those that are ignored."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type]
