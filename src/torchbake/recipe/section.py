"""What all sections of a recipe have in common."""

from typing import Any, ClassVar


class Section:
    """A section refuses keys that it does not know."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
