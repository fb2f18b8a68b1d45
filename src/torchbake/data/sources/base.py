"""What a data set is: splits of images with labels, and the names of the classes."""

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..._shapes import Int, Tensor, UInt8
from ...errors import UserError, shorten
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
    """A data set: what is trained on, what is evaluated on, and the names of the classes.

    Attributes:
        notes: lines that a user should read, such as what was left out.
    """

    train: Split
    test: Split
    classes: list[str]
    notes: tuple[str, ...] = ()


def read_nth(paths: list[str], index: int) -> Encoded:
    """The content of one of these files (see `read_file`)."""
    return read_file(paths[index])


def read_file(path: str) -> Encoded:
    """A file's content, and its path, all of it Unicode.

    Raises:
        UserError: it cannot be read, or is no file, such as a pipe, which would be waited for.
    """
    name = shorten(os.fsencode(path).decode(errors="replace"), 1000)
    try:
        # Without waiting for somebody who writes to a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{name}: cannot be read: not a file")
            return Encoded(file.read(), name)
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name}: cannot be read: {error}") from None  # a zero in its name


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


def note_other_splits(recipe: "DataRecipe", used: str, present: Sequence[str]) -> list[str]:
    """A line if another split could have been meant to be tested on."""
    others = [name for name in USUAL_SPLITS["test"] if name in present and name != used]
    if recipe.test_split is not None or not others:
        return []
    return [
        f"{recipe.name}: tests on '{used}', not on '{', '.join(others)}' (data.test_split chooses)"
    ]
