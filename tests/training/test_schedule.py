from itertools import pairwise

import pytest

from torchbake.recipe import ScheduleRecipe
from torchbake.training.optimizer import compute_lr


def rates(total=100, **settings):
    return [compute_lr(ScheduleRecipe(**settings), 0.1, step, total) for step in range(total)]


def test_constant():
    assert set(rates(name="constant")) == {0.1}


def test_step_falls_at_its_milestones():
    drawn = rates(name="step", milestones=(0.5, 0.75), gamma=0.1)
    assert drawn[49] == 0.1
    assert drawn[50] == drawn[74] == pytest.approx(0.01)
    assert drawn[75] == drawn[99] == pytest.approx(0.001)


def test_cosine_falls_to_its_final_rate():
    drawn = rates(name="cosine", final=0.2, total=1001)
    assert drawn[0] == 0.1
    assert drawn[500] == pytest.approx(0.06, abs=1e-4)
    assert drawn[1000] == pytest.approx(0.02, abs=1e-5)
    assert all(a >= b for a, b in pairwise(drawn))


def test_warm_up_rises_linearly_in_steps_and_meets_the_schedule():
    drawn = rates(name="cosine", warmup_steps=10, warmup_start=0.0)
    assert drawn[0] == 0
    assert drawn[5] == pytest.approx(0.05)
    assert drawn[10] == 0.1


def test_warm_up_is_given_in_steps_or_as_a_share_of_the_run():
    for start in (0.0, 0.1):
        steps = rates(name="cosine", warmup_steps=5, warmup_start=start)
        assert rates(name="cosine", warmup=0.05, warmup_start=start) == steps
    assert len([rate for rate in rates(name="constant", warmup=0.2, total=50) if rate < 0.1]) == 10


def test_one_cycle_peaks_where_it_is_told():
    drawn = rates(name="one-cycle", peak=0.3, warmup_start=0.1)
    assert drawn[0] == pytest.approx(0.01)
    assert max(drawn) == drawn[30] == pytest.approx(0.1)
    assert drawn[-1] < 0.001
