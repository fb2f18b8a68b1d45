"""The phases of a training step: when each begins, on the clock of the device, or in a trace."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.profiler import record_function

PHASES = ("data", "forward", "target", "backward", "optimizer", "rest")
"""Waiting for a batch; networks; what the method does outside of them; gradients; the update of the
weights and of their average; and seeds, Mixup, memory format, figures for the log."""

END = ""
"""What is entered where a step ends."""


class Timeline:
    """When phases began. They follow each other without gaps, so that they add up to the step.

    On a GPU these are times of its own queue, where work is done later than it is asked for: marks
    in the queue, that nobody waits for before `steps`. A wait of the host's shows there as far as
    it leaves the GPU without work.
    """

    def __init__(self, device: torch.device) -> None:
        self._module: Any = None if device.type == "cpu" else torch.get_device_module(device)
        self._marks: list[tuple[str, float, Any]] = []

    def enter(self, phase: str) -> None:
        """A phase begins now, and the one before it ends."""
        event = None
        if self._module is not None:
            event = self._module.Event(enable_timing=True)
            event.record()
        self._marks.append((phase, time.perf_counter(), event))

    def steps(self) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
        """Milliseconds of each phase in each step: on the device, and on the host."""
        if self._module is not None:
            self._module.synchronize()
        device: list[dict[str, float]] = [{}] if self._marks else []
        host: list[dict[str, float]] = [{}] if self._marks else []
        for (phase, began, first), (_, ended, second) in pairwise(self._marks):
            if phase == END:
                device.append({})
                host.append({})
                continue
            on_host = 1000 * (ended - began)
            on_device = on_host if first is None else first.elapsed_time(second)
            host[-1][phase] = host[-1].get(phase, 0.0) + on_host
            device[-1][phase] = device[-1].get(phase, 0.0) + on_device
        return device, host


class Ranges:
    """Phases as named ranges, `torchbake.forward` and so on, in what torch.profiler records."""

    def __init__(self) -> None:
        self._open: record_function | None = None

    def enter(self, phase: str) -> None:
        """A phase begins now, and the one before it ends."""
        if self._open is not None:
            self._open.__exit__(None, None, None)
        self._open = None if phase == END else record_function(f"torchbake.{phase}")
        if self._open is not None:
            self._open.__enter__()


@contextmanager
def trace_forwards(networks: Iterable[nn.Module], enter: Callable[[str], None]) -> Iterator[None]:
    """Enter `forward` meanwhile where one of the networks is called, and `target` behind it.

    A network within another one is part of it. What a compiled step does inside is one thing, of
    which nothing is told: all of it is `target`.
    """
    depth = 0

    def before(network: nn.Module, inputs: Any) -> None:
        nonlocal depth
        if not torch.compiler.is_compiling():
            depth += 1
            if depth == 1:
                enter("forward")

    def after(network: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal depth
        if not torch.compiler.is_compiling():
            depth -= 1
            if depth == 0:
                enter("target")

    hooks = [network.register_forward_pre_hook(before) for network in networks]
    hooks += [network.register_forward_hook(after) for network in networks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
