"""What training takes: forwards and memory."""

import resource
import sys
from typing import Any

import torch
from torch import nn


class ForwardCounter:
    """Counts the images that go through networks, with or without gradient.

    It counts on the device, so that nobody waits for it and a compiled step can do so, too.
    """

    def __init__(self, device: torch.device) -> None:
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        self.networks: list[nn.Module] = []

    def watch(self, network: nn.Module) -> None:
        """Count this network's forwards, too."""
        network.register_forward_pre_hook(self._add)
        self.networks.append(network)

    def _add(self, network: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.count.add_(len(inputs[0]))

    def take(self) -> int:
        """The images counted since the last call."""
        count = int(self.count)
        self.count.zero_()
        return count


def peak_memory(device: torch.device) -> int:
    """Bytes that this process has held at most: on a GPU of tensors there, else of everything."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
