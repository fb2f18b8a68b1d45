"""A method's settings: the arguments of its `__init__`, checked against their annotations.

Recipes and direct calls from Python are checked here alike.
"""

from collections.abc import Callable
from functools import cache, wraps
from inspect import Parameter, signature
from typing import Any

import pydantic


def make_settings_model(
    method: Callable[..., Any], *, storable: bool = False
) -> type[pydantic.BaseModel]:
    """A model of a method's settings: their types, ranges (see `ranges`) and defaults.

    Args:
        method: the class, or its `__init__`.
        storable: refuse, by pydantic.PydanticUserError, types that a recipe cannot hold.
    """
    return _make_model(method, storable)


@cache
def _make_model(method: Any, storable: bool) -> type[pydantic.BaseModel]:
    fields: Any = {
        name: (
            Any if parameter.annotation is Parameter.empty else parameter.annotation,
            ... if parameter.default is Parameter.empty else parameter.default,
        )
        for name, parameter in signature(method, eval_str=True).parameters.items()
        if name != "self"
        and parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    }
    config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=not storable)
    return pydantic.create_model("Settings", __config__=config, **fields)


def check_arguments(init: Callable[..., None]) -> Callable[..., None]:
    """`init` that raises ValueError, in one line, for an argument that its annotation excludes."""

    @wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            given = signature(init).bind(self, *args, **kwargs).arguments
        except TypeError:
            return init(self, *args, **kwargs)  # which says what is missing or too much
        model = make_settings_model(init)
        try:
            model.model_validate({k: v for k, v in given.items() if k in model.model_fields})
        except pydantic.ValidationError as error:
            raise ValueError("; ".join(map(_explain, error.errors()))) from None
        return init(self, *args, **kwargs)

    return checked


def _explain(error: Any) -> str:
    """Such as `omega must be less than 1, got 1.5`."""
    name = ".".join(map(str, error["loc"]))
    message = error["msg"].replace("Input should", "must", 1)
    return f"{name} {message}, got {error['input']!r}"
