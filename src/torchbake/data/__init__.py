"""Images: where they come from, how they are augmented, how they reach the model."""

from typing import TYPE_CHECKING

from .._lazy import export_lazily

if TYPE_CHECKING:
    from ..recipe import DataRecipe as DataRecipe
    from .sources.base import Encoded as Encoded
    from .sources.base import Source as Source
    from .sources.base import Split as Split
    from .sources.base import make_encoded_split as make_encoded_split
    from .sources.registry import open_source as open_source
    from .sources.splits import make_array_split as make_array_split
    from .sources.splits import make_dataset_split as make_dataset_split
    from .sources.splits import make_file_split as make_file_split

_HOMES = {
    "DataRecipe": ".recipe",
    "Encoded": "sources.base",
    "Source": "sources.base",
    "Split": "sources.base",
    "make_array_split": "sources.splits",
    "make_dataset_split": "sources.splits",
    "make_encoded_split": "sources.base",
    "make_file_split": "sources.splits",
    "open_source": "sources.registry",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = _names


def __dir__() -> list[str]:
    return __all__
