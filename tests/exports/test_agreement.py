"""What counts as agreement of an export with its run."""

import math

import torch

from torchbake.exports.agreement import compare_probabilities


def compare(expected, got, sizes=(None, None)):
    parts = [
        torch.tensor(values).split(size or len(values))
        for values, size in zip((expected, got), sizes, strict=True)
    ]
    return compare_probabilities(*parts)


def test_other_classes_are_counted_and_numbered():
    expected = [[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]]
    got = [[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.1, 0.9]]
    for sizes in ((None, None), (1, 3), (3, 2), (2, 1)):
        found = compare(expected, got, sizes)
        assert (found.images, found.agreeing, found.ties) == (4, 3, 0)
        assert found.disagreeing == [1]
        assert math.isclose(found.largest_difference, 0.3, rel_tol=1e-6)
        assert found.describe().startswith("top-1 agrees on 3 of 4 test images; largest")


def test_rounding_may_turn_a_tie():
    found = compare([[0.5, 0.4999999]], [[0.4999999, 0.5]])
    assert (found.agreeing, found.ties, found.disagreeing) == (1, 1, [])
    assert "(1 of them ties)" in found.describe()


def test_what_is_no_number_never_agrees():
    found = compare([[0.8, 0.2], [0.8, 0.2]], [[math.nan, math.nan], [0.8, 0.2]])
    assert (found.agreeing, found.disagreeing) == (1, [0])
    assert math.isnan(found.largest_difference)
