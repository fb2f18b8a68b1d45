"""Batches in which images find others of their class."""

from typing import TYPE_CHECKING

from .._lazy import export_lazily

if TYPE_CHECKING:
    from .class_groups import ClassGroupedBatchSampler as ClassGroupedBatchSampler
    from .resumable import ResumableDataLoader as ResumableDataLoader

_HOMES = {
    "ClassGroupedBatchSampler": "class_groups",
    "ResumableDataLoader": "resumable",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = _names


def __dir__() -> list[str]:
    return __all__
