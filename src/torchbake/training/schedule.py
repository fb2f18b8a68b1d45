"""Learning rates as pure functions of the step, so that resuming needs no state."""

import math

from ..recipe import ScheduleRecipe


def learning_rate(schedule: ScheduleRecipe, lr: float, step: int, total: int) -> float:
    """The learning rate of update `step` (from 0) of `total`.

    During the first `warmup_steps`, or the share `warmup` of all, it rises linearly from
    `warmup_start × lr`; then

    * `constant`: it stays at `lr`;
    * `step`: it is multiplied by `gamma` from each milestone on (a fraction of `total`);
    * `cosine`: it falls along half a cosine to `final × lr` (Loshchilov and Hutter, 1608.03983);
    * `one-cycle`: it rises along half a cosine from `warmup_start × lr` until `peak × total`,
      and falls likewise to `final × lr` (Smith and Topin, 1708.07120).
    """
    warmup = schedule.warmup_steps or round(schedule.warmup * total)
    if step < warmup:
        start = schedule.warmup_start
        return lr * (start + (1 - start) * step / warmup)
    if schedule.name == "constant":
        return lr
    if schedule.name == "step":
        passed = sum(step >= milestone * total for milestone in schedule.milestones)
        return lr * schedule.gamma**passed
    done = (step - warmup) / max(total - warmup, 1)
    if schedule.name == "one-cycle":
        if done < schedule.peak:
            return lr * _between(schedule.warmup_start, 1.0, done / schedule.peak)
        done = (done - schedule.peak) / (1 - schedule.peak)
    return lr * _between(1.0, schedule.final, done)


def _between(start: float, end: float, done: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
