"""Batches in which all classes are drawn equally often."""

from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchbake import ClassGroupedBatchSampler


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=7),
    partners=st.integers(0, 4),
    epoch=st.sampled_from(["images", "anchors"]),
    seed=st.integers(0, 1000),
)
def test_classes_share_the_groups_and_images_their_class(sizes, partners, epoch, seed):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]

    def sampler(**more):
        size = 3 * (partners + 1)
        return ClassGroupedBatchSampler(
            labels, size, partners=partners, epoch=epoch, seed=seed, **more
        )

    drawn = torch.cat(sampler(balanced=True).batches(0)).tolist()
    assert len(drawn) == sampler().images_per_epoch
    size = partners + 1
    groups = [drawn[start : start + size] for start in range(0, len(drawn), size)]
    owners = [{int(labels[image]) for image in group} for group in groups]
    assert all(len(owner) == 1 for owner in owners)
    whole = len(drawn) // size
    of_class = Counter(next(iter(owner)) for owner in owners[:whole])
    shares = [of_class[number] for number in range(len(sizes))]
    assert max(shares) - min(shares) <= 1
    times = Counter(drawn)
    for number, count in enumerate(sizes):
        own = [times[image] for image in (labels == number).nonzero()[:, 0].tolist()]
        assert max(own) - min(own) <= 1
        for group, owner in zip(groups, owners, strict=True):
            if owner == {number}:
                repeats = Counter(group).values()
                assert max(repeats) <= -(-size // count)


def test_every_class_gets_the_further_groups_in_some_epoch():
    labels = torch.arange(5).repeat_interleave(torch.tensor([2, 9, 20, 30, 3]))
    sampler = ClassGroupedBatchSampler(labels, 8, partners=3, balanced=True)  # 16 groups
    shares = [labels[torch.cat(sampler.batches(e))].bincount(minlength=5) for e in range(40)]
    most = torch.stack(shares).argmax(dim=1)
    assert set(most.tolist()) == set(range(5))
    mean = torch.stack(shares).double().mean(dim=0)
    assert (mean - 64 / 5).abs().max() < 1


def test_a_large_class_shows_all_its_images_in_the_course_of_epochs():
    labels = torch.tensor([0] * 6 + [1] * 60)
    sampler = ClassGroupedBatchSampler(labels, 6, partners=1, balanced=True)
    seen = [set(torch.cat(sampler.batches(epoch)).tolist()) for epoch in range(12)]
    assert all(len(images) < 66 for images in seen)
    assert set.union(*seen) == set(range(66))


def test_images_that_come_again_are_numbered():
    labels = torch.tensor([0] * 2 + [1] * 30)
    sampler = ClassGroupedBatchSampler(labels, 8, partners=1, balanced=True)
    images, before = (torch.cat(part) for part in zip(*sampler.numbered_batches(0), strict=True))
    for image in (0, 1):
        assert before[images == image].tolist() == list(range(8))
    assert before[labels[images] == 1].max() == 0
