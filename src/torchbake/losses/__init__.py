"""Loss terms, and `BAKELoss` for your own training loop."""

from typing import TYPE_CHECKING

from .._lazy import export_lazily

if TYPE_CHECKING:
    from .bake import BAKELoss as BAKELoss
    from .distillation import cross_entropy as cross_entropy
    from .distillation import distillation_loss as distillation_loss

_HOMES = {
    "BAKELoss": "bake",
    "cross_entropy": "distillation",
    "distillation_loss": "distillation",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = _names


def __dir__() -> list[str]:
    return __all__
