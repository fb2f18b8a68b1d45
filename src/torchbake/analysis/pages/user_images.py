"""A user's own pictures in a folder, to be shown to a trained network."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from ...data.sources.base import Split, make_encoded_split, read_nth
from ...errors import UserError

UNLABELLED = -1


class OwnImages(NamedTuple):
    """Pictures that can be read, their names, and what is wrong with the others."""

    split: Split
    names: list[str]
    found: int  # picture files in the folder
    broken: list[str]


def find_images(folder: Path, classes: list[str], channels: int, limit: int) -> OwnImages:
    """The pictures of a folder and those below it.

    A picture below a folder that is named like a class has that label; others have none.

    Args:
        limit: largest number of pictures; of more, these are evenly spread over them.

    Raises:
        UserError: no such folder, or no picture in it that can be read.
    """
    from torchvision.datasets.folder import IMG_EXTENSIONS

    if not folder.is_dir():
        raise UserError(f"--images: there is no folder {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
    if not paths:
        raise UserError(f"--images: no pictures in {folder} ({', '.join(IMG_EXTENSIONS)})")
    count = min(limit, len(paths))
    chosen = [paths[k * len(paths) // count] for k in range(count)]
    broken, readable = [], []
    probe = _split(chosen, classes, folder, channels)
    for number, path in enumerate(chosen):
        try:
            probe.load(number)
            readable.append(path)
        except UserError as error:
            broken.append(str(error))
    if not readable:
        raise UserError(f"--images: no picture in {folder} can be read: {broken[0]}")
    names = [str(path.relative_to(folder)) for path in readable]
    return OwnImages(_split(readable, classes, folder, channels), names, len(paths), broken)


def _split(paths: list[Path], classes: list[str], folder: Path, channels: int) -> Split:
    numbers = {name: number for number, name in enumerate(classes)}
    labels = []
    for path in paths:
        folders = [folder.resolve().name, *path.relative_to(folder).parent.parts]
        known = (numbers[name] for name in reversed(folders) if name in numbers)
        labels.append(next(known, UNLABELLED))
    files = [str(path) for path in paths]
    return make_encoded_split(torch.tensor(labels), partial(read_nth, files), channels, files)
