"""Subsets, label noise, and mixed batches."""

import pytest
import torch
from helpers.images import quiet_progress

from torchbake.data.augment.mixing import mix_batch
from torchbake.data.loading.open_data import open_data
from torchbake.data.sources.registry import open_source
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe


def test_some_classes_are_kept_and_numbered_in_their_order():
    whole = open_source(DataRecipe())
    data = open_data(DataRecipe(classes=("7", "2", "9")), quiet_progress)
    assert data.source.classes == ["7", "2", "9"]
    for split, all_of_it, pixels in (
        (data.source.train, whole.train, data.pixels[0]),
        (data.source.test, whole.test, data.pixels[1]),
    ):
        assert split.labels.bincount().tolist() == [
            int((all_of_it.labels == label).sum()) for label in (7, 2, 9)
        ]
        for index in (0, len(split) - 1):
            assert split.load(index).equal(pixels[index])
        kept = torch.isin(all_of_it.labels, torch.tensor([7, 2, 9]))
        assert pixels.equal(all_of_it.pixels[kept])


def test_a_number_of_images_of_each_class_is_kept():
    few = open_data(DataRecipe(images_per_class=5), quiet_progress).source
    fewer = open_data(DataRecipe(images_per_class=3), quiet_progress).source
    assert few.train.labels.bincount().tolist() == [5] * 10
    assert len(few.test) == 1497
    pictures = {few.train.load(i).numpy().tobytes() for i in range(len(few.train))}
    assert all(fewer.train.load(i).numpy().tobytes() in pictures for i in range(30))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("7", "seven")}, "^data.classes: there is no class 'seven'"),
        ({"classes": ("7", "7")}, "^data.classes: name two or more classes, each once"),
        ({"images_per_class": 31}, "^data.images_per_class: 31 is more than the 30 training"),
    ],
)
def test_subsets_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        open_data(DataRecipe(**settings), quiet_progress)


def test_label_noise_is_symmetric_seeded_and_keeps_the_clean_labels():
    clean = open_source(DataRecipe())
    noisy = open_data(DataRecipe(label_noise=0.2), quiet_progress).source
    assert noisy.train.clean_labels.equal(clean.train.labels)
    assert noisy.test.labels.equal(clean.test.labels)
    wrong = noisy.train.labels != noisy.train.clean_labels
    assert wrong.sum() == 60  # of 300
    again = open_data(DataRecipe(label_noise=0.2), quiet_progress).source
    assert again.train.labels.equal(noisy.train.labels)
    other = open_data(DataRecipe(label_noise=0.2, label_noise_seed=1), quiet_progress).source
    assert not other.train.labels.equal(noisy.train.labels)
    # Each other class alike: over many seeds, the shift is uniform over 1, …, 9.
    shifts = torch.zeros(10)
    for seed in range(60):
        source = open_data(
            DataRecipe(label_noise=0.5, label_noise_seed=seed), quiet_progress
        ).source
        shifts += ((source.train.labels - clean.train.labels) % 10).bincount(minlength=10)
    assert shifts[0] == 150 * 60
    expected = 150 * 60 / 9
    assert float(((shifts[1:] - expected) ** 2 / expected).sum()) < 26  # χ² of 8, p ≈ 0.001


def batch(n=8):
    """Images that show their own number in every pixel."""
    images = torch.arange(float(n)).view(n, 1, 1, 1).expand(n, 1, 10, 10)
    return images, torch.arange(n) // 2


def test_mixup_blends_images_and_labels_alike():
    images, labels = batch()
    for step in range(20):
        recipe = DataRecipe(mixup=0.5)
        out, targets = mix_batch(images, labels, recipe, 4, 1, 0, step)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(8))
        again = mix_batch(images, labels, recipe, 4, 1, 0, step)
        assert out.equal(again[0])
        # Of images 2k and 2k + 1 of class k: blended with two others of one class.
        torch.testing.assert_close(targets[0::2], targets[1::2])
        torch.testing.assert_close(out[1::2] - out[0::2], torch.ones(4, 1, 10, 10))
        torch.testing.assert_close(
            out[0::2, 0, 0, 0], 2 * (targets[0::2] * torch.arange(4.0)).sum(dim=1)
        )


def test_cutmix_pastes_a_rectangle_and_counts_its_area():
    images, labels = batch()
    shares = []
    for step in range(50):
        out, targets = mix_batch(images, labels, DataRecipe(cutmix=1.0), 4, 1, 0, step)
        for index in range(8):
            values, counts = out[index].unique(return_counts=True)
            assert len(values) <= 2
            own = int(counts[values == index].sum()) / 100
            label = int(labels[index])
            others = [v for v in values.tolist() if v != index]
            same = sum(int(labels[int(v)]) == label for v in others)
            if not same:
                assert float(targets[index, label]) == pytest.approx(own, abs=1e-6)
        shares.append(float(targets.max(dim=1).values.mean()))
    assert min(shares) < 0.7 < max(shares)


def test_both_are_chosen_and_some_batches_are_left_alone():
    images, labels = batch()
    both = DataRecipe(mixup=1.0, cutmix=1.0, mix_probability=0.5)
    kinds = {"alone": 0, "mixup": 0, "cutmix": 0}
    for step in range(200):
        out, _ = mix_batch(images, labels, both, 4, 0, 1, step)
        kind = "alone" if out.equal(images) else "cutmix" if out.equal(out.round()) else "mixup"
        kinds[kind] += 1
    assert 70 < kinds["alone"] < 140
    assert 25 < kinds["mixup"] < 80
    assert 25 < kinds["cutmix"] < 80
