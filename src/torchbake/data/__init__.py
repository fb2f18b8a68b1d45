"""Images: where they come from, how they are augmented, how they reach the model."""

from typing import TYPE_CHECKING

from .._lazy import export_lazily

if TYPE_CHECKING:
    from .sources.base import Encoded as Encoded
    from .sources.base import Source as Source
    from .sources.base import Split as Split
    from .sources.base import make_encoded_split as make_encoded_split
    from .sources.registry import open_source as open_source

_HOMES = {
    "Encoded": "sources.base",
    "Source": "sources.base",
    "Split": "sources.base",
    "make_encoded_split": "sources.base",
    "open_source": "sources.registry",
}
__getattr__, _names = export_lazily(__name__, _HOMES)
__all__ = _names


def __dir__() -> list[str]:
    return __all__
