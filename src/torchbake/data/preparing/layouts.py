"""Which image of a publisher's files is of which split and class: one reader a data set."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ...errors import UserError
from .archives import Files


class Image(NamedTuple):
    """An image and where it belongs.

    Attributes:
        split: a folder of the data set that is made.
        label: the class, a folder in it.
        name: the file's name there.
        files: what it is read from.
        member: its name in `files`.
    """

    split: str
    label: str
    name: str
    files: Files
    member: str


class Place(NamedTuple):
    """Where a list says that an image belongs."""

    split: str
    label: str
    name: str


Listed = dict[str, Place]
"""Where images belong, by their names among the files."""


def _tiny_imagenet(parts: dict[str, Files]) -> Iterator[Image]:
    """train/WNID/images/*.JPEG; val/images/*.JPEG, whose classes are in val_annotations.txt."""
    files = parts["all"]
    wnids = {line.strip() for line in files.lines("wnids.txt")}
    listed: Listed = {}
    for name in files.names():
        if match := re.fullmatch(r"train/([^/]+)/images/([^/.][^/]*\.JPEG)", name):
            _add(listed, name, Place("train", match[1], match[2]), "train/")
    annotations = "val/val_annotations.txt"
    for number, line in enumerate(files.lines(annotations), 1):
        name, *rest = line.split("\t")
        if not rest:
            raise _bad_line(files, annotations, number, "a file and its class, with a tab between")
        _add(listed, f"val/images/{name}", Place("test", rest[0].strip(), name), annotations)
    unknown = {place.label for place in listed.values()} - wnids
    if unknown:
        raise UserError(f"{files.where('wnids.txt')}: class {min(unknown)} is not in it")
    return _found(files, listed)


def _cub200(parts: dict[str, Files]) -> Iterator[Image]:
    """images/CLASS/*.jpg; tables from an image's number to its path, class and split."""
    files = parts["all"]
    paths, labels, is_train, classes = (
        _table(files, name)
        for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
    )
    listed: Listed = {}
    for number, path in paths.items():
        if number not in labels or is_train.get(number) not in ("0", "1"):
            raise UserError(
                f"{files.where('images.txt')}: image {number} has no class in "
                "image_class_labels.txt, or neither 0 nor 1 in train_test_split.txt"
            )
        if labels[number] not in classes:
            raise UserError(f"{files.where('classes.txt')}: no class {labels[number]} in it")
        split = "train" if is_train[number] == "1" else "test"
        place = Place(split, classes[labels[number]], PurePosixPath(path).name)
        _add(listed, f"images/{path}", place, files.where("images.txt"))
    return _found(files, listed)


def _dogs(parts: dict[str, Files]) -> Iterator[Image]:
    """Images/WNID-NAME/*.jpg; the paths of both splits in MATLAB files."""
    lists = parts["lists"]
    listed: Listed = {}
    for split in ("train", "test"):
        name = f"{split}_list.mat"
        for path in _matlab(lists, name, _paths):
            _add(listed, path, _by_folder(split, path, lists.where(name)), lists.where(name))
    return _found(parts["images"], listed)


def _mit67(parts: dict[str, Files]) -> Iterator[Image]:
    """Images/CLASS/*.jpg; the paths of both splits, a line each, and not all of the images."""
    lists, files = parts["lists"], parts["images"]
    # Names of files and in lists may differ in case and spaces.
    alike: dict[str, list[str]] = {}
    for name in files.names():
        alike.setdefault(_plain(name), []).append(name)
    listed: Listed = {}
    for split, name in (("train", "TrainImages.txt"), ("test", "TestImages.txt")):
        for line in lists.lines(name):
            path = line.strip()
            like = alike.get(_plain(path), [])
            member = like[0] if len(like) == 1 else path
            _add(listed, member, _by_folder(split, path, lists.where(name)), lists.where(name))
    return _found(files, listed)


def _imagenet(parts: dict[str, Files]) -> Iterator[Image]:
    """Training images in a folder or a tar archive a class; validation images by their number."""
    devkit, val = parts["devkit"], parts["val"]
    wnids = _matlab(devkit, "data/meta.mat", _leaves)
    truth = "data/ILSVRC2012_validation_ground_truth.txt"
    listed: Listed = {}
    for number, line in enumerate(devkit.lines(truth), 1):
        if line.strip() not in wnids:
            raise _bad_line(devkit, truth, number, "the number of a class in meta.mat")
        name = f"ILSVRC2012_val_{number:08}.JPEG"
        _add(listed, name, Place("val", wnids[line.strip()], name), devkit.where(truth))
    yield from _found(val, listed)
    known = set(wnids.values())
    for name in parts["train"].names():
        wnid, _, rest = name.partition("/")
        wnid = wnid.removesuffix(".tar")
        if wnid not in known:
            raise UserError(
                f"{parts['train'].where(name)}: expected a class of "
                f"{devkit.where('data/meta.mat')}, as n01440764.tar or n01440764/*.JPEG"
            )
        if rest:
            yield Image("train", wnid, rest, parts["train"], name)
            continue
        images = parts["train"].unpack(name)
        for image in images.names():
            yield Image("train", wnid, image, images, image)


READERS: dict[str, Callable[[dict[str, Files]], Iterator[Image]]] = {
    "tiny-imagenet": _tiny_imagenet,
    "cub200": _cub200,
    "dogs": _dogs,
    "mit67": _mit67,
    "imagenet": _imagenet,
}
"""By data set: its images, of its unpacked parts.

They raise a UserError for a list that is missing or unreadable, a listed image that is not there,
and an image that is listed for two places, all of it before the first image but for what is wrong
with ImageNet's training images.
"""


def _add(listed: Listed, member: str, place: Place, source: str) -> None:
    """Note where an image belongs; that a list says it twice does no harm."""
    former = listed.setdefault(member, place)
    if (former.split, former.label) != (place.split, place.label):
        raise UserError(
            f"{source}: {member} is listed for {place.split}/{place.label}, and for "
            f"{former.split}/{former.label}, too"
        )


def _found(files: Files, listed: Listed) -> Iterator[Image]:
    """The listed images, in the order of the files, once all of them are known to be there."""
    names = list(files.names())
    missing = listed.keys() - set(names)
    if missing:
        raise UserError(
            f"{files.where(min(missing))}: listed, but not there"
            + f", and {len(missing) - 1:,} more" * (len(missing) > 1)
        )
    return (Image(*listed[name], files, name) for name in names if name in listed)


def _by_folder(split: str, path: str, source: str) -> Place:
    label, _, name = path.partition("/")
    if not label or not name or "/" in name:
        raise UserError(f"{source}: expected CLASS/NAME, found '{path}'")
    return Place(split, label, name)


def _plain(path: str) -> str:
    return "".join(path.split()).casefold()


def _table(files: Files, name: str) -> dict[str, str]:
    """Lines of a number and a word."""
    rows = {}
    for number, line in enumerate(files.lines(name), 1):
        words = line.split(maxsplit=1)
        if len(words) != 2:
            raise _bad_line(files, name, number, "a number and a word")
        rows[words[0]] = words[1].strip()
    return rows


def _matlab(files: Files, name: str, read: Callable[[dict[str, Any]], Any]) -> Any:
    """What is read of a MATLAB file."""
    from scipy.io import loadmat

    content = files.read(name)
    try:
        return read(loadmat(io.BytesIO(content)))
    except Exception as error:  # scipy names none
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{files.where(name)}: not the MATLAB file expected: {reason}") from None


def _leaves(mat: dict[str, Any]) -> dict[str, str]:
    """WordNet's names of the classes that images are of, by their numbers."""
    return {
        str(synset["ILSVRC2012_ID"].item()): str(synset["WNID"].item())
        for synset in mat["synsets"].flat
        if synset["num_children"].item() == 0
    }


def _paths(mat: dict[str, Any]) -> list[str]:
    return [str(path.item()) for path in mat["file_list"].flat]


def _bad_line(files: Files, name: str, number: int, expected: str) -> UserError:
    return UserError(f"{files.where(name)}: line {number}: expected {expected}")
