"""Layers of a network that keep their weights."""

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from ..errors import UserError, did_you_mean
from .classifier import Classifier


def freeze_layers(model: Classifier, patterns: Sequence[str]) -> None:
    """Keep the weights of the layers with these names as they are, classifier excepted.

    Normalisation that keeps running statistics, such as batch normalisation, stays in evaluation
    mode in these layers, so that they give the same features all the time.

    Args:
        patterns: names of layers, with all that is within them, or of single parameters, as in
            `named_modules()` and `named_parameters()`; `*`, `?` and `[…]` are those of a shell, so
            that `*` means all but the classifier.

    Raises:
        UserError: a pattern that matches nothing outside the classifier; or nothing is left to
            train.
    """
    layers = dict(model.network.named_modules())
    parameters = dict(model.network.named_parameters())
    head = model.list_head()
    still: set[str] = set()
    for pattern in patterns:
        found = [name for name in layers if name and fnmatchcase(name, pattern)]
        frozen = {name for name in parameters if _is_in(name, found) or fnmatchcase(name, pattern)}
        frozen = {name for name in frozen if not _is_in(name, head)}
        if not frozen:
            raise UserError(
                f"model.freeze: '{pattern}' matches no layer with weights before the classifier"
                + (did_you_mean(pattern, layers) or f"; there are {_list_outermost(parameters)}")
            )
        for name in frozen:
            parameters[name].requires_grad_(False)
        still |= {
            name
            for name, layer in layers.items()
            if getattr(layer, "running_mean", None) is not None
            and (name in found or _is_in(name, found))
            and not _is_in(name, head)
        }
    if patterns and not any(parameter.requires_grad for parameter in parameters.values()):
        raise UserError("model.freeze: leaves nothing to train; name fewer layers")
    model.still = tuple(sorted(still))
    model.train(model.training)


def _is_in(name: str, layers: Iterable[str]) -> bool:
    return any(name.startswith(f"{layer}.") for layer in layers)


def _list_outermost(parameters: Collection[str]) -> str:
    return ", ".join(dict.fromkeys(name.partition(".")[0] for name in parameters))
