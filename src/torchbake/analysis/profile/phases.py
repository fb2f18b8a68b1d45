"""The phases of a training step, read from what torch.profiler recorded of it."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.autograd.profiler_util import FunctionEvent

from ...training.labels import PREFIX, label

PHASES = ("data", "forward", "target", "backward", "optimizer", "rest")
"""Waiting for a batch; networks; what the method does outside of them; gradients; the update of the
weights and of their average; and seeds, Mixup, memory format, figures for the log."""

OWN = {"method": "target", "step": "rest"}
"""Labels around others, and the phase of what is in none of those."""


def read_phases(events: Iterable[FunctionEvent]) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of each phase in the recorded steps.

    Returns:
        Those on the host, which add up to the steps; and those that an accelerator has worked at
        what a phase asked it for, be it later, zeros without an accelerator.
    """
    events = list(events)
    # Of a label there is a copy on the accelerator's side, too.
    own = (event for event in events if event.device_type.name == "CPU")
    labels = [event for event in own if event.name.startswith(PREFIX)]
    labels.sort(key=lambda event: event.time_range.elapsed_us())
    host: dict[str, float] = {}
    for number, event in enumerate(labels):
        took = event.time_range.elapsed_us() / 1000
        _add(host, event, took)
        outer = _find_label(labels[number + 1 :], event.time_range.start)
        if outer is not None:
            _add(host, outer, -took)
    device = dict.fromkeys(host, 0.0)
    annotations = {event.name for event in events if event.is_user_annotation}
    for event in events:
        # Backward's operations are asked for by another thread, while the label's waits for it.
        outer = _find_label(labels, event.time_range.start) if event.kernels else None
        work = sum(k.duration for k in event.kernels if k.name not in annotations)
        if outer is not None:
            _add(device, outer, work / 1000)
    return host, device


def _find_label(labels: list[FunctionEvent], time: float) -> FunctionEvent | None:
    """The innermost label at a time, of labels that are sorted by their lengths."""
    return next((e for e in labels if e.time_range.start <= time < e.time_range.end), None)


def _add(phases: dict[str, float], event: FunctionEvent, milliseconds: float) -> None:
    name = event.name.removeprefix(PREFIX)
    phase = OWN.get(name, name)
    phases[phase] = phases.get(phase, 0.0) + milliseconds


@contextmanager
def label_forwards(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Meanwhile, label each call of one of the networks `forward`.

    A network within another one is part of it. What a compiled step does inside is one thing, of
    which nothing is told.
    """
    open_labels: list[ExitStack] = []

    def enter(network: nn.Module, inputs: Any) -> None:
        if not torch.compiler.is_compiling():
            open_labels.append(ExitStack())
            if len(open_labels) == 1:
                open_labels[-1].enter_context(label("forward"))

    def leave(network: nn.Module, inputs: Any, output: Any) -> None:
        if not torch.compiler.is_compiling():
            open_labels.pop().close()

    hooks = [network.register_forward_pre_hook(enter) for network in networks]
    hooks += [network.register_forward_hook(leave) for network in networks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
