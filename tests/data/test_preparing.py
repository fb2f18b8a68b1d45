import dataclasses
import hashlib
import io
import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile

import pytest
from helpers.commands import failing
from helpers.stand_ins import write_stand_in

from torchbake.cli.main import main
from torchbake.data.preparing.catalogue import PUBLISHED
from torchbake.data.preparing.prepare import prepare
from torchbake.data.sources.registry import open_source
from torchbake.errors import UserError
from torchbake.recipe import DataRecipe

NAMES = list(PUBLISHED)


def contents(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    record = json.loads(found.pop("prepared.json"))
    return found, record


def published_as(monkeypatch, name, source, classes, images):
    """Let what is known of the data set be what is true of a stand-in."""
    known = PUBLISHED[name]
    parts = {
        purpose: dataclasses.replace(
            part, md5=part.md5 and hashlib.md5((source / part.archive).read_bytes()).hexdigest()
        )
        for purpose, part in known.parts.items()
    }
    numbers = dict(zip(known.images, (classes * n for n in images), strict=True))
    monkeypatch.setitem(
        PUBLISHED, name, dataclasses.replace(known, parts=parts, classes=classes, images=numbers)
    )


def tar_with(path, files):
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("archives", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_every_image_is_where_its_publisher_says_and_is_trained_on(
    tmp_path, monkeypatch, capsys, name, archives
):
    expected = write_stand_in(name, tmp_path / "given", archives=archives)
    monkeypatch.chdir(tmp_path)
    before = sorted((tmp_path / "given").rglob("*"))
    main(["prepare", name, "--source", "given", "--no-check"])
    split = "val" if name == "imagenet" else "test"
    assert capsys.readouterr().out.splitlines() == [
        f"data/{name}: 3 classes, 12 train and 6 {split} images",
        f"train on them with torchbake train RECIPE --data imagefolder:data/{name}",
    ]
    found, record = contents(tmp_path / "data" / name)
    assert found == expected
    assert record["images"] == {"train": 12, split: 6}
    assert (record["checked"], record["counted"]) == ([], False)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [name]
    assert sorted((tmp_path / "given").rglob("*")) == before
    if not archives:
        image = next((tmp_path / "data" / name / "train").rglob("*.*"))
        assert image.stat().st_nlink == 2

    source = open_source(DataRecipe(f"imagefolder:data/{name}"))
    assert source.classes == sorted({path.split("/")[1] for path in expected})
    assert (len(source.train), len(source.test)) == (12, 6)
    for images in (source.train, source.test):
        for index in range(len(images)):
            path = images.name_of(index)
            assert path.split("/")[1] == source.classes[images.labels[index]]
            assert images.encoded(index).content == expected[path]
    assert source.train.load(0).shape == (3, 32, 32)


@pytest.mark.parametrize("name", NAMES)
def test_checksums_and_numbers_are_compared(tmp_path, monkeypatch, name):
    source, out = tmp_path / "given", tmp_path / "out"
    expected = write_stand_in(name, source)
    published_as(monkeypatch, name, source, 3, (4, 2))
    told = []
    prepare(name, source, out, progress=lambda *what: told.append(what))
    found, record = contents(out)
    assert found == expected
    archives = {part.archive for part in PUBLISHED[name].parts.values() if part.md5}
    assert set(record["checked"]) == archives
    assert record["counted"]
    assert ("images", 18, 18) in told
    assert bool(archives) == any(what.startswith("checking") for what, _, _ in told)

    published_as(monkeypatch, name, source, 3, (4, 3))
    with pytest.raises(UserError, match=r"expected 3 classes, 12 train and 9 .*; found 3 classes"):
        prepare(name, source, out, overwrite=True)
    assert contents(out)[0] == expected
    for archive in archives:
        whole = (source / archive).read_bytes()
        content = bytearray(whole)
        content[len(content) // 2] ^= 1
        (source / archive).write_bytes(content)
        digest = hashlib.md5(content).hexdigest()
        with pytest.raises(UserError, match=rf"{archive}: not as published.*found {digest}$"):
            prepare(name, source, out, overwrite=True)
        (source / archive).write_bytes(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "out"]


@pytest.mark.parametrize("name", NAMES)
def test_the_real_checksums_stand_in_the_way_of_a_stand_in(tmp_path, capsys, name):
    write_stand_in(name, tmp_path / "given")
    error = failing(
        capsys, "prepare", name, "--source", f"{tmp_path}/given", "--out", f"{tmp_path}/out"
    )
    assert len(error.splitlines()) == 1
    expected = "expected 67 classes" if name == "mit67" else "expected MD5"
    assert expected in error
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_the_folder_given_may_be_the_unpacked_one_itself(tmp_path):
    expected = write_stand_in("cub200", tmp_path, archives=False)
    prepare("cub200", tmp_path / "CUB_200_2011", tmp_path / "out", check=False)
    assert contents(tmp_path / "out")[0] == expected


def test_unpacked_files_are_copied_where_they_cannot_be_linked(tmp_path, monkeypatch):
    expected = write_stand_in("imagenet", tmp_path / "given", archives=False)
    (tmp_path / "given" / "ILSVRC2012_img_train" / ".hidden").write_bytes(b"of the file system")

    def refused(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    prepare("imagenet", tmp_path / "given", tmp_path / "out", check=False)
    assert contents(tmp_path / "out")[0] == expected
    assert {path.stat().st_nlink for path in (tmp_path / "out").rglob("*.JPEG")} == {1}


def test_a_folder_is_replaced_only_when_told_and_only_if_it_was_made_here(tmp_path, capsys):
    given, out = tmp_path / "given", tmp_path / "out"
    write_stand_in("dogs", given, archives=False)
    prepare("dogs", given, out, check=False)
    arguments = ["prepare", "dogs", "--source", str(given), "--out", str(out), "--no-check"]
    assert "out is there already; replace it with --overwrite" in failing(capsys, *arguments)
    (out / "more").write_text("of the former one")
    main([*arguments, "--overwrite"])
    assert not (out / "more").exists()
    arguments[5] = str(given)
    error = failing(capsys, *arguments, "--overwrite")
    assert "given is there already, and was not made by prepare" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "out"]


def test_what_was_killed_leaves_nothing_that_looks_whole_and_is_done_anew(tmp_path):
    expected = write_stand_in("mit67", tmp_path / "given")
    code = """
        import os, pathlib, signal, sys
        from torchbake.data.preparing.prepare import prepare
        def kill(what, done, total):
            if (what, done) == ("images", 7):
                os.kill(os.getpid(), signal.SIGKILL)
        prepare("mit67", pathlib.Path("given"), pathlib.Path("out"), check=False, progress=kill)
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    left = tmp_path / ".out.partial"
    made = left / "made"
    assert sum(path.is_file() for path in made.rglob("*")) == 7
    (made / "train" / "room_0" / "of a former time.jpg").write_bytes(b"")
    prepare("mit67", tmp_path / "given", tmp_path / "out", check=False)
    assert contents(tmp_path / "out")[0] == expected
    assert not left.exists()


@pytest.mark.parametrize("renames", [1, 2])
def test_killed_while_it_replaces_a_folder_one_of_the_two_is_there_afterwards(
    tmp_path, monkeypatch, renames
):
    class Killed(BaseException):
        """As SIGKILL: nothing is cleared away behind it."""

    given, out = tmp_path / "given", tmp_path / "out"
    expected = write_stand_in("mit67", given, archives=False)
    prepare("mit67", given, out, check=False)
    (out / "more").write_text("of the former one")
    done = []

    def replace(path, target):
        if len(done) == renames:
            raise Killed
        done.append(path)
        return path.rename(target)

    remove = shutil.rmtree

    def clear(path, **how):
        if len(done) == renames:
            raise Killed
        remove(path, **how)

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", replace)
        patched.setattr("shutil.rmtree", clear)
        with pytest.raises(Killed):
            prepare("mit67", given, out, check=False, overwrite=True)
    assert out.exists() == (renames == 2)
    with pytest.raises(UserError, match="out is there already; replace it with --overwrite"):
        prepare("mit67", given, out, check=False)
    assert (out / "more").exists() == (renames == 1)
    prepare("mit67", given, out, check=False, overwrite=True)
    assert contents(out)[0] == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "out"]


def test_of_an_archive_no_link_is_made_and_none_may_lead_out(tmp_path):
    given, secret = tmp_path / "given", tmp_path / "secret.jpg"
    secret.write_bytes(b"!")
    expected = write_stand_in("mit67", given)
    tar, more = given / "indoorCVPR_09.tar", tarfile.TarInfo("Images/room_0/link.jpg")
    more.type, more.linkname = tarfile.SYMTYPE, "in_no_list.jpg"
    whole = tar.read_bytes()
    for lists in given.glob("*Images.txt"):
        lists.write_text(lists.read_text().replace("in_no_list", "link"))
    with tarfile.open(tar, "a") as opened:
        opened.addfile(more)
    prepare("mit67", given, tmp_path / "out", check=False)
    assert contents(tmp_path / "out")[0] == expected
    for link in ("../../../secret.jpg", str(secret)):
        tar.write_bytes(whole)
        more.linkname = link
        with tarfile.open(tar, "a") as opened:
            opened.addfile(more)
        with pytest.raises(UserError, match=r"09\.tar: 'Images/room_0/link.jpg' (would|is a) link"):
            prepare("mit67", given, tmp_path / "other", check=False)
    more.type = tarfile.CHRTYPE
    tar.write_bytes(whole)
    with tarfile.open(tar, "a") as opened:
        opened.addfile(more)
    with pytest.raises(UserError, match="is a special file; nothing is taken"):
        prepare("mit67", given, tmp_path / "other", check=False)

    write_stand_in("tiny-imagenet", tmp_path / "zipped")
    link = zipfile.ZipInfo("tiny-imagenet-200/train/n01443537/images/link.JPEG")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "zipped" / "tiny-imagenet-200.zip", "a") as opened:
        opened.writestr(link, str(secret))
    prepare("tiny-imagenet", tmp_path / "zipped", tmp_path / "tiny", check=False)
    assert not list((tmp_path / "tiny").rglob("link.JPEG"))
    assert not (tmp_path / "other").exists()


def test_an_archive_is_on_the_disk_once_and_its_files_are_moved(tmp_path):
    """Every image is unpacked to, and then is, one file, which is not copied."""
    write_stand_in("tiny-imagenet", tmp_path / "given")
    partial, numbers = tmp_path / ".out.partial", {}

    def look(what, done, total):
        if what == "images" and done == 1:
            numbers.update((p.name, p.stat().st_ino) for p in partial.rglob("*.JPEG"))

    prepare("tiny-imagenet", tmp_path / "given", tmp_path / "out", check=False, progress=look)
    images = list((tmp_path / "out").rglob("*.JPEG"))
    assert len(images) == 18
    assert all(path.stat().st_ino == numbers[path.name] for path in images)


def test_classes_may_be_archives_in_a_folder(tmp_path):
    given = tmp_path / "given"
    expected = write_stand_in("imagenet", given)
    inside = given / "ILSVRC2012_img_train"
    inside.mkdir()
    with tarfile.open(given / "ILSVRC2012_img_train.tar") as opened:
        opened.extractall(inside, filter="data")
    (given / "ILSVRC2012_img_train.tar").unlink()
    before = {path: path.read_bytes() for path in inside.iterdir()}
    prepare("imagenet", given, tmp_path / "out", check=False)
    assert contents(tmp_path / "out")[0] == expected
    assert {path: path.read_bytes() for path in inside.iterdir()} == before


def remove_image(given):
    next((given / "Images").glob("*/*_1.jpg")).unlink()


def list_both(given):
    train, test = given / "TrainImages.txt", given / "TestImages.txt"
    test.write_text(test.read_text() + "\n" + train.read_text().splitlines()[1])


def cut(name, share=0.55):
    def change(given):
        content = (given / name).read_bytes()
        (given / name).write_bytes(content[: int(share * len(content))])

    return change


def replaced(name, content):
    def change(given):
        (given / name).write_bytes(content)

    return change


def zip_with(name):
    def change(given):
        with zipfile.ZipFile(given / "tiny-imagenet-200.zip", "a") as archive:
            archive.writestr(name, "!")

    return change


def one_more(name, folder):
    def change(given):
        (given / folder / "more").mkdir()
        (given / folder / "more" / name).write_bytes(b"")

    return change


UNPACKED = "CUB_200_2011/"


@pytest.mark.parametrize(
    ("name", "archives", "change", "message"),
    [
        ("dogs", False, remove_image, r"Images/n02085620-Breed_0/\S+_1.jpg: listed, but not there"),
        ("mit67", False, list_both, "listed for test/room_0, and for train/room_0, too"),
        ("tiny-imagenet", True, cut("tiny-imagenet-200.zip"), "zip: broken or incomplete archive"),
        ("cub200", True, cut("CUB_200_2011.tgz"), "CUB_200_2011.tgz: broken or incomplete archive"),
        ("dogs", True, cut("images.tar"), "images.tar: broken or incomplete archive"),
        ("imagenet", True, cut("ILSVRC2012_img_train.tar"), "train.tar: broken or incomplete"),
        ("mit67", True, replaced("indoorCVPR_09.tar", b"no tar"), "broken or incomplete archive"),
        ("dogs", False, replaced("test_list.mat", b"no table"), "not the MATLAB file expected"),
        ("mit67", False, replaced("TestImages.txt", b"\xff\xfe\x00"), "not text in UTF-8"),
        ("mit67", False, replaced("TestImages.txt", b"just_a_name.jpg"), "expected CLASS/NAME"),
        ("mit67", False, replaced("TestImages.txt", b""), "no test images found"),
        (
            "mit67",
            False,
            replaced("TestImages.txt", b"room_0/Some room_5.jpg"),
            "in one split alone: room_1, room_2; training needs",
        ),
        ("mit67", False, lambda given: (given / "TestImages.txt").unlink(), "s.txt: no such file"),
        (
            "cub200",
            False,
            replaced(UNPACKED + "images.txt", b"1\n"),
            "images.txt: line 1: expected a number and a word",
        ),
        (
            "cub200",
            False,
            replaced(UNPACKED + "train_test_split.txt", b"1 1\n"),
            "image 2 has no class in image_class_labels.txt, or neither 0 nor 1",
        ),
        (
            "cub200",
            False,
            replaced(UNPACKED + "classes.txt", b"1 ../../a\n2 b\n3 c\n"),
            r"'\.\./\.\./a' cannot be the name of a file",
        ),
        (
            "tiny-imagenet",
            False,
            replaced("tiny-imagenet-200/wnids.txt", b"n01443537\n"),
            "wnids.txt: class n01443544 is not in it",
        ),
        (
            "tiny-imagenet",
            False,
            replaced("tiny-imagenet-200/val/val_annotations.txt", b"val_0.JPEG n01443537"),
            "val_annotations.txt: line 1: expected a file and its class, with a tab",
        ),
        (
            "imagenet",
            False,
            replaced(
                "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", b"1\n4\n"
            ),
            "truth.txt: line 2: expected the number of a class in meta.mat",
        ),
        ("imagenet", False, one_more("a.JPEG", "ILSVRC2012_img_train"), "expected a class of"),
        (
            "mit67",
            True,
            lambda given: tar_with(given / "indoorCVPR_09.tar", {"Images/../../evil.jpg": b"!"}),
            "'Images/../../evil.jpg' would lead out of the folder",
        ),
        (
            "mit67",
            True,
            lambda given: tar_with(given / "indoorCVPR_09.tar", {"/evil.jpg": b"!"}),
            "'/evil.jpg' would lead out of the folder",
        ),
        (
            "tiny-imagenet",
            True,
            zip_with("tiny-imagenet-200/../../evil.JPEG"),
            "'tiny-imagenet-200/../../evil.JPEG' would lead out of the folder",
        ),
        ("tiny-imagenet", True, zip_with("/evil.JPEG"), "'/evil.JPEG' would lead out of the"),
    ],
)
def test_what_is_wrong_with_the_files_is_told_in_a_line(
    tmp_path, capsys, name, archives, change, message
):
    given = tmp_path / "given"
    write_stand_in(name, given, archives=archives)
    change(given)
    out = ["--out", f"{tmp_path}/out"]
    error = failing(capsys, "prepare", name, "--source", str(given), *out, "--no-check")
    assert len(error.splitlines()) == 1
    assert error.startswith("torchbake: error: ")
    assert re.search(message, error)
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prepare cub --source .", "unknown data set 'cub'; did you mean 'cub200'?"),
        ("prepare svhn --source .", "unknown data set 'svhn'; known: tiny-imagenet, cub200, "),
        ("prepare mit67 --source nowhere", "nowhere: no such folder; expected the one with"),
        (
            "prepare tiny-imagenet --source .",
            "tiny-imagenet: . has no tiny-imagenet-200.zip or tiny-imagenet-200/wnids.txt or "
            "wnids.txt",
        ),
        (
            "prepare dogs --source .",
            "dogs: . has no images.tar or Images, and no lists.tar or lists/train_list.mat or "
            "train_list.mat",
        ),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    error = failing(capsys, *arguments.split())
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_archive_whose_next_header_is_lost_is_not_taken_for_whole(tmp_path):
    given = tmp_path / "given"
    write_stand_in("imagenet", given)
    tar = given / "ILSVRC2012_img_train.tar"
    content = bytearray(tar.read_bytes())
    with tarfile.open(tar) as opened:
        second = opened.getmembers()[1].offset
    content[second : second + 512] = b"\1" * 512
    tar.write_bytes(content)
    with pytest.raises(UserError, match=r"train\.tar: broken or incomplete archive: it ends in"):
        prepare("imagenet", given, tmp_path / "out", check=False)
