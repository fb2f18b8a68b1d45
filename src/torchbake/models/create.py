"""Classification networks by name, whose forward pass returns (features, logits)."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from .._own_code import explain_error, import_object
from ..errors import UserError, did_you_mean
from .arguments import refuse_unexpected
from .classifier import Classifier
from .find_classifier import find_named_classifier
from .hub import reaching_hub
from .networks import NETWORKS


def list_models() -> list[str]:
    """The names that `create_model` knows: this package's networks, then timm's."""
    import timm

    return [*sorted(NETWORKS), *timm.list_models()]


def create_model(
    name: str,
    num_classes: int,
    *,
    in_chans: int = 3,
    image_size: int = 224,
    pretrained: bool = False,
    drop_rate: float = 0.0,
    classifier: str | None = None,
    features: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Classifier:
    """A network by name, ready for training.

    Args:
        name: as in `list_models()`, one of this package's (see `networks`) or timm's; or
            `module:callable` of one's own, which is called with `num_classes`.
        num_classes: C, the number of logits.
        in_chans: channels of the images.
        image_size: height and width in pixels, with which the model is tried once.
        pretrained: load the weights that timm offers for it.
        drop_rate: probability of timm's dropout before the classifier; features are taken after it.
        classifier, features: a layer's name (see `Classifier`); `list_models()` need none.
        arguments: further ones, of timm's network or of one's own callable.

    Raises:
        UserError: an unknown name, weights that cannot be had, or a model that gives no features
            before one linear classifier, or does not take such images.
    """
    more = dict(arguments or {})
    hub = name.startswith(("hf-hub:", "hf_hub:"))
    own = ":" in name and not hub
    if (own or name in NETWORKS) and (pretrained or drop_rate):
        raise UserError(f"model '{name}' takes no pretrained and no drop_rate, which are timm's")
    try:
        if own:
            network = import_object(name, "model.name")(num_classes, **more)
        elif name in NETWORKS:
            network = NETWORKS[name](num_classes, in_chans)
        else:
            import timm  # takes a second, which networks of one's own need not wait for

            if not (hub or timm.is_model(name.split(".")[0])):
                raise UserError(f"unknown model '{name}'{did_you_mean(name, list_models())}")
            with reaching_hub(name) if pretrained or hub else nullcontext():
                network = timm.create_model(
                    name,
                    pretrained=pretrained,
                    num_classes=num_classes,
                    in_chans=in_chans,
                    drop_rate=drop_rate,
                    **more,
                )
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, TypeError) and more:
            refuse_unexpected(error)
        reason = explain_error(error) if own else _first_line(error)
        raise UserError(f"model '{name}' cannot be made: {reason}") from error
    if own and not isinstance(network, nn.Module):
        raise UserError(
            f"model '{name}' is no network: expected a torch.nn.Module, got {network!r}"
        )
    if classifier is None and features is None:
        classifier = find_named_classifier(network, num_classes)
        if classifier is None:
            raise UserError(
                f"model '{name}' gives no features: no single linear classifier was found; "
                "name its classifier or features layer"
            )
    model = Classifier(network, classifier=classifier, features=features)
    _try_once(model, name, num_classes, (1, in_chans, image_size, image_size))
    return model


def _try_once(model: Classifier, name: str, num_classes: int, shape: tuple[int, ...]) -> None:
    try:
        with torch.no_grad():
            _, logits = model.eval()(torch.zeros(shape))
    except Exception as error:
        size = " × ".join(map(str, shape[1:]))
        reason = explain_error(error) if ":" in name else _first_line(error)
        raise UserError(f"model '{name}' fails on {size} images: {reason}") from error
    if logits.shape != (1, num_classes):
        raise UserError(
            f"model '{name}' gave logits {tuple(logits.shape)}, expected (1, {num_classes})"
        )
    model.train()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
