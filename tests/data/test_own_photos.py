"""Class folders without splits, nested ones, and tables of paths and classes."""

import shutil
from collections import Counter

import pytest
from helpers.images import picture

from torchbake.data.sources.registry import open_source
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe


def fill(folder, numbers):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        picture(number % 13, (8, 8 + number // 13)).save(folder / f"{number}.png")


@pytest.fixture
def unsplit(tmp_path):
    """Two classes of ten and five images."""
    fill(tmp_path / "photos" / "cat", range(10))
    fill(tmp_path / "photos" / "dog", range(20, 25))
    return tmp_path / "photos"


def opened(place, **settings):
    kind = "imagefolder" if place.is_dir() else "table"
    return open_source(DataRecipe(name=f"{kind}:{place}", **settings))


def names(split):
    return [split.name_of(number) for number in range(len(split))]


def test_a_share_of_each_class_is_held_out(unsplit):
    source = opened(unsplit)
    assert source.classes == ["cat", "dog"]
    assert source.test.labels.tolist() == [0, 0, 1]
    assert sorted(names(source.train) + names(source.test)) == sorted(
        f"{path.parent.name}/{path.name}" for path in unsplit.rglob("*.png")
    )
    assert names(opened(unsplit).test) == names(source.test)
    assert names(opened(unsplit, test_share_seed=1).test) != names(source.test)
    assert opened(unsplit, test_share=0.4).test.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert "class folders without splits; 3 images, 20 % of each class" in source.found


def test_images_of_equal_bytes_stay_on_one_side(unsplit):
    for path in list((unsplit / "cat").iterdir()):
        for copy in range(3):
            shutil.copy(path, path.with_name(f"copy{copy}-{path.name}"))
    shutil.copy(unsplit / "cat" / "0.png", unsplit / "dog" / "a cat.png")
    for seed in range(5):
        source = opened(unsplit, test_share_seed=seed)
        sides = [{s.encoded(i).content for i in range(len(s))} for s in (source.train, source.test)]
        assert not sides[0] & sides[1]
        assert len(source.train) + len(source.test) == 46


def test_a_training_split_alone_gives_its_test_images(unsplit):
    shutil.copytree(unsplit, unsplit.parent / "split" / "train")
    source = opened(unsplit.parent / "split")
    assert (len(source.train), len(source.test)) == (12, 3)
    shutil.copytree(unsplit, unsplit.parent / "split" / "val")
    source = opened(unsplit.parent / "split")
    assert (len(source.train), len(source.test)) == (15, 15)
    assert source.found == "class folders in train/ and val/"


def test_a_class_may_be_called_train(unsplit):
    fill(unsplit / "train", range(3))
    assert opened(unsplit).classes == ["cat", "dog", "train"]


def test_folders_in_folders(tmp_path):
    root = tmp_path / "nested"
    for name in ("animal/cat", "animal/dog", "plant/rose"):
        fill(root / name, range(3))
    source = opened(root)
    assert source.classes == ["animal/cat", "animal/dog", "plant/rose"]
    assert "the innermost ones (data.class_folders)" in source.found
    assert opened(root, class_folders="outermost").classes == ["animal", "plant"]
    for name in ("cat/2019", "cat/2020", "dog/2019"):  # the same names: not of classes
        fill(tmp_path / "years" / name, range(3))
    assert opened(tmp_path / "years").classes == ["cat", "dog"]
    fill(root / "animal", range(3))
    assert opened(root).classes == ["animal", "plant"]
    (root / ".hidden").mkdir()
    (root / "loose.png").write_bytes((root / "animal" / "0.png").read_bytes())
    source = opened(root)
    assert source.classes == ["animal", "plant"]
    assert "1 image(s) outside the class folders" in source.notes[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "path,label\n{0},x\n{1},y\n{2},x\n{3},y\n"),
        ("a.csv", "species;file_name\nx;{0}\ny;{1}\n\nx;{2}\ny;{3}\n"),
        ("a.csv", "{0},x\n{1},y\n{2},x\n{3},y\n"),
        ("a.tsv", "\ufeffImage\tClass\n{0}\tx\n{1}\ty\n{2}\tx\n{3}\ty\n"),
    ],
)
def test_tables_are_read_by_their_columns(tmp_path, name, text):
    fill(tmp_path / "images", range(4))
    (tmp_path / name).write_text(text.format(*(f"images/{n}.png" for n in range(4))))
    source = opened(tmp_path / name)
    assert source.classes == ["x", "y"]
    told = dict(zip(names(source.train), source.train.labels.tolist(), strict=True))
    told |= dict(zip(names(source.test), source.test.labels.tolist(), strict=True))
    assert told == {"images/0.png": 0, "images/1.png": 1, "images/2.png": 0, "images/3.png": 1}
    assert Counter(source.test.labels.tolist()) == {0: 1, 1: 1}


def test_a_table_may_tell_the_splits_and_be_json(tmp_path):
    fill(tmp_path, range(4))
    lines = [
        f'{{"image": "{n}.png", "category": {10 if n % 2 else 9}, "split": "{split}"}}\n'
        for n, split in enumerate(["train", "Training", "val", "test"])
    ]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    source = opened(tmp_path / "a.jsonl")
    assert source.classes == ["9", "10"]
    assert (names(source.train), names(source.test)) == (["0.png", "1.png"], ["3.png"])
    (note,) = source.notes
    assert "tests on 'test', not on 'val'" in note


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("", {}, "a.csv: is empty$"),
        ("path,label\n0.png,\n", {}, "a.csv, line 2: has no 'label'$"),
        ("path,label\n\n7.png,x\n", {}, r"a.csv, line 3: there is no file .*7.png$"),
        ("path,x,y\n0.png,1,2\n", {}, "which column holds the labels. Name one of path, x, y with"),
        ("path,x\n0.png,1\n", {"label_column": "z"}, "there is no column 'z' .data.label_column."),
        (
            "path,label,split\n0.png,x,odd\n",
            {},
            "line 2: unknown split 'odd'; expected one of train",
        ),
        ("path,label\n0.png,x\n1.png,x\n", {}, "has 1 class.es., 'x'; expected two or more$"),
        ("path,label\n0.png,x\n1.png,y\n", {}, "no class has two different images"),
        ("words\n", {}, "a.csv, line 1: expected a path and a class, got 'words'$"),
    ],
)
def test_tables_that_do_not_serve_are_refused_in_one_line(tmp_path, text, settings, message):
    fill(tmp_path, range(2))
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        opened(tmp_path / "a.csv", **settings)
    assert "\n" not in str(caught.value)


def test_folders_that_do_not_serve_are_refused_in_one_line(tmp_path):
    def refused(folder, message):
        with pytest.raises(UserError, match=message) as caught:
            opened(folder)
        assert "\n" not in str(caught.value)

    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "expected a folder for each class.*, found nothing$")
    fill(tmp_path / "loose", range(3))
    refused(tmp_path / "loose", "has 3 image.s. and no class folder with images, and the images'")
    fill(tmp_path / "one" / "cat", range(3))
    refused(tmp_path / "one", "has 1 class.es., 'cat'; expected two or more$")
    (tmp_path / "hollow" / "a").mkdir(parents=True)
    (tmp_path / "hollow" / "b").mkdir(parents=True)
    refused(tmp_path / "hollow", "no images in the class folder.s. a, b of")
