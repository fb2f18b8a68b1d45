"""Loss terms, and `BAKELoss` for your own training loop."""

from typing import TYPE_CHECKING

from .._lazy import export_lazily

if TYPE_CHECKING:
    from .bake import BAKELoss as BAKELoss
    from .distillation import cross_entropy as cross_entropy
    from .distillation import distillation_loss as distillation_loss
    from .multi_label import MultiLabelBAKELoss as MultiLabelBAKELoss

_HOMES = {
    "BAKELoss": "bake",
    "MultiLabelBAKELoss": "multi_label",
    "cross_entropy": "distillation",
    "distillation_loss": "distillation",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = _names


def __dir__() -> list[str]:
    return __all__
