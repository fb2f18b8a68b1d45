"""Where images come from. Labels are known without decoding a single image."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from filelock import FileLock

from .._shapes import Int, Tensor, UInt8
from ..errors import UserError, did_you_mean
from ..randomness import generator_for
from .decoding import decode, with_channels

if TYPE_CHECKING:
    from ..recipe import DataRecipe


class Encoded(NamedTuple):
    """The content of an image file, and what to call it."""

    content: bytes
    name: str


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split.

    Attributes:
        labels: class numbers.
        load: decodes image i, to (ch, h, w).
        pixels: all images, where the source has them decoded.
        encoded: image i as it is kept, where the source has them encoded.
        clean_labels: the true ones, where `data.label_noise` has made some of `labels` wrong.
        files: where the encoded images are, if they are in files.
        part: which images in these files they are, and as what they are decoded.
        names: what image i is called, where images have names that tell them apart.
        numbers: of the images before `data.labels` left some out; None where it did not.
    """

    labels: Int[Tensor, " n"]
    load: Callable[[int], UInt8[Tensor, "ch h w"]]
    pixels: UInt8[Tensor, "n ch h w"] | None = None
    encoded: Callable[[int], Encoded] | None = None
    clean_labels: Int[Tensor, " n"] | None = None
    files: Sequence[str] = ()
    part: str = ""
    names: Callable[[int], str] | None = None
    numbers: Int[Tensor, " n"] | None = None

    def name_of(self, index: int) -> str:
        """What image i is called; empty where images have no names."""
        return "" if self.names is None else self.names(index)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Source:
    """A data set: what is trained on, what is evaluated on, and the names of the classes."""

    train: Split
    test: Split
    classes: list[str]


def open_source(recipe: "DataRecipe") -> Source:
    """The data set that `recipe.name` names.

    Raises:
        UserError: an unknown name, files that are missing or unlike what they should be, or
            classes that differ between the splits.
    """
    kind, _, place = recipe.name.partition(":")
    if kind not in SOURCES:
        raise UserError(f"data.name: unknown data set '{recipe.name}'{did_you_mean(kind, SOURCES)}")
    takes_place = SOURCES[kind].takes_place
    if bool(place) != bool(takes_place):
        expected = f"'{kind}:{takes_place}'" if takes_place else f"'{kind}'"
        raise UserError(f"data.name: expected {expected}, got '{recipe.name}'")
    source = SOURCES[kind].open(place, recipe)
    for name, split in (("training", source.train), ("test", source.test)):
        if not len(split):
            raise UserError(f"{recipe.name}: the {name} split has no images")
        if int(split.labels.min()) < 0 or int(split.labels.max()) >= len(source.classes):
            raise UserError(
                f"{recipe.name}: {name} labels must be from 0 to {len(source.classes) - 1}, found "
                f"{int(split.labels.min())} to {int(split.labels.max())}; name a split that has "
                "labels with data.train_split or data.test_split"
            )
    return source


DIGITS_TRAIN = 300
"""Training images of `digits`, 30 of each class; the other 1,497 are for testing."""


def _digits(place: str, recipe: "DataRecipe") -> Source:
    """1,797 handwritten digits, 8×8, of the UCI repository, as scikit-learn ships them.

    The training images are the first 30 of each class in a fixed random order.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = torch.from_numpy(digits.target).long()
    # Values from 0 to 16.
    pixels = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8)[:, None]
    order = torch.randperm(len(labels), generator=generator_for("digits"))
    by_class = [order[labels[order] == c] for c in range(10)]
    share = DIGITS_TRAIN // 10
    train = torch.cat([members[:share] for members in by_class])
    test = torch.cat([members[share:] for members in by_class])
    return Source(
        _in_pixels(pixels[train], labels[train], recipe),
        _in_pixels(pixels[test], labels[test], recipe),
        [str(c) for c in range(10)],
    )


def _cifar(name: str) -> Callable[[str, "DataRecipe"], Source]:
    def open_cifar(place: str, recipe: "DataRecipe") -> Source:
        """CIFAR by its publisher's archive, downloaded into `data.folder` if it is not there."""
        from torchvision import datasets

        splits = []
        for train in (True, False):
            try:
                Path(recipe.folder).mkdir(parents=True, exist_ok=True)
                # Ranks that start together download once.
                with FileLock(Path(recipe.folder) / ".download.lock"):
                    dataset = getattr(datasets, name)(recipe.folder, train=train, download=True)
            except Exception as error:
                raise UserError(
                    f"{recipe.name}: neither found in '{recipe.folder}' (data.folder) nor "
                    f"downloaded: {str(error) or type(error).__name__}; Parquet files of it serve, "
                    "too: data.name parquet:GLOB"
                ) from error
            pixels = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
            splits.append(_in_pixels(pixels, torch.tensor(dataset.targets), recipe))
        return Source(splits[0], splits[1], list(dataset.classes))

    return open_cifar


def _image_folder(place: str, recipe: "DataRecipe") -> Source:
    """A folder with train/ and test/, val/ or validation/, and in each a folder a class."""
    from torchvision.datasets import ImageFolder

    root = Path(place).expanduser()
    if not root.is_dir():
        raise UserError(f"{recipe.name}: there is no folder {root}")
    present = [path.name for path in root.iterdir() if path.is_dir()]
    names = (
        pick_split("train", recipe.train_split, present, recipe.name),
        pick_split("test", recipe.test_split, present, recipe.name),
    )
    folders = []
    for name in names:
        try:
            folders.append(ImageFolder(root / name))
        except FileNotFoundError as error:
            raise UserError(f"{recipe.name}: {error}") from None
    train, test = folders
    if train.classes != test.classes:
        only = sorted(set(train.classes) ^ set(test.classes))
        raise UserError(
            f"{recipe.name}: {names[0]}/ and {names[1]}/ must have the same class folders; in one "
            f"alone: {', '.join(only[:5])}{' …' * (len(only) > 5)}"
        )

    def split(folder: ImageFolder) -> Split:
        paths = [path for path, _ in folder.samples]
        labels = torch.tensor(folder.targets)
        images = encoded_split(labels, partial(read_nth, paths), recipe.channels or 3, paths)
        return replace(images, names=partial(_nth_name, root, paths))

    return Source(split(train), split(test), train.classes)


def read_nth(paths: list[str], index: int) -> Encoded:
    """The content of one of these files (see `read_file`)."""
    return read_file(paths[index])


def _nth_name(root: Path, paths: list[str], index: int) -> str:
    """The path within the folder, so that a folder may be moved; all of it Unicode."""
    return os.fsencode(Path(paths[index]).relative_to(root).as_posix()).decode(errors="replace")


def read_file(path: str) -> Encoded:
    """A file's content.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return Encoded(Path(path).read_bytes(), path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def encoded_split(
    labels: Int[Tensor, " n"],
    encoded: Callable[[int], Encoded],
    channels: int,
    files: Sequence[str],
    part: str = "all",
) -> Split:
    """A split of images that are encoded, in these files; decoded in so many channels."""
    load = partial(_decoded, encoded, channels)
    return Split(labels, load, None, encoded, files=files, part=f"{channels} channels of {part}")


def _decoded(
    encoded: Callable[[int], Encoded], channels: int, index: int
) -> UInt8[Tensor, "ch h w"]:
    content, name = encoded(index)
    return decode(content, channels, name)


def _parquet(place: str, recipe: "DataRecipe") -> Source:
    from .tables import open_parquet

    return open_parquet(place, recipe)


def _hub(place: str, recipe: "DataRecipe") -> Source:
    from .tables import open_hub

    return open_hub(place, recipe)


@dataclass(frozen=True)
class _Kind:
    open: Callable[[str, "DataRecipe"], Source]
    about: str
    takes_place: str = ""


SOURCES = {
    "digits": _Kind(_digits, "1,797 handwritten digits, 8×8, with scikit-learn"),
    "cifar10": _Kind(_cifar("CIFAR10"), "60,000 photographs of 10 classes, 32×32; downloaded"),
    "cifar100": _Kind(_cifar("CIFAR100"), "60,000 photographs of 100 classes, 32×32; downloaded"),
    "imagefolder": _Kind(_image_folder, "a folder with train/ and val/ or test/", "PATH"),
    "parquet": _Kind(_parquet, "Parquet files named after their split", "GLOB"),
    "hf": _Kind(_hub, "a data set of the Hugging Face hub, or its folder", "NAME"),
}

USUAL_SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "val", "valid", "validation", "dev"),
}


def pick_split(kind: str, given: str | None, present: Sequence[str], source: str) -> str:
    """The split of this kind ("train" or "test") among those present.

    Raises:
        UserError: the given one, or any of the usual ones, is not there.
    """
    wanted = USUAL_SPLITS[kind] if given is None else (given,)
    for name in wanted:
        if name in present:
            return name
    raise UserError(
        f"{source}: no {kind} split: expected {' or '.join(wanted)}, found "
        f"{', '.join(sorted(present)) or 'none'} (data.{kind}_split)"
    )


def _in_pixels(
    pixels: UInt8[Tensor, "n ch h w"], labels: Int[Tensor, " n"], recipe: "DataRecipe"
) -> Split:
    pixels = with_channels(pixels, recipe.channels or pixels.shape[1])
    return Split(labels, partial(_load_pixels, pixels), pixels)


def _load_pixels(pixels: UInt8[Tensor, "n ch h w"], index: int) -> UInt8[Tensor, "ch h w"]:
    return pixels[index]
