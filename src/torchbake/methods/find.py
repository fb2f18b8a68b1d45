"""Methods by their names: those of this package, and those of a user's own module."""

from inspect import Parameter, signature
from typing import TYPE_CHECKING

import pydantic

from .._own_code import import_object
from ..errors import UserError, did_you_mean, shorten, suggest_names
from . import METHODS
from .settings import make_settings_model

if TYPE_CHECKING:
    from .base import Method


def find_method(name: object) -> type["Method"]:
    """The class of a method, by a name in `METHODS` or as `module:Class` of a user's own.

    Raises:
        UserError: an unknown name, a module that cannot be imported, or what is no method.
    """
    if isinstance(name, str) and name in METHODS:
        return METHODS[name]
    if not isinstance(name, str) or ":" not in name:
        hint = suggest_names(str(name), "methods", METHODS)
        raise UserError(f"method.name: unknown method {shorten(repr(name))}{hint}")
    from .base import Method

    found = import_object(name, "method.name", did_you_mean(name.partition(":")[0], METHODS))
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise UserError(
            f"method.name: '{name}' is no method: expected a subclass of "
            f"torchbake.methods.Method, got {found!r}"
        )
    return found


def read_settings(method: type["Method"], name: str) -> type[pydantic.BaseModel]:
    """A model of the settings that a method takes (see `make_settings_model`).

    Raises:
        UserError: `__init__` does not name them, or names types that are not there.
    """
    for parameter in signature(method).parameters.values():
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise UserError(
                f"method.name: '{name}' must name each of its settings in __init__, which has "
                f"{parameter}"
            )
    try:
        return make_settings_model(method, storable=True)
    except (NameError, pydantic.PydanticUserError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"method.name: '{name}': the type of a setting: {reason}") from None
