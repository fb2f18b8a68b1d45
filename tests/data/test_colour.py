"""Colours against torchvision's own, image by image, and what they may depend on."""

from dataclasses import replace

import pytest
import torch
from helpers.images import loader_of, photographs, quiet_progress
from torchvision.transforms.v2 import functional as F

from torchbake.data.augment.colour import (
    EIGENVALUES,
    EIGENVECTORS,
    NUMBERS,
    add_lighting,
    change_colours,
    jitter,
)
from torchbake.data.augment.views import Views
from torchbake.data.loading.open_data import open_data
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe

ADJUSTMENTS = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
ORDERS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def uniform(n, seed=0):
    return torch.rand(n, NUMBERS, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_jitter_is_torchvisions_in_the_order_that_was_drawn(channels, strength):
    pixels = (
        torch.rand(24, channels, 9, 7, generator=torch.Generator().manual_seed(1)) * 255
    ).float()
    random = uniform(24)
    random[:, 3] = torch.arange(24) % 6 / 6 + 0.01
    ours = jitter(pixels, strength, random)
    for number in range(24):
        expected = pixels[number] / 255
        for operation in ORDERS[number % 6]:
            factor = 1 - strength + 2 * strength * float(random[number, operation])
            expected = ADJUSTMENTS[operation](expected, factor)
        torch.testing.assert_close(ours[number] / 255, expected, atol=1e-5, rtol=0)


def test_factors_and_orders_are_drawn_evenly():
    flat = torch.full((6000, 3, 1, 1), 100.0)  # contrast and saturation leave plain grey as it is
    factors = jitter(flat, 0.4, uniform(6000)).mean(dim=(1, 2, 3)) / 100
    assert 0.6 <= factors.min() < 0.61
    assert 1.39 < factors.max() < 1.401
    torch.testing.assert_close(
        factors.quantile(torch.tensor([0.25, 0.75])), torch.tensor([0.8, 1.2]), atol=0.02, rtol=0
    )
    assert (uniform(6000)[:, 3] * 6).long().bincount().min() > 900


def test_lighting_has_the_covariance_of_its_components():
    pixels = torch.full((40000, 3, 2, 2), 128.0)
    added = (add_lighting(pixels, 0.1, uniform(40000)) - pixels) / 255
    assert torch.equal(added[..., 0, 0], added[..., 1, 1])
    vectors, values = torch.tensor(EIGENVECTORS), torch.tensor(EIGENVALUES)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(3), atol=2e-4, rtol=0)
    expected = vectors @ torch.diag((0.1 * values) ** 2) @ vectors.T
    torch.testing.assert_close(added[..., 0, 0].T.cov(), expected, atol=1e-5, rtol=0)
    edge = add_lighting(pixels[:2], 0.1, torch.tensor([[0.0] * NUMBERS, [1 - 2**-24] * NUMBERS]))
    assert edge.isfinite().all()


def test_an_images_colours_depend_on_itself_alone():
    recipe = DataRecipe(color_jitter=0.4, lighting=0.1)
    pixels = torch.rand(6, 3, 8, 8) * 255
    indices, occurrences = torch.tensor([7, 8, 9, 7, 8, 9]), torch.tensor([0, 0, 0, 1, 1, 1])
    whole = change_colours(pixels, recipe, Views(indices, occurrences, 2, 3))
    for row in range(6):
        part = slice(row, row + 1)
        views = Views(indices[part], occurrences[part], 2, 3)
        torch.testing.assert_close(whole[part], change_colours(pixels[part], recipe, views))
    for epoch, seed in ((2, 4), (3, 3)):
        views = Views(indices, occurrences, epoch, seed)
        assert not torch.allclose(whole, change_colours(pixels, recipe, views))
    two = Views(indices[[0, 3]], occurrences[[0, 3]], 2, 3)
    same = change_colours(pixels[:1].expand(2, -1, -1, -1), recipe, two)
    assert not torch.allclose(same[0], same[1])


@pytest.mark.parametrize("views", [1, 2])
def test_streamed_and_kept_images_get_the_same_colours(tmp_path, views):
    name = photographs(tmp_path, (24, 24))
    recipe = DataRecipe(
        name,
        image_size=24,
        flip=True,
        cutout=5,
        color_jitter=0.4,
        lighting=0.1,
        workers=0,
        cache=False,
    )
    kept = loader_of(recipe, views)
    statistics = {"mean": tuple(kept.data.mean), "std": tuple(kept.data.std)}
    streamed = loader_of(replace(recipe, in_memory=False, **statistics), views)
    plain = loader_of(replace(recipe, color_jitter=0.0, lighting=0.0), views)
    assert (kept.pixels is None, streamed.pixels is None) == (False, True)
    batches = [list(loader.batches(1)) for loader in (kept, streamed, plain)]
    for ours, theirs, without in zip(*batches, strict=True):
        torch.testing.assert_close(ours.images, theirs.images, atol=1e-5, rtol=0)
        assert not torch.allclose(ours.images, without.images, atol=0.05)
        assert torch.equal(ours.images == 0, without.images == 0)  # the square stays the mean
    kept.ahead = 3
    for ours, again in zip(batches[0], kept.batches(1), strict=True):
        torch.testing.assert_close(ours.images, again.images)


def test_tests_see_the_colours_as_they_are(tmp_path):
    recipe = DataRecipe(photographs(tmp_path, (24, 24)), image_size=24, workers=0, cache=False)
    batches = []
    for strength in (0.0, 0.4):
        data = open_data(replace(recipe, color_jitter=strength, lighting=strength), quiet_progress)
        batches += [batch.images for batch in data.test_batches(8, torch.device("cpu"))]
    assert torch.equal(*batches)


def test_grey_images_have_no_lighting():
    with pytest.raises(
        UserError, match=r"^data.lighting: needs images of 3 channels, these have 1$"
    ):
        open_data(DataRecipe(lighting=0.1), quiet_progress)
