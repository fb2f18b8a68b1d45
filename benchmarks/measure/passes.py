"""Passes over N×C matrices that the target and the distillation term make, beside the product.

    uv run python -m benchmarks.measure.passes

Every operation is watched, forward and backward: each read or write of the memory of a matrix of
N×C counts once. What is smaller (the blocks of rows that stay in the processor's cache) does not.
"""

from collections import Counter
from typing import Any

import torch
from benchmarks.measure.ensembling import LOSSES, clustered
from benchmarks.measure.provenance import write_results
from torch.utils._python_dispatch import TorchDispatchMode

N, D, C = 128, 64, 21843


class Passes(TorchDispatchMode):
    """Counts the entries that are read or written, by operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.is_view or name.startswith(("empty", "new_")):
            return result
        # An operation in place returns what it was given, read as well as written.
        touched = [*_tensors(args), *_tensors(result)]
        self.entries[name] += sum(tensor.numel() for tensor in touched if _full(tensor))
        return result


def _tensors(values: Any) -> list[torch.Tensor]:
    values = values if isinstance(values, tuple | list) else [values]
    return [value for value in values if isinstance(value, torch.Tensor)]


def _full(tensor: torch.Tensor) -> bool:
    return tensor.untyped_storage().nbytes() >= 4 * N * C


def main() -> None:
    rows = []
    logits, features = clustered(N, D, C, "cpu")
    for name, loss in LOSSES.items():
        leaf = logits.clone().requires_grad_()
        with Passes() as passes:
            loss(leaf, features).backward()
        counts = {k: round(v / (N * C)) for k, v in passes.entries.items() if v and k != "mm"}
        rows.append({"loss": name, "passes": sum(counts.values()), "by_operation": counts})
        print(name, sum(counts.values()), counts)
    write_results("passes", rows)


if __name__ == "__main__":
    main()
