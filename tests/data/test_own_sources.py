import sys
import types

import numpy as np
import pytest
import torch
from helpers.images import picture, quiet_progress
from torch.utils.data import TensorDataset
from torchvision.datasets import FakeData

from torchbake.data import (
    DataRecipe,
    Source,
    Split,
    make_array_split,
    make_dataset_split,
    make_file_split,
    open_source,
)
from torchbake.data.loading.open_data import open_data
from torchbake.errors import UserError

GREY, COLOUR = DataRecipe(channels=1), DataRecipe(channels=3)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
LABELS = [0, 1, 1, 0, 1]


def test_arrays_of_each_order_give_the_same_split():
    first = torch.from_numpy(PIXELS).movedim(3, 1)
    for images in (PIXELS, first, first.numpy()):
        split = make_array_split(images, LABELS, DataRecipe())
        assert torch.equal(split.pixels, first)
        assert torch.equal(split.load(2), first[2])
        assert split.labels.tolist() == LABELS
    grey = make_array_split(PIXELS[..., 0], np.array(LABELS, np.int32), DataRecipe())
    assert torch.equal(grey.pixels, first[:, :1])
    assert grey.labels.dtype == torch.int64
    assert make_array_split(PIXELS, LABELS, GREY).pixels.shape == (5, 1, 4, 6)
    assert make_array_split(PIXELS[..., 0], LABELS, COLOUR).load(0).shape == (3, 4, 6)


def test_arrays_that_cannot_be_written_to():
    fixed = PIXELS.copy()
    fixed.flags.writeable = False
    split = make_array_split(fixed, LABELS, DataRecipe())
    assert split.pixels.flatten().tolist() == np.moveaxis(PIXELS, 3, 1).flatten().tolist()


def test_files_are_called_by_their_paths(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for number, path in enumerate(paths):
        picture(number).save(path)
    split = make_file_split(paths, [1, 0], DataRecipe())
    assert split.name_of(1) == str(paths[1])
    assert split.load(1)[:, 0, 0].tolist() == [20, 235, 7]
    assert make_file_split(paths, [1, 0], GREY).load(0).shape == (1, 10, 12)
    assert list(split.files) == [str(path) for path in paths]


def test_data_sets_of_torch_and_torchvision():
    fake = FakeData(4, (3, 8, 8), num_classes=3)
    split = make_dataset_split(fake, DataRecipe())
    assert split.labels.tolist() == [int(label) for _, label in fake]
    assert split.load(3).permute(1, 2, 0).tolist() == np.asarray(fake[3][0]).tolist()
    assert make_dataset_split(fake, GREY).load(0).shape == (1, 8, 8)
    tensors = TensorDataset(torch.from_numpy(PIXELS), torch.tensor(LABELS))
    given = make_dataset_split(tensors, DataRecipe(), labels=LABELS)
    assert torch.equal(given.load(1), torch.from_numpy(PIXELS[1]).movedim(2, 0))
    tensors.targets = torch.tensor([1, 1, 0, 0, 0])
    assert make_dataset_split(tensors, DataRecipe()).labels.tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (PIXELS / 255, LABELS, r"expected whole numbers from 0 to 255 \(uint8\), got float64"),
        (torch.rand(5, 4, 6), LABELS, r"from 0 to 255 \(uint8\), got torch.float32"),
        (PIXELS[..., :2], LABELS, r"with 1 or 3 channels, got \(5, 4, 6, 2\)"),
        (PIXELS[0, 0], LABELS, r"expected \(n, h, w\), .* got \(6, 3\)"),
        (PIXELS, LABELS[:3], "labels: there are 3 for 5 images"),
        (PIXELS, [0.5] * 5, "labels: expected 5 class numbers, got torch.float32"),
        (PIXELS, ["cat"] * 5, "labels: expected class numbers: "),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_arrays_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(UserError, match=message):
        make_array_split(images, labels, DataRecipe())


def splits_of(pixels=PIXELS, labels=LABELS, classes=("a", "b")):
    split = make_array_split(pixels, labels, DataRecipe())
    return Source(split, split, list(classes))


def source_of(monkeypatch, make):
    """The source that a user's module, made of this function, opens."""
    module = types.ModuleType("sources_of_mine")
    module.mine = make
    monkeypatch.setitem(sys.modules, "sources_of_mine", module)
    return open_source(DataRecipe(name="sources_of_mine:mine"))


def test_an_own_source_is_trained_on_like_any(monkeypatch):
    source = source_of(monkeypatch, lambda recipe: splits_of(PIXELS[:, :, :4]))
    assert source.classes == ["a", "b"]
    recipe = DataRecipe(name="sources_of_mine:mine", classes=("b", "a"))
    data = open_data(recipe, quiet_progress)
    assert data.source.train.labels.tolist() == [1 - label for label in LABELS]
    assert data.pixels[0].shape == (5, 3, 4, 4)


def without(change):
    """A source whose training split is another one."""
    source = splits_of()
    return lambda recipe: Source(change(source.train), source.test, source.classes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (7, "is no data source: expected a function that takes the recipe's data section, got 7"),
        (lambda: None, "'sources_of_mine:mine' failed: TypeError: "),
        (lambda recipe: 1 / 0, r"failed: .*test_own_sources.py, line \d+: ZeroDivisionError"),
        (
            lambda recipe: make_array_split(PIXELS, [0], recipe),
            r"line \d+: labels: there are 1 for",
        ),
        (lambda recipe: None, "must return a torchbake.data.Source, returned NoneType"),
        (
            lambda recipe: splits_of(labels=[0, 1, 2, 0, 1]),
            r"labels must be from 0 to 1, found 0 to 2$",
        ),
        (lambda recipe: splits_of(PIXELS[:0], []), "the training split has no images"),
        (
            lambda recipe: splits_of(classes=[1, 2]),
            r"classes must be a list of names, got \[1, 2\]",
        ),
        (without(lambda train: None), "train must be a torchbake.data.Split, got NoneType"),
        (without(lambda train: Split(LABELS, train.load)), r"train labels must be class numbers"),
        (without(lambda train: Split(train.labels, None)), "train image 0 cannot be loaded: TypeE"),
        (
            without(lambda train: Split(train.labels, lambda i: train.load(i) / 255)),
            r"train image 0 must be a tensor \(ch, h, w\) of uint8",
        ),
        (
            without(lambda train: Split(train.labels, lambda i: train.load(i)[:2])),
            r"train image 0 must have 1 or 3 channel\(s\) \(data.channels\), has 2",
        ),
        (
            without(lambda train: Split(train.labels, train.load, train.pixels[1:])),
            r"train pixels must be \(5, 3, 4, 6\), are \(4, 3, 4, 6\)",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_sources_that_are_none_are_refused(monkeypatch, make, message):
    with pytest.raises(UserError, match=message):
        source_of(monkeypatch, make)
