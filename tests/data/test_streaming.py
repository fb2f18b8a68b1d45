from dataclasses import replace

import pytest
import torch
from helpers.images import encoded, image_folder, loader_of, photographs, quiet_progress, scenery
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from torchbake.data.augment.geometry import ATTEMPTS, NUMBERS, draw_box
from torchbake.data.augment.views import Views
from torchbake.data.loading import streaming
from torchbake.data.loading.open_data import open_data
from torchbake.data.loading.streaming import Stream
from torchbake.data.sources import decoding
from torchbake.data.sources.decoding import decode, read_size
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe

CPU = torch.device("cpu")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}])
@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_both_decoders_give_the_same_pixels(monkeypatch, mode, options, reduction):
    content = encoded(scenery(133, 77).convert(mode), **options)
    fast = decode(content, 3, "it", reduction)
    size = read_size(content, "it")
    monkeypatch.setattr(decoding, "simplejpeg", None)
    assert torch.equal(fast, decode(content, 3, "it", reduction))
    assert fast.shape == (3, -(-77 // reduction), -(-133 // reduction))
    assert size == read_size(content, "it") == (77, 133)


def test_random_boxes_are_those_of_torchvision():
    random = torch.rand(4000, NUMBERS + 2 * ATTEMPTS, generator=torch.Generator().manual_seed(0))
    ours = torch.tensor([draw_box(375, 500, row, 0.08) for row in random.tolist()])
    torch.manual_seed(0)
    image = torch.empty(3, 375, 500)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    )
    for column in range(4):  # top, left, height, width
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 0.01
    area, ratio = ours[:, 2] * ours[:, 3], ours[:, 3] / ours[:, 2]
    assert 0.075 < (area / (375 * 500)).min() < 0.1
    assert 0.74 < ratio.min() < 0.77
    assert 1.3 < ratio.max() < 1.35
    assert (ours[:, 0] + ours[:, 2]).max() <= 375
    assert (ours[:, 1] + ours[:, 3]).max() <= 500


@pytest.mark.parametrize(("height", "width"), [(1000, 10), (10, 1000), (1, 1)])
def test_images_too_narrow_for_a_random_box_give_their_middle(height, width):
    top, left, h, w = draw_box(height, width, [0.999] * 25, 1.0)
    assert 0 < h <= height
    assert 0 < w <= width
    assert abs(height - h - 2 * top) <= 1
    assert abs(width - w - 2 * left) <= 1
    assert max(h, w) <= max(1, round(min(height, width) * 4 / 3))


def test_a_part_is_decoded_at_a_smaller_scale_and_looks_the_same(tmp_path, monkeypatch):
    recipe = DataRecipe(photographs(tmp_path), image_size=32, crop="resized", flip=True)
    data = open_data(recipe, quiet_progress)
    stream = Stream(data.source.train, recipe, 3, 32)
    views = Views(torch.arange(8).repeat(4), torch.arange(4).repeat_interleave(8), 2, 0)
    used = []

    def noted(content, channels, name, reduction):
        used.append(reduction)
        return decode(content, channels, name, reduction)

    monkeypatch.setattr(streaming, "decode", noted)
    fast = stream[views].int()
    assert {4, 8} <= set(used) <= {1, 2, 4, 8}
    monkeypatch.setattr(
        "torchbake.data.loading.streaming.decode", lambda c, n, name, r: decode(c, n, name)
    )
    whole = stream[views].int()
    assert (fast - whole).abs().float().mean() < 2
    assert (fast - whole.flip(3)).abs().float().mean() > 8  # what it is when it is not the same


def test_a_random_part_is_what_torchvision_makes_of_the_same_box(tmp_path):
    recipe = DataRecipe(photographs(tmp_path, (50, 40)), image_size=32, crop="resized")
    data = open_data(recipe, quiet_progress)
    stream = Stream(data.source.train, recipe, 3, 32)
    numbers = [0.3, 0.6, 0.0, 0.0, 0.0] + [0.5] * 2 * ATTEMPTS
    image = data.source.train.load(5)
    expected = F.resized_crop(image, *draw_box(40, 50, numbers, 0.08), [32, 32], antialias=True)
    assert torch.equal(stream._random_part(5, numbers), expected)


def test_tests_see_the_middle_as_torchvision_takes_it(tmp_path):
    data = open_data(
        DataRecipe(photographs(tmp_path), image_size=56, crop="resized", workers=0), quiet_progress
    )
    (batch,) = data.test_batches(16, CPU)
    picture = F.to_pil_image(data.source.test.load(3))
    image = F.pil_to_tensor(F.center_crop(F.resize(picture, [64]), [56]))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    torch.testing.assert_close(batch.images[3], (image / 255 - mean) / std, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("crop", "share", "larger", "in_memory"),
    [("none", 0.8, 40, True), ("none", 0.8, 40, False), ("resized", 1.0, 32, False)],
)
def test_the_share_of_a_test_image_that_is_seen(tmp_path, crop, share, larger, in_memory):
    recipe = DataRecipe(
        photographs(tmp_path, (32, 32) if in_memory else (60, 50)),
        image_size=32,
        crop=crop,
        crop_pct=share,
        in_memory=in_memory,
        workers=0,
        cache=False,
    )
    data = open_data(recipe, quiet_progress)
    (batch,) = data.test_batches(16, CPU)
    picture = F.to_pil_image(data.source.test.load(3))
    image = F.pil_to_tensor(F.center_crop(F.resize(picture, [larger]), [32]))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    torch.testing.assert_close(batch.images[3], (image / 255 - mean) / std, atol=1e-5, rtol=0)


def test_batches_do_not_depend_on_who_decodes_them(tmp_path, monkeypatch):
    recipe = DataRecipe(photographs(tmp_path), image_size=32, crop="resized", flip=True, cutout=8)
    two = list(loader_of(replace(recipe, workers=2)).batches(1))
    monkeypatch.setattr(decoding, "simplejpeg", None)
    none = list(loader_of(replace(recipe, workers=0)).batches(1))
    assert len(two) == len(none) == 4
    assert all(torch.equal(a.images, b.images) for a, b in zip(two, none, strict=True))


@pytest.mark.parametrize("views", [1, 2])
def test_streamed_images_are_those_in_memory(tmp_path, views):
    name = image_folder(tmp_path, (10, 10))
    recipe = DataRecipe(
        name, image_size=10, crop="pad", padding=2, flip=True, cutout=3, workers=0, cache=False
    )
    kept = loader_of(recipe, views)
    streamed = loader_of(
        replace(recipe, in_memory=False, mean=tuple(kept.data.mean), std=tuple(kept.data.std)),
        views,
    )
    assert kept.pixels is not None
    assert streamed.pixels is None
    batches = list(kept.batches(0))
    for batch, other in zip(batches, streamed.batches(0), strict=True):
        assert torch.equal(batch.images, other.images)
    # Made several at a time, as on an accelerator, they are the same again.
    kept.ahead = 3
    for batch, other in zip(batches, kept.batches(0), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch[:3], other[:3], strict=True))


def test_a_broken_file_is_named_by_the_loop_that_needs_it(tmp_path):
    name = photographs(tmp_path)
    broken = tmp_path / "train" / "a" / "4.jpg"
    broken.write_bytes(broken.read_bytes()[:3000])
    recipe = DataRecipe(name, image_size=32, crop="resized", workers=2)
    with pytest.raises(UserError, match=r"a/4.jpg: cannot be read as an image: .* truncated"):
        list(loader_of(recipe).batches(0))
    broken.unlink()
    data = open_data(recipe, quiet_progress)
    (tmp_path / "train" / "b" / "1.jpg").unlink()  # while training
    with pytest.raises(UserError, match=r"b/1.jpg: cannot be read: No such file"):
        data.source.train.load(3)
