"""Requests to stop: a run finishes its step and writes a checkpoint before it ends."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from .distributed import Ranks


@contextmanager
def watch_stop_requests(ranks: Ranks) -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM came; several ranks cannot agree on a step, and just end."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:  # asked twice: at once
            raise KeyboardInterrupt
        received.append(number)

    if ranks.world_size > 1 or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
