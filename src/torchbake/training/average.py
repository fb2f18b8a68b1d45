"""An exponential moving average of a network's weights, evaluated beside the network."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from ..models.average import move_towards


class WeightAverage:
    """w̄ ← decay w̄ + (1 − decay) w after each update; it begins as the first updated weights.

    All floating-point parameters and buffers are averaged by one fused operation on their device,
    and whole numbers (counters) are copied, so that an update never waits for the device. What it
    holds lies on the network's device, where NCCL can broadcast it.

    Attributes:
        network: the averaged network, in evaluation mode, without gradients.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights that the last step left."""
        means, values = _split_by_kind(self.network), _split_by_kind(network)
        weight = 1 - self.decay if self.updates else 1.0
        move_towards(means[0], values[0], weight)
        if means[1]:
            torch._foreach_copy_(means[1], values[1])
        self.updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights, and the number of updates under the name `updates`."""
        return {**self.network.state_dict(), "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what `state_dict` returned."""
        tensors = dict(state)
        self.updates = int(tensors.pop("updates"))
        self.network.load_state_dict(tensors)


def _split_by_kind(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Floating-point tensors, which are averaged, and whole numbers, which are copied."""
    every = [*network.parameters(), *network.buffers()]
    floating = [tensor.detach() for tensor in every if tensor.is_floating_point()]
    return floating, [tensor for tensor in every if not tensor.is_floating_point()]
