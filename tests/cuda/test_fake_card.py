"""The fake card is as strict as a real one, and what is counted is what a card is asked for."""

from copy import deepcopy

import pytest
import torch
from benchmarks.measure.watching import watch_device
from torch import nn


def test_devices_cannot_be_mixed(card):
    with pytest.raises(RuntimeError, match="two devices"):
        torch.ones(2, device=card) + torch.ones(2)
    with pytest.raises(RuntimeError, match="two devices"):
        nn.Linear(2, 2).to(card)(torch.ones(1, 2))
    assert (torch.ones(2) + 1).tolist() == [2, 2]  # the CPU's own have values


def test_autocast_is_at_work(card):
    layer = nn.Linear(2, 2).to(card)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cuda", dtype=dtype):
            assert layer(torch.ones(1, 2, device=card)).dtype == dtype


@pytest.mark.parametrize(
    ("work", "launches", "copies", "reads"),
    [
        (lambda x: x.view(2, 2).T, 0, 0, 0),
        (lambda x: x + 1, 1, 0, 0),
        (lambda x: torch.empty_like(x), 0, 0, 0),
        (lambda x: x.to(torch.bfloat16), 1, 0, 0),
        (lambda x: x.cpu(), 1, 1, 0),
        (lambda x: torch.zeros(4).to(x.device), 1, 1, 0),
        (lambda x: torch.zeros(4).to(x.device, non_blocking=True), 1, 1, 0),
        (lambda x: torch.zeros(4).pin_memory().to(x.device), 1, 1, 0),
        (lambda x: torch.zeros(4).pin_memory().to(x.device, non_blocking=True), 1, 0, 0),
        (lambda x: torch.randperm(4, pin_memory=True)[1:].to(x.device, non_blocking=True), 1, 0, 0),
        (lambda x: x.copy_(torch.zeros(4)), 1, 1, 0),
        (lambda x: torch.tensor([1.0], device=x.device), 1, 1, 0),
        (lambda x: torch.full((), 0.5, device=x.device), 1, 0, 0),
        (lambda x: x[torch.tensor([0, 1])], 1, 1, 0),
        (lambda x: x[torch.arange(2, device=x.device)], 2, 0, 0),
        (lambda x: float(x[0]), 0, 0, 1),
        (lambda x: bool(x.any()), 1, 0, 1),
        (lambda x: x.sum().item(), 1, 0, 1),
        (lambda x: x.masked_fill_(x > 0, 1), 2, 0, 0),
        (lambda x: torch._foreach_lerp_([x, x.clone()], [x, x], 0.5), 2, 0, 0),
    ],
)
def test_what_is_counted(card, work, launches, copies, reads):
    x = torch.zeros(4, device=card)
    with watch_device() as seen:
        work(x)
    assert seen.counts == (launches, copies, reads), seen


def test_an_index_by_a_mask_waits(card):
    x = torch.zeros(4, device=card)
    mask = x > 0
    with watch_device() as seen:
        x[mask] = 1
    assert seen.counts.reads == 0  # filled, whatever their number
    if torch.cuda.is_available():  # a fake card does not know how many there are
        with watch_device() as seen:
            x[mask]
        assert seen.counts.reads == 1


def test_gradients_reach_what_the_loss_depends_on(card):
    used, other = nn.Linear(2, 2).to(card), nn.Linear(2, 2).to(card)
    copied = deepcopy(used)
    used(torch.ones(1, 2, device=card)).sum().backward()
    assert all(p.grad.shape == p.shape for p in used.parameters())
    assert all(p.grad is None for net in (other, copied) for p in net.parameters())
