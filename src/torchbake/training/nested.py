"""Nested state as tensors by name and a JSON tree, exactly: what safetensors and JSON can hold.

Dictionaries (with keys of any plain kind), lists and tuples of tensors, whole numbers, floats
(infinite ones and NaN, too), truth values, None and texts come back as they were. Nothing that is
read can run code.
"""

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError

Tree = Any
"""What JSON holds: plain values stand for themselves, all else is a mapping of one tag."""


def flatten_state(state: Any) -> tuple[dict[str, Tensor], Tree]:
    """The tensors of nested state by names that tell their place, and a tree of the rest.

    The tensors are contiguous views of the state's own where they can be, copies where they share
    memory; they are on the devices that they were on.

    Raises:
        UserError: a value of another kind, which is named.
    """
    writer = _Writer()
    tree = writer.write(state, "")
    return writer.tensors, tree


class _Writer:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}
        self._storages: set[int] = set()

    def write(self, value: Any, place: str) -> Tree:
        if isinstance(value, Tensor):
            return self._write_tensor(value, place)
        if isinstance(value, dict):
            return self._write_mapping(value, place)
        if isinstance(value, list | tuple):
            parts = [self.write(part, _join(place, number)) for number, part in enumerate(value)]
            return {"tuple": parts} if isinstance(value, tuple) else parts
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if value is None or type(value) in (bool, int, str):
            return value
        raise UserError(
            f"a checkpoint cannot hold {place.replace('/', '.')}: expected tensors, numbers, "
            f"texts, None, and lists, tuples and dictionaries of them, got {type(value).__name__}"
        )

    def _write_mapping(self, value: dict[Any, Any], place: str) -> Tree:
        parts = [(key, self.write(part, _join(place, key))) for key, part in value.items()]
        if not all(type(key) is str for key, _ in parts):
            return {"items": [[self.write(key, place), part] for key, part in parts]}
        # Modules read the versions of their parts there.
        versions = getattr(value, "_metadata", None)
        if isinstance(value, OrderedDict) and versions is not None:
            return {"state": dict(parts), "versions": self.write(dict(versions), place)}
        return {"dict": dict(parts)}

    def _write_tensor(self, tensor: Tensor, place: str) -> Tree:
        tensor = tensor.detach()
        memory = tensor.untyped_storage().data_ptr() if tensor.numel() else 0
        identity = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if memory and identity in self._names:
            return {"tensor": self._names[identity]}
        strides: list[int] | None = None
        if not tensor.is_contiguous():
            order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
            if tensor.permute(order).is_contiguous():  # such as channels-last
                strides = list(tensor.stride())
                tensor = tensor.permute(order)
        if memory in self._storages or not tensor.is_contiguous():
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        self._storages.add(memory)
        name = place or "value"
        while name in self.tensors:
            name += "'"
        self.tensors[name] = tensor
        if memory:
            self._names[identity] = name
        if strides is None:
            return {"tensor": name}
        return {"tensor": name, "shape": list(identity[3]), "strides": strides}


def unflatten_state(tensors: dict[str, Tensor], tree: Tree) -> Any:
    """The state that `flatten_state` was given; tensors keep the order of their dimensions.

    Raises:
        ValueError: the tree is not one of `flatten_state`, or names a tensor that is not there.
    """
    if isinstance(tree, list):
        return [unflatten_state(tensors, part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    match tree:
        case {"tensor": str(name), **form}:
            if name not in tensors:
                raise ValueError(f"there is no tensor '{name}'")
            if not form:
                return tensors[name]
            try:
                return tensors[name].as_strided(form["shape"], form["strides"])
            except (KeyError, TypeError, RuntimeError) as error:
                raise ValueError(f"'{name}' has no such shape: {error}") from None
        case {"tuple": list(parts)}:
            return tuple(unflatten_state(tensors, part) for part in parts)
        case {"float": "inf" | "-inf" | "nan" as text}:
            return float(text)
        case {"dict": dict(parts)}:
            return {key: unflatten_state(tensors, part) for key, part in parts.items()}
        case {"items": list(parts)}:
            pairs = [[unflatten_state(tensors, part) for part in pair] for pair in parts]
            return {key: part for key, part in pairs}  # noqa: C416 (pairs, else an error)
        case {"state": dict(parts), "versions": versions}:
            state: Any = OrderedDict(
                (key, unflatten_state(tensors, part)) for key, part in parts.items()
            )
            state._metadata = OrderedDict(unflatten_state(tensors, versions))
            return state
    raise ValueError(f"unknown part of the state: {sorted(map(str, tree))}")


def _join(place: str, key: Any) -> str:
    return f"{place}/{key}" if place else str(key)
