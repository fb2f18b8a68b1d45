"""What a data set is: splits of images with labels, and the names of the classes."""

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..._shapes import Int, Tensor, UInt8
from ...errors import ImageError, UserError, shorten
from .decoding import decode

if TYPE_CHECKING:
    from ...recipe import DataRecipe


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
        numbers: of the images in the training split as it was before `data.labels` and
            `data.validation` took some out; None where none were.
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
    """A data set: what is trained on, what is evaluated on, and the names of the classes.

    Attributes:
        validation: what a temperature is fitted and an epoch chosen on; None where there is none.
        stands_in: the name of the split that is tested on, where it is a validation split because
            there is no other.
        notes: lines that a user should read, such as what was left out.
        found: what the images were found in, in words, where that was not given.
    """

    train: Split
    test: Split
    classes: list[str]
    validation: Split | None = None
    stands_in: str = ""
    notes: tuple[str, ...] = ()
    found: str = ""


def read_nth(paths: list[str], index: int) -> Encoded:
    """The content of one of these files (see `read_file`)."""
    return read_file(paths[index])


def read_file(path: str) -> Encoded:
    """A file's content, and its path, all of it Unicode.

    Raises:
        ImageError: it cannot be read, or is no file, such as a pipe, which would be waited for.
    """
    name = shorten(os.fsencode(path).decode(errors="replace"), 1000)
    try:
        # Without waiting for somebody who writes to a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError(f"{name}: cannot be read: not a file", "unreadable")
            return Encoded(file.read(), name)
    except OSError as error:
        kind = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        raise ImageError(f"{name}: cannot be read: {error.strerror}", kind) from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        # A zero in its name.
        raise ImageError(f"{name}: cannot be read: {error}", "unreadable") from None


def make_encoded_split(
    labels: Int[Tensor, " n"],
    encoded: Callable[[int], Encoded],
    channels: int,
    files: Sequence[str],
    part: str = "all",
) -> Split:
    """A split of images that are encoded, in these files; decoded in so many channels."""
    import torchvision.transforms.v2.functional  # noqa: F401 (once for all workers that decode)

    load = partial(_decode_nth, encoded, channels)
    return Split(labels, load, None, encoded, files=files, part=f"{channels} channels of {part}")


def _decode_nth(
    encoded: Callable[[int], Encoded], channels: int, index: int
) -> UInt8[Tensor, "ch h w"]:
    content, name = encoded(index)
    return decode(content, channels, name)


_VALIDATION = ("val", "valid", "validation", "dev")
USUAL_SPLITS = {
    "train": ("train", "training"),
    "test": ("test", *_VALIDATION),
    "validation": _VALIDATION,
}


class Names(NamedTuple):
    """What the splits of a data set are called that a recipe uses.

    Attributes:
        validation: None if the recipe takes none of the data set's.
        stands_in: see `Source.stands_in`.
    """

    train: str
    test: str
    validation: str | None
    stands_in: str


def pick_splits(recipe: "DataRecipe", present: Sequence[str]) -> Names:
    """The splits that the recipe uses, among those present.

    Raises:
        UserError: one is not there, or would be both the test and the validation split.
    """
    train = pick_split("train", recipe.train_split, present, recipe.name)
    test = pick_split("test", recipe.test_split, present, recipe.name)
    unnamed = recipe.test_split is None and test in _VALIDATION
    if not takes_split(recipe):
        return Names(train, test, None, test if unnamed else "")
    named = recipe.validation if isinstance(recipe.validation, str) else None
    others = [name for name in present if name != test]
    if test == named or (not named and test in _VALIDATION and not {*others} & {*_VALIDATION}):
        raise UserError(
            f"data.validation: '{test}' of {recipe.name} is the test split; name another one with "
            "data.test_split, or hold out a fraction of the training images, such as 0.1"
        )
    return Names(train, test, pick_split("validation", named, others, recipe.name), "")


def takes_split(recipe: "DataRecipe") -> bool:
    """Whether the recipe takes its validation images from a split of the data set's own."""
    return recipe.validation is True or isinstance(recipe.validation, str)


def pick_split(kind: str, given: str | None, present: Sequence[str], source: str) -> str:
    """The split of this kind ("train", "test" or "validation") among those present.

    Raises:
        UserError: the given one, or any of the usual ones, is not there.
    """
    wanted = USUAL_SPLITS[kind] if given is None else (given,)
    for name in wanted:
        if name in present:
            return name
    key = "data.validation" if kind == "validation" else f"data.{kind}_split"
    raise UserError(
        f"{source}: no {kind} split: expected {' or '.join(wanted)}, found "
        f"{', '.join(sorted(present)) or 'none'} ({key})"
    )


def note_other_splits(recipe: "DataRecipe", used: Names, present: Sequence[str]) -> list[str]:
    """A line if another split could have been meant to be tested on."""
    others = [name for name in USUAL_SPLITS["test"] if name in present and name not in used[:3]]
    if recipe.test_split is not None or not others:
        return []
    return [
        f"{recipe.name}: tests on '{used.test}', not on '{', '.join(others)}' "
        "(data.test_split chooses)"
    ]
