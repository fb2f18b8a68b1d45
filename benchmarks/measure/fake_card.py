"""A CUDA device where there is none: tensors on it have shapes and types, but no values.

Tensors on the CPU are real. Operations that mix devices raise as they do on a card, and a value
that is read from the card is zero. Autograd records, but its engine cannot run: `backward` gives
every parameter of the graph a gradient without computing one.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.optim import optimizer
from torch.utils import _foreach_utils, _pytree
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("cuda", 0)

# One for all, since tensors of two of them cannot be mixed.
_FAKE = FakeTensorMode(allow_non_fake_inputs=True)


@contextmanager
def use_fake_card() -> Iterator[None]:
    """Meanwhile, there is a card at `cuda:0`."""
    known = [torch.Tensor, torch.nn.Parameter, FakeTensor]
    with ExitStack() as stack:
        for target, name, value in (
            (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
            (torch.cuda, "is_bf16_supported", lambda *_, **__: True),
            (torch.cuda, "is_initialized", lambda: True),
            (torch.cuda, "is_current_stream_capturing", lambda: False),
            (torch.cuda, "current_device", lambda: 0),
            (torch.cuda, "synchronize", lambda *_: None),
            (torch.cuda, "mem_get_info", lambda *_, **__: (2**36, 2**36)),
            (torch.accelerator, "is_available", lambda: True),
            (torch.accelerator, "current_accelerator", lambda *_, **__: DEVICE),
            (torch.cuda, "Stream", _Anything),
            (torch.cuda, "Event", _Anything),
            (torch.cuda, "stream", _Anything),
            (torch.cuda, "current_stream", _Anything),
            (torch.Tensor, "record_stream", _Anything),
            (torch.Tensor, "backward", _give_gradients),
            (torch.utils, "swap_tensors", _take_over),
            (optimizer, "_foreach_supported_types", known),
            (_foreach_utils, "_foreach_supported_types", known),
        ):
            stack.enter_context(patch.object(target, name, value))
        stack.enter_context(patch.object(FakeTensor, "__deepcopy__", _copy_deeply, create=True))
        stack.enter_context(_FAKE)
        stack.enter_context(_FakeCard())
        yield


class _FakeCard(TorchDispatchMode):
    """Sends operations on the card's tensors to the fake mode below it, all others to the CPU."""

    pinned: dict[int, Any] = {}  # noqa: RUF012  storages by address, kept: none is used again

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        if name == "is_pinned":
            return args[0].untyped_storage().data_ptr() in self.pinned
        pinned = bool(kwargs.pop("pin_memory", False))
        device = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
        fake = any(isinstance(leaf, FakeTensor) for leaf in _pytree.tree_leaves((args, kwargs)))
        if not fake and device != "cuda":
            with unset_fake_temporarily():
                if name == "_pin_memory":
                    return self._pin(args[0].clone())
                result = func(*args, **kwargs)
            return self._pin(result) if pinned else result
        if name == "_local_scalar_dense":
            with unset_fake_temporarily():
                return torch.zeros((), dtype=args[0].dtype).item()
        if name == "_to_copy" and device == "cpu":
            with unset_fake_temporarily():
                return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if name.startswith("_fused_"):  # in place, and fake tensors do not know them
            return None
        if name == "copy_" and not isinstance(args[0], FakeTensor):
            return args[0]
        return func(*args, **kwargs)

    def _pin(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.pinned[storage.data_ptr()] = storage
        return tensor


class _Anything:
    """Streams and events: they do nothing, and may be entered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return _Anything

    def __enter__(self) -> "_Anything":
        return self

    def __exit__(self, *error: Any) -> None: ...


def _give_gradients(loss: Tensor, *args: Any, **kwargs: Any) -> None:
    """Gradients without values for all leaves that the loss depends on."""
    waiting: list[Any] = [loss.grad_fn]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        leaf = getattr(node, "variable", None)
        if leaf is not None and leaf.grad is None:
            leaf.grad = torch.empty_like(leaf)
        for before, _ in node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                waiting.append(before)


def _copy_deeply(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(tensor) not in memo:
        copied = tensor.detach().clone()
        if isinstance(tensor, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, tensor.requires_grad)
        memo[id(tensor)] = copied
    return memo[id(tensor)]


def _take_over(parameter: Tensor, other: Tensor) -> None:
    """`torch.utils.swap_tensors`, which refuses fake tensors, as far as modules need it."""
    parameter.data = other.data
