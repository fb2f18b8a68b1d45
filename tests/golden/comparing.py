"""Where two records first differ, by more than two machines do."""

import math
from typing import NamedTuple

EARLY, LATE = 5e-4, 2e-2
"""Of a loss, relative: in the first five steps, and in the thirtieth; geometrically between."""

EARLY_STEPS, ALL_STEPS = 5, 30

SUMMANDS = 10
"""How much more the summands of a loss may differ after the first steps: some are small."""

ABSOLUTE = {"pixels": 1e-3, "top1": 1.0, "nll": 2e-2, "ema_top1": 1.0, "ema_nll": 2e-2}
"""By key; targets are what is left."""

TARGETS = 2e-6

LOOSER = {"streamed": {"losses": 15, "pixels": 20, "top1": 20}}
"""Factors of a case: resizing rounds pixels another way where there is no AVX2."""


class Difference(NamedTuple):
    """One value that is not as it was.

    Attributes:
        place: keys and numbers on the way to it, such as `losses, 7, distillation`, counted from 0.
        share: how much of what is allowed it uses; infinite where nothing is.
    """

    place: str
    recorded: object
    now: object
    share: float

    def __str__(self):
        return f"{self.place}: recorded {self.recorded}, now {self.now}"


def differences(case, recorded, now, place=()):
    """Of all values, in order: those that are exactly equal are left out."""
    if type(recorded) is not type(now):
        yield _different(place, recorded, now)
    elif isinstance(recorded, dict):
        for key in [*recorded, *(key for key in now if key not in recorded)]:
            yield from differences(case, recorded.get(key), now.get(key), (*place, key))
    elif isinstance(recorded, list):
        for number, (one, other) in enumerate(zip(recorded, now, strict=False)):
            yield from differences(case, one, other, (*place, number))
        if len(recorded) != len(now):
            yield _different((*place, "length"), len(recorded), len(now))
    elif isinstance(recorded, float):
        if recorded != now:
            share = abs(recorded - now) / allowed(case, place, recorded)
            # Not a number is no share of anything.
            yield Difference(_named(place), recorded, now, share if share >= 0 else math.inf)
    elif recorded != now:
        yield _different(place, recorded, now)


def first_difference(case, recorded, now):
    """The first that is larger than allowed, or None."""
    return next((found for found in differences(case, recorded, now) if found.share > 1), None)


def allowed(case, place, recorded):
    """How far a number may be from `recorded`. Integers and texts must be the same."""
    looser = LOOSER.get(case, {})
    if place[0] == "losses":
        _, step, term = place
        late = max(0, step + 1 - EARLY_STEPS)
        share = EARLY * (LATE / EARLY) ** (late / (ALL_STEPS - EARLY_STEPS))
        if late and term != "loss":
            share *= SUMMANDS
        # One near zero is rounded like larger ones.
        return share * max(abs(recorded), 0.01) * looser.get("losses", 1)
    key = place[-1] if place[0] == "evaluation" else place[0]
    return ABSOLUTE.get(key, TARGETS) * looser.get(key, 1)


def _different(place, recorded, now):
    return Difference(_named(place), recorded, now, math.inf)


def _named(place):
    return ", ".join(str(part) for part in place)
