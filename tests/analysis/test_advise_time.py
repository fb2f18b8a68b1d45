"""Advice keeps its time on machines that are slower, faster or less steady than was measured.

Runs are not done here: they take simulated time, by which the clock is put forward.
"""

import json
import time

import pytest

from torchbake.analysis.advise.candidates import BASELINE, NAMES
from torchbake.analysis.advise.design import LEAST, Size
from torchbake.analysis.advise.diary import Request, open_diary
from torchbake.analysis.advise.rounds import Rounds
from torchbake.analysis.advise.runs import FRESH, Runs

SIZE = Size(whole=6400, training_images=240, batch_size=64)
FIGURES = {"top1": 90.0, "nll": 0.5, "ece": 3.0}
RESULT = {"images": 6400, "forwards": 6400, "teacher_images": 0, "trained_parameters": 1}
RESULT |= {"peak_memory": 1, "seconds": 1.0, "best_on_test": FIGURES}


class Simulated(Runs):
    """Runs of eight seconds, times what the machine makes of them."""

    def prepare(self, diary, slowness, failing=()):
        self.diary, self.slowness, self.failing, self.done = diary, slowness, failing, 0
        return self

    def do(self, runs, folder, timed, deadline):
        failures = {}
        for variant, run in runs.items():
            if run.folder.result.is_file():
                continue
            seconds = 8.0 * self.slowness(self.done)
            left = deadline - time.monotonic()
            run.folder.path.mkdir(parents=True, exist_ok=True)
            self.diary.started -= min(seconds, left)
            if seconds > left:
                break
            self.done += 1
            if variant in self.failing and run.recipe.seed == self.failing[variant]:
                failures[variant] = f"{variant}: failed: the loss is nan"
                continue
            score = 90.0 + list(NAMES).index(variant)
            last = {**FIGURES, "top1": score, "validation_top1": score}
            run.folder.result.write_text(json.dumps({**RESULT, "last": last}))
            timed(variant, seconds)
        return failures


def simulate(folder, slowness, minutes=10.0, failing=()):
    """Rounds after all of an advice, and what they said."""
    request = Request(
        what="digits/bake", overrides=[], methods=list(NAMES), minutes=minutes, seeds=None
    )
    diary = open_diary(
        folder / "advice-plan.json", request, time.monotonic(), lambda: ("digits/bake", [])
    )
    runs = Simulated("digits/bake", [], folder, 1, holds_out=False).prepare(
        diary, slowness, dict(failing)
    )
    diary.record.costs = {name: [1.6, 0.001] for name in NAMES}
    lines = []
    rounds = Rounds(diary, runs, SIZE, lines.append)
    rounds.choose_design(list(NAMES))
    rounds.select([name for name in NAMES if name != BASELINE])
    rounds.confirm(None)
    return rounds, lines


@pytest.mark.parametrize(
    "slowness",
    [
        lambda done: 1.0,
        lambda done: 0.4,
        lambda done: 1.6,
        lambda done: 1.0 + done / 40,  # more and more others at work
        lambda done: 3.0 if done % 7 < 2 else 0.8,
        lambda done: 2.5 if 10 < done < 25 else 1.0,
    ],
    ids=["as measured", "faster", "slower", "ever slower", "by turns", "for a while"],
)
def test_the_time_is_kept(tmp_path, slowness):
    rounds, _ = simulate(tmp_path, slowness)
    used = rounds.diary.used
    assert 0.9 * 600 <= used <= 1.05 * 600 + 5
    design = rounds.diary.get_design()
    confirmed = rounds.runs.score_confirmation([BASELINE, *rounds.record.finalists], design.images)
    assert min(len(own) for own in confirmed.values()) >= LEAST
    assert all(seed >= FRESH for own in confirmed.values() for seed in own)
    assert rounds.record.finalists == ["bake-plus", list(NAMES)[2]]  # the best of each family


def test_a_machine_that_became_much_slower_chooses_with_fewer_seeds(tmp_path):
    rounds, lines = simulate(tmp_path, lambda done: 4.0)
    assert "the machine is slower than foreseen: fewer seeds for choosing" in lines
    assert 0.85 * 600 <= rounds.diary.used <= 1.05 * 600 + 5
    assert rounds.record.first_seeds < rounds.diary.get_design().first


def test_a_method_that_fails_is_left_out(tmp_path):
    rounds, lines = simulate(tmp_path, lambda done: 1.0, failing={"bake-plus": 1})
    assert "left out: bake-plus: failed: the loss is nan" in lines
    assert rounds.record.finalists == ["bake:partners=0", list(NAMES)[2]]
    assert not (tmp_path / "confirmation" / "bake-plus-seed100").exists()
