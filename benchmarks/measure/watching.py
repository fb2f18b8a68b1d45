"""What a piece of code asks of a CUDA device, real or fake, counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, bool, uint8
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {"_linalg_check_errors", "_unique2", "bincount", "equal", "masked_select", "nonzero"}
"""Operations that wait for the device by themselves, since they need a value or a size."""

INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}

FREE = {"_local_scalar_dense", "_pin_memory", "is_pinned", "lift_fresh", "record_stream", "set_"}
FREE |= {"as_strided_", "detach_", "squeeze_", "t_", "transpose_", "unsqueeze_"}
"""Operations that launch nothing, beside those that only allocate or view."""


class Counts(NamedTuple):
    """What was asked of a device.

    Attributes:
        launches: operations that start at least one kernel or copy.
        copies: copies between host and device for which the host waits: of memory that is not
            pinned, or without `non_blocking`.
        reads: waits for a value, or for a size that depends on values.
    """

    launches: int
    copies: int
    reads: int


@dataclass
class Seen:
    """Names of operations in their order."""

    launches: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)

    @property
    def counts(self) -> Counts:
        return Counts(len(self.launches), len(self.copies), len(self.reads))


@contextmanager
def watch_device() -> Iterator[Seen]:
    """What the code within asks of CUDA devices, below autograd and autocast."""
    seen = Seen()
    with _Watch(seen):
        yield seen


class _Watch(TorchDispatchMode):
    def __init__(self, seen: Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        _note(self.seen, func, args, kwargs, result)
        return result


def _note(seen: Seen, func: Any, args: Any, kwargs: Any, result: Any) -> None:
    name = func.overloadpacket.__name__
    given, made = (
        [value for value in _pytree.tree_leaves(values) if isinstance(value, Tensor)]
        for values in ((args, kwargs), result)
    )
    if func.namespace == "prim" or not any(tensor.is_cuda for tensor in (*given, *made)):
        return
    if name == "_local_scalar_dense" or name in WAITING or _is_chosen_by_mask(name, args):
        seen.reads.append(name)
    if name == "_to_copy":
        _note_copy(seen, made[0], given[0], kwargs.get("non_blocking", False))
    elif name == "copy_":
        quick = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        _note_copy(seen, given[0], given[1], quick)
    elif not (name in FREE or func.is_view or name.startswith(("empty", "new_empty"))):
        seen.launches.append(name)
        if name in INDEXING:
            # Indices on the host, and a single value, are copied to the card first.
            own = [*args[1], *(args[2:3] if len(args) > 2 and not _is_fill(args) else ())]
            seen.copies += [f"for {name}" for t in own if isinstance(t, Tensor) and t.is_cpu]


def _note_copy(seen: Seen, target: Tensor, source: Tensor, non_blocking: Any) -> None:
    seen.launches.append("copy")
    if target.is_cuda and source.is_cuda:
        return
    host, way = (source, "to the card") if target.is_cuda else (target, "to the host")
    if not (non_blocking and host.is_pinned()):
        seen.copies.append(f"{source.dtype} {tuple(source.shape)} {way}")


def _is_chosen_by_mask(name: str, args: Any) -> Any:
    """Whether an index is a mask, so that the number of what it chooses must be read."""
    if name not in INDEXING or _is_fill(args):
        return False
    return any(isinstance(index, Tensor) and index.dtype in (bool, uint8) for index in args[1])


def _is_fill(args: Any) -> Any:
    """Whether one value is put wherever a mask is true."""
    return (
        len(args) > 2
        and args[2].numel() == 1
        and all(index is None or index.dtype is bool for index in args[1])
    )
