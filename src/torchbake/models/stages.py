"""Outputs of a network's inner stages, and classifiers on top of them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from .._shapes import Float, Tensor
from ..errors import UserError, did_you_mean

STAGES = 4
"""Stages that a network is divided into, as the methods' papers do."""


def find_stages(network: nn.Module, given: Sequence[str] | None = None) -> list[str]:
    """The layers whose outputs are a network's stages, the last one included.

    Args:
        network: timm's networks and this package's tell their stages in `feature_info`: the last
            four, or four evenly spaced ones where there are many, as in a transformer's blocks.
        given: names of layers instead, as in `named_modules()`.

    Raises:
        UserError: a layer that does not exist, or a network that does not tell its stages.
    """
    layers = dict(network.named_modules())
    for name in given or ():
        if name not in layers:
            raise UserError(
                f"method.stages: the model has no layer '{name}'{did_you_mean(name, layers)}"
            )
    if given:
        return list(given)
    info: Any = getattr(network, "feature_info", None)
    names = [item["module"] for item in info] if isinstance(info, list | tuple) else []
    names = [name for name in dict.fromkeys(names) if name in layers]
    if len(names) > STAGES + 1:
        names = [names[-1 - len(names) * k // STAGES] for k in reversed(range(STAGES))]
    names = names[-STAGES:]
    if len(names) < 2:
        raise UserError(
            "method.stages: the model does not tell its stages; name two layers or more whose "
            "outputs they are, from the first to the last"
        )
    return names


class Taps:
    """Keeps what goes into or comes out of layers in a forward with gradients enabled."""

    def __init__(self, network: nn.Module, names: Sequence[str], *, inputs: bool = False) -> None:
        """`inputs`: keep what goes in, not what comes out."""
        self.names = list(names)
        # Some of timm's transformers have maps (n, h, w, c).
        self._channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        self._kept: dict[str, Any] = {}
        layers = dict(network.named_modules())
        for name in names:
            # Bound to this object, so that a deep copy of network and taps has its own.
            if inputs:
                layers[name].register_forward_pre_hook(partial(self._keep_input, name))
            else:
                layers[name].register_forward_hook(partial(self._keep_output, name))

    def _keep_input(self, name: str, layer: nn.Module, given: Any) -> None:
        if torch.is_grad_enabled():
            self._kept[name] = given[0]

    def _keep_output(self, name: str, layer: nn.Module, given: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            self._kept[name] = output

    def take(self) -> list[Tensor]:
        """What the last forward left, in the order of names, as it is."""
        kept, self._kept = self._kept, {}
        for name in self.names:
            if not isinstance(kept.get(name), Tensor) or kept[name].ndim not in (3, 4):
                raise UserError(
                    f"method.stages: layer '{name}' gave neither maps (n, c, h, w) nor tokens "
                    "(n, t, c)"
                )
        return [kept[name] for name in self.names]

    def take_maps(self) -> list[Tensor]:
        """What the last forward left as maps (n, c, h, w) or tokens (n, t, c)."""
        return [self.as_maps(value) for value in self.take()]

    def as_maps(self, value: Tensor) -> Tensor:
        """A stage's output with its channels where they usually are."""
        return value.movedim(3, 1) if value.ndim == 4 and self._channels_last else value


def pool(maps: Float[Tensor, "n ..."]) -> Float[Tensor, "n c"]:
    """The mean of maps (n, c, h, w) over places, or of tokens (n, t, c) over t."""
    return maps.mean(dim=(2, 3)) if maps.ndim == 4 else maps.mean(dim=1)


def count_channels(maps: Tensor) -> int:
    return maps.shape[1] if maps.ndim == 4 else maps.shape[2]


class HeadOutput(NamedTuple):
    """The output of a head on an inner stage."""

    maps: Float[Tensor, "n ..."]
    features: Float[Tensor, "n d"]
    logits: Float[Tensor, "n c"]


class StageHead(nn.Module):
    """A classifier on an inner stage: brings it to the last stage's size, pools, and classifies.

    Maps: as many 3×3 convolutions of stride 2 as halve them to the last stage's size, doubling
    channels, then a 1×1 convolution to `features` channels; each with batch normalisation and
    ReLU. Tokens: a linear layer, layer normalisation and GELU.

    Args:
        stage, last: outputs of the inner and of the last stage for any one image.
        features: D, channels of its map.
        num_classes: C.
    """

    def __init__(self, stage: Tensor, last: Tensor, features: int, num_classes: int) -> None:
        super().__init__()
        self.size: tuple[int, int] | None = None
        channels = count_channels(stage)
        layers: list[nn.Module] = []
        if stage.ndim == 4:
            self.size = (last.shape[2], last.shape[3]) if last.ndim == 4 else (1, 1)
            height = stage.shape[2]
            while height >= 2 * self.size[0] and height > 1:
                width = min(2 * channels, features)
                layers += _make_convolution(channels, width, 3, stride=2)
                channels, height = width, -(-height // 2)
            layers += _make_convolution(channels, features, 1)
        else:
            layers += [nn.Linear(channels, features), nn.LayerNorm(features), nn.GELU()]
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, stage: Float[Tensor, "n ..."]) -> HeadOutput:
        maps = self.layers(stage)
        if self.size is not None and maps.shape[2:] != self.size:
            maps = F.adaptive_avg_pool2d(maps, self.size)
        features = pool(maps)
        return HeadOutput(maps, features, self.classifier(features))


def _make_convolution(channels: int, width: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
