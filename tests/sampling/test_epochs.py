import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchbake import ClassGroupedBatchSampler


def recognised(sampler, batches):
    """The epoch whose first batches these are."""
    batches = list(batches)
    for epoch in range(9):
        if batches and batches == [b.tolist() for b in sampler.batches(epoch)[: len(batches)]]:
            return epoch
    return None


def small():
    return ClassGroupedBatchSampler(torch.arange(8).repeat(16), 16, partners=1)


def test_a_loop_that_never_asks_behind_the_last_batch_goes_on_to_the_next_epoch():
    sampler = small()
    for epoch in range(3):
        drawing = iter(sampler)
        assert recognised(sampler, [next(drawing) for _ in range(len(sampler))]) == epoch
        assert sampler.epoch == epoch + 1
        assert sampler.state_dict() == {"seed": 0, "epoch": epoch + 1, "batch": 0}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loop_that_breaks_off_goes_on_to_the_next_epoch(workers):
    sampler = small()
    loader = DataLoader(
        TensorDataset(torch.arange(128)),
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    for epoch in range(3):
        for (batch,) in loader:
            assert recognised(sampler, [batch.tolist()]) == epoch
            break


def test_an_iterator_that_is_never_advanced_takes_no_epoch():
    sampler = small()
    iter(sampler)
    iter(DataLoader(TensorDataset(torch.arange(128)), batch_sampler=sampler))
    assert len(sampler) == 8
    assert recognised(sampler, sampler) == 0
    iter(sampler)
    assert recognised(sampler, sampler) == 1


def test_set_epoch_says_which_epoch_comes_and_the_next_ones_follow():
    sampler = small()
    sampler.set_epoch(4)
    assert [recognised(sampler, sampler) for _ in range(2)] == [4, 5]
    next(iter(sampler))
    sampler.set_epoch(6)  # again, after the start of it
    assert [recognised(sampler, sampler) for _ in range(2)] == [6, 7]
    for epoch in (0, 1, 1, 0):
        sampler.set_epoch(epoch)
        sampler.set_epoch(epoch)
        assert sampler.state_dict() == {"seed": 0, "epoch": epoch, "batch": 0}
        assert recognised(sampler, sampler) == epoch


def test_set_epoch_is_where_trainers_look_for_it():
    sampler = small()
    loader = DataLoader(TensorDataset(torch.arange(128)), batch_sampler=sampler)
    loader.batch_sampler.sampler.set_epoch(5)
    assert sampler.epoch == 5


def test_set_epoch_may_come_after_the_first_batch_of_its_epoch():
    # Lightning draws ahead before it sets the first epoch.
    sampler = small()
    drawing = iter(sampler)
    batches = [next(drawing)]
    sampler.set_epoch(0)
    batches.append(next(drawing))
    assert sampler.state_dict() == {"seed": 0, "epoch": 0, "batch": 2}
    batches += [next(drawing) for _ in range(len(sampler) - 2)]
    assert recognised(sampler, batches) == 0
    assert recognised(sampler, sampler) == 1


def test_iterators_at_the_same_time_have_epochs_of_their_own():
    sampler = small()
    first, second = zip(*zip(sampler, sampler, strict=True), strict=True)
    assert (recognised(sampler, first), recognised(sampler, second)) == (0, 1)
    assert recognised(sampler, sampler) == 2
    older, newer = iter(sampler), iter(sampler)
    next(older), next(newer), next(older), next(older)
    assert sampler.state_dict() == {"seed": 0, "epoch": 4, "batch": 1}


def test_a_state_of_an_epoch_that_is_complete_goes_on_with_the_next():
    sampler = small()
    complete = {"seed": 0, "epoch": 2, "batch": len(sampler)}
    sampler.load_state_dict(complete)
    assert recognised(sampler, sampler) == 3
    # A loop that counts for itself, and says that the epoch is still the complete one.
    sampler.load_state_dict(complete)
    sampler.set_epoch(2)
    assert list(sampler) == []
    sampler.set_epoch(3)
    assert recognised(sampler, sampler) == 3
    sampler.set_epoch(2)
    assert recognised(sampler, sampler) == 2


def test_a_resumed_epoch_is_followed_by_the_next():
    sampler = small()
    sampler.load_state_dict({"seed": 0, "epoch": 2, "batch": 3})
    assert sampler.state_dict() == {"seed": 0, "epoch": 2, "batch": 3}
    assert list(sampler) == [batch.tolist() for batch in sampler.batches(2)[3:]]
    assert recognised(sampler, sampler) == 3
    sampler.load_state_dict({"seed": 0, "epoch": 2, "batch": 3})
    sampler.set_epoch(5)
    assert recognised(sampler, sampler) == 5
