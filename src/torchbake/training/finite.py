"""Whether numbers are finite, asked on their device without waiting for it."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from .._shapes import Float


def find_worst(tensors: Iterable[Tensor]) -> Float[Tensor, ""]:
    """A number that is finite only if all of these tensors are, on their device.

    It is the largest of their norms, so that numbers whose squares overflow, from about 10¹⁹ in
    float32, count as not finite. Of half precision, whose squares overflow sooner, it is the
    largest number.
    """
    halves: dict[bool, list[Tensor]] = {False: [], True: []}
    for tensor in tensors:
        halves[tensor.dtype in (torch.float16, torch.bfloat16)].append(tensor)
    norms: list[Tensor] = []
    for half, some in halves.items():
        if some:
            norms += torch._foreach_norm(some, torch.inf if half else 2)
    return torch.stack(norms).amax()  # which is NaN if one of them is


class Watch:
    """The tensors of a run that must stay finite.

    What is not finite from the beginning, such as a mask of −∞ that a network keeps, is let be.

    Args:
        networks: whose parameters and buffers are looked at in every step.
        method: which may keep networks, too, and buffers of its own, such as what it remembers of
            each image. These can be large, and are looked at with the rest.
        average: the moving average of the weights.
        optimizer: whose state is looked at with the rest.
    """

    def __init__(
        self,
        network: nn.Module,
        method: nn.Module,
        average: nn.Module | None,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._network = network
        self._method = method
        self._average = average
        self._optimizer = optimizer
        self._exempt: set[str] = set()
        self._each_step = self._list_networks()

    def begin(self) -> None:
        """Let be, from now on, what is not finite now; the device is waited for."""
        self._exempt = set(self.name_faults())
        self._each_step = self._list_networks()

    def look_at_networks(self) -> Float[Tensor, ""]:
        """Finite only if the parameters and buffers of all networks that are trained are."""
        return find_worst(self._each_step.values())

    def look_at_all(self) -> Float[Tensor, ""]:
        """Finite only if all is that a checkpoint holds, optimizer state and average included."""
        return find_worst(self._list_all().values())

    def name_faults(self) -> list[str]:
        """The names of all tensors that are not finite; the device is waited for."""
        named = self._list_all()
        worst = torch.stack([find_worst([tensor]).double() for tensor in named.values()])
        finite = worst.isfinite().tolist()
        return [name for name, fine in zip(named, finite, strict=True) if not fine]

    def _list_networks(self) -> dict[str, Tensor]:
        own = {id(buffer) for buffer in self._method.buffers(recurse=False)}
        every = (*_list_floating(self._network), *_list_floating(self._method, "method: "))
        return {
            name: tensor.detach()
            for name, tensor in every
            if id(tensor) not in own and name not in self._exempt
        }

    def _list_all(self) -> dict[str, Tensor]:
        """Listed anew, since a method may put another tensor in the place of a buffer."""
        names = {id(p): name for name, p in _list_floating(self._network)}
        names |= {id(p): name for name, p in _list_floating(self._method, "method: ")}
        every = [*_list_floating(self._network), *_list_floating(self._method, "method: ")]
        if self._average is not None:
            every += _list_floating(self._average, "average: ")
        for parameter, state in self._optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1:
                    name = names.get(id(parameter), "a parameter")
                    every.append((f"optimizer: {key} of {name}", value))
        return {name: tensor.detach() for name, tensor in every if name not in self._exempt}


def _list_floating(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Floating-point parameters and buffers by their names in the network itself."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and tensor.numel():
            yield prefix + name.removeprefix("network."), tensor
