"""No part of a step mixes devices, waits for the card, or asks it for more than was measured."""

import json
from pathlib import Path

import pytest
import torch
from benchmarks.measure.launches import count, list_parts
from benchmarks.measure.watching import Counts

RECORDED = {
    row.pop("part"): Counts(**row)
    for row in json.loads(
        (Path(__file__).parents[2] / "results" / "launches.json").read_text(encoding="utf-8")
    )["rows"]
}


@pytest.mark.parametrize(("name", "part"), list_parts().items(), ids=list(list_parts()))
def test_no_more_is_asked_of_the_card_than_was_measured(card, name, part):
    recorded = RECORDED[name]
    real = torch.cuda.is_available()
    if real and recorded.copies + recorded.reads == 0:
        torch.cuda.set_sync_debug_mode("error")
    try:
        seen = count(part, card)
    finally:
        if real:
            torch.cuda.set_sync_debug_mode("default")
    asked = seen.counts
    assert asked.copies <= recorded.copies, seen.copies
    assert asked.reads <= recorded.reads, seen.reads
    if not real:  # a real card computes gradients, too
        assert asked.launches <= recorded.launches, seen.launches


def test_nothing_that_was_measured_is_gone():
    assert set(RECORDED) == set(list_parts())


@pytest.mark.parametrize(
    "name", [name for name in RECORDED if name.startswith(("method", "target"))]
)
def test_methods_and_targets_never_wait(name):
    assert (RECORDED[name].copies, RECORDED[name].reads) == (0, 0)
