"""Folders of images without class folders, whose files' names tell the classes."""

import shutil
from collections import Counter

import pytest
from helpers.images import picture

from torchbake.data.sources.registry import open_source
from torchbake.data.sources.test_only import open_test
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe


def fill(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        picture(number % 13, (8, 8 + number // 13)).save(folder / name)


def opened(place, **settings):
    return open_source(DataRecipe(name=f"imagefolder:{place}", **settings))


def told(source):
    """Each image's class by its name."""
    return {
        split.name_of(row): source.classes[label]
        for split in (source.train, source.test)
        for row, label in enumerate(split.labels.tolist())
    }


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["cat_001.jpg", "cat_002.jpg", "dog_001.jpg", "dog_002.jpg"], "cat dog"),
        (["cat.1.jpg", "cat.12.jpg", "dog.3.jpg", "dog.4.JPG"], "cat dog"),
        (["cat (1).jpg", "cat (2).jpg", "Dog (3).png", "Dog (10).png"], "Dog cat"),
        (["Cardinal-0007.jpeg", "Cardinal-0008.jpeg", "jay7.jpeg", "jay8.jpeg"], "Cardinal jay"),
        (["boeing_747_1.jpg", "boeing_747_2.jpg", "boeing_737_1.jpg", "boeing_737_2.jpg"], ""),
        (["n02085620_10.jpg", "n02085620_11.jpg", "n0209_7.jpg", "n0209_9.jpg"], ""),
        (["été 1.jpg", "été 2.jpg", "hiver 1.jpg", "hiver 2.jpg"], "hiver été"),
        (["train_cat_1.jpg", "train_cat_2.jpg", "train_dog_1.jpg", "train_dog_2.jpg"], ""),
    ],
)
def test_what_stands_before_the_number_is_the_class(tmp_path, names, classes):
    fill(tmp_path, *names)
    source = opened(tmp_path)
    expected = classes.split() or sorted({name.rpartition("_")[0] for name in names})
    assert source.classes == expected
    assert {name: name.startswith(label) for name, label in told(source).items()} == dict.fromkeys(
        names, True
    )
    assert Counter(source.test.labels.tolist()) == {0: 1, 1: 1}


def test_what_was_found_is_said_with_an_example_and_counts(tmp_path):
    birds = [f"{name}_{number}.jpg" for name in ("jay", "owl") for number in range(12)]
    fill(tmp_path, *birds, "emu_1.jpg", "IMG_0001.jpg")
    source = opened(tmp_path)
    assert source.found == (
        "image files without class folders; their names tell the classes (jay_0.jpg is jay): "
        "jay 12, owl 12 (data.class_pattern; or make class folders or a table); 4 images, 20 % of "
        "each class, held out for testing (data.test_share)"
    )
    assert source.notes == (
        f"imagefolder:{tmp_path}: left out: 2 image(s) whose names tell no class",
    )
    (tmp_path / "notes").mkdir()  # a folder without images changes nothing
    assert opened(tmp_path).classes == ["jay", "owl"]


def test_splits_may_be_flat_too(tmp_path):
    fill(tmp_path / "train", "a_1.jpg", "a_2.jpg", "b_1.jpg", "b_2.jpg")
    fill(tmp_path / "test", "a_3.jpg", "a_4.jpg", "b_3.jpg", "b_5.jpg")
    source = opened(tmp_path)
    assert (len(source.train), len(source.test)) == (4, 4)
    assert source.found.startswith("image files without class folders in train/ and test/; ")


def test_a_pattern_tells_other_classes(tmp_path):
    fill(tmp_path, "1-cat.jpg", "2-cat.jpg", "3-dog.jpg", "4-dog.jpg", "odd.jpg")
    source = opened(tmp_path, class_pattern=r"\d-(\w+)")
    assert source.classes == ["cat", "dog"]
    assert "left out: 1 image(s) whose names tell no class" in source.notes[0]
    for pattern, message in (
        ("(", "data.class_pattern: no regular expression: "),
        ("cat", r"expected a group for the class, as in '\(\.\+\)_\[0-9\]\+', got 'cat'"),
        ("(x)", r"names do not match data.class_pattern in at least two classes: '\(x\)'; put"),
    ):
        with pytest.raises(UserError, match=message):
            opened(tmp_path, class_pattern=pattern)
    fill(tmp_path / "in" / "cat", "1.jpg")
    with pytest.raises(UserError, match="in has class folders; a pattern is for a folder without"):
        opened(tmp_path / "in", class_pattern="(.)")


@pytest.mark.parametrize(
    "names",
    [
        ["IMG_0001.jpg", "IMG_0002.jpg", "DSC00001.jpg", "DSC00002.jpg"],
        [
            "IMG_20200101_1.jpg",
            "IMG_20200101_2.jpg",
            "IMG-20210101-WA1.jpg",
            "IMG-20210101-WA2.jpg",
        ],
        ["cat_1.jpg", "cat_2.jpg", "cat_3.jpg"],
        ["cat_1.jpg", "dog_1.jpg", "emu_1.jpg"],
        ["cat_1.jpg", "cat_2.jpg", "dog_1.jpg", "dog_2.jpg", "holiday.jpg"],
        ["2020-01-01_1.jpg", "2020-01-01_2.jpg", "2020-01-02_1.jpg", "2020-01-02_2.jpg"],
    ],
)
def test_names_that_tell_no_classes_are_refused_in_one_line(tmp_path, names):
    fill(tmp_path, *names)
    with pytest.raises(UserError, match=f"has {len(names)} image.s. and no class folder") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    assert "put each class into a folder of its own, or name a table (.csv)" in str(caught.value)


def test_another_flat_folder_is_tested_on_as_a_whole(tmp_path):
    fill(tmp_path / "first", "a_1.jpg", "a_2.jpg", "b_1.jpg", "b_2.jpg")
    shutil.copytree(tmp_path / "first", tmp_path / "other")
    split = open_test(DataRecipe(name=f"imagefolder:{tmp_path / 'other'}"), ["b", "c", "a"])
    assert split.labels.tolist() == [2, 2, 0, 0]
