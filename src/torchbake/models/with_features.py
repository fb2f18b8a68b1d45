"""Any classifier, returning its features beside its logits while it trains."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from .._shapes import Float, Tensor
from ..errors import UserError
from .classifier import Classifier, Output
from .find_classifier import count_outputs, find_classifier

_PREFIX = "network."


def with_features(
    model: nn.Module, layer: str | None = None, *, always: bool = False
) -> "FeatureModel":
    """A module that returns (features, logits) in training and plain logits in evaluation.

    >>> model = with_features(torchvision.models.resnet18(num_classes=10))
    >>> features, logits = model(images)
    >>> logits = model.eval()(images)

    The features are what goes into the last linear layer, which is found in the classifiers of
    torchvision, timm and transformers. The model's own parameters are trained, under their own
    names: the result's `state_dict()` loads into the model without torchbake. Attributes that the
    result lacks are the model's.

    Args:
        model: takes anything, and returns logits (n, c), or an object with `logits` as those of
            transformers are.
        layer: the layer whose input serves as features, as in `named_modules()`.
        always: return (features, logits) in evaluation, too.

    Raises:
        UserError: the model has no such layer, or none or several that could be it. At a forward
            pass in training: the layer does not make the logits.
    """
    return FeatureModel(model, find_classifier(model) if layer is None else layer, always)


class FeatureModel(Classifier):
    """What `with_features` returns. To export, take `network`.

    Attributes:
        network: the model as it was given.
        layer: the name of the layer whose input serves as features.
        always: whether features are returned in evaluation, too.
    """

    def __init__(self, model: nn.Module, layer: str, always: bool = False) -> None:
        super().__init__(model, classifier=layer)
        self.always = always
        self.register_load_state_dict_pre_hook(_add_prefix)  # type: ignore[no-untyped-call]

    def forward(  # type: ignore[override]
        self, *inputs: Any, **named: Any
    ) -> Output | Float[Tensor, "n c"]:
        if torch.compiler.is_exporting():  # whose bookkeeping expects this object's own names
            raise UserError("export the model itself, which is the attribute network")
        if self.training or self.always:
            return self.compute(*inputs, **named)
        logits: Tensor = read_logits(self.network(*inputs, **named))
        return logits

    def compute(self, *inputs: Any, **named: Any) -> Output:
        """The features and logits of whatever the model takes, in any mode."""
        features, output = self.watch(partial(self.network, *inputs, **named))
        return Output(features, self.check_logits(output))

    def check_logits(self, output: Any) -> Float[Tensor, "n c"]:
        """The logits in what the model returned, if the layer can have made them."""
        made = count_outputs(self.network.get_submodule(str(self.layer)))
        logits: Any = read_logits(output)
        if (
            not isinstance(logits, Tensor)
            or logits.ndim != 2
            or made not in (None, logits.shape[1])
        ):
            got = f"{tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(
                f"layer '{self.layer}' does not make the model's logits: expected logits (n, "
                f"{'c' if made is None else made}), got {got}; name the layer that does"
            )
        return logits

    def pool(self, features: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        if features.ndim == 3:
            raise UserError(
                f"layer '{self.layer}' takes {features.shape[1]} vectors of each input, and only "
                "the model knows which of them count: name a layer that takes one"
            )
        return super().pool(features)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """The model's own."""
        return self.network.state_dict(*args, **options)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of the model, under its own names."""
        if recurse:
            yield from self.network.named_parameters(prefix, True, remove_duplicate)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Those of the model, under its own names."""
        if recurse:
            yield from self.network.named_buffers(prefix, True, remove_duplicate)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network":  # not there yet, as while it is unpickled
                raise
            return getattr(self.network, name)


def read_logits(output: Any) -> Any:
    """The logits in what a model returns: itself, or the part of its output object so called."""
    return output if isinstance(output, Tensor) else getattr(output, "logits", output)


def _add_prefix(module: nn.Module, state: dict[str, Any], prefix: str, *unused: Any) -> None:
    """Make the model's own names those of its place in a `FeatureModel`."""
    for key in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}{_PREFIX}{key[len(prefix) :]}"] = state.pop(key)
