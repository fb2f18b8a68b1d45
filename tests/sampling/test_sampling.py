from collections import Counter
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from torchbake import ClassGroupedBatchSampler

SETTINGS = {
    "labels": st.lists(st.integers(0, 6), min_size=1, max_size=60),
    "partners": st.integers(0, 4),
    "extra": st.integers(0, 9),
    "epoch": st.sampled_from(["images", "anchors"]),
    "seed": st.integers(0, 1000),
}


def made(labels, partners, extra, epoch, seed, **more):
    return ClassGroupedBatchSampler(
        labels, partners + 1 + extra, partners=partners, epoch=epoch, seed=seed, **more
    )


@settings(deadline=None)
@given(**SETTINGS)
def test_one_epoch(labels, partners, extra, epoch, seed):
    sampler = made(labels, partners, extra, epoch, seed)
    batches = list(sampler)
    drawn = Counter(image for batch in batches for image in batch)
    assert len(batches) == len(sampler)
    assert sum(drawn.values()) == sampler.images_per_epoch
    assert all(len(batch) == sampler.batch_size for batch in batches[:-1])
    if epoch == "images" or partners == 0:
        assert drawn == Counter(range(len(labels)))
    else:
        sizes = Counter(labels)
        for label, size in sizes.items():
            times = sum(drawn[i] for i in range(len(labels)) if labels[i] == label)
            assert times == (size * (partners + 1) if size > 1 else 1)
        assert set(drawn) == set(range(len(labels)))


@settings(deadline=None)
@given(**SETTINGS, balanced=st.booleans())
def test_same_seed_and_epoch_same_batches(labels, partners, extra, epoch, seed, balanced):
    first, second = (
        made(labels, partners, extra, epoch, seed, balanced=balanced) for _ in range(2)
    )
    list(first)  # moves on to epoch 1
    second.set_epoch(1)
    assert first.epoch == 1
    assert list(first) == list(second)


@settings(deadline=None)
@given(**SETTINGS, balanced=st.booleans(), world=st.integers(1, 5), drop_last=st.booleans())
def test_ranks_share_the_batches(labels, partners, extra, epoch, seed, world, drop_last, balanced):
    def sampler(rank, world_size, batch_size, drop_last=drop_last):
        return ClassGroupedBatchSampler(
            labels,
            batch_size,
            partners=partners,
            epoch=epoch,
            seed=seed,
            drop_last=drop_last,
            balanced=balanced,
            rank=rank,
            world_size=world_size,
        )

    size = partners + 1 + extra
    if drop_last and sampler(0, 1, size, drop_last=False).images_per_epoch < size * world:
        with pytest.raises(ValueError, match="drop_last leaves no batch"):
            sampler(0, world, size)
        return
    ranks = [list(sampler(rank, world, size)) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert all(batches and all(batches) for batches in ranks)
    joined = [list(chain(*parts)) for parts in zip(*ranks, strict=True)]
    alone = list(sampler(0, 1, size * world))
    assert joined[:-1] == alone[:-1]
    # The last batch repeats images only where there are fewer than ranks.
    assert joined[-1][: len(alone[-1])] == alone[-1]
    assert len(joined[-1]) == max(len(alone[-1]), world)


@settings(deadline=None)
@given(**SETTINGS, balanced=st.booleans(), stop=st.integers(0, 100))
def test_goes_on_where_its_state_was_taken(labels, partners, extra, epoch, seed, stop, balanced):
    whole, cut, fresh = (
        made(labels, partners, extra, epoch, seed, balanced=balanced) for _ in range(3)
    )
    for sampler in (whole, cut):
        sampler.set_epoch(3)
    expected = list(whole)
    stop %= len(expected)
    drawing = iter(cut)
    before = [next(drawing) for _ in range(stop)]
    fresh.load_state_dict(cut.state_dict())
    fresh.set_epoch(3)  # as a training loop does: the place is kept
    assert before + list(fresh) == expected
    assert fresh.state_dict() == {"seed": seed, "epoch": 4, "batch": 0}


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(2, 9), min_size=1, max_size=6),
    partners=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_partners_are_repeated_only_where_they_must_be(sizes, partners, seed):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).tolist()
    sampler = ClassGroupedBatchSampler(
        labels, len(labels) * (partners + 1), partners=partners, epoch="anchors", seed=seed
    )
    (batch,) = sampler
    anchors = []
    while batch:
        size = sizes[labels[batch[0]]]
        anchor, *others = batch[: partners + 1]
        batch = batch[partners + 1 :]
        anchors.append(anchor)
        assert {labels[other] for other in others} <= {labels[anchor]}
        assert anchor not in others
        counts = Counter(others)
        assert len(counts) == min(partners, size - 1)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert sorted(anchors) == list(range(len(labels)))


@pytest.mark.parametrize("epoch", ["images", "anchors"])
@pytest.mark.parametrize("partners", [1, 2, 3])
def test_groups_stay_whole_when_sizes_divide(epoch, partners):
    size = partners + 1
    labels = torch.arange(10).repeat_interleave(6 * size)
    sampler = ClassGroupedBatchSampler(labels, 4 * size, partners=partners, epoch=epoch)
    for batch in sampler:
        groups = labels[batch].view(-1, size)
        assert (groups == groups[:, :1]).all()


def test_small_groups_are_joined_so_that_whole_ones_are_not_cut():
    # Classes of 5 make a group of 4 and one of 1; of 7, one of 4 and one of 3: 1 + 3 fill a place.
    labels = torch.tensor([0] * 5 + [1] * 7 + [2] * 5 + [3] * 7)
    sampler = ClassGroupedBatchSampler(labels, 4, partners=3)
    batches = [labels[batch].tolist() for batch in sampler]
    assert len(batches) == 6
    whole = [batch for batch in batches if len(set(batch)) == 1]
    joined = [sorted(Counter(batch).values()) for batch in batches if len(set(batch)) > 1]
    assert len(whole) == 4
    assert joined == [[1, 3], [1, 3]]


@pytest.mark.parametrize(
    "sizes",
    # The last: two small classes share a place, which must not always be the one left out.
    [[1] + [20] * 5, [3] + [20] * 5, [1, 1] + [40] * 4, [2, 2] + [20] * 5],
)
def test_small_classes_are_seen_though_the_last_batch_is_left_out(sizes):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    sampler = ClassGroupedBatchSampler(labels, 20, partners=3, drop_last=True)
    seen = torch.zeros(len(sizes))
    for _ in range(50):
        for batch in sampler:
            seen += labels[batch].bincount(minlength=len(sizes))
    assert (seen / 50 / torch.tensor(sizes) > 0.8).all()


def test_no_rank_has_more_than_a_batch_of_the_last():
    for batch_size, world, images in ((8, 2, 15), (8, 3, 23), (32, 4, 127), (6, 2, 11)):
        last = [
            list(
                ClassGroupedBatchSampler(
                    [0] * images, batch_size, partners=3, rank=rank, world_size=world
                )
            )[-1]
            for rank in range(world)
        ]
        assert max(map(len, last)) <= batch_size


def test_an_image_without_a_classmate_is_kept_alone():
    sampler = ClassGroupedBatchSampler([0, 1, 1, 1], 4, partners=3, epoch="anchors")
    drawn = Counter(image for batch in sampler for image in batch)
    assert drawn[0] == 1
    assert sampler.images_per_epoch == 13


def test_epochs_seeds_and_members_differ():
    labels = torch.arange(10).repeat(50)
    sampler = ClassGroupedBatchSampler(labels, 20, partners=1)
    first, second = list(sampler), list(sampler)
    other = list(ClassGroupedBatchSampler(labels, 20, partners=1, seed=1))
    assert first != second
    assert first != other

    def pairs(batches):
        flat = torch.tensor(batches).view(-1, 2)
        return {tuple(sorted(pair)) for pair in flat.tolist()}

    assert len(pairs(first) & pairs(second)) < 30


def test_partners_are_drawn_evenly():
    labels = [0] * 5
    sampler = ClassGroupedBatchSampler(labels, 15, partners=2, epoch="anchors")
    drawn = Counter()
    for _ in range(400):
        for batch in sampler:
            for anchor, *others in torch.tensor(batch).view(-1, 3).tolist():
                drawn.update((anchor, other) for other in others)
    # Each of the 20 ordered pairs is expected 400 × 2 / 4 = 200 times, ± 10.
    assert len(drawn) == 20
    assert min(drawn.values()) > 150
    assert max(drawn.values()) < 250


def test_works_in_a_data_loader_with_workers():
    labels = torch.arange(4).repeat(8)
    sampler = ClassGroupedBatchSampler(labels, 8, partners=1)
    loader = DataLoader(TensorDataset(labels), batch_sampler=sampler, num_workers=2)
    seen = [batch for (batch,) in loader]
    assert len(loader) == len(seen) == 4
    assert all((batch.view(-1, 2)[:, 0] == batch.view(-1, 2)[:, 1]).all() for batch in seen)
    assert sampler.epoch == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0.5, 1.0]}, "labels must be whole numbers"),
        ({"labels": []}, "labels must be"),
        ({"labels": [[0, 1]]}, "one dimension"),
        ({"labels": ["cat"]}, "labels must be whole numbers, got list"),
        (
            {"labels": SequentialSampler([])},
            r"^Lightning .* Trainer\(use_distributed_sampler=False\); .* got SequentialSampler",
        ),
        ({"partners": -1}, "partners must be at least 0"),
        ({"partners": 4}, r"batch_size must have room for a group of partners \+ 1 = 5"),
        ({"epoch": "steps"}, 'epoch must be "images" or "anchors"'),
        ({"rank": 2, "world_size": 2}, r"rank must be in \[0, 2\)"),
        ({"batch_size": 9, "drop_last": True}, "drop_last leaves no batch: an epoch has 8"),
    ],
)
def test_bad_settings_are_refused(unchecked, change, message):
    settings = {"labels": [0, 1] * 4, "batch_size": 4} | change
    with pytest.raises(ValueError, match=message):
        ClassGroupedBatchSampler(settings.pop("labels"), settings.pop("batch_size"), **settings)


def test_a_foreign_state_is_refused():
    sampler = ClassGroupedBatchSampler([0, 1] * 4, 4)
    with pytest.raises(ValueError, match="taken with seed 3"):
        sampler.load_state_dict({"seed": 3, "epoch": 0, "batch": 0})
    with pytest.raises(ValueError, match=r"batch must be in \[0, 2\]"):
        sampler.load_state_dict({"seed": 0, "epoch": 0, "batch": 3})
