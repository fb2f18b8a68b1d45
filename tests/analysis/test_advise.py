"""Advice: how it plans its time, chooses, corrects, and what it says."""

import time
from statistics import fmean, stdev

import pytest

from torchbake.analysis.advise.candidates import CUTMIX, NAMES, halve, keep, rank
from torchbake.analysis.advise.design import (
    SHAPES,
    Cost,
    Design,
    Size,
    choose_design,
    find_shortest,
    predict_block,
    predict_least,
    predict_seconds,
)
from torchbake.analysis.advise.diary import Request, open_diary
from torchbake.analysis.advise.tables import write_command
from torchbake.analysis.advise.verdict import (
    Difference,
    compare_candidates,
    correct_holm,
    decide,
)
from torchbake.errors import UserError

SIZE = Size(whole=6400, training_images=240, batch_size=64)


def costs(fixed=1.0, image=0.001):
    return dict.fromkeys(NAMES, Cost(fixed, image))


def test_p_values_are_corrected_by_holm():
    # The smallest times four, the next times three, …; none below one that is smaller before.
    assert correct_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_holm([0.6, 0.5]) == [1.0, 1.0]
    assert correct_holm([]) == []


def test_candidates_are_ranked_by_the_seeds_that_all_have():
    scores = {"a": {0: 90.0, 1: 80.0}, "b": {0: 91.0, 1: 80.0, 2: 10.0}, "c": {0: 90.0, 1: 80.0}}
    assert rank(scores) == ["b", "a", "c"]
    assert rank({"a": {}, "b": {0: 1.0}}) == ["a", "b"]


def test_both_families_stay_in():
    ranked = ["bake", "bake-plus", "bake:partners=0", CUTMIX, "label-smoothing"]
    assert halve(ranked) == ["bake", "bake-plus", CUTMIX]
    assert keep(ranked, 2) == ["bake", CUTMIX]
    assert keep([CUTMIX, "label-smoothing", "bake-plus", "bake"], 2) == [CUTMIX, "bake-plus"]
    assert keep(["bake-plus", "bake", "bake:omega=0.9"], 2) == ["bake-plus", "bake"]
    assert halve(["bake", "bake-plus", "dlb"]) == ["bake", "dlb"]


def test_runs_share_the_places():
    assert predict_block([3.0, 2.0, 1.0], 1) == 6
    assert predict_block([3.0, 2.0, 1.0], 2) == 3
    # Five candidates, three of them again, then two with the baseline.
    design = Design(1000, first=3, second=2, last=6)
    assert predict_seconds(design, costs(), 1) == pytest.approx(2 * (3 * 5 + 2 * 3 + 6 * 3))
    two = {name: Cost(1.0, 0.001) for name in ("cross-entropy", "bake", "dlb")}
    assert predict_seconds(design, two, 1) == pytest.approx(2 * 6 * 3)


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("seconds", [10.0, 40.0, 60.0, 150.0, 200.0, 290.0, 600.0, 5000.0])
def test_the_best_design_that_fits_is_chosen(seconds, jobs):
    design = choose_design(costs(), seconds, SIZE, jobs)
    least = predict_least(costs(), SIZE, jobs)
    assert (design is None) == (least > seconds)
    if design is None:
        return
    assert predict_seconds(design, costs(), jobs) <= seconds
    assert find_shortest(SIZE) <= design.images <= SIZE.whole
    assert not design.images % SIZE.batch_size
    one_more = design._replace(images=design.images + SIZE.batch_size)
    whole = design.images == SIZE.whole
    assert whole or predict_seconds(one_more, costs(), jobs) > seconds
    if not whole:  # then whole runs did not fit, even with the fewest seeds
        fewest = Design(SIZE.whole, *SHAPES[-1][:3])
        assert predict_seconds(fewest, costs(), jobs) > seconds
    limited = choose_design(costs(), seconds, SIZE, jobs, most=2)
    assert max(limited[1:]) <= 2


def request(**changes):
    values = {"what": "digits/bake", "overrides": [], "methods": list(NAMES), "minutes": 10.0}
    return Request(**{**values, "seeds": None, **changes})


def test_the_next_run_is_foreseen_by_what_was_measured(tmp_path):
    diary = open_diary(tmp_path / "plan.json", request(), time.monotonic(), lambda: ("x", []))
    diary.record.costs = {name: [1.0, 0.001] for name in NAMES}
    diary.record.design = [1000, 3, 2, 6]
    assert diary.foresee("bake") == pytest.approx(2)
    for seconds in (50.0, 3.0, 4.0, 5.0):
        diary.note_wall("bake", seconds)
    assert diary.foresee("bake") == pytest.approx(4)
    assert diary.foresee("bake-plus") == pytest.approx(4)  # the machine is twice as slow
    diary.record.used = 0.0
    diary.save()

    again = open_diary(tmp_path / "plan.json", request(), time.monotonic() - 60, lambda: None)
    assert again.foresee("bake") == pytest.approx(4)
    assert 60 <= again.used < 70  # the minute of this process is added to the time before
    assert again.left == pytest.approx(600 - again.used, abs=1)
    late = again.find_deadline(600.0)
    assert late - time.monotonic() == pytest.approx(again.left, abs=1)
    with pytest.raises(UserError, match=r"holds the advice of another request \(other minutes"):
        open_diary(tmp_path / "plan.json", request(minutes=3.0), 0.0, lambda: None)
    (tmp_path / "plan.json").write_text('{"used": -1}')
    with pytest.raises(UserError, match=r"plan.json: damaged: "):
        open_diary(tmp_path / "plan.json", request(), 0.0, lambda: None)
    (tmp_path / "plan.json").unlink()
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match=r"exists and holds no advice; choose another --out"):
        open_diary(tmp_path / "plan.json", request(), 0.0, lambda: None)


def test_differences_are_paired_by_seed():
    scores = {
        "cross-entropy": {100: 90.0, 101: 91.0, 102: 92.0, 103: 80.0},
        "bake": {100: 92.0, 101: 92.0, 102: 95.0},
        CUTMIX: {100: 90.0, 101: 91.5, 102: 91.5},
    }
    found = compare_candidates(scores)
    assert [(d.variant, d.other) for d in found] == [
        ("bake", "cross-entropy"),
        (CUTMIX, "cross-entropy"),
        ("bake", CUTMIX),
    ]
    assert found[0].mean == pytest.approx(fmean([2, 1, 3]))
    assert found[0].error == pytest.approx(stdev([2, 1, 3]) / 3**0.5)
    assert found[0].p == pytest.approx(0.07418, abs=1e-4)
    assert found[0].seeds == 3
    assert [d.corrected for d in found] == correct_holm([d.p for d in found])
    assert compare_candidates({"cross-entropy": {1: 2.0}, "bake": {1: 3.0}}) == []


def difference(variant, mean, p, other="cross-entropy"):
    return Difference(variant, other, mean, 0.4, p / 2, p, 5)


@pytest.mark.parametrize(
    ("found", "variant", "sentence"),
    [
        (
            [("bake", 1.3, 0.02), (CUTMIX, 1.1, 0.03), ("bake", 0.2, 0.6, CUTMIX)],
            CUTMIX,
            "BAKE is ahead of cross-entropy by 1.3 ± 0.4 points (p = 0.02, 5 seeds); CutMix is "
            "ahead of cross-entropy by 1.1 ± 0.4 points (p = 0.03, 5 seeds); BAKE and CutMix are "
            "level (p = 0.6); use CutMix",
        ),
        (
            [("bake", 6.3, 0.0002), (CUTMIX, 9.5, 0.0001), ("bake", -3.2, 0.004, CUTMIX)],
            CUTMIX,
            "CutMix is ahead of cross-entropy by 9.5 ± 0.4 points (p < 0.001, 5 seeds); BAKE is "
            "ahead of cross-entropy by 6.3 ± 0.4 points (p < 0.001, 5 seeds); CutMix is ahead of "
            "BAKE by 3.2 ± 0.4 (p = 0.004); use CutMix",
        ),
        (
            [("bake", 1.3, 0.02), (CUTMIX, 0.4, 0.9), ("bake", 0.9, 0.3, CUTMIX)],
            "bake",
            "BAKE is ahead of cross-entropy by 1.3 ± 0.4 points (p = 0.02, 5 seeds); CutMix is "
            "level with cross-entropy (+0.4 ± 0.4 points, p = 0.9, 5 seeds); BAKE and CutMix are "
            "level (p = 0.3); use BAKE",
        ),
        (
            [("bake", 0.3, 0.4), (CUTMIX, -0.1, 0.9), ("bake", 0.4, 0.5, CUTMIX)],
            "cross-entropy",
            "no difference that this many images can show: use plain cross-entropy (BAKE is level "
            "with cross-entropy (+0.3 ± 0.4 points, p = 0.4, 5 seeds); CutMix is level with "
            "cross-entropy (-0.1 ± 0.4 points, p = 0.9, 5 seeds))",
        ),
        (
            [("bake", -3.0, 0.001), ("dlb", 0.1, 0.9), ("bake", -3.1, 0.01, "dlb")],
            "cross-entropy",
            "nothing is ahead of cross-entropy: use plain cross-entropy (dlb is level with "
            "cross-entropy (+0.1 ± 0.4 points, p = 0.9, 5 seeds); BAKE is behind cross-entropy by "
            "3.0 ± 0.4 points (p = 0.001, 5 seeds))",
        ),
        (
            [],
            "cross-entropy",
            "no difference that this many images can show: use plain cross-entropy",
        ),
    ],
)
def test_the_verdict_is_a_sentence_to_act_on(found, variant, sentence):
    ranked = [CUTMIX, "bake", "dlb"]  # on the validation images, which decide between equal ones
    verdict = decide([difference(*each) for each in found], ranked)
    assert verdict == (variant, sentence)


def test_the_command_trains_what_was_advised():
    command = write_command("digits/bake", [("data.label_noise", "0.2")], "bake:partners=0")
    assert command == (
        "torchbake train digits/bake --method bake --method.partners 0 --data.label_noise 0.2"
    )
    assert write_command("my photos", [("method", "bake"), ("method.omega", "0.9")], CUTMIX) == (
        "torchbake train 'my photos' --method cross-entropy --data.cutmix 1 "
        "--data.mix_probability 0.5"
    )
