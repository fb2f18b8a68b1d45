"""Trained networks at work: images in, labels with confidence out."""

from typing import TYPE_CHECKING

from .._lazy import export_lazily

if TYPE_CHECKING:
    from ..data.preprocessing import Preprocessing as Preprocessing
    from .load import load as load
    from .predictor import Prediction as Prediction
    from .predictor import Predictor as Predictor

_HOMES = {
    "Prediction": "predictor",
    "Predictor": "predictor",
    "Preprocessing": ".data.preprocessing",
    "load": "load",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = _names


def __dir__() -> list[str]:
    return __all__
