"""Images held out for validation, and validation splits of data sets."""

import csv

import numpy as np
import pytest
import torch
from helpers.images import quiet_progress
from PIL import Image

from torchbake.data.loading.open_data import open_data
from torchbake.data.sources.base import Source
from torchbake.data.sources.labels import HEADER
from torchbake.data.sources.registry import open_source
from torchbake.data.sources.splits import make_array_split
from torchbake.data.sources.subsets import draw_held_out
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe
from torchbake.training.recipe_files import make_recipe

WHOLE = open_source(DataRecipe()).train


def opened(**settings):
    return open_data(DataRecipe(**settings), quiet_progress)


def test_a_share_of_each_class_is_held_out():
    data = opened(validation=0.1)
    train, held = data.source.train, data.source.validation
    assert held.labels.bincount().tolist() == [3] * 10
    assert train.labels.bincount().tolist() == [27] * 10
    assert sorted([*train.numbers.tolist(), *held.numbers.tolist()]) == list(range(300))
    for split, pixels in ((train, data.pixels[0]), (held, data.pixels[2])):
        assert pixels.equal(WHOLE.pixels[split.numbers])
        assert split.load(2).equal(pixels[2])
        assert split.labels.equal(WHOLE.labels[split.numbers])
    assert opened().source.validation is None
    assert opened(validation=0.1).source.validation.numbers.equal(held.numbers)
    other = opened(validation=0.1, validation_seed=1).source.validation
    assert not other.numbers.equal(held.numbers)


def test_at_least_one_of_a_class_is_held_out_and_one_stays():
    labels = torch.tensor([5] * 1 + [0] * 2 + [2] * 3 + [1] * 14)[torch.randperm(20)]
    for share, counts in ((0.01, [1, 1, 1, 0, 0, 0]), (0.25, [1, 4, 1]), (0.99, [1, 13, 2])):
        held = draw_held_out(labels, share, 0)
        counted = labels[held].bincount(minlength=6).tolist()
        assert counted == (counts + [0] * 6)[:6]


def test_held_out_images_keep_their_labels_and_the_others_their_noise(tmp_path):
    noisy = opened(label_noise=0.3).source.train
    part = opened(label_noise=0.3, validation=0.2).source
    assert part.train.labels.equal(noisy.labels[part.train.numbers])
    assert part.train.clean_labels.equal(WHOLE.labels[part.train.numbers])
    assert part.validation.labels.equal(WHOLE.labels[part.validation.numbers])
    # A file of labels speaks of all images by their numbers, and of held-out ones, too.
    held = part.validation.numbers
    wrong = held[noisy.labels[held] != WHOLE.labels[held]]
    kept = part.train.numbers[3]
    lines = [(int(wrong[0]), "9"), (int(wrong[1]), ""), (int(kept), "")]
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerow(HEADER)
        rows = [(index, "", str(int(noisy.labels[index])), label) for index, label in lines]
        csv.writer(file).writerows(rows)
    corrected = opened(label_noise=0.3, validation=0.2, labels=str(path)).source
    assert set(held.tolist()) - set(corrected.validation.numbers.tolist()) == {int(wrong[1])}
    assert set(part.train.numbers.tolist()) - set(corrected.train.numbers.tolist()) == {int(kept)}
    labels = dict(
        zip(corrected.validation.numbers.tolist(), corrected.validation.labels, strict=True)
    )
    assert labels.pop(int(wrong[0])) == 9
    assert all(label == WHOLE.labels[number] for number, label in labels.items())


def test_audit_numbers_are_those_of_all_training_images(tmp_path):
    """What an audit of a run with held-out images writes can be read by a run without."""
    train = opened(validation=0.5).source.train
    number = int(train.numbers[7])
    path = tmp_path / "labels.csv"
    given = int(train.labels[7])
    path.write_text(f"{','.join(HEADER)}\n{number},,{given},{(given + 1) % 10}\n")
    source = opened(labels=str(path)).source
    assert int(source.train.labels[number]) == (given + 1) % 10
    assert int((source.train.labels != WHOLE.labels).sum()) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes; the name of a split is written in its pictures' brightness."""
    root = tmp_path_factory.mktemp("photos")
    for value, split in enumerate(("train", "val", "test")):
        for label in ("cat", "dog"):
            for number in range(3 + value):
                path = root / split / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((4, 4, 3), 40 * value, np.uint8)).save(path)
    return root


@pytest.mark.parametrize("in_memory", [None, False])
def test_a_split_beside_the_test_split_is_taken(folder, in_memory):
    settings = {"image_size": 4, "workers": 0, "in_memory": in_memory, "classes": ("dog", "cat")}
    for wanted in (True, "val"):
        data = opened(name=f"imagefolder:{folder}", validation=wanted, **settings)
        source = data.source
        sizes = [len(split) for split in (source.train, source.validation, source.test)]
        assert sizes == [6, 8, 10]
        assert source.stands_in == ""
        (batch,) = data.share_batches(source.validation, 8, torch.device("cpu"), 0, 1)
        assert batch.labels.tolist() == [1] * 4 + [0] * 4
        shown = batch.images[0, 0, 0, 0] * data.std[0] + data.mean[0]
        assert float(shown) == pytest.approx(40 / 255, abs=1e-5)
    assert opened(name=f"imagefolder:{folder}", **settings).source.validation is None


def test_without_a_test_split_val_stands_in_for_it(folder, tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(folder / split)
    name = f"imagefolder:{tmp_path}"
    assert open_source(DataRecipe(name=name)).stands_in == "val"
    assert open_source(DataRecipe(name=name, test_split="val")).stands_in == ""
    held = opened(name=name, validation=0.4, workers=0).source
    assert [len(split) for split in (held.train, held.validation, held.test)] == [4, 2, 8]
    for wanted in (True, "val"):
        with pytest.raises(UserError, match=r"^data.validation: 'val' of .* is the test split"):
            open_source(DataRecipe(name=name, validation=wanted))


def test_tables_have_validation_splits(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    for split, count in (("train", 4), ("validation", 2), ("test", 6)):
        images = [Image.fromarray(np.full((4, 4), count, np.uint8))] * count
        table = {"image": images, "label": [k % 2 for k in range(count)]}
        made = datasets.Dataset.from_dict(table, features=features)
        made.to_parquet(tmp_path / f"{split}-00000.parquet")
    source = open_source(DataRecipe(name=f"parquet:{tmp_path}", validation=True))
    sizes = [len(split) for split in (source.train, source.validation, source.test)]
    assert sizes == [4, 2, 6]
    assert int(source.validation.load(0).max()) == 2


def own_source(recipe):
    pixels, labels = np.zeros((4, 4, 4), np.uint8), [0, 1, 0, 1]
    parts = [make_array_split(pixels[:n], labels[:n], recipe) for n in (4, 3, 2)]
    return Source(parts[0], parts[1], ["a", "b"], parts[2])


def test_own_sources_may_have_one(monkeypatch, tmp_path):
    monkeypatch.setattr("torchbake.data.sources.own.import_object", lambda *arguments: own_source)
    assert open_source(DataRecipe(name="mine:f")).validation is None
    assert len(open_source(DataRecipe(name="mine:f", validation=True)).validation) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": True}, "^data.validation: digits has no validation split; hold out"),
        ({"validation": 0.1, "images_per_class": 1}, "^data.validation: no class has two"),
    ],
)
def test_what_cannot_be_held_out_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        opened(**settings)


@pytest.mark.parametrize("value", [0.0, 1.0, 1, 2.5, "", [0.1]])
def test_other_values_are_refused_in_one_line(value):
    with pytest.raises(UserError) as caught:
        make_recipe({"data": {"validation": value}})
    expected = "data.validation: input should be a fraction above 0 and below 1, true, or the name"
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_false_means_none():
    assert make_recipe({"data": {"validation": False}}).data.validation is None
