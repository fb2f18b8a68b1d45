"""Weights of a file, put into a network as far as they fit: of timm, of a run, of a backbone."""

import argparse
import json
import pickle
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from inspect import getmodule
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .._digests import check_weights, digest_file
from .._shapes import Tensor
from ..errors import UserError
from .classifier import Classifier

Weights = dict[str, Tensor]

LEAST = 0.5
"""Share of the values of a network, its classifier left out, that a file must hold."""

_AVERAGES = ("ema", "teacher")
"""In names of those weights that are meant to be used, where a file holds several networks'."""

_SHOWN = 6


@dataclass(frozen=True)
class LoadedWeights:
    """What a file gave a network.

    Attributes:
        path, sha256: the file, and the digest of its content.
        loaded: number of the network's tensors that were taken from it.
        total: number of the network's tensors.
        new: names of the network's tensors that were not, and why; their values are fresh.
        unused: names of the file's tensors that the network has no use for.
    """

    path: str
    sha256: str
    loaded: int
    total: int
    new: dict[str, str]
    unused: list[str]

    def describe(self) -> str:
        """One line for the log; long lists are cut off."""
        parts = [
            f"weights of {self.path} (sha256 {self.sha256[:12]}…): {self.loaded} of the network's "
            f"{self.total} tensors"
        ]
        if self.new:
            told = [f"{name} ({why})" for name, why in self.new.items()]
            parts.append(f"made anew: {_shorten(told)}")
        if self.unused:
            parts.append(f"not used: {_shorten(self.unused)}")
        return "; ".join(parts)


def load_weights(
    model: Classifier, path: Path, classes: Sequence[str] | None = None
) -> LoadedWeights:
    """Put the weights of a file into a network, by the names and shapes of its tensors.

    The file may be of timm or torchvision, a run's `model.safetensors`, or a checkpoint that holds
    the weights somewhere within (`state_dict`, `model`, …) under names with a prefix (`module.`,
    `backbone.`, …): those that fit best are taken. timm's own conversion is tried where its
    architecture has one. A classifier of another size, or for other classes, is made anew, and
    the first convolution is adapted to the number of channels.

    Args:
        path: safetensors, or what `torch.save` wrote; no code in it is run.
        classes: names of the classes, compared with those that a run's file holds.

    Raises:
        UserError: the file cannot be read, or holds too little of the network without its
            classifier (see `LEAST`).
    """
    content, kept_classes = _read(path)
    network = model.network
    own: Weights = network.state_dict()
    head = model.list_head()
    candidates = [
        _convert(network, state, own)
        for found in _find_states(content)
        for state in [_strip_prefix(found, own)]
    ]
    if not candidates:
        raise UserError(f"model.weights: {path} holds no tensors with names")
    given = max(candidates, key=lambda state: _count_values(_fitting(state, own), ()))
    _adapt_first_layer(network, given, own)
    fitting = _fitting(given, own)
    if classes is not None and kept_classes not in (None, list(classes)):
        fitting = {name: value for name, value in fitting.items() if not _is_in(name, head)}
    _check_enough(fitting, given, own, head, path)
    network.load_state_dict(fitting, strict=False)
    return LoadedWeights(
        path=str(path),
        sha256=digest_file(path),
        loaded=len(fitting),
        total=len(own),
        new={
            name: _explain(name, given, own)
            for name in own
            if name not in fitting and not name.endswith("num_batches_tracked")
        },
        unused=[name for name in given if name not in own],
    )


def _read(path: Path) -> tuple[Any, list[str] | None]:
    """The content of a file, and the names of the classes where a run wrote them."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"model.weights: there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                classes = (file.metadata() or {}).get("classes")
                names = list(file.keys())
                content = {name: file.get_tensor(name) for name in names}
                check_weights(path)
                return content, None if classes is None else json.loads(classes)
        # timm's own checkpoints hold the options of their training.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True), None
    except UserError as error:
        raise UserError(f"model.weights: {error}") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"model.weights: {path} is no file of weights: expected safetensors, or tensors in "
            "dictionaries that torch.load reads with weights_only=True"
        ) from None
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"model.weights: {path} cannot be read: {reason}") from None


def _find_states(content: Any, depth: int = 4) -> Iterator[Weights]:
    """Dictionaries of tensors in a file, averaged weights first."""
    if not isinstance(content, Mapping) or not depth:
        return
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if state:
        yield state
    inner = sorted(content, key=lambda name: not any(word in str(name) for word in _AVERAGES))
    for name in inner:
        yield from _find_states(content[name], depth - 1)


def _strip_prefix(state: Weights, own: Weights) -> Weights:
    """The tensors under the prefix with which most of them fit, without it."""
    counts: Counter[str] = Counter()
    for name, value in state.items():
        parts = name.split(".")
        for cut in range(len(parts)):
            rest = ".".join(parts[cut:])
            if rest in own and own[rest].shape == value.shape:
                counts[".".join(parts[:cut]) + "." * bool(cut)] += value.numel()
    if not counts:
        return dict(state)
    prefix = max(counts, key=lambda each: (counts[each], -len(each)))
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def _convert(network: nn.Module, state: Weights, own: Weights) -> Weights:
    """The tensors as timm converts them for this architecture, if more of them fit then."""
    convert = getattr(getmodule(type(network)), "checkpoint_filter_fn", None)
    if convert is None or not type(network).__module__.startswith("timm."):
        return state
    try:
        converted = convert(dict(state), network)
    except Exception:  # it was made for other files
        return state
    before, after = (_count_values(_fitting(each, own), ()) for each in (state, converted))
    return dict(converted) if after > before else state


def _adapt_first_layer(network: nn.Module, state: Weights, own: Weights) -> None:
    """The filters of the first convolution for another number of channels, as timm makes them."""
    named = (getattr(network, "pretrained_cfg", None) or {}).get("first_conv")
    for layer in [named] if isinstance(named, str) else named or ():
        name = f"{layer}.weight"
        if name not in state or name not in own or state[name].ndim != 4:
            continue
        given, wanted = state[name].shape, own[name].shape
        if given != wanted and (given[0], given[2:]) == (wanted[0], wanted[2:]):
            import timm.models

            # timm has no rule for some numbers of channels: the layer is then one of those that
            # did not fit, which are listed.
            with suppress(NotImplementedError):
                state[name] = timm.models.adapt_input_conv(wanted[1], state[name])


def _fitting(state: Mapping[str, Any], own: Weights) -> Weights:
    return {
        name: value
        for name, value in state.items()
        if name in own and isinstance(value, Tensor) and value.shape == own[name].shape
    }


def _is_in(name: str, layers: Iterable[str]) -> bool:
    return any(name.startswith(f"{layer}.") for layer in layers)


def _count_values(state: Weights, without: Collection[str]) -> int:
    return sum(
        value.numel()
        for name, value in state.items()
        if value.is_floating_point() and not _is_in(name, without)
    )


def _check_enough(
    fitting: Weights, given: Weights, own: Weights, head: tuple[str, ...], path: Path
) -> None:
    wanted = _count_values(own, head)
    share = _count_values(fitting, head) / max(wanted, 1)
    if share >= LEAST:
        return
    name = next((name for name in own if name not in fitting and not _is_in(name, head)), "")
    raise UserError(
        f"model.weights: {path} does not fit the network: {100 * share:.0f} % of the weights "
        f"before the classifier are in it under their name and in their shape; the network has "
        f"{name} {_format_shape(own[name])}, the file "
        + _shorten([f"{n} {_format_shape(v)}" for n, v in given.items()], 3)
    )


def _explain(name: str, given: Weights, own: Weights) -> str:
    if name not in given:
        return "not in the file"
    if given[name].shape == own[name].shape:
        return "for other classes"
    return f"{_format_shape(given[name])} in the file, {_format_shape(own[name])} here"


def _format_shape(value: Tensor) -> str:
    return " × ".join(map(str, value.shape)) or "scalar"


def _shorten(items: Sequence[str], most: int = _SHOWN) -> str:
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")
