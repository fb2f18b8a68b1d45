"""Labels corrected by hand: a file of training images with their right classes, or left out."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import torch

from ..._shapes import Int, Tensor
from ...errors import UserError, did_you_mean
from .base import Source

HEADER = ("index", "file", "given", "label")


@dataclass(frozen=True)
class Correction:
    """A line of a labels file.

    Attributes:
        index: of the image in the training split, before any file of labels.
        file: its name, or empty.
        given: the name of its class in the data.
        label: the name of the class that it is to have; empty to leave the image out.
    """

    index: int
    file: str
    given: str
    label: str


def read_labels(path: Path) -> list[Correction]:
    """The lines of a labels file, each with a number that stands nowhere else in it.

    Raises:
        UserError: it cannot be read, or is no such file.
    """
    lines = io.StringIO(read_label_text(path).removeprefix("\ufeff"), newline="")
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV file: {error}") from None
    if not rows or tuple(rows[0]) != HEADER:
        found = f"'{','.join(rows[0])}'" if rows else "nothing"
        raise UserError(f"{path}: expected the header '{','.join(HEADER)}', found {found}")
    corrections: dict[int, Correction] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        where = f"{path}: row {number}"
        if len(row) != len(HEADER):
            raise UserError(f"{where}: expected {len(HEADER)} fields, found {len(row)}")
        if not (row[0].isascii() and row[0].isdecimal()):
            raise UserError(f"{where}: index: expected a number from 0 on, got '{row[0]}'")
        index = int(row[0])
        if index in corrections:
            raise UserError(f"{where}: image {index} is listed twice")
        corrections[index] = Correction(index, *row[1:])
    return list(corrections.values())


def read_label_text(path: Path) -> str:
    """What is in a labels file, line ends as they are.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise UserError(f"data.labels: {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"data.labels: {path}: cannot be read: not UTF-8") from None


def format_csv(corrections: Iterable[Correction]) -> str:
    """The text of a labels file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(map(astuple, corrections))
    return text.getvalue()


def check_names(classes: Sequence[str]) -> None:
    """Raise UserError for a class that a labels file cannot tell from an image to be left out."""
    if "" in classes:
        raise UserError(
            "data.labels: a class of the data has an empty name, which would mean 'left out'"
        )


def correct_labels(
    source: Source, corrections: Sequence[Correction], path: Path
) -> tuple[Int[Tensor, " n"], Int[Tensor, " k"]]:
    """All training labels after the corrections, and the numbers of the images that stay.

    Args:
        path: of their file, for messages.

    Raises:
        UserError: an image that is not in the data, or there under another label or name; a class
            that is unknown, has no name, or would be left without an image.
    """
    train, classes = source.train, source.classes
    check_names(classes)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = train.labels.clone()
    stays = torch.ones(len(train), dtype=torch.bool)
    for correction in corrections:
        index, file, given, label = astuple(correction)
        where = f"{path}: image {index}"
        if index >= len(train):
            raise UserError(f"{where}: there are {len(train)} training images, numbered from 0")
        found = classes[int(train.labels[index])]
        name = train.name_of(index)
        if found != given or (file and name and file != name):
            is_one = f"'{found}'" + f" ({name})" * bool(name)
            was = f"'{given}'" + f" ({file})" * bool(file)
            raise UserError(
                f"{where}: is {is_one} in the data, {was} in the file, which is of other data or "
                "of another state of it"
            )
        if not label:
            stays[index] = False
        elif label in numbers:
            labels[index] = numbers[label]
        else:
            hint = did_you_mean(label, classes)
            raise UserError(f"{where}: label: there is no class '{label}'{hint}")
    kept = stays.nonzero()[:, 0]
    counts = torch.bincount(labels[kept], minlength=len(classes))
    before = torch.bincount(train.labels, minlength=len(classes))
    emptied = ((counts == 0) & (before > 0)).nonzero()[:, 0]
    if len(emptied):
        raise UserError(f"{path}: leaves no training image of class '{classes[int(emptied[0])]}'")
    return labels, kept
