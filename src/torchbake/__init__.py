"""Better image classifiers by letting the images of a batch teach each other (BAKE).

The public names are loaded when first used, so that `import torchbake` and the command line's
help do not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ensembling import affinities, bake_targets, propagate
    from .losses import BAKELoss, distillation_loss
    from .sampling import ClassGroupedBatchSampler

__version__ = "0.1.0"

_HOMES = {
    "BAKELoss": "losses",
    "ClassGroupedBatchSampler": "sampling",
    "affinities": "ensembling",
    "bake_targets": "ensembling",
    "distillation_loss": "losses",
    "propagate": "ensembling",
}

__all__ = [
    "BAKELoss",
    "ClassGroupedBatchSampler",
    "__version__",
    "affinities",
    "bake_targets",
    "distillation_loss",
    "propagate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
