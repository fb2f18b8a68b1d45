"""Networks that return features and logits."""

from typing import TYPE_CHECKING

from .._lazy import export_lazily

if TYPE_CHECKING:
    from .classifier import Classifier as Classifier
    from .classifier import Output as Output
    from .create import create_model as create_model
    from .create import list_models as list_models
    from .weights import LoadedWeights as LoadedWeights
    from .weights import load_weights as load_weights
    from .with_features import with_features as with_features

_HOMES = {
    "Classifier": "classifier",
    "Output": "classifier",
    "create_model": "create",
    "list_models": "create",
    "LoadedWeights": "weights",
    "load_weights": "weights",
    "with_features": "with_features",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = _names


def __dir__() -> list[str]:
    return __all__
