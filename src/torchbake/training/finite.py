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
        own = {id(buffer) for buffer in method.buffers(recurse=False)}
        self._each_step: dict[str, Tensor] = {}
        self._rest: dict[str, Tensor] = {}
        for prefix, module in (("", network), ("method: ", method)):
            for name, tensor, kept in _list_floating(module):
                group = self._rest if id(kept) in own else self._each_step
                group[prefix + name.removeprefix("network.")] = tensor
        for name, tensor, _ in () if average is None else _list_floating(average):
            self._rest["average: " + name.removeprefix("network.")] = tensor
        self._optimizer = optimizer

    def begin(self) -> None:
        """Let be, from now on, what is not finite now; the device is waited for."""
        for name in self.name_faults():
            self._each_step.pop(name, None)
            self._rest.pop(name, None)

    def look_at_networks(self) -> Float[Tensor, ""]:
        """Finite only if the parameters and buffers of all networks that are trained are."""
        return find_worst(self._each_step.values())

    def look_at_all(self) -> Float[Tensor, ""]:
        """Finite only if all is that a checkpoint holds, optimizer state and average included."""
        return find_worst(
            [
                *self._each_step.values(),
                *self._rest.values(),
                *(tensor for _, tensor in self._list_state()),
            ]
        )

    def name_faults(self) -> list[str]:
        """The names of all tensors that are not finite; the device is waited for."""
        named = {**self._each_step, **self._rest, **dict(self._list_state())}
        worst = torch.stack([find_worst([tensor]).double() for tensor in named.values()])
        finite = worst.isfinite().tolist()
        return [name for name, fine in zip(named, finite, strict=True) if not fine]

    def _list_state(self) -> Iterator[tuple[str, Tensor]]:
        names = {tensor.data_ptr(): name for name, tensor in self._each_step.items()}
        for parameter, state in self._optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1:
                    name = names.get(parameter.data_ptr(), "a parameter")
                    yield f"optimizer: {key} of {name}", value


def _list_floating(module: nn.Module) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Floating-point parameters and buffers: name, values, and the tensor that the module has."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and tensor.numel():
            yield name, tensor.detach(), tensor
