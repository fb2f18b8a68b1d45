"""The ranges of settings, as annotated types: recipes and methods are checked by the same ones.

A setting is declared as `omega: Rate = 0.5`. Whoever reads the declaration sees the range, and
pydantic checks it. Beside these ranges, each number must be one that can be computed with: whole
numbers are at most `LARGEST_INT`, seeds `LARGEST_SEED`; others are finite, at most `LARGEST` and,
if not 0, at least `SMALLEST`. True and false are no numbers.
"""

from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, AllowInfNan, BeforeValidator
from pydantic_core import PydanticCustomError

LARGEST_INT, LARGEST_SEED = 10**9, 10**18
LARGEST, SMALLEST = 1e6, 1e-12

N = TypeVar("N", int, float)


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "Input should be a number")
    return value


def _limit_int(value: int) -> int:
    return _check_largest(value, LARGEST_INT)


def _limit_seed(value: int) -> int:
    return _check_largest(value, LARGEST_SEED)


def _limit_float(value: float) -> float:
    if 0 < abs(value) < SMALLEST:
        raise PydanticCustomError("too_small", f"Input should be 0 or at least {SMALLEST:g}")
    return _check_largest(value, LARGEST)


def _check_largest(value: N, largest: N) -> N:
    if value > largest:
        raise PydanticCustomError("too_large", f"Input should be at most {largest:,.0f}")
    return value


_IsNumber, _Finite = BeforeValidator(_refuse_bool), AllowInfNan(False)
_Int, _Seed, _Float = (AfterValidator(f) for f in (_limit_int, _limit_seed, _limit_float))

PositiveInt = Annotated[int, Gt(0), _Int, _IsNumber]
NotNegativeInt = Annotated[int, Ge(0), _Int, _IsNumber]
AtLeastTwo = Annotated[int, Ge(2), _Int, _IsNumber]
Seed = Annotated[int, Ge(0), _Seed, _IsNumber]
Pixels = Annotated[int, Ge(0), Le(16384), _IsNumber]
PositivePixels = Annotated[int, Gt(0), Le(16384), _IsNumber]
Processes = Annotated[int, Ge(0), Le(1024), _IsNumber]

Positive = Annotated[float, Gt(0), _Finite, _Float, _IsNumber]
NotNegative = Annotated[float, Ge(0), _Finite, _Float, _IsNumber]
Share = Annotated[float, Ge(0), Le(1), _Finite, _Float, _IsNumber]
PositiveShare = Annotated[float, Gt(0), Le(1), _Finite, _Float, _IsNumber]
CropShare = Annotated[float, Ge(0.1), Le(1), _Finite, _IsNumber]
"""[0.1, 1]: an image is enlarged to the wanted size divided by this before it is cropped."""
Rate = Annotated[float, Ge(0), Lt(1), _Finite, _Float, _IsNumber]
"""[0, 1), such as ω, momentum or a share of images that may not be all of them."""
PositiveRate = Annotated[float, Gt(0), Lt(1), _Finite, _Float, _IsNumber]
"""(0, 1), such as the decay of an average."""
Angle = Annotated[float, Ge(0), Le(180), _Finite, _Float, _IsNumber]
"""Degrees."""
Magnitude = Annotated[int, Ge(0), Le(30), _IsNumber]
"""Of RandAugment."""


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
