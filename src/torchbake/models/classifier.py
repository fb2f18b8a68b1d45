"""A network that returns features and logits."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from .._shapes import Float, Tensor
from ..errors import UserError, did_you_mean


class Output(NamedTuple):
    """The result of a forward pass: pooled features before the classifier, and class scores."""

    features: Float[Tensor, "n d"]
    logits: Float[Tensor, "n c"]


class Classifier(nn.Module):
    """A network that returns its features along with its logits, from one forward pass.

    >>> model = Classifier(torchvision.models.resnet18(), classifier="fc")
    >>> features, logits = model(images)

    The network itself, `model.network`, is unchanged and keeps its parameter names. The features
    are found by the name of a layer, as in `named_modules()`:

    Args:
        network: images (n, ch, h, w) to logits (n, c).
        classifier: the last layer, whose input serves as features.
        features: a layer whose output serves as features instead; maps (n, d, h, w) are averaged
            over their positions and tokens (n, t, d) over t.

    Raises:
        UserError: neither or both were named, or the network has no such layer. At the first
            forward: the layer did not run, or gave no features.
    """

    def __init__(
        self, network: nn.Module, *, classifier: str | None = None, features: str | None = None
    ) -> None:
        super().__init__()
        if (classifier is None) == (features is None):
            raise UserError("name either the classifier layer or the features layer of the model")
        self.network = network
        self.classifier = classifier
        self.layer = classifier if features is None else features
        layers = dict(network.named_modules())
        if self.layer not in layers:
            hint = did_you_mean(str(self.layer), layers)
            raise UserError(f"the model has no layer named '{self.layer}'{hint}")
        # Bound methods, so that a deep copy (an average of weights, say) keeps its own features.
        if features is None:
            layers[self.layer].register_forward_pre_hook(self._keep_input)
        else:
            layers[self.layer].register_forward_hook(self._keep_output)
        self._kept: Any = None
        # Only during a forward pass of this object: else the network's own, and an export of it,
        # would leave tensors here.
        self._listening = False
        self.still: tuple[str, ...] = ()  # layers that stay in evaluation mode

    def list_head(self) -> tuple[str, ...]:
        """The layers that make the logits: the one named, and those that timm calls so."""
        named = (getattr(self.network, "pretrained_cfg", None) or {}).get("classifier") or ()
        timm_names = (named,) if isinstance(named, str) else tuple(named)
        return tuple(dict.fromkeys((*timm_names, *[self.classifier] * bool(self.classifier))))

    def train(self, mode: bool = True) -> "Classifier":
        """As of any module, but for the layers that stay in evaluation mode."""
        super().train(mode)
        for name in self.still:
            self.network.get_submodule(name).eval()
        return self

    def _keep_input(self, layer: nn.Module, inputs: Any) -> None:
        if self._listening:
            self._kept = inputs[0]

    def _keep_output(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        if self._listening:
            self._kept = output

    def forward(self, images: Float[Tensor, "n ch h w"]) -> Output:
        return self.compute(images)

    def compute(self, *inputs: Any, **named: Any) -> Output:
        """The features and logits of whatever the network takes."""
        return Output(*self.watch(partial(self.network, *inputs, **named)))

    def watch(self, forward: Callable[[], Any]) -> tuple[Float[Tensor, "n d"], Any]:
        """The features of a forward pass of the network, and what that returns.

        Args:
            forward: runs the network once, by whatever it is wrapped in.
        """
        if getattr(self, "_is_replica", False):  # whose hooks are those of the original
            raise UserError(NO_DATA_PARALLEL)
        self._listening = True
        output = forward()
        self._listening = False
        features, self._kept = self._kept, None
        if not isinstance(features, Tensor) or not 2 <= features.ndim <= 4:
            raise UserError(
                f"layer '{self.layer}' gave no features: expected a tensor (n, d), (n, t, d) or "
                f"(n, d, h, w), got {_describe(features)}"
            )
        return self.pool(features), output

    def pool(self, features: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """The mean of maps (n, d, h, w) over their positions, or of tokens (n, t, d) over t."""
        if features.ndim == 4:
            return features.mean(dim=(2, 3))
        return features.mean(dim=1) if features.ndim == 3 else features


NO_DATA_PARALLEL = (
    "torch.nn.DataParallel mixes up the features of its replicas: start one process a device with "
    "torchrun, and take DistributedDataParallel"
)


def _describe(value: Any) -> str:
    if value is None:
        return "nothing, it did not run"
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
