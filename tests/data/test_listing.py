"""What is in an image folder beside images: links, pipes, hidden files, other formats."""

import os

import pytest
from helpers.images import image_folder, picture, quiet_progress
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from torchbake.data.loading.open_data import open_data
from torchbake.data.preparing.packing import SKIPPED, pack
from torchbake.data.sources.listing import EXTENSIONS
from torchbake.data.sources.registry import open_source
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe


def names_of(source):
    return [source.train.name_of(index) for index in range(len(source.train))]


def test_the_images_and_their_order_are_torchvisions(tmp_path):
    name = image_folder(tmp_path)
    for path in ("b/deep/x.PNG", "b/a.jpeg", "b-c/1.webp", "b/deep-er/2.png", "a.jpg/1.png"):
        (tmp_path / "train" / "cat" / path).parent.mkdir(parents=True, exist_ok=True)
        picture(1).save(tmp_path / "train" / "cat" / path)
    source = open_source(DataRecipe(name=name))
    theirs = ImageFolder(tmp_path / "train")
    assert source.train.files == [path for path, _ in theirs.samples]
    assert source.train.labels.tolist() == theirs.targets
    assert source.classes == theirs.classes
    assert source.notes == ()
    assert set(EXTENSIONS) == set(IMG_EXTENSIONS)


def test_links_lead_to_each_image_once(tmp_path):
    name = image_folder(tmp_path)
    train = tmp_path / "train"
    before = names_of(open_source(DataRecipe(name=name)))
    for link, target in (
        ("cat/itself", "."),
        ("cat/above", ".."),
        ("cat/root", tmp_path),
        ("cat/dogs", "../dog"),
        ("dog/all", "/"),
        ("loop", "."),
        ("puss", "cat"),
        ("cat/again.png", "0.png"),
    ):
        (train / link).symlink_to(target)
    source = open_source(DataRecipe(name=name))
    assert names_of(source) == before
    assert source.classes == ["cat", "dog"]
    assert source.notes == (f"{name}: left out of train/: 8 link(s) to what is listed already",)


def test_links_to_elsewhere_are_followed(tmp_path):
    name = image_folder(tmp_path / "data")
    (tmp_path / "more").mkdir()
    picture(1).save(tmp_path / "more" / "x.png")
    cat = tmp_path / "data" / "train" / "cat"
    (cat / "more").symlink_to(tmp_path / "more")
    (cat / "y.png").symlink_to(tmp_path / "data" / "val" / "cat" / "0.png")
    (tmp_path / "data" / "train" / "dog").rename(tmp_path / "dog")
    (tmp_path / "data" / "train" / "dog").symlink_to(tmp_path / "dog")
    source = open_source(DataRecipe(name=name))
    found = names_of(source)
    assert found[:6] == [f"train/cat/{n}.png" for n in (0, 1, 2, 3, "y")] + ["train/cat/more/x.png"]
    assert len(found) == 10
    assert source.notes == ()
    assert source.train.load(9).shape == (3, 10, 12)


def test_links_that_lead_nowhere_are_named_when_they_are_read(tmp_path):
    name = image_folder(tmp_path)
    for link, target, reason in (
        ("0.png", "nowhere.png", "No such file"),
        ("1.png", "1.png", "Too many levels"),
    ):
        path = tmp_path / "train" / "cat" / link
        path.unlink()
        path.symlink_to(target)
        with pytest.raises(UserError, match=f"cat/{link}: cannot be read: {reason}"):
            open_source(DataRecipe(name=name)).train.load(int(link[0]))


def test_what_is_no_image_is_left_out_and_counted(tmp_path):
    name = image_folder(tmp_path)
    train = tmp_path / "train"
    before = names_of(open_source(DataRecipe(name=name)))
    (train / ".thumbnails").mkdir()
    for path in (".thumbnails/1.png", "cat/._0.png", "outside.png", "cat/a.gif", "dog/b.GIF"):
        (train / path).write_bytes(b"x")
    for path in ("cat/a.avif", "cat/a.heic", "dog/README", "dog/x.tar.gz", "labels.csv"):
        (train / path).write_bytes(b"x")
    os.mkfifo(train / "cat" / "pipe.png")
    os.mkfifo(train / "cat" / "pipe")
    source = open_source(DataRecipe(name=name))
    assert names_of(source) == before
    (note,) = source.notes
    assert note.startswith(f"{name}: left out of train/: ")
    for part in ("2 hidden", "2 .gif", "2 pipe(s)", "1 image(s) outside the class folders"):
        assert part in note
    assert note.endswith("3 of other kinds")


def test_a_folder_without_images_says_what_is_there(tmp_path):
    name = image_folder(tmp_path)
    for path in (tmp_path / "train" / "dog").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(UserError, match=r"no images in the class folder\(s\) dog of .*4 \.heic"):
        open_source(DataRecipe(name=name))
    for split in ("train", "val"):
        (tmp_path / split / "dog").rename(tmp_path / f"{split}-dog")
    with pytest.raises(UserError, match=r"has 1 class\(es\), 'cat'; expected two or more"):
        open_source(DataRecipe(name=name))
    (tmp_path / "val" / "cat").rename(tmp_path / "cat")
    with pytest.raises(UserError, match=r"there is no class folder in .*val"):
        open_source(DataRecipe(name=name))


def test_a_second_split_to_test_on_is_mentioned(tmp_path):
    name = image_folder(tmp_path)
    for split in ("train", "val"):
        (tmp_path / "test" / split).mkdir(parents=True)
    (tmp_path / "test").rename(tmp_path / "other")
    (tmp_path / "test").symlink_to("val")
    source = open_source(DataRecipe(name=name))
    assert source.notes == (f"{name}: tests on 'test', not on 'val' (data.test_split chooses)",)
    assert open_source(DataRecipe(name=name, test_split="val")).notes == ()


def test_names_that_are_not_unicode(tmp_path, capsys):
    name = image_folder(tmp_path / "data", size=(10, 10))
    folder = tmp_path / "data" / "train" / "cat"
    odd, broken = (folder / os.fsdecode(name) for name in (b"\xff\n.png", b"\xfe.png"))
    with odd.open("wb") as file:
        picture(1, (10, 10)).save(file, "PNG")
    broken.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cat/\ufffd\\.png: cannot be read as an image"):
        open_data(DataRecipe(name=name, workers=0), quiet_progress)
    packed = pack(DataRecipe(name=name, workers=0), tmp_path / "packed")
    assert packed.images == {"train": 9, "test": 8}
    (line,) = (tmp_path / "packed" / SKIPPED).read_text(encoding="utf-8").splitlines()
    assert "cat/\ufffd.png: cannot be read as an image" in line
    broken.unlink()
    data = open_data(DataRecipe(name=name, workers=0), quiet_progress)
    assert data.pixels is not None
    again = open_data(DataRecipe(name=name, workers=0), quiet_progress)
    assert again.pixels[0].equal(data.pixels[0])
    (tmp_path / "data" / "train" / os.fsdecode(b"\xff")).mkdir()
    with pytest.raises(UserError, match=r"train/\\udcff: a class needs a name in UTF-8"):
        open_source(DataRecipe(name=name))


def test_pipes_are_not_waited_for(tmp_path):
    name = image_folder(tmp_path)
    path = tmp_path / "train" / "cat" / "0.png"
    source = open_source(DataRecipe(name=name))
    path.unlink()  # behind the listing
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"cat/0\.png: cannot be read: not a file"):
        source.train.load(0)
