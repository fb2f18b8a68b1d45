"""Soft targets from the other images of a mini-batch (arXiv 2104.13298, section 3)."""

from typing import TYPE_CHECKING

from .._lazy import export_lazily

if TYPE_CHECKING:
    from .dense import affinities as affinities
    from .dense import propagate as propagate
    from .targets import bake_targets as bake_targets

_HOMES = {
    "affinities": "dense",
    "bake_targets": "targets",
    "propagate": "dense",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = _names


def __dir__() -> list[str]:
    return __all__
