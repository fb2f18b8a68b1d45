import io
import pickle

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from helpers.images import image_folder, parquet_files, picture, quiet_progress
from PIL import Image as Pillow

from torchbake import ClassGroupedBatchSampler
from torchbake.data.augment.geometry import cut_out, shift_and_flip
from torchbake.data.augment.normalise import measure_channels, normalise
from torchbake.data.loading.open_data import open_data
from torchbake.data.loading.train_loader import TrainLoader
from torchbake.data.sources import registry as sources
from torchbake.data.sources.registry import open_source
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe

CPU = torch.device("cpu")


def test_digits_are_split_as_documented():
    source = open_source(DataRecipe(name="digits"))
    assert source.train.labels.bincount().tolist() == [30] * 10
    assert len(source.test) == 1497
    both = torch.cat([source.train.pixels, source.test.pixels]).flatten(1)
    assert both.shape == (1797, 64)
    assert both.max() == 255
    again = open_source(DataRecipe(name="digits"))
    assert torch.equal(source.train.pixels, again.train.pixels)


def test_cifar_in_its_publishers_layout(tmp_path, monkeypatch):
    """The real reader on files of the real layout; only their checksums are of our own files."""
    from torchvision.datasets import CIFAR100
    from torchvision.datasets.utils import calculate_md5

    folder = tmp_path / CIFAR100.base_folder
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    for name in ("train", "test"):
        content = {"data": pixels, "fine_labels": [0, 1, 2, 2, 1, 0]}
        (folder / name).write_bytes(pickle.dumps(content))
    meta = {"fine_label_names": ["apple", "bear", "cup"]}
    (folder / "meta").write_bytes(pickle.dumps(meta))
    for name in ("train", "test"):
        entry = [[name, calculate_md5(folder / name)]]
        monkeypatch.setattr(CIFAR100, f"{name}_list", entry)
    md5 = calculate_md5(folder / "meta")
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5})
    source = open_source(DataRecipe(name="cifar100", folder=str(tmp_path)))
    assert source.classes == ["apple", "bear", "cup"]
    assert source.train.labels.tolist() == [0, 1, 2, 2, 1, 0]
    assert torch.equal(source.train.pixels[2].flatten(), torch.from_numpy(pixels[2]))


def test_image_folder(tmp_path):
    source = open_source(DataRecipe(name=image_folder(tmp_path)))
    assert source.classes == ["cat", "dog"]
    assert source.train.labels.tolist() == [0] * 4 + [1] * 4
    assert source.test.load(5).shape == (3, 10, 12)
    assert source.test.load(5)[:, 0, 0].tolist() == [100, 155, 7]


@pytest.mark.parametrize("encoded", ["PNG", "WEBP"])
def test_parquet(tmp_path, encoded):
    recipe = DataRecipe(name=parquet_files(tmp_path, encoded))
    data = open_data(recipe, quiet_progress)
    assert data.source.classes == ["cat", "dog", "emu"]
    assert data.source.train.labels.tolist() == [0, 1, 2] * 3
    assert data.pixels[0].shape == (9, 3, 8, 8)
    assert data.pixels[1][4, :, 0, 0].tolist() == [80, 175, 7]


def test_labels_are_known_without_decoding(tmp_path, monkeypatch):
    def fail(*arguments):
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(Pillow, "open", fail)
    assert len(open_source(DataRecipe(name=parquet_files(tmp_path / "p"))).train.labels) == 9
    assert len(open_source(DataRecipe(name=image_folder(tmp_path / "f"))).train.labels) == 8


def test_a_data_set_by_the_hubs_loader_with_text_labels(tmp_path):
    features = Features({"picture": Image(), "kind": Value("string")})
    for split in ("train", "validation"):
        buffer = io.BytesIO()
        picture(3).save(buffer, "PNG")
        records = [{"picture": {"bytes": buffer.getvalue()}, "kind": kind} for kind in "bab"]
        Dataset.from_list(records, features=features).to_parquet(tmp_path / f"{split}.parquet")
    source = open_source(DataRecipe(name=f"hf:{tmp_path}", label_column="kind"))
    assert source.classes == ["a", "b"]
    assert source.train.labels.tolist() == [1, 0, 1]
    with pytest.raises(UserError, match=r"Name one of picture, kind with data\.label_column"):
        open_source(DataRecipe(name=f"hf:{tmp_path}"))


def test_parquet_in_folders_named_after_their_split(tmp_path):
    parquet_files(tmp_path)
    for split in ("train", "test"):
        (tmp_path / "cats" / split).mkdir(parents=True)
        (tmp_path / f"{split}-00000-of-00001.parquet").rename(
            tmp_path / "cats" / split / "0000.parquet"
        )
    assert len(open_source(DataRecipe(name=f"parquet:{tmp_path}/cats")).test) == 6


def test_numbers_as_labels_are_classes_in_order_and_others_are_refused(tmp_path):
    buffer = io.BytesIO()
    picture(1).save(buffer, "PNG")

    def opened(kind, labels):
        features = Features({"image": Image(), "label": Value(kind)})
        records = [{"image": {"bytes": buffer.getvalue()}, "label": label} for label in labels]
        for split in ("train", "test"):
            Dataset.from_list(records, features=features).to_parquet(tmp_path / f"{split}.parquet")
        return open_source(DataRecipe(name=f"parquet:{tmp_path}"))

    source = opened("int64", [2_000_000, 3, 3])
    assert source.classes == ["3", "2000000"]
    assert source.train.labels.tolist() == [1, 0, 0]
    with pytest.raises(UserError, match="must hold whole numbers or text, has float64"):
        opened("float64", [0.5, 1.0])
    with pytest.raises(UserError, match=r"labels must be from 0 to 0, found -1 to 0"):
        opened("int64", [4, None])


def test_sixteen_bits_a_channel_are_refused(tmp_path):
    name = image_folder(tmp_path)
    deep = Pillow.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    deep.save(tmp_path / "train" / "cat" / "0.png")
    with pytest.raises(UserError, match="more than 8 bits a channel"):
        open_source(DataRecipe(name=name)).train.load(0)


def test_grey_and_colour(tmp_path):
    grey = open_data(DataRecipe(name=parquet_files(tmp_path), channels=1), quiet_progress)
    assert grey.channels == grey.pixels[0].shape[1] == 1
    colour = open_data(DataRecipe(name="digits", channels=3), quiet_progress)
    assert colour.pixels[0].shape == (300, 3, 8, 8)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"name": "digit"}, "data.name: unknown data set 'digit'; did you mean 'digits'"),
        ({"name": "imagefolder"}, "expected 'imagefolder:PATH', got 'imagefolder'"),
        ({"name": "digits:x"}, "expected 'digits', got 'digits:x'"),
        ({"name": "imagefolder:/nowhere"}, "there is no folder /nowhere"),
        ({"name": "parquet:/nowhere/*.parquet"}, "no file matches /nowhere/"),
        ({"name": "cifar10", "folder": "/dev/null/x"}, "cifar10: neither found in '/dev/null/x'"),
        ({"name": "digits", "mean": (0.5, 0.5), "std": (1.0, 1.0)}, r"expected 1 value\(s\)"),
        ({"name": "digits", "crop": "pad", "padding": 8}, "8 would shift images of 8 pixels out"),
        ({"name": "digits", "image_size": 16, "in_memory": True}, "not all of 16 × 16 pixels"),
    ],
)
def test_sources_that_are_not_there_are_refused(recipe, message):
    with pytest.raises(UserError, match=message):
        open_data(DataRecipe(**recipe), quiet_progress)


def test_faulty_files_are_named(tmp_path):
    name = image_folder(tmp_path)
    broken = tmp_path / "train" / "cat" / "2.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(UserError, match=r"cat/2.png: cannot be read as an image"):
        open_source(DataRecipe(name=name)).train.load(2)
    (tmp_path / "val" / "eel").mkdir()
    picture(1).save(tmp_path / "val" / "eel" / "1.png")
    with pytest.raises(UserError, match="must have the same classes; in one alone: eel"):
        open_source(DataRecipe(name=name))
    with pytest.raises(UserError, match="no test split: expected dev, found train, val"):
        open_source(DataRecipe(name=name, test_split="dev"))


def test_sizes_that_differ_need_one_to_be_given(tmp_path):
    name = image_folder(tmp_path, (10, 10))
    picture(1, (9, 9)).save(tmp_path / "train" / "dog" / "9.png")
    with pytest.raises(UserError, match=r"data.image_size: give one: .* differ in size"):
        open_data(DataRecipe(name=name), quiet_progress)
    data = open_data(DataRecipe(name=name, image_size=8, workers=0), quiet_progress)
    assert data.pixels is None
    assert data.mean == [0.485, 0.456, 0.406]
    (batch,) = data.test_batches(64, CPU)
    assert batch.images.shape == (8, 3, 8, 8)


def test_statistics_and_normalisation():
    pixels = torch.randint(0, 256, (50, 3, 6, 6), dtype=torch.uint8)
    mean, std = measure_channels(pixels)
    values = pixels.double() / 255
    assert mean == pytest.approx(values.mean(dim=(0, 2, 3)).tolist())
    assert std == pytest.approx(values.std(dim=(0, 2, 3), correction=0).tolist())
    images = normalise(pixels, mean, std)
    torch.testing.assert_close(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_shifts_and_flips_are_what_the_numbers_say():
    pixels = torch.arange(2 * 16, dtype=torch.uint8).view(2, 1, 4, 4) + 1
    recipe = DataRecipe(crop="pad", padding=1, flip=True)
    # No shift (1 of 0, 1, 2) and no flip; then one down, one to the left, and a flip.
    random = torch.tensor([[0.5, 0.5, 0.9, 0, 0], [0.9, 0.1, 0.1, 0, 0]])
    first, second = shift_and_flip(pixels, recipe, random)
    assert torch.equal(first, pixels[0])
    padded = torch.nn.functional.pad(pixels[1], (1, 1, 1, 1))
    assert torch.equal(second, padded[:, 2:6, 0:4].flip(2))


def test_cutout_zeroes_a_square_around_its_centre():
    random = torch.tensor([[0, 0, 0, 0.5, 0.0]])
    image = cut_out(torch.ones(1, 2, 8, 8), 4, random)
    expected = torch.ones(2, 8, 8)
    expected[:, 2:6, 0:2] = 0
    assert torch.equal(image[0], expected)


@pytest.mark.parametrize("kind", ["memory", "streamed"])
@pytest.mark.parametrize("views", [1, 2])
def test_a_batch_can_be_made_again_by_its_number(tmp_path, kind, views):
    if kind == "memory":
        recipe = DataRecipe(name="digits", crop="pad", flip=True, cutout=2)
    else:
        name = image_folder(tmp_path)
        recipe = DataRecipe(name=name, image_size=8, crop="resized", flip=True, workers=2)
    data = open_data(recipe, quiet_progress)
    labels = data.source.train.labels

    def loader():
        sampler = ClassGroupedBatchSampler(labels, 4, partners=1, epoch="anchors")
        return TrainLoader(data, sampler, CPU, seed=3, views=views)

    whole = list(loader().batches(5))
    late = list(loader().batches(5, start=2))
    assert len(late) == len(whole) - 2
    for one, other in zip(whole[2:], late, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.labels, labels[one.indices])
        assert len(one.images) == views * len(one.labels)
    # An image that comes twice in an epoch, or in two views, is augmented differently.
    images = torch.cat([batch.images.unflatten(0, (views, -1)) for batch in whole], dim=1)
    indices = torch.cat([batch.indices for batch in whole])
    first = (indices == indices.mode().values).nonzero()[:, 0]
    assert len(first) >= 2
    assert not torch.equal(images[0, first[0]], images[0, first[1]])
    if views == 2:
        assert not torch.equal(images[0, 0], images[1, 0])


def test_every_method_sees_the_same_augmented_images():
    data = open_data(DataRecipe(name="digits", crop="pad"), quiet_progress)
    seen = []
    for partners in (0, 3):
        sampler = ClassGroupedBatchSampler(data.source.train.labels, 60, partners=partners)
        batches = list(TrainLoader(data, sampler, CPU, seed=0).batches(2))
        indices = torch.cat([batch.indices for batch in batches])
        seen.append(torch.cat([batch.images for batch in batches])[indices.argsort()])
    assert torch.equal(seen[0], seen[1])


def test_all_kinds_say_what_they_are():
    assert all(kind.about for kind in sources.SOURCES.values())
