from dataclasses import replace

import pytest
import torch
from helpers.images import loader_of, photographs
from torchvision.transforms import v2

from torchbake.data.augment.operations import make_policy
from torchbake.data.augment.policies import _draw_seeds, _run_seeded, apply_policy, erase
from torchbake.data.augment.views import Views
from torchbake.recipe import DataRecipe

POLICIES = {
    "trivial": {"auto_augment": "trivial"},
    "rand": {"auto_augment": "rand", "rand_augment_magnitude": 15},
    "rotation": {"rotation": 30.0},
    "both": {"rotation": 10.0, "auto_augment": "trivial"},
}


def pictures(count=6, side=24):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def views_of(*indices, occurrence=0, epoch=2, seed=3):
    return Views(torch.tensor(indices), torch.full((len(indices),), occurrence), epoch, seed)


@pytest.mark.parametrize("settings", POLICIES.values(), ids=POLICIES)
def test_an_images_policy_depends_on_itself_alone(settings):
    recipe, pixels = DataRecipe(**settings), pictures(12)
    before = torch.get_rng_state()
    whole = apply_policy(pixels, recipe, views_of(*range(12)))
    assert torch.equal(torch.get_rng_state(), before)
    assert whole.dtype == torch.uint8
    assert not torch.equal(whole, pixels)
    torch.manual_seed(5)
    for row in (0, 7):
        own = apply_policy(pixels[row : row + 1], recipe, views_of(row))
        assert torch.equal(own, whole[row : row + 1])
    for other in ({"occurrence": 1}, {"epoch": 3}, {"seed": 4}):
        assert not torch.equal(apply_policy(pixels, recipe, views_of(*range(12), **other)), whole)


def test_operations_are_torchvisions():
    pixels = pictures(40)
    changed = apply_policy(pixels, DataRecipe(auto_augment="rand"), views_of(*range(40)))
    assert changed.shape == pixels.shape
    none = DataRecipe(auto_augment="rand", rand_augment_operations=1, rand_augment_magnitude=0)
    same = apply_policy(pixels, none, views_of(*range(40)))
    assert sum(torch.equal(a, b) for a, b in zip(same, pixels, strict=True)) > 10
    quarter = apply_policy(pixels, DataRecipe(rotation=180.0), views_of(*range(40)))
    assert quarter.float().mean() < pixels.float().mean()  # its corners are black


def test_rectangles_are_erased_with_the_given_probability():
    images = torch.ones(400, 3, 16, 16)
    erased = erase(images, 0.25, views_of(*range(400)))
    assert images.min() == 1
    shares = (erased == 0).float().mean(dim=(1, 2, 3))
    assert 70 < int((shares > 0).sum()) < 130
    assert shares[shares > 0].min() > 0.01
    assert shares.max() < 0.4
    assert torch.equal(erase(images[:9], 0.25, views_of(*range(9))), erased[:9])


@pytest.mark.parametrize("crop", ["none", "resized"])
def test_streamed_and_kept_images_get_the_same_changes(tmp_path, crop):
    recipe = DataRecipe(
        photographs(tmp_path, (24, 24)),
        image_size=24,
        flip=True,
        rotation=20.0,
        auto_augment="trivial",
        random_erasing=0.5,
        workers=0,
        cache=False,
    )
    if crop == "resized":  # which is streamed always
        streamed = loader_of(replace(recipe, crop="resized"))
        first, again = ([b.images for b in streamed.batches(1)] for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        return
    kept = loader_of(recipe)
    statistics = {"mean": tuple(kept.data.mean), "std": tuple(kept.data.std)}
    streamed = loader_of(replace(recipe, in_memory=False, **statistics))
    plain = loader_of(
        replace(recipe, rotation=0.0, auto_augment="none", random_erasing=0.0, **statistics)
    )
    batches = [list(loader.batches(1)) for loader in (kept, streamed, plain)]
    for ours, theirs, without in zip(*batches, strict=True):
        torch.testing.assert_close(ours.images, theirs.images)
        assert not torch.allclose(ours.images, without.images, atol=0.05)
    kept.ahead = 3
    for ours, again in zip(batches[0], kept.batches(1), strict=True):
        torch.testing.assert_close(ours.images, again.images)


@pytest.mark.parametrize(
    ("settings", "transform"),
    [
        ({"auto_augment": "trivial"}, v2.TrivialAugmentWide()),
        ({"auto_augment": "rand"}, v2.RandAugment()),
        (
            {
                "auto_augment": "rand",
                "rand_augment_operations": 3,
                "rand_augment_magnitude": 30,
            },
            v2.RandAugment(3, 30),
        ),
    ],
    ids=["trivial", "rand", "rand-more"],
)
@pytest.mark.parametrize(
    ("count", "channels", "size"), [(200, 3, (24, 17)), (60, 1, (9, 12)), (6, 3, (260, 250))]
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_image_is_what_torchvision_makes_of_it_alone(
    settings, transform, count, channels, size, channels_last
):
    """Bit for bit, though images that drew the same operation are changed together."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, *size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    pixels[::3] = pixels[::3] // 4 + 30  # of low contrast
    if channels_last:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    views = views_of(*range(count))
    changed = apply_policy(pixels, DataRecipe(**settings), views)
    seeds = _draw_seeds(views, "policy").tolist()
    alone = torch.stack(
        [_run_seeded(transform, image, seed) for image, seed in zip(pixels, seeds, strict=True)]
    )
    assert torch.equal(changed, alone)


def test_images_that_drew_one_operation_are_changed_in_one_call(monkeypatch):
    calls = []
    policy = make_policy("rand", 1, 9)
    real = policy._apply_image_or_video_transform

    def counted(image, *operation, **settings):
        calls.append((len(image), operation))
        return real(image, *operation, **settings)

    monkeypatch.setattr(policy, "_apply_image_or_video_transform", counted)
    recipe = DataRecipe(auto_augment="rand", rand_augment_operations=1)
    apply_policy(pictures(70), recipe, views_of(*range(70)))
    assert sum(count for count, _ in calls) == 70
    assert len({operation for _, operation in calls}) == len(calls) < 25
