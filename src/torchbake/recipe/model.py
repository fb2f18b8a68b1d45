"""The network of a run."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..ranges import Rate
from .section import Section


@dataclass(frozen=True)
class ModelRecipe(Section):
    """The network (see `models.create_model`).

    Attributes:
        name: network: a name in `torchbake list models`, a timm model of the Hugging Face hub as
            `hf-hub:NAME`, or `module:callable` of your own code.
        pretrained: start from the weights that timm offers, instead of random ones.
        weights: file of weights to start from, `.safetensors` or `.pth`, of timm, of a run, or of a
            backbone trained without labels; the log lists what does not fit.
        drop_rate: probability of dropout before the classifier, for timm's networks.
        freeze: names of layers that keep their weights, with all that is within them, such as
            `blocks.0` or `layer[12]`; `*` is all but the classifier. Batch normalisation in them
            stays in evaluation mode.
        arguments: further arguments of timm's network, or of your callable, by name. Each may
            also stand beside the other keys: `model.drop_path_rate` is short for
            `model.arguments.drop_path_rate`.
        classifier: name of the last layer, whose input serves as features; None finds it. Only a
            network of your own needs this or `model.features`.
        features: name of the layer whose output serves as features, instead of
            `model.classifier`; maps and tokens are averaged.
    """

    # Layers of an nn.Sequential have numbers for names.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "coerce_numbers_to_str": True,
    }

    name: str = "small_cnn"
    pretrained: bool = False
    weights: str | None = None
    drop_rate: Rate = 0.0
    freeze: tuple[str, ...] = ()
    arguments: dict[str, Any] | None = None
    classifier: str | None = None
    features: str | None = None
