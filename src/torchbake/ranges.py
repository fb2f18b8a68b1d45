"""The ranges of settings, as annotated types: recipes and methods are checked by the same ones.

A setting is declared as `omega: Rate = 0.5`. Whoever reads the declaration sees the range, and
pydantic checks it. Numbers with fractions must be finite.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AllowInfNan

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
Angle = Annotated[float, Ge(0), Le(180), _Finite]
"""Degrees."""
Magnitude = Annotated[int, Ge(0), Le(30)]
"""Of RandAugment."""
