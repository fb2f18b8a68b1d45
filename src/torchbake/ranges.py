"""The ranges of settings, as annotated types: recipes and methods are checked by the same ones.

A setting is declared as `omega: Rate = 0.5`. Whoever reads the declaration sees the range, and
pydantic checks it. Numbers with fractions must be finite.
"""

from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AllowInfNan, BeforeValidator
from pydantic_core import PydanticCustomError

PositiveInt = Annotated[int, Gt(0)]
NotNegativeInt = Annotated[int, Ge(0)]
AtLeastTwo = Annotated[int, Ge(2)]

_Finite = AllowInfNan(False)

Positive = Annotated[float, Gt(0), _Finite]
NotNegative = Annotated[float, Ge(0), _Finite]
Share = Annotated[float, Ge(0), Le(1), _Finite]
PositiveShare = Annotated[float, Gt(0), Le(1), _Finite]
Rate = Annotated[float, Ge(0), Lt(1), _Finite]
"""[0, 1), such as ω, momentum or a share of images that may not be all of them."""
PositiveRate = Annotated[float, Gt(0), Lt(1), _Finite]
"""(0, 1), such as the decay of an average."""


def _check_holdout(value: Any) -> Any:
    """One message, where a union's members would give one each."""
    if value is None or isinstance(value, bool):
        return value or None
    rate = isinstance(value, float) and 0 < value < 1
    if not rate and not (isinstance(value, str) and value):
        raise PydanticCustomError(
            "holdout",
            "Input should be a fraction above 0 and below 1, true, or the name of a split",
        )
    return value


Holdout = Annotated[PositiveRate | bool | str | None, BeforeValidator(_check_holdout)]
"""Images to hold out: a fraction of the training images, or a split of the data set."""
